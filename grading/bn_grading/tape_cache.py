"""Tapes and cases on disk, so that no run computes again what an earlier one has.

A file's name is a digest of everything that can change what is in it: the sources that make it, the
versions beneath them, the seed, the number of cases and what the course asks. A file is written
whole, and checked by its digest when it is read; each job of a class reads its own copy. A file
that is damaged, or of another program, is written anew; a folder that cannot be written to costs
nothing but the time. What a submission that is not kept apart writes to the folder goes when its
process has ended.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import stat
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

import bn_oracle
import bn_properties
import bn_worker
from bn_properties.tape.storage import NotStored, read, write
from platformdirs import user_cache_path

import bn_grading

T = TypeVar("T")

FOLDER = "BNORACLE_CACHE_DIR"
"""The environment variable that names another folder; empty, nothing is kept on disk."""
SUFFIX = ".tape"
MOST = 512 << 20
"""Bytes: when a new file would go past it, those go that have not been used for longest."""
USED = 3600.0
"""Seconds: how exactly it is known when a file was used last."""


class Kept(NamedTuple):
    """How much is kept."""

    files: int
    size: int
    """Bytes."""


Snapshot = dict[Path, tuple[int, ...]]
"""What is kept, and what tells each file from another version of it: its inode, size and times."""


class Cache:
    """One folder of tapes; the user's, unless another is given."""

    def __init__(self, folder: Path | None = None) -> None:
        """Use `folder`; None: the environment's, or the user's."""
        self.folder = _users_folder() if folder is None else folder
        """None where nothing is kept on disk."""
        self._own: Snapshot = {}
        self._believed: Snapshot | None = None
        self._sealed = False

    def kept(self, key: tuple[object, ...], make: Callable[[], T]) -> T:
        """Return what is kept under `key`; what is not, is made and kept."""
        path = self._path(key)
        if path is None:
            return make()
        with contextlib.suppress(OSError, NotStored):
            if self._is_believed(path):
                found: T = self._read(path)
                return found
        with uncollected():
            made = make()
        with contextlib.suppress(OSError):
            self._write(path, write(made))
        return made

    def _is_believed(self, path: Path) -> bool:
        if self._believed is None:
            return True
        return _version(path.stat()) in (self._believed.get(path), self._own.get(path))

    def believe(self, kept: Snapshot | None) -> None:
        """Read nothing but what is in the snapshot, or was made here: a submission runs.

        None: no submission runs any more.
        """
        if not self._sealed:
            self._believed = kept

    def seal(self, kept: Snapshot) -> None:
        """Believe a snapshot from here on, whatever is believed later: others' submissions run."""
        self._believed, self._sealed = kept, True

    def has(self, key: tuple[object, ...]) -> bool:
        """Whether anything is kept under `key`."""
        path = self._path(key)
        return path is not None and path.is_file()

    def _path(self, key: tuple[object, ...]) -> Path | None:
        if self.folder is None:
            return None
        digest = hashlib.sha256(repr((made_by(), key)).encode()).hexdigest()
        return self.folder / f"{digest[:40]}{SUFFIX}"

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._make_room(len(content))
        draft = path.with_name(f".{uuid.uuid4().hex}.partial")
        try:
            draft.write_bytes(content)
            draft.replace(path)
            self._own[path] = _version(path.stat())
        finally:
            draft.unlink(missing_ok=True)

    @staticmethod
    def _read(path: Path) -> Any:
        if not path.is_file():
            raise NotStored("it is no file")
        # Its own copy, not the file mapped: what becomes of the file later, cut short or written to
        # by a submission, reaches neither what was checked nor this process.
        content = path.read_bytes()
        with uncollected():
            found = read(content)
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > USED:
                os.utime(path)
        return found

    def snapshot(self) -> Snapshot:
        """Return what is kept now: taken before a submission runs, for `discard_changes`."""
        return {path: _version(found) for path, found in self._files()}

    def discard_changes(self, since: Snapshot) -> None:
        """Delete what was written since the snapshot, other than by this object.

        A submission can write to the folder, and what it left there would be believed in the next
        run. What another grader kept there meanwhile goes too, and is made again.
        """
        for path, found in self.snapshot().items():
            if found not in (since.get(path), self._own.get(path)):
                with contextlib.suppress(OSError):
                    path.unlink()

    def _make_room(self, size: int) -> None:
        for path, found in sorted(self._files(), key=lambda each: -each[1].st_mtime):
            size += found.st_size
            if size > MOST:
                path.unlink(missing_ok=True)

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Return what is kept; what another process deletes meanwhile is not."""
        for path in () if self.folder is None else self.folder.glob(f"*{SUFFIX}"):
            with contextlib.suppress(OSError):
                found = path.stat()
                if stat.S_ISREG(found.st_mode):
                    yield path, found

    def holds(self) -> Kept:
        """Return how much is kept."""
        sizes = [found.st_size for _, found in self._files()]
        return Kept(len(sizes), sum(sizes))

    def clear(self) -> Kept:
        """Delete what is kept, and return how much it was; nothing else in the folder is touched.

        Raises:
            OSError: a file cannot be deleted.
        """
        held = self.holds()
        for path, _ in self._files():
            path.unlink(missing_ok=True)
        return held


def _users_folder() -> Path | None:
    named = os.environ.get(FOLDER)
    if named is None:
        return user_cache_path("bnoracle", appauthor=False)
    return Path(named).expanduser() if named else None


def _version(found: os.stat_result) -> tuple[int, ...]:
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Make many objects that stay, without looking for garbage among them."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@lru_cache(maxsize=1)
def made_by() -> str:
    """Return a digest of the code that makes tapes, and of what it stands on."""
    beneath = sys.version, sys.byteorder, version("numpy"), version("hypothesis")
    packages = map(digest_of, (bn_oracle, bn_properties, bn_worker, bn_grading))
    return hashlib.sha256(repr((beneath, *packages)).encode()).hexdigest()


def digest_of(package: ModuleType) -> str:
    """Return a digest of a package's sources."""
    root, sha = Path(package.__file__ or "").parent, hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        sha.update(str(path.relative_to(root)).encode())
        sha.update(path.read_bytes())
    return sha.hexdigest()
