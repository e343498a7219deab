"""Whether what a known mistake gives is what a submission gave, but for rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NewType

import numpy as np
from bn_oracle.arrays import Array
from bn_properties.expectation import Expected
from bn_properties.protocol import UNANSWERED, AnyArray, Quantity, SubjectError
from bn_properties.scenario import Response, Scenario

BOUNDS = 16.0
"""How many bounds of the right computation two results of one mistake may lie apart.

Chosen, not derived: a mistake is another formula than the one that the bounds were derived for.
Two computations of the right formula lie two bounds apart at most; a mistake may take a few
operations more. The choice is not delicate: all layers in this room's tests are diagnosed alike
with any factor from 1 to 65,536. No verdict rests on it, only which known mistake is named.
"""

ROUNDINGS = 64.0
"""How many roundings of a feature's largest number are allowed beside those bounds.

Chosen as `BOUNDS` is, and multiplied by it, for mistakes that make large numbers where the right
computation makes small ones, so that its bounds say little. No verdict rests on it either.
"""

Place = tuple[int, Quantity]
"""A step's number, and one of the quantities that it gives."""

Value = AnyArray | SubjectError


def places(
    responses: Sequence[Response[AnyArray]], expected: Sequence[Expected]
) -> tuple[Place, ...]:
    """Return where a submission gave something that the oracle expects.

    A call that it may not have, or that there was no time for, leaves nothing to explain.
    """
    return tuple(
        (step, quantity)
        for step, (response, of_step) in enumerate(zip(responses, expected, strict=True))
        for quantity, value in response.values.items()
        if quantity in of_step.values
        and not (isinstance(value, SubjectError) and value.failure in UNANSWERED)
    )


class Measure:
    """What is expected of a scenario, and how far two results of one mistake may lie apart."""

    def __init__(self, expected: tuple[Expected, ...]) -> None:
        """Measure by what is expected, step by step."""
        self.expected = expected

    def matches(self, place: Place, theirs: Value, ours: Value | None) -> bool:
        """Whether two results are one but for rounding, or are the same failure.

        Arrays are compared in the shape of what is expected, number by number. Rounding is measured
        by the largest bound that a mistake may need, and in proportion: a mistake makes numbers of
        another size than the right ones, so each feature's bound grows by as much as its largest
        number does; where there is one number a feature, by as much as the largest of all. NaN and
        the infinities are one: which of them a division by zero ends in depends on how the formula
        is written. Where rounding could explain anything, anything matches.
        """
        if isinstance(theirs, SubjectError) or isinstance(ours, SubjectError):
            return _same_failure(theirs, ours)
        step, quantity = place
        of_step = self.expected[step]
        right = of_step.values[quantity]
        if ours is None or not theirs.size == ours.size == right.size:
            return False
        theirs, ours = theirs.reshape(right.shape), ours.reshape(right.shape)
        difference = np.abs(theirs - ours)
        if bool((difference <= BOUNDS * of_step.bound(quantity)).all()):
            return True  # and by the wider bounds below as well, which take time to compute
        bound = self._widest(step, quantity)
        size = np.maximum(np.abs(ours), np.abs(theirs))
        size = np.where(np.isfinite(size), size, 0.0)
        axes = (0, *range(2, right.ndim))
        largest = size.max(axis=axes, keepdims=True)
        growth = largest / np.abs(right).max(axis=axes, keepdims=True)
        growth = 1.0 + np.where(np.isfinite(growth), growth, 0.0)
        relative = ROUNDINGS * of_step[quantity].precision.unit_roundoff + self._of_bare_root(place)
        close = difference <= BOUNDS * (bound * growth + relative * largest)
        close |= ~(np.isfinite(theirs) | np.isfinite(ours))
        close |= np.isinf(bound) | np.isinf(relative)
        return bool(close.all())

    def _widest(self, step: int, quantity: Quantity) -> Array:
        """Return the largest bound that a mistake may need.

        The mean of B numbers up to M is off by at most (B+4)·w·M when it is computed, and their
        variance by as much times M. A mistake may take the statistics of the output.
        """
        of_step = self.expected[step]
        bound = of_step[quantity].generous
        if quantity in ("running_mean", "running_var") and step in self._largest_outputs:
            largest = self._largest_outputs[step]
            of_place = of_step[quantity]
            unit = (of_place.largest_batch + 4) * of_place.precision.unit_roundoff
            bound = bound + unit * (largest if quantity == "running_mean" else largest**2)
        return bound

    @cached_property
    def _largest_outputs(self) -> dict[int, Array]:
        """Each feature's largest |ẑ| in training, up to each step."""
        largest: dict[int, Array] = {}
        latest = np.zeros(())
        for step, of_step in enumerate(self.expected):
            if of_step.record is not None and "out" in of_step.values:
                out = np.abs(of_step.values["out"])
                latest = np.maximum(latest, out.max(axis=(0, *range(2, out.ndim))))
            if latest.ndim:
                largest[step] = latest
        return largest

    def _of_bare_root(self, place: Place) -> Array | float:
        """Return the relative error that a root without ε has at inference, for each feature.

        With the running variance V off by E, √V is off by E/2V of itself. In training, that is in
        the bound (`Expected.generous`). From E = V on, nothing is known of the root.
        """
        step, quantity = place
        of_step = self.expected[step]
        if of_step.record is not None or quantity not in ("out", "dz", "dgamma"):
            return 0.0
        var = of_step.values.get("running_var")
        if var is None:
            return 0.0
        error = of_step["running_var"].generous
        relative = np.where(error < var, error / 2 / var, np.inf)
        relative = np.where(error > 0, relative, 0.0)
        ndim = of_step.values[quantity].ndim
        return relative.reshape(-1, *[1] * (ndim - 2))


