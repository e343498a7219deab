"""Whether what a known mistake shows is what a submission showed, but for rounding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from bn_oracle.arrays import Array
from bn_oracle.bounds.precision import Precision
from bn_properties.expectation import Expected
from bn_properties.protocol import UNANSWERED, AnyArray, Quantity, SubjectError
from bn_properties.scenario import Response, Scenario

_SLACK = 16.0
"""A fault's own rounding, in bounds of the right computation of the same size."""

Place = tuple[int, Quantity]
"""A step's number, and one of the quantities that it gives."""


class Yardstick:
    """The oracle's answers at some places of a scenario, and their bounds, laid end to end."""

    def __init__(self, answers: Sequence[Expected], places: Sequence[Place]) -> None:
        """Lay the answers out."""
        self.expected = _end_to_end([answers[step].values[name] for step, name in places])
        self.slack = _SLACK * _end_to_end([answers[step].bound(name) for step, name in places])
        self.ends = np.cumsum([answers[step].values[name].size for step, name in places])
        """Where each place's numbers end."""


@dataclass(frozen=True, eq=False)
class Observation:
    """What a submission showed in one scenario, beside the oracle's answers."""

    scenario: Scenario
    seen: tuple[Response[AnyArray], ...]
    answers: tuple[Expected, ...]
    places: tuple[Place, ...]
    """Where there is something to explain (see `places`)."""
    yardstick: Yardstick

    @cached_property
    def _flat(self) -> Array | None:
        return _gathered(self.seen, self.places)

    @cached_property
    def differs(self) -> bool:
        """Whether the submission differs from the oracle anywhere."""
        outside = self._outside(self.yardstick.expected)
        return not all(self._right(place) for place in self._or_all(outside))

    @cached_property
    def wrong(self) -> frozenset[Place]:
        """Where the submission differs from the oracle."""
        return frozenset(place for place in self.places if not self._right(place))

    def _right(self, place: Place) -> bool:
        step, name = place
        want = self.answers[step]
        return same(self.seen[step].values[name], want.values[name], want, name)

    def reproduced(
        self, shown: Sequence[Response[AnyArray]], other: Sequence[Expected] | None = None
    ) -> bool:
        """Whether `shown` is what was seen; `other` are answers by which it may be measured, too.

        `other` are those of the same batches with their numbers in other places.
        """
        flat = _gathered(shown, self.places)
        outside = None if flat is None else self._outside(flat)
        return all(self.agrees(place, shown, other) for place in self._or_all(outside))

    def agrees(
        self,
        place: Place,
        shown: Sequence[Response[AnyArray]],
        other: Sequence[Expected] | None = None,
    ) -> bool:
        """Whether `shown` is what was seen at one place."""
        step, name = place
        theirs, ours = self.seen[step].values[name], shown[step].values.get(name)
        if same(theirs, ours, self.answers[step], name):
            return True
        return other is not None and _same_elsewhere(theirs, ours, other[step], name)

    def _or_all(self, found: Sequence[Place] | None) -> Sequence[Place]:
        return self.places if found is None else found

    def _outside(self, flat: Array) -> list[Place] | None:
        """Return the places that rounding alone does not explain at once; mostly there are none.

        None where the results cannot be laid beside each other.
        """
        theirs = self._flat
        if theirs is None or theirs.size != flat.size:
            return None
        outside = ~(np.abs(theirs - flat) <= self.yardstick.slack)
        if not outside.any():
            return []
        at = np.unique(np.searchsorted(self.yardstick.ends, outside.nonzero()[0], side="right"))
        return [self.places[number] for number in at.tolist()]


def places(seen: Sequence[Response[AnyArray]], answers: Sequence[Expected]) -> tuple[Place, ...]:
    """Return where a submission showed something that the oracle answers."""
    return tuple(
        (step, name)
        for step, (theirs, want) in enumerate(zip(seen, answers, strict=True))
        for name, value in theirs.values.items()
        if name in want.values and not _missing(value)
    )


def _missing(value: AnyArray | SubjectError) -> bool:
    """Whether there is nothing to explain: an interface may not show this at this point."""
    return isinstance(value, SubjectError) and value.failure in UNANSWERED


def _gathered(seen: Sequence[Response[AnyArray]], at: Sequence[Place]) -> Array | None:
    """Return the results at some places end to end; None when one of them is missing."""
    found: list[AnyArray] = []
    for step, name in at:
        value = seen[step].values.get(name)
        if value is None or isinstance(value, SubjectError):
            return None
        found.append(value)
    return _end_to_end(found)


def _end_to_end(found: Sequence[AnyArray]) -> Array:
    if not found:
        return np.zeros(0)
    return np.concatenate(found, axis=None, dtype=np.float64)


def same(
    theirs: AnyArray | SubjectError,
    ours: AnyArray | SubjectError | None,
    want: Expected,
    quantity: Quantity,
) -> bool:
    """Whether two results are the same but for rounding, or the same failure."""
    if ours is None:
        return False
    if isinstance(theirs, SubjectError) or isinstance(ours, SubjectError):
        return (
            isinstance(theirs, SubjectError)
            and isinstance(ours, SubjectError)
            and theirs.failure == ours.failure
            and (theirs.failure != "unusable_result" or theirs.message == ours.message)
        )
    if bool((np.abs(theirs - ours) <= _SLACK * want.bound(quantity)).all()):
        return True
    # The generous bound is nowhere below the other.
    right = want.values[quantity]
    return _close(theirs, ours, want[quantity].generous, right, want[quantity].precision)


def _same_elsewhere(
    theirs: AnyArray | SubjectError,
    ours: AnyArray | SubjectError | None,
    want: Expected,
    quantity: Quantity,
) -> bool:
    """Compare arrays by the answers to the same numbers in other places."""
    if not isinstance(theirs, np.ndarray) or not isinstance(ours, np.ndarray):
        return False  # the same failure has been seen to
    shape, size = want.values[quantity].shape, want.values[quantity].size
    if not theirs.size == ours.size == size:
        return False
    return same(theirs.reshape(shape), ours.reshape(shape), want, quantity)


def _close(
    theirs: AnyArray, ours: AnyArray, bound: AnyArray, right: AnyArray, precision: Precision
) -> bool:
    """Whether two results agree but for rounding.

    A mistake makes numbers of another size than the right ones, and rounds in proportion: the
    bound of the right computation is scaled by how much larger the mistaken result is.
    """
    size = np.maximum(np.abs(ours), np.abs(theirs))
    size = np.where(np.isfinite(size), size, 0.0)
    axes = (0, *range(2, right.ndim)) if right.ndim > 1 else None
    largest = size.max(axis=axes, keepdims=True)
    growth = largest / np.abs(right).max(axis=axes, keepdims=True)
    growth = 1.0 + np.where(np.isfinite(growth), growth, 0.0)
    room = _SLACK * (bound * growth + 64 * precision.unit_roundoff * largest)
    agree = (np.abs(theirs - ours) <= room) | (theirs == ours) | np.isinf(bound)
    agree |= np.isnan(theirs) & np.isnan(ours)
    return bool(agree.all())
