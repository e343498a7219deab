"""Which known mistake explains what a submission did.

Every fault of the oracle's catalogue is put through the scenarios that the submission was put
through. A fault explains the submission if it reproduces *every* output that was observed; then,
and only then, it is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from bn_oracle.conventions import Convention
from bn_oracle.faults import FAULTS, Fault
from bn_oracle.rounding import Precision
from bn_oracle.variation import Step, Trace, Variation

from bn_properties.answers import Answer
from bn_properties.scenario import Infer, InProcess, Quantity, Scenario, Seen, Subject
from bn_properties.subject import AnyArray, Gradient, Setup, Statistics, SubjectError
from bn_properties.verdicts import Cause

Observed = Sequence[tuple[Scenario, tuple[Seen, ...]]]

_SLACK = 16.0
"""A fault's own rounding, in bounds of the right computation of the same size."""


def varied_layer(replaced: Mapping[str, Step], convention: Convention, setup: Setup) -> VariedLayer:
    """Make a layer of the oracle's steps, but for those in `replaced`."""
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
        cumulative=setup.cumulative,
    )
    return VariedLayer(Variation(trace, replaced))


def varied(
    replaced: Mapping[str, Step], convention: Convention, spatial_axes: int = 0
) -> InProcess:
    """Return the oracle's variation in which the steps in `replaced` stand, as a subject."""
    return InProcess(
        lambda setup: varied_layer(replaced, convention, setup), convention, spatial_axes
    )


class VariedLayer:
    """A layer of a variation; a step that cannot go on fails as a submission's would."""

    def __init__(self, variation: Variation) -> None:
        """Wrap `variation`."""
        self._variation = variation
        self._first: AnyArray | None = None

    def train(self, x: AnyArray) -> AnyArray:
        """Forward in training mode."""
        out = np.asarray(_guarded(lambda: self._variation.train(x)))
        self._first = out if self._first is None else self._first
        return out

    def reread(self) -> AnyArray:
        """Return the first training output; no step of a variation writes into it."""
        return np.zeros(0) if self._first is None else self._first

    def move(self, gamma: AnyArray, beta: AnyArray) -> None:
        """Set other parameters."""
        self._variation.move(gamma, beta)

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

    def infer_backward(self, grad: AnyArray) -> Gradient:
        """Differentiate the latest inference-mode forward."""
        gradients = _guarded(lambda: self._variation.infer_backward(grad))
        return Gradient(*(np.asarray(value) for value in gradients))

    def statistics(self) -> Statistics:
        """Return the running statistics."""
        return Statistics(*(np.asarray(value) for value in self._variation.statistics()))

    def population(self, batches: tuple[AnyArray, ...]) -> Statistics:
        """Return the statistics of the population."""
        found = _guarded(lambda: self._variation.population(batches))
        return Statistics(*(np.asarray(value) for value in found))


