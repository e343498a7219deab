"""Recovered formulas, held to everything that a submission was asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from bn_properties.protocol import AnyArray
from bn_properties.scenario import Scenario

from bn_diagnosis.matching import Observation, Place
from bn_diagnosis.recovered_layer import KINDS, STEPS, RecoveredCandidate
from bn_diagnosis.recovery.forms import Observable

ENOUGH = 0.95
"""How much of what was observed of the explained observables must be as the formulas give it.

The rest is shown as not explained: a formula may be left where numbers are extreme.
"""


class Held:
    """A candidate, held to all that was observed.

    Where a formula's own value is rounding, nothing can be told of it: it divides, say, by a sum
    that vanishes. Such places are found by taking the candidate through inputs that differ in their
    last digits; they do not count, unless they are half of what there is.
    """

    def __init__(self, found: RecoveredCandidate, observed: Sequence[Observation]) -> None:
        """Compare what it gives with what was observed."""
        steps = set(found.replaced)
        kinds = {KINDS[name]: name for name, taken in STEPS.items() if taken in steps}
        concerned = Counter[Observable]()
        missed: dict[Observable, list[tuple[Observation, Place]]] = {}
        self.explained = self.total = 0
        for one in observed:
            responses = found.responses(one.scenario, keep=False)
            alone = _trains_alone(one.scenario)
            for place in one.places:
                number, quantity = place
                inference = one.scenario.operations[number][0].name == "infer"
                agrees = one.agrees(place, responses)
                self.total += 1
                self.explained += agrees
                name = kinds.get((inference, quantity))
                if name is not None and not alone:
                    concerned[name] += 1
                    if not agrees:
                        missed.setdefault(name, []).append((one, place))
        self.concerned = concerned.total()
        self.refuted = {
            name
            for name, places in missed.items()
            if len(places) > (1 - ENOUGH) * concerned[name]
            and not _is_rounding(found, places, concerned[name])
        }
        """The observables of which too much is not as the candidate gives it."""


def _is_rounding(
    found: RecoveredCandidate, missed: Sequence[tuple[Observation, Place]], count: int
) -> bool:
    """Whether enough of what is not reproduced is rounding in the candidate itself."""
    if 2 * len(missed) >= count:
        return False
    unsteady = 0
    for one, place in missed:
        ours = found.responses(one.scenario, keep=False)
        shaken = found.responses(_shaken(one.scenario), keep=False)
        step, quantity = place
        one_value, other = (each[step].values.get(quantity) for each in (ours, shaken))
        steady = one_value is None or one.yardstick.measure.matches(place, one_value, other)
        unsteady += not steady
    return len(missed) - unsteady <= (1 - ENOUGH) * (count - unsteady)


def _shaken(scenario: Scenario) -> Scenario:
    """Return a scenario whose batches and upstream gradients differ in their last digits."""
    calls = tuple(call.with_batches(_in_the_last_digit) for call in scenario.calls)
    return Scenario(scenario.setup, calls)


def _in_the_last_digit(array: AnyArray) -> AnyArray:
    way = np.sign(np.cos(1.0 + 2.4 * np.arange(array.size))).reshape(array.shape)
    changed: AnyArray = (array * (1.0 + np.finfo(array.dtype).eps * way)).astype(array.dtype)
    return changed


def _trains_alone(scenario: Scenario) -> bool:
    """Whether a batch of one is in it: there, right layers differ, and so do wrong ones."""
    return any(
        operation.name == "train" and len(operation.arrays["x"]) == 1
        for operations in scenario.operations
        for operation in operations
    )
