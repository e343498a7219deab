"""Which known mistake explains what a submission did.

Every fault of the oracle's catalogue is put through the scenarios that the submission was put
through. A fault explains the submission if it reproduces *every* output that was observed; then,
and only then, it is named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from bn_oracle.conventions import Convention
from bn_oracle.faults import FAULTS, Fault
from bn_oracle.rounding import Precision
from bn_oracle.variation import Step, Trace, Variation

from bn_properties.answers import Answer
from bn_properties.scenario import InProcess, Quantity, Scenario, Seen, Subject
from bn_properties.subject import AnyArray, Gradient, Setup, Statistics, SubjectError
from bn_properties.verdicts import Cause

Observed = Sequence[tuple[Scenario, tuple[Seen, ...]]]

_SLACK = 16.0
"""A fault's own rounding, in bounds of the right computation of the same size."""


def varied(
    replaced: Mapping[str, Step], convention: Convention, spatial_axes: int = 0
) -> InProcess:
    """Return the oracle's variation in which the steps in `replaced` stand, as a subject."""

    def make(setup: Setup) -> VariedLayer:
        size = setup.features

        def given(value: AnyArray | None, default: float) -> AnyArray:
            if value is None:
                return np.full(size, default)
            return np.asarray(value, np.float64).reshape(size)

        trace = Trace(
            gamma=given(setup.gamma, 1.0),
            beta=given(setup.beta, 0.0),
            eps=convention.eps if setup.eps is None else setup.eps,
            keep=convention.keep(convention.momentum) if setup.keep is None else setup.keep,
            convention=convention,
            running_mean=given(setup.running_mean, convention.initial_mean),
            running_var=given(setup.running_var, convention.initial_var),
        )
        return VariedLayer(Variation(trace, replaced))

    return InProcess(make, convention, spatial_axes)


class VariedLayer:
    """A layer of a variation; a step that cannot go on fails as a submission's would."""

    def __init__(self, variation: Variation) -> None:
        """Wrap `variation`."""
        self._variation = variation
        self._out: AnyArray = np.zeros(0)

    def train(self, x: AnyArray) -> AnyArray:
        """Forward in training mode."""
        self._out = np.asarray(_guarded(lambda: self._variation.train(x)))
        return self._out

    def reread(self) -> AnyArray:
        """Return the latest training output; no step of a variation writes into it."""
        return self._out

    def elsewhere(self, x: AnyArray) -> None:
        """Do nothing: variations share no state."""

    def edited(self) -> frozenset[str]:
        """Return nothing: the parameters are private copies."""
        return frozenset()

    def backward(self, grad: AnyArray) -> Gradient:
        """Differentiate the latest training forward."""
        gradients = _guarded(lambda: self._variation.backward(grad))
        return Gradient(*(np.asarray(value) for value in gradients))

    def infer(self, x: AnyArray) -> AnyArray:
        """Forward in inference mode."""
        return np.asarray(_guarded(lambda: self._variation.infer(x)))

    def statistics(self) -> Statistics:
        """Return the running statistics."""
        return Statistics(*(np.asarray(value) for value in self._variation.statistics()))