def _guarded(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (ValueError, IndexError, ArithmeticError, AttributeError) as error:
        raise SubjectError("raised", f"{type(error).__name__}: {error}") from error


Answers = Callable[[Scenario], tuple[Answer, ...]]
Asks = Callable[[Scenario], tuple[Seen, ...]]


@dataclass(frozen=True)
class Explanation:
    """One fault, or two together, as a subject."""

    faults: tuple[Fault, ...]
    subject: Subject

    @property
    def key(self) -> str:
        """The faults' ids."""
        return " + ".join(fault.id for fault in self.faults)


class Diagnosis:
    """The faults under one convention, with what each of them shows; kept for all submissions."""

    def __init__(
        self,
        convention: Convention,
        spatial_axes: int,
        answers: Answers,
        further: Sequence[Scenario] = (),
    ) -> None:
        """Prepare every fault of the catalogue as a subject.

        `further` are scenarios that are asked only to tell apart what explains all else.
        """
        self._convention, self._spatial_axes = convention, spatial_axes
        self._single = [self._explanation(fault) for fault in FAULTS]
        self._answers = answers
        self._further = further
        self._shown: dict[tuple[str, bytes], tuple[Seen, ...]] = {}
        self._missed: Observed = ()

    def _explanation(self, *faults: Fault) -> Explanation:
        replaced: dict[str, Step] = {}
        for fault in faults:
            replaced.update(fault.replaces)
        return Explanation(faults, varied(replaced, self._convention, self._spatial_axes))

    def causes(
        self,
        observed: Observed,
        ask: Asks | None = None,
        failing: frozenset[str] | None = None,
    ) -> tuple[Cause, ...]:
        """Return the smallest sets of faults that reproduce every observed output, or none.

        Several are returned when nothing tells them apart: neither what was observed nor, where
        `ask` can put them to the submission, any further scenario. `failing` names the properties
        that failed: a fault whose own property holds is not what was done.
        """
        wrong = [pair for pair in observed if self._differs(*pair)]
        if not wrong:
            return ()  # every number is right: what is wrong is not a matter of numbers
        keys = {scenario.key for scenario, _ in wrong}
        right = [pair for pair in observed if pair[0].key not in keys]
        # Where the submission is wrong, another mistake is soon told apart from its own.
        ordered = wrong[:_FEW] + right[:_FEW] + wrong[_FEW:] + right[_FEW:]
        likely = [
            each for each in self._single if failing is None or each.faults[0].killed_by in failing
        ]
        found = self._explaining(likely, ordered)
        if not found:
            pairs = islice(self._pairs(likely, ordered[: 2 * _FEW]), _MOST_PAIRS)
            found = self._explaining(pairs, ordered)
        for scenario in self._further if ask is not None and len(found) > 1 else ():
            assert ask is not None
            more = [(scenario, ask(scenario))]
            found = [
                (each, count + extra)
                for each, count in found
                if (extra := self._explained(each, more)) is not None
            ]
            if len(found) <= 1:
                break
        return tuple(_cause(each, count) for each, count in found)

    def _explaining(
        self, candidates: Iterable[Explanation], observed: Observed
    ) -> list[tuple[Explanation, int]]:
        found: list[tuple[Explanation, int]] = []
        telling: Observed = ()
        for each in candidates:
            # What told the one before apart most often tells this one apart, too.
            if self._explained(each, telling) is None:
                continue
            count = self._explained(each, observed)
            if count is None:
                telling = self._missed
            else:
                found.append((each, count))
        return found

    def _pairs(self, likely: Sequence[Explanation], observed: Observed) -> Iterator[Explanation]:
        """Two faults of different steps, one of which explains a wrong output by itself."""
        for first in likely:
            if not self._helps(first, observed):
                continue
            for second in likely:
                if not first.faults[0].replaces.keys() & second.faults[0].replaces.keys():
                    yield self._explanation(*first.faults, *second.faults)

    def _helps(self, each: Explanation, observed: Observed) -> bool:
        """Whether a fault puts some kind of output right, throughout, that the oracle misses."""
        helped: set[tuple[bool, Quantity]] = set()
        missed: set[tuple[bool, Quantity]] = set()
        for scenario, seen in observed:
            shown = self._show(each, scenario)
            rows = zip(scenario.steps, seen, shown, self._answers(scenario), strict=True)
            for step, theirs, ours, want in rows:
                for quantity, value in theirs.answers.items():
                    if quantity not in want.expected or _missing(value):
                        continue
                    kind = (isinstance(step, Infer), quantity)
                    if not _same(value, ours.answers.get(quantity), want, quantity):
                        missed.add(kind)
                    elif not _same(value, want.expected[quantity], want, quantity):
                        helped.add(kind)
        return bool(helped - missed)

    def _differs(self, scenario: Scenario, seen: tuple[Seen, ...]) -> bool:
        """Whether the submission differs from the oracle in some quantity."""
        return any(
            not _missing(value) and not _same(value, want.expected[quantity], want, quantity)
            for got, want in zip(seen, self._answers(scenario), strict=True)
            for quantity, value in got.answers.items()
            if quantity in want.expected
        )

    def _show(self, each: Explanation, scenario: Scenario) -> tuple[Seen, ...]:
        key = (each.key, scenario.key)
        if key not in self._shown:
            self._shown[key] = each.subject.observe(scenario)
        return self._shown[key]

    def _explained(self, each: Explanation, observed: Observed) -> int | None:
        """Return how many outputs the faults reproduce; None as soon as they miss one."""
        count = 0
        single = len(each.faults) == 1
        for number, (scenario, seen) in enumerate(observed):
            kept = single and number < _FEW
            shown = self._show(each, scenario) if kept else each.subject.observe(scenario)
            for theirs, ours, want in zip(seen, shown, self._answers(scenario), strict=True):
                for quantity, value in theirs.answers.items():
                    if quantity not in want.expected or _missing(value):
                        continue
                    if not _same(value, ours.answers.get(quantity), want, quantity):
                        self._missed = [(scenario, seen)]
                        return None
                    count += 1
        return count


def _missing(value: AnyArray | SubjectError) -> bool:
    """Whether there is nothing to explain: an interface may not show this at this point."""
    return isinstance(value, SubjectError) and value.failure == "not_implemented"


_MOST_PAIRS = 1000
"""How many pairs of faults are tried: about a second. Past them, no known mistake is named."""

_FEW = 12
"""How many scenarios are put first and kept: enough to dismiss nearly every wrong fault."""


def _cause(each: Explanation, count: int) -> Cause:
    return Cause(
        fault=each.key,
        title="; and ".join(fault.title for fault in each.faults),
        wrong=r" \qquad ".join(fault.wrong for fault in each.faults),
        right=r" \qquad ".join(fault.right for fault in each.faults),
        explanation=" ".join(fault.explanation for fault in each.faults),
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
