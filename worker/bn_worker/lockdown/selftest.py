"""The proof that the other steps hold: what should be impossible is tried."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable

from bn_worker.lockdown import kernel

_SOCKET, _EXECVE, _PTRACE, _MEMFD = 41, 59, 101, 319
_UNIX, _INTERNET, _STREAM = 1, 2, 1
_OUTSIDE = ("/etc/passwd", "/etc/hostname", "/proc/self/environ", "/proc/version")


class Leaks(Exception):
    """Something succeeded that should not; the message says what."""


def prove(level: str) -> None:
    """Try to fork, to connect, to read outside, to write, to run a program, to signal others.

    Raises:
        Leaks: one of them succeeds.
    """
    if sys.platform == "win32":
        return
    tried: dict[str, Callable[[], object]] = {
        "start a process": _fork,
        "open an internet socket": lambda: kernel.call(_SOCKET, _INTERNET, _STREAM, 0),
        "open a local socket": lambda: kernel.call(_SOCKET, _UNIX, _STREAM, 0),
        "run another program": lambda: kernel.call(_EXECVE, None, None, None),
        "trace a process": lambda: kernel.call(_PTRACE, 0, 0, 0, 0),
        "signal its parent": lambda: os.kill(os.getppid(), 0),
        "open a file for neither reading nor writing": lambda: os.open(os.__file__, 3),
        "empty a file that it may read": lambda: os.open("/dev/null", os.O_RDONLY | os.O_TRUNC),
        "write into its folder": lambda: _create("bnoracle-probe"),
        "write into the folder of temporary files": lambda: _create("/tmp/bnoracle-probe"),
    }
    for path in _OUTSIDE:
        tried[f"read {path}"] = lambda path=path: os.open(path, os.O_RDONLY)  # type: ignore[misc]
    for what, attempt in tried.items():
        with contextlib.suppress(OSError):
            attempt()
            raise Leaks(f"it can still {what}")
    if level == "full" and any(map(os.path.exists, _OUTSIDE)):
        raise Leaks("it still sees the machine's files")


def _create(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    os.unlink(path)


def _fork() -> None:
    child = os.fork()
    if not child:
        os._exit(0)
    with contextlib.suppress(OSError):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
