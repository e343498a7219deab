"""How much a worker may use: processor time, memory, files. The grader's clock comes first."""

from __future__ import annotations

import sys

if sys.platform != "win32":
    import resource

OPEN_FILES = 64
PROCESSES = 256
"""Counted a user namespace: a limit only where the worker has one of its own."""
_GRACE = 1
"""Seconds of processor time after which whoever ignores the signal is killed."""


def bound(*, cpu: int, memory: int, alone: bool) -> bool:
    """Limit this process for good; return whether the platform can.

    Args:
        cpu: seconds of processor time.
        memory: MiB of address space.
        alone: whether no other process of the user's counts against a limit on processes.
    """
    if sys.platform == "win32":
        return False
    _set(resource.RLIMIT_CPU, cpu, cpu + _GRACE)
    _set(resource.RLIMIT_CORE, 0)
    _set(resource.RLIMIT_FSIZE, 0)
    _set(resource.RLIMIT_NOFILE, OPEN_FILES)
    if sys.platform == "linux":  # elsewhere it is not kept, or cannot be set
        _set(resource.RLIMIT_AS, memory << 20)
    if alone:
        _set(resource.RLIMIT_NPROC, PROCESSES)
    return True


def _set(what: int, most: int, at_last: int | None = None) -> None:
    """Set a limit, and the one past which nothing is asked any more."""
    if sys.platform != "win32":
        given, hard = (most, most if at_last is None else at_last), resource.getrlimit(what)[1]
        if hard != resource.RLIM_INFINITY:
            given = min(given[0], hard), min(given[1], hard)
        resource.setrlimit(what, given)
