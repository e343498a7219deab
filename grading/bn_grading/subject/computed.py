"""How long a process has computed, since who sleeps is not too slow; and in how much memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

ASLEEP, MOSTLY_ASLEEP = 0.1, 0.25
"""Who computes for less than this share of a call, or of all calls, sleeps or waits."""
_MOST = 64
"""How many processes are looked at: who has started more computes enough."""
_USER, _SYSTEM = 11, 12
"""Where the kernel's description of a process, behind its name, has both times."""


def computed(pid: int) -> float | None:
    """Return for how many seconds a process and its children have computed.

    What they waited for a processor counts, too: on a busy machine nobody sleeps because of that.
    None where the system does not tell.
    """
    try:
        return sum(_seconds(Path("/proc", str(each))) for each in islice(_tree(pid), _MOST))
    except (OSError, ValueError, IndexError):
        return None


def most_memory(pid: int) -> int | None:
    """Return the most memory, in MiB, that a process or a child of it has held at a time.

    None where the system does not tell.
    """
    held = 0
    try:
        for each in islice(_tree(pid), _MOST):
            for line in Path(f"/proc/{each}/status").read_bytes().splitlines():
                if line.startswith(b"VmHWM:"):
                    held = max(held, int(line.split()[1]) >> 10)
    except (OSError, ValueError, IndexError):
        return None
    return held or None


def children(pid: int) -> list[int]:
    """Return the processes that a process's first thread has started.

    Raises:
        OSError: it has ended, or the system does not tell.
    """
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as listed:
        return [int(each) for each in listed.read().split()]


def _tree(pid: int) -> Iterator[int]:
    waiting = [pid]
    while waiting:
        yield (each := waiting.pop())
        waiting += children(each)


def _seconds(process: Path) -> float:
    # A process names itself, with whatever bytes it likes.
    fields = (process / "stat").read_bytes().rpartition(b")")[2].split()
    ticks = int(fields[_USER]) + int(fields[_SYSTEM])
    return ticks / os.sysconf("SC_CLK_TCK") + sum(_queued(process))


def _queued(process: Path) -> Iterator[float]:
    """Yield for how many seconds each thread has waited for a processor."""
    for thread in (process / "task").iterdir():
        try:
            yield int((thread / "schedstat").read_bytes().split()[1]) / 1e9
        except (OSError, IndexError):  # it has ended, or this kernel does not count
            continue
