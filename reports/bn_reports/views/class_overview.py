"""The class as a whole: how its scores are spread, and who took unusually much."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bn_properties.records import Results, Status, SubmissionResult

BINS: Final = 10
"""Of scores that are not full."""
_FEWEST: Final = 8
"""Of fewer submissions nobody can say what is usual."""


@dataclass(frozen=True)
class Bin:
    """The submissions whose score lies in one part of the scale."""

    least: int
    """In percent, as all else; the most is the next one's least."""
    label: str
    count: int


@dataclass(frozen=True)
class Unusual:
    """The submissions that took much more of something than others."""

    usual: float
    """The median."""
    found: tuple[SubmissionResult, ...]
    """Who took most first."""


def histogram(results: Results) -> tuple[Bin, ...]:
    """Return how many scores lie in each tenth of the scale, and how many are full.

    What the grader failed on, or what no course gives points for, has no score.
    """
    counts = [0] * (BINS + 1)
    for each in results.submissions:
        if each.status is not Status.UNGRADED and each.max_score:
            share = each.score / each.max_score
            # Points are summed: a tenth may be missed by rounding.
            counts[min(BINS, int(BINS * share + 1e-9))] += 1
    width = 100 // BINS
    labels = [*(f"{width * i}–{width * (i + 1) - 1}" for i in range(BINS)), "100"]
    return tuple(Bin(width * i, *each) for i, each in enumerate(zip(labels, counts, strict=True)))


def slow(results: Results) -> Unusual:
    """Return who took unusually long, in seconds."""
    return _unusual(results, lambda each: each.seconds)


def large(results: Results) -> Unusual:
    """Return whose process held unusually much memory, in MiB."""
    return _unusual(results, lambda each: each.memory or 0)


def _unusual(results: Results, taken: Callable[[SubmissionResult], float]) -> Unusual:
    """Return who took more than three quartile ranges past the upper quartile.

    That is Tukey's fence for what lies far out. What is less than twice the median is not told.
    """
    known = [each for each in results.submissions if taken(each)]
    if len(known) < _FEWEST:
        return Unusual(0.0, ())
    lower, usual, upper = statistics.quantiles(map(taken, known), n=4)
    fence = max(upper + 3 * (upper - lower), 2 * usual)
    found = [each for each in known if taken(each) > fence]
    return Unusual(usual, tuple(sorted(found, key=lambda each: -taken(each))))
