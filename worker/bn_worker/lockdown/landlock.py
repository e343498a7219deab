"""Landlock: which files a process may read. It may write none, and speak to nobody."""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from collections.abc import Iterator, Sequence

from bn_worker.lockdown import kernel

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH = 1
_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_OF_VERSION = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""How many rights to files each version of Landlock knows."""
_NET, _SCOPED = 0b11, 0b11
"""Binding and connecting; abstract sockets and signals to processes outside."""
_LEFT_OUT = frozenset(
    ("site-packages", "dist-packages", "test", "idlelib", "ensurepip", "turtledemo", "lib2to3")
)
"""What lies in the standard library's folder and is not needed of it."""
_NULL, _RANDOM = "/dev/null", "/dev/urandom"


class _Attributes(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version() -> int:
    """Return which version of Landlock the kernel has; 0: none."""
    if not kernel.known():
        return 0
    try:
        return kernel.call(_CREATE_RULESET, None, 0, _VERSION)
    except OSError:
        return 0


def restrict(readable: Sequence[str]) -> None:
    """Let this thread, and those it starts, read these paths and the standard library alone.

    Raises:
        OSError: the kernel has no Landlock, or refuses.
    """
    if not 0 < _threads() <= 1:
        raise OSError("there is more than one thread, and Landlock binds one")
    found = version()
    if not found:
        raise OSError("this kernel has no Landlock")
    attributes = _Attributes(
        (1 << _OF_VERSION.get(found, 16)) - 1,
        _NET if found >= 4 else 0,
        _SCOPED if found >= 6 else 0,
    )
    size = 24 if found >= 6 else 16 if found >= 4 else 8
    ruleset = kernel.call(_CREATE_RULESET, attributes, size, 0)
    try:
        for path in (*readable, *_standard_library()):
            _allow(ruleset, path, _READ_FILE | _READ_DIR)
        _allow(ruleset, _NULL, _READ_FILE | _WRITE_FILE)
        _allow(ruleset, _RANDOM, _READ_FILE)
        kernel.call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _threads() -> int:
    """Return how many threads this process has; one where the system does not show it."""
    try:
        return len(os.listdir("/proc/self/task"))
    except FileNotFoundError:
        return 1


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there needs no rule
    try:
        if not stat.S_ISDIR(os.fstat(opened).st_mode):
            rights &= _READ_FILE | _WRITE_FILE
        kernel.call(_ADD_RULE, ruleset, _PATH_BENEATH, _Beneath(rights, opened), 0)
    finally:
        os.close(opened)


def _standard_library() -> Iterator[str]:
    """Yield what lies in the folders of the standard library, without others' packages."""
    for folder in {os.path.dirname(os.__file__), *_modules()}:
        if os.path.isdir(folder):
            yield from (entry.path for entry in os.scandir(folder) if entry.name not in _LEFT_OUT)


def _modules() -> Iterator[str]:
    prefix = os.path.join(os.path.realpath(sys.base_prefix), "")
    for path in sys.path:
        within = os.path.join(os.path.realpath(path), "").startswith(prefix)
        if path and within and "-packages" not in path:
            yield path
