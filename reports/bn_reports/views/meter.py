"""Errors over bounds on a logarithmic scale: where a quantity stands, and how all cases fare."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from bn_properties.case_errors import unpacked
from bn_properties.records import PropertyResult

from bn_reports.text.numbers import ratio

Zone = Literal["stable", "one-pass", "wrong"]

_PAIRS: Final = (
    ("training output", "training.agreement", "stability.training_output"),
    ("input gradient", "backward.input_gradient", "stability.input_gradient"),
    ("running variance", "running.variance_recurrence", "stability.running_variance"),
)
"""What is held to two bounds: the widest, of E[z²] − E[z]², and that of a stable algorithm."""
_DECADES: Final = (4, 15)
"""How many powers of ten are shown below the narrow bound, and above the wide one."""


@dataclass(frozen=True)
class Reading:
    """Where one quantity stands, at its worst."""

    name: str
    zone: Zone
    place: float
    """From 0 to 1 within the zone."""
    text: str


def readings(properties: Iterable[PropertyResult], prefix: str) -> tuple[Reading, ...]:
    """Return where the quantities of a part stand whose errors were measured by both bounds.

    `prefix` stands before the part's property ids.
    """
    errors = {each.id: each.error_over_bound for each in properties}
    found = []
    for name, wide, narrow in _PAIRS:
        widest, narrowest = errors.get(prefix + wide), errors.get(prefix + narrow)
        if widest is not None and narrowest is not None:
            found.append(_reading(name, widest, narrowest))
    return tuple(found)


def _reading(name: str, wide: float, narrow: float) -> Reading:
    if not wide <= 1:
        above = 1.0 if not math.isfinite(wide) else min(1.0, math.log10(wide) / _DECADES[1])
        return Reading(name, "wrong", above, _said(wide, "the widest bound"))
    if narrow > 1:
        width = math.log10(narrow) - math.log10(max(wide, 1e-300))
        place = math.log10(narrow) / width if width else 0.5
        return Reading(name, "one-pass", place, _said(narrow, "a stable algorithm’s bound"))
    below = 0.0 if narrow <= 0 else max(0.0, 1 + math.log10(narrow) / _DECADES[0])
    text = "exact" if narrow < 1e-300 else _said(narrow, "a stable algorithm’s bound")
    return Reading(name, "stable", below, text)


def _said(value: float, of: str) -> str:
    return f"{ratio(value)} × {of}" if math.isfinite(value) else "no number at all"


LEAST, MOST = -14, 5
"""The powers of ten between which a case's error over bound is told apart; see `case_errors`."""


@dataclass(frozen=True)
class Point:
    """One case."""

    case: int
    level: float
    """The power of ten of its error over bound, within `LEAST` and `MOST`."""
    failed: bool
    exact: bool
    condition: float | None = None
    """The power of ten of its batch's condition number, where the record has it."""


def points(result: PropertyResult, conditions: str = "") -> tuple[Point, ...]:
    """Return all cases of a property, in order; none where no case was measured.

    `conditions` are the part's condition numbers, packed.
    """
    if not result.case_errors:
        return ()
    of_batch = unpacked(conditions) if conditions else {}
    known = {number: _power(each) for number, each in of_batch.items()}
    return tuple(
        Point(number, _level(error), not error <= 1, error == 0.0, known.get(number))
        for number, error in sorted(unpacked(result.case_errors).items())
    )


def _power(condition: float) -> float:
    return max(0.0, math.log10(condition)) if 0 < condition < math.inf else 0.0


def _level(error: float) -> float:
    if not math.isfinite(error):
        return MOST
    return LEAST if error == 0.0 else min(max(math.log10(error), LEAST), MOST)
