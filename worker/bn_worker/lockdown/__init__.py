"""What a worker does to itself before it is given a submission: from then on it can only compute.

Each step is a module. A step that fails is fatal where it was asked for, and what is not there on a
platform is said to be not there: nothing pretends.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from bn_worker.lockdown import landlock, limits, privileges, seccomp, selftest
from bn_worker.messages import STEPS


def lock(level: str, readable: Sequence[str], bounds: dict[str, Any]) -> tuple[str, ...]:
    """Give up everything but computing; return the names of the steps that were taken.

    Args:
        level: `full` or `lockdown`: all steps; `none`: the limits alone, as far as there are any.
        readable: the files and folders that may still be read, beside the standard library.
        bounds: see `limits.bound`.

    Raises:
        OSError: the system refuses a step.
        selftest.Leaks: all steps are taken, and something is still possible that should not be.
    """
    taken: list[str] = []
    if limits.bound(**bounds):
        taken.append("limits")
    if level == "none" or sys.platform != "linux":
        privileges.end_with_parent()
        return tuple(taken)
    privileges.drop()
    landlock.restrict(readable)
    seccomp.restrict()
    selftest.prove(level)
    return (*taken, *STEPS[1:])
