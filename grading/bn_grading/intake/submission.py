"""A submission: the files of one student, read but not run."""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import io
import os
import stat
import tokenize
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Submission:
    """One submission, read but not run."""

    id: str
    path: str
    """As it was named."""
    files: dict[str, str] = field(repr=False)
    """Sources by file name, relative to the submission's folder."""
    sha256: str
    module: str | None = None
    """An installed module, for a subject such as torch.nn.BatchNorm1d."""
    wanted: str | None = None
    """The class asked for as file.py:Class or package.Class."""
    problem: str | None = None
    """Why the files could not be read, if they could not."""


class PathError(ValueError):
    """A path that names no submission; the message is one line."""


def sources(folder: Path) -> list[Path]:
    """Return a folder's .py files, without hidden ones and what archives and tools leave behind.

    Links are not followed: what they lead to may be somebody else's, or without end. What cannot be
    looked into is left out.
    """
    found: list[Path] = []
    folders = [folder]
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                left_out = entry.name.startswith((".", "__")) and entry.name != "__init__.py"
                if left_out or entry.is_symlink():
                    continue
                if entry.is_dir():
                    folders.append(Path(entry.path))
                elif entry.name.endswith(".py"):
                    found.append(Path(entry.path))
    return sorted(found)


def read(path: Path) -> Submission:
    """Read a file, or all .py files of a folder."""
    found = sources(path) if path.is_dir() else [path]
    if not found:
        raise PathError(f"{path} holds no .py file")
    root = path if path.is_dir() else path.parent
    files: dict[str, str] = {}
    problems: list[str] = []
    digest, size = hashlib.sha256(), 0
    for source in found:
        name = _text(source.relative_to(root).as_posix())
        try:
            content = _content(source, MAX_SOURCES - size)
            size += len(content)
            digest.update(name.encode() + b"\0" + content + b"\0" if path.is_dir() else content)
            files[name] = _decode(content)
        except OSError as error:
            problems.append(f"{name} cannot be read: {error.strerror or error}")
        except (UnicodeError, SyntaxError, LookupError):
            problems.append(f"{name} is not text in UTF-8 or in the encoding that it declares")
    identity = path.resolve().name if path.is_dir() else path.stem
    # A file that cannot be read matters only where nothing else can be graded.
    problem = problems[0] if problems and not files else None
    return Submission(_text(identity), _text(str(path)), files, digest.hexdigest(), problem=problem)


MAX_SOURCE = 1 << 20
"""Bytes: a larger file is no student's."""
MAX_SOURCES = 4 << 20
"""Bytes of all files of a submission."""


def _content(path: Path, room: int) -> bytes:
    """Read a regular file for which there are so many bytes left.

    Raises:
        OSError: it is a pipe, a device, or too large.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("it is not a regular file")
    if path.stat().st_size > MAX_SOURCE:
        raise OSError(f"it is larger than {MAX_SOURCE} bytes")
    if path.stat().st_size > room:
        raise OSError(f"all files together are larger than {MAX_SOURCES} bytes")
    return path.read_bytes()


def _text(name: str) -> str:
    """Escape what is not UTF-8 in a file's name, so that it can be written down."""
    return name.encode("utf-8", "backslashreplace" if _lone(name) else "strict").decode("utf-8")


def _lone(name: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in name)


_NO_ENCODINGS = ("idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7")
"""What Python lets a file declare, and nobody writes a file in; some take hours to decode."""


def _decode(content: bytes) -> str:
    """Decode as Python does: by byte order mark or declaration, UTF-8 else."""
    encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
    if codecs.lookup(encoding).name in _NO_ENCODINGS:
        raise LookupError(encoding)
    text = content.decode(encoding)
    # The text is compiled from a string, in which a declaration would be out of place.
    return text.replace("\r\n", "\n").replace("\r", "\n")
