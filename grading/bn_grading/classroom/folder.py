"""The report folder: whose it is, what this program wrote in it, and so what it may replace.

A mark in the folder names every file that a run may write, and is there before the first of them.
Nothing else is ever replaced or deleted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from bn_reports.formats.atomic import write_atomically
from pydantic import BaseModel, ConfigDict, ValidationError

MARK = ".bnoracle.json"
"""The file that marks a folder as a report's."""


class FolderError(ValueError):
    """A folder that a report must not be written to; the message is one line."""


class _Mark(BaseModel):
    """What the mark holds."""

    model_config = ConfigDict(extra="forbid")

    made_by: str
    files: tuple[str, ...]
    """Paths from the folder, with `/`, of what is this program's."""


class ReportFolder:
    """A folder, and the files in it that this program wrote or is going to write."""

    def __init__(self, path: Path, files: Iterable[str], *, force: bool = False) -> None:
        """Claim `path` for a report of `files`, and mark it.

        Args:
            path: a folder; it is made if it does not exist.
            files: what will be written: paths from the folder, with `/`.
            force: whether the folder may hold what is not this program's.

        Raises:
            FolderError: it is a file; it holds something, but no mark, and `force` is not set; or
                something that is not this program's stands where a file is to be written.
            OSError: it cannot be written to.
        """
        self.path, self.files = path, frozenset(files)
        if path.exists() and not path.is_dir():
            raise FolderError(f"{path} is a file, but must be a folder")
        earlier = _marked(path)
        if earlier is None and not force and path.is_dir() and any(path.iterdir()):
            raise FolderError(
                f"{path} holds files, but no report of bnoracle's: name another folder, or write "
                "there all the same with --force, which replaces nothing of somebody else's"
            )
        self._own = earlier or frozenset()
        """What may be replaced or deleted."""
        for name in sorted(self.files - self._own):
            if (path / name).exists() or (path / name).is_symlink():
                raise FolderError(f"{path / name} is not bnoracle's, and would be replaced")
        there = frozenset(name for name in self._own if (path / name).is_file())
        mark = _Mark(made_by="bnoracle", files=tuple(sorted(there | self.files)))
        write_atomically(path / MARK, mark.model_dump_json(indent=1) + "\n")
        self._own = there | self.files

    def own(self, below: str) -> list[str]:
        """Return the names of what is there of this program's below a folder of the report."""
        return sorted(
            name
            for name in self._own
            if name.startswith(f"{below}/") and (self.path / name).is_file()
        )

    def delete(self, name: str) -> None:
        """Delete a file of this program's, if it is there; and its folder, when that is empty.

        Raises:
            OSError: it cannot be deleted.
        """
        if name not in self._own:
            raise ValueError(f"{name} is not this program's")
        path = self.path / name
        path.unlink(missing_ok=True)
        if path.parent != self.path:
            with contextlib.suppress(OSError):  # there may be something else in it
                path.parent.rmdir()

    def write(self, name: str, text: str) -> None:
        """Write a file of the report whole.

        Raises:
            OSError: it cannot be written; what was there stands.
        """
        if name not in self.files:
            raise ValueError(f"{name} is not among the report's files")
        write_atomically(self.path / name, text)


def _marked(path: Path) -> frozenset[str] | None:
    """Return what the mark in a folder lists; None where there is none that can be read."""
    try:
        mark = _Mark.model_validate_json((path / MARK).read_bytes())
    except (OSError, ValidationError):
        return None
    # A path that leads out of the folder was not written by this program.
    return frozenset(
        name
        for name in mark.files
        if not Path(name).is_absolute() and ".." not in Path(name).parts and "\\" not in name
    )
