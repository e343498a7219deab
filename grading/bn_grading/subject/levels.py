"""Which level of isolation a run has: the best that the machine offers, or the one asked for."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from bn_grading.subject.isolation import Isolation, Level, NotIsolated
from bn_grading.subject.transport import Transport

Wanted = Literal["auto"] | Level

START = 20.0
"""Seconds that a probe may take: on a busy machine, too, the level is the machine's."""


class NoSuchLevel(ValueError):
    """A level that this machine does not offer; the message says why, in one line."""


@lru_cache(maxsize=3)
def lacking(level: Level) -> str | None:
    """Return why this machine does not offer a level; None where it does.

    A worker is started at that level, and tries what should be impossible there.
    """
    if level is Level.NONE:
        return None
    try:
        transport = Transport(Isolation(level))
        try:
            transport.ready(START)
        finally:
            transport.close()
    except NotIsolated as error:
        return str(error)
    return None


def wanted(name: str) -> Wanted:
    """Return what a level's name asks for.

    Raises:
        NoSuchLevel: there is no such level.
    """
    try:
        return "auto" if name == "auto" else Level(name)
    except ValueError:
        listed = ", ".join(Level)
        raise NoSuchLevel(f"isolation is {name!r}, but must be auto, {listed}") from None


def candidates(asked: Wanted) -> tuple[Level, ...]:
    """Return the levels to try for one's own code, in order.

    Whether the machine offers one shows when the worker starts: it is not asked twice. One that
    was asked for by name is the only one.

    Raises:
        NoSuchLevel: it was asked for, and is not offered.
    """
    return tuple(Level) if asked == "auto" else (chosen(asked),)


def chosen(asked: Wanted) -> Level:
    """Return the level of a whole run.

    Raises:
        NoSuchLevel: it was asked for, and is not offered.
    """
    if asked == "auto":
        return next(level for level in Level if lacking(level) is None)
    reason = lacking(asked)
    if reason is not None:
        raise NoSuchLevel(f"isolation {asked} is not available here: {reason}")
    return asked