def _guarded(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (ValueError, IndexError, ArithmeticError, AttributeError) as error:
        raise SubjectError("raised", f"{type(error).__name__}: {error}") from error


Answers = Callable[[Scenario], tuple[Answer, ...]]


class Diagnosis:
    """The faults under one convention, with what each of them shows; kept for all submissions."""

    def __init__(self, convention: Convention, spatial_axes: int, answers: Answers) -> None:
        """Prepare every fault of the catalogue as a subject."""
        self._faults = [
            (fault, varied(fault.replaces, convention, spatial_axes)) for fault in FAULTS
        ]
        self._answers = answers
        self._shown: dict[tuple[str, bytes], tuple[Seen, ...]] = {}

    def causes(self, observed: Observed) -> tuple[Cause, ...]:
        """Return the faults that reproduce every observed output, or none.

        Several are returned when nothing that was observed tells them apart.
        """
        wrong = [pair for pair in observed if self._differs(*pair)]
        if not wrong:
            return ()  # every number is right: what is wrong is not a matter of numbers
        keys = {scenario.key for scenario, _ in wrong}
        right = [pair for pair in observed if pair[0].key not in keys]
        # Where the submission is wrong, another mistake is soon told apart from its own.
        ordered = wrong[:_FEW] + right[:_FEW] + wrong[_FEW:] + right[_FEW:]
        causes = []
        for fault, subject in self._faults:
            count = self._explained(fault, subject, ordered)
            if count is not None:
                causes.append(_cause(fault, count))
        return tuple(causes)

    def _differs(self, scenario: Scenario, seen: tuple[Seen, ...]) -> bool:
        """Whether the submission differs from the oracle in some quantity."""
        for got, want in zip(seen, self._answers(scenario), strict=True):
            for quantity, value in got.answers.items():
                right = want.expected.get(quantity)
                if right is None or _missing(value):
                    continue
                if isinstance(value, SubjectError) or not _close(
                    value, right, want.bound(quantity), right, want.precision
                ):
                    return True
        return False

    def _explained(self, fault: Fault, subject: Subject, observed: Observed) -> int | None:
        """Return how many outputs the fault reproduces; None as soon as it misses one."""
        count = 0
        for number, (scenario, seen) in enumerate(observed):
            key = (fault.id, scenario.key)
            shown = self._shown.get(key)
            if shown is None:
                shown = subject.observe(scenario)
                if number < _FEW:
                    self._shown[key] = shown
            for theirs, ours, want in zip(seen, shown, self._answers(scenario), strict=True):
                for quantity, value in theirs.answers.items():
                    if quantity not in want.expected or _missing(value):
                        continue
                    if not _same(value, ours.answers.get(quantity), want, quantity):
                        return None
                    count += 1
        return count


def _missing(value: AnyArray | SubjectError) -> bool:
    """Whether there is nothing to explain: an interface may not show this at this point."""
    return isinstance(value, SubjectError) and value.failure == "not_implemented"


_FEW = 12
"""How many scenarios are put first and kept: enough to dismiss nearly every wrong fault."""


def _cause(fault: Fault, count: int) -> Cause:
    return Cause(
        fault=fault.id,
        title=fault.title,
        wrong=fault.wrong,
        right=fault.right,
        explanation=fault.explanation,
        explained=count,
        observed=count,
    )


def _same(
    theirs: AnyArray | SubjectError,
    ours: AnyArray | SubjectError | None,
    want: Answer,
    quantity: Quantity,
) -> bool:
    if ours is None:
        return False
    if isinstance(theirs, SubjectError) or isinstance(ours, SubjectError):
        return (
            isinstance(theirs, SubjectError)
            and isinstance(ours, SubjectError)
            and theirs.failure == ours.failure
            and (theirs.failure != "unusable_result" or theirs.message == ours.message)
        )
    right = want.expected[quantity]
    if _close(theirs, ours, want.bound(quantity), right, want.precision):
        return True
    return _close(theirs, ours, want.generous[quantity], right, want.precision)


def _close(
    theirs: AnyArray, ours: AnyArray, bound: AnyArray, right: AnyArray, precision: Precision
) -> bool:
    """Whether two results agree but for rounding.

    A mistake makes numbers of another size than the right ones, and rounds in proportion: the
    bound of the right computation is scaled by how much larger the mistaken result is.
    """
    with np.errstate(all="ignore"):
        difference = np.abs(theirs - ours)
        if bool((difference <= _SLACK * bound).all()):
            return True
        size = np.maximum(np.abs(ours), np.abs(theirs))
        size = np.where(np.isfinite(size), size, 0.0)
        axes = (0, *range(2, right.ndim)) if right.ndim > 1 else None
        largest = size.max(axis=axes, keepdims=True)
        growth = largest / np.abs(right).max(axis=axes, keepdims=True)
        growth = 1.0 + np.where(np.isfinite(growth), growth, 0.0)
        room = _SLACK * (bound * growth + 64 * precision.unit_roundoff * largest)
        agree = (difference <= room) | (theirs == ours) | np.isinf(bound)
        agree |= np.isnan(theirs) & np.isnan(ours)
    return bool(agree.all())
