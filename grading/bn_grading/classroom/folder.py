"""The report folder: whose it is, what this program wrote in it, and so what it may replace.

A mark in the folder names every file that a run may write, and is there before the first of them.
Nothing else is ever replaced or deleted. While a run lasts, the folder is locked for others.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path

from bn_reports.formats.atomic import write_atomically
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

MARK = ".bnoracle.json"
"""The file that marks a folder as a report's."""
LOCK = ".bnoracle.lock"
_DRAFT = re.compile(r"\.[0-9a-f]{32}\.partial")
"""What a run leaves that was killed while it wrote."""


class FolderError(ValueError):
    """A folder that a report must not be written to; the message is one line."""


class _Mark(BaseModel):
    """What the mark holds."""

    model_config = ConfigDict(extra="forbid")

    made_by: str
    files: frozenset[str]
    """Paths from the folder, with `/`, of what is this program's."""
    folders: frozenset[str]
    """The folders below that it has made."""


class ReportFolder:
    """A folder, and the files in it that this program wrote or is going to write."""

    def __init__(self, path: Path, files: Iterable[str], *, force: bool = False) -> None:
        """Claim `path` for a report of `files`, mark it, and lock it until `release`.

        Args:
            path: a folder; it is made if it does not exist.
            files: what will be written: paths from the folder, with `/`.
            force: whether the folder may hold what is not this program's.

        Raises:
            FolderError: it is a file; another run writes to it; it holds something, but no mark,
                and `force` is not set; or something that is not this program's stands where a
                file is to be written.
            OSError: it cannot be written to.
        """
        self.path, self.files = path, frozenset(files)
        if path.exists() and not path.is_dir():
            raise FolderError(f"{path} is a file, but must be a folder")
        if not force and _marked(path) is None and path.is_dir() and _holds_something(path):
            raise FolderError(
                f"{path} holds files, but no report of bnoracle's: name another folder, or write "
                "there all the same with --force, which replaces nothing of somebody else's"
            )
        path.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(path / LOCK)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise FolderError(f"{path} is being written by another run") from None
        try:
            self._own, self._folders = self._claim()
        except BaseException:
            self.release()
            raise

    def _claim(self) -> tuple[frozenset[str], frozenset[str]]:
        """Return what may be replaced or deleted, and which folders below may go."""
        mark = _marked(self.path)
        earlier = mark.files if mark else frozenset[str]()
        for name in sorted(self.files):
            self._look_at(self.path / name, own=name in earlier)
        below = {str(Path(name).parent) for name in self.files} - {"."}
        made = {name for name in below if not (self.path / name).exists()}
        folders = (mark.folders if mark else frozenset[str]()) | made
        there = frozenset(name for name in earlier if (self.path / name).is_file())
        new = _Mark(made_by="bnoracle", files=there | self.files, folders=folders)
        write_atomically(self.path / MARK, new.model_dump_json(indent=1) + "\n", durable=True)
        for name in (".", *folders):
            self._delete_drafts(self.path / name)
        return new.files, folders

    def _look_at(self, path: Path, *, own: bool) -> None:
        """Refuse what stands where a file is to be written, and is not this program's file."""
        if path.parent != self.path and (path.parent.is_symlink() or path.parent.is_file()):
            raise FolderError(f"{path.parent} is not a folder of bnoracle's")
        if own and not path.is_symlink() and (path.is_file() or not path.exists()):
            return
        if path.exists() or path.is_symlink():
            raise FolderError(f"{path} is not bnoracle's, and would be replaced")

    @staticmethod
    def _delete_drafts(folder: Path) -> None:
        with contextlib.suppress(OSError):
            for path in folder.iterdir():
                if _DRAFT.fullmatch(path.name):
                    path.unlink()

    def release(self) -> None:
        """Let others write to the folder."""
        self._lock.release()

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
        if str(Path(name).parent) in self._folders:
            with contextlib.suppress(OSError):  # there may be something else in it
                path.parent.rmdir()

    def move(self, name: str, new: str) -> None:
        """Move a file of the report, in place of what is there.

        Raises:
            OSError: it cannot be moved.
        """
        (self.path / name).replace(self.path / new)

    def write(self, name: str, text: str, *, durable: bool = False) -> None:
        """Write a file of the report whole; `durable`: so that a power failure does not undo it.

        Raises:
            OSError: it cannot be written; what was there stands.
        """
        if name not in self.files:
            raise ValueError(f"{name} is not among the report's files")
        write_atomically(self.path / name, text, durable=durable)


def _holds_something(path: Path) -> bool:
    return any(each.name != LOCK for each in path.iterdir())


def _marked(path: Path) -> _Mark | None:
    """Return the mark of a folder; None where there is none that can be read."""
    try:
        mark = _Mark.model_validate_json((path / MARK).read_bytes())
    except (OSError, ValidationError):
        return None
    # A path that leads out of the folder was not written by this program.
    return _Mark(
        made_by=mark.made_by,
        files=frozenset(filter(_stays_below, mark.files)),
        folders=frozenset(filter(_stays_below, mark.folders)),
    )


def _stays_below(name: str) -> bool:
    path = Path(name)
    return not path.is_absolute() and ".." not in path.parts and "\\" not in name
