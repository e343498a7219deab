"""Recovered formulas, held to everything that a submission was asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from bn_properties.protocol import AnyArray, Quantity, SubjectError
from bn_properties.scenario import Scenario

from bn_diagnosis.matching import Observation, Place
from bn_diagnosis.recovered_layer import KINDS, RecoveredCandidate
from bn_diagnosis.recovery.forms import Observable

ENOUGH = 0.95
"""How much of what was observed of the explained observables must be as the formulas give it.

The rest is shown as not explained: a formula may be left where numbers are extreme.
"""
SAMPLED = 8
"""Of how many observations one is in the sample that is looked at first."""
SHAKEN = 3
"""How often the last digits are changed to see what is rounding."""


class Held:
    """A candidate, held to all that was observed.

    Where a formula's own value is rounding, nothing can be told of it: it divides, say, by a sum
    that vanishes. Such places are found by taking the candidate through inputs that differ in their
    last digits; they do not count, unless they are half of what there is.
    """

    def __init__(
        self,
        found: RecoveredCandidate,
        observed: Sequence[Observation],
        explained: Sequence[Observable],
    ) -> None:
        """Compare what it gives with what was observed: a sample first, which is enough for one
        that gives half of it at most.

        `explained` are the observables that it is to explain, by a formula of theirs or of what
        they are computed from.
        """
        kinds = {KINDS[name]: name for name in explained}
        sample = _Comparison(found, kinds, observed[::SAMPLED])
        self.refuted = {name for name in sample.missed if 2 * sample.wrong(name) >= sample[name]}
        """The observables of which too much is not as the candidate gives it."""
        if self.refuted:
            return
        whole = _Comparison(found, kinds, observed)
        self.explained, self.total = whole.explained, whole.total
        self.concerned = whole.concerned.total()
        self.refuted = {
            name
            for name, places in whole.missed.items()
            if whole.wrong(name) > (1 - ENOUGH) * whole[name]
            and not _is_rounding(found, places, whole[name])
        }


class _Comparison:
    """How much of some observations a candidate gives, observable by observable."""

    def __init__(
        self,
        found: RecoveredCandidate,
        kinds: Mapping[tuple[bool, Quantity], Observable],
        observed: Sequence[Observation],
    ) -> None:
        self.concerned = Counter[Observable]()
        self.missed: dict[Observable, dict[Observation, list[Place]]] = {}
        self.explained = self.total = 0
        for one in observed:
            responses = found.responses(one.scenario, keep=False)
            alone = _trains_alone(one.scenario)
            not_reproduced = set(one.missed(responses))
            for place in one.places:
                number, quantity = place
                inference = one.scenario.operations[number][0].name == "infer"
                agrees = place not in not_reproduced
                self.total += 1
                self.explained += agrees
                name = kinds.get((inference, quantity))
                if name is not None and not alone:
                    self.concerned[name] += 1
                    if not agrees:
                        self.missed.setdefault(name, {}).setdefault(one, []).append(place)

    def __getitem__(self, name: Observable) -> int:
        """Return how many values of an observable there are."""
        return self.concerned[name]

    def wrong(self, name: Observable) -> int:
        """Return how many of them it does not give."""
        return sum(map(len, self.missed[name].values()))


def _is_rounding(
    found: RecoveredCandidate, missed: Mapping[Observation, Sequence[Place]], count: int
) -> bool:
    """Whether enough of what is not reproduced is rounding in the candidate itself."""
    reproduced = count - sum(map(len, missed.values()))
    if 2 * reproduced <= count:
        return False
    allowed = (1 - ENOUGH) / ENOUGH * reproduced
    for one in sorted(missed, key=lambda each: len(each.scenario.calls)):
        allowed -= sum(not unsteady for unsteady in _unsteady(found, one, missed[one]))
        if allowed < 0:
            return False
    return True


def _unsteady(
    found: RecoveredCandidate, one: Observation, places: Sequence[Place]
) -> Iterator[bool]:
    """Yield for each place whether the candidate gives something else where the last digits of a
    batch differ, or gives no number where the submission raises: a root of the `math` module does
    that.
    """
    ours = found.responses(one.scenario, keep=False)
    changed = [
        found.responses(_shaken(one.scenario, way), keep=False) for way in range(1, SHAKEN + 1)
    ]
    for place in places:
        step, quantity = place
        value = ours[step].values.get(quantity)
        if isinstance(one.responses[step].values[quantity], SubjectError):
            yield isinstance(value, np.ndarray) and not np.isfinite(value).all()
        else:
            yield value is not None and not all(
                one.yardstick.measure.matches(place, value, each[step].values.get(quantity))
                for each in changed
            )


def _shaken(scenario: Scenario, way: int) -> Scenario:
    """Return a scenario whose batches and upstream gradients differ in their last digits."""

    def shaken(array: AnyArray) -> AnyArray:
        each = np.sign(np.cos(way + 2.4 * np.arange(array.size))).reshape(array.shape)
        unit = np.finfo(array.dtype).eps
        changed: AnyArray = (array * (1.0 + way * unit * each)).astype(array.dtype)
        return changed

    calls = tuple(call.with_batches(shaken) for call in scenario.calls)
    return Scenario(scenario.setup, calls)


def _trains_alone(scenario: Scenario) -> bool:
    """Whether a batch of one is in it: there, right layers differ, and so do wrong ones."""
    return any(
        operation.name == "train" and len(operation.arrays["x"]) == 1
        for operations in scenario.operations
        for operation in operations
    )