def _same_failure(theirs: Value, ours: Value | None) -> bool:
    """Whether both failed, in one way; an unusable result must be unusable for one reason."""
    if not isinstance(theirs, SubjectError) or not isinstance(ours, SubjectError):
        return False
    if theirs.failure != ours.failure:
        return False
    return theirs.failure != "unusable_result" or theirs.message == ours.message


Expects = Callable[[Scenario], tuple[Expected, ...]]
"""What the oracle expects of each call of a scenario."""
Asked = NewType("Asked", bytes)
"""A digest of all that a scenario asks."""


def asked(scenario: Scenario) -> Asked:
    """Return what tells scenarios apart: equal ones have equal digests."""
    return Asked(scenario.key)


class Yardstick:
    """What the oracle expects at some places of a scenario, and its bounds, laid end to end."""

    def __init__(self, expected: tuple[Expected, ...], at: Sequence[Place]) -> None:
        """Lay out what is expected."""
        self.measure = Measure(expected)
        values = [expected[step].values[quantity] for step, quantity in at]
        self.expected = _end_to_end(values)
        self.room = BOUNDS * _end_to_end([expected[step].bound(name) for step, name in at])
        """How far two results may lie apart and match, whatever their size."""
        self._ends = np.cumsum([value.size for value in values])

    def outside(self, one: Array, other: Array) -> Iterable[int]:
        """Return the numbers of the places where two results lay further apart; mostly none."""
        outside = ~(np.abs(one - other) <= self.room)
        if not outside.any():
            return ()
        found = np.searchsorted(self._ends, outside.nonzero()[0], side="right")
        numbers: list[int] = np.unique(found).tolist()
        return numbers


@dataclass(frozen=True, eq=False)
class Observation:
    """What a submission gave in one scenario, beside what the oracle expects."""

    scenario: Scenario
    responses: tuple[Response[AnyArray], ...]
    places: tuple[Place, ...]
    """Where there is something to explain (see `places`)."""
    yardstick: Yardstick

    @cached_property
    def _flat(self) -> Array | None:
        return _gathered(self.responses, self.places)

    @cached_property
    def differs(self) -> bool:
        """Whether the submission differs from the oracle anywhere."""
        return not all(self._right(place) for place in self._doubtful(self.yardstick.expected))

    @cached_property
    def wrong(self) -> frozenset[Place]:
        """Where the submission differs from the oracle."""
        return frozenset(place for place in self.places if not self._right(place))

    def _right(self, place: Place) -> bool:
        step, quantity = place
        measure = self.yardstick.measure
        right = measure.expected[step].values[quantity]
        return measure.matches(place, self.responses[step].values[quantity], right)

    def reproduced(
        self, responses: Sequence[Response[AnyArray]], elsewhere: Measure | None = None
    ) -> bool:
        """Whether `responses` are what was seen, by what is expected, or by `elsewhere`.

        `elsewhere` measures by what is expected of the same numbers in other places.
        """
        return not any(True for _ in self.missed(responses, elsewhere))

    def missed(
        self, responses: Sequence[Response[AnyArray]], elsewhere: Measure | None = None
    ) -> Iterator[Place]:
        """Yield the places at which `responses` are not what was seen."""
        flat = _gathered(responses, self.places)
        for place in self._doubtful(flat):
            if not self.agrees(place, responses, elsewhere):
                yield place

    def agrees(
        self,
        place: Place,
        responses: Sequence[Response[AnyArray]],
        elsewhere: Measure | None = None,
    ) -> bool:
        """Whether `responses` are what was seen at one place."""
        step, quantity = place
        theirs, ours = self.responses[step].values[quantity], responses[step].values.get(quantity)
        return self.yardstick.measure.matches(place, theirs, ours) or (
            elsewhere is not None and elsewhere.matches(place, theirs, ours)
        )

    def _doubtful(self, flat: Array | None) -> Iterable[Place]:
        """Return the places that have to be looked at: mostly, all match within the bounds."""
        if flat is None or self._flat is None or self._flat.size != flat.size:
            return self.places
        return [self.places[number] for number in self.yardstick.outside(self._flat, flat)]


class Observer:
    """Puts what submissions gave beside what the oracle expects; it lays each scenario out once."""

    def __init__(self, expectation: Expects) -> None:
        """Remember the yardsticks."""
        self._expectation = expectation
        self._yardsticks: dict[tuple[Asked, tuple[Place, ...]], Yardstick] = {}

    def observation(
        self, scenario: Scenario, responses: tuple[Response[AnyArray], ...]
    ) -> Observation:
        """Return what a submission gave in one scenario, ready to be compared."""
        expected = self._expectation(scenario)
        at = places(responses, expected)
        key = (asked(scenario), at)
        if key not in self._yardsticks:
            self._yardsticks[key] = Yardstick(expected, at)
        return Observation(scenario, responses, at, self._yardsticks[key])


def _gathered(responses: Sequence[Response[AnyArray]], at: Sequence[Place]) -> Array | None:
    """Return the results at some places end to end; None when one of them is missing."""
    found: list[AnyArray] = []
    for step, quantity in at:
        value = responses[step].values.get(quantity)
        if value is None or isinstance(value, SubjectError):
            return None
        found.append(value)
    return _end_to_end(found)


def _end_to_end(found: Sequence[AnyArray]) -> Array:
    if not found:
        return np.zeros(0)
    return np.concatenate(found, axis=None)
