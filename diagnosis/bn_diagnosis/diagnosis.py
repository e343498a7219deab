"""Which known mistake explains what a submission did.

Every fault of the oracle's catalogue is put through the scenarios that the submission was put
through. A fault explains the submission if it reproduces *every* output that was observed; then,
and only then, it is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
from bn_oracle.conventions import Convention
from bn_properties.calls import Infer
from bn_properties.expectation import Expected
from bn_properties.protocol import (
    GRADIENTS,
    AnyArray,
    Gradient,
    Moment,
    Quantity,
    Setup,
    Statistics,
    SubjectError,
)
from bn_properties.records import Cause
from bn_properties.scenario import InProcess, Response, Scenario, Subject

from bn_diagnosis.faults import FAULTS, Fault
from bn_diagnosis.formulas import STEPS, Step, Trace, Variation
from bn_diagnosis.matching import Observation, Place, Yardstick, places

Observed = Sequence[tuple[Scenario, tuple[Response[AnyArray], ...]]]


def reference_layer(
    replaced: Mapping[str, Step], convention: Convention, setup: Setup
) -> ReferenceLayer:
    """Make a layer of the oracle's steps, but for those in `replaced`."""
    return ReferenceLayer(Variation(_trace(convention, setup), replaced))


def _trace(convention: Convention, setup: Setup) -> Trace:
    size = setup.features

    def given(value: AnyArray | None, default: float) -> AnyArray:
        if value is None:
            return np.full(size, default)
        return np.asarray(value, np.float64).reshape(size)

    return Trace(
        gamma=given(setup.gamma, 1.0),
        beta=given(setup.beta, 0.0),
        eps=convention.eps if setup.eps is None else setup.eps,
        decay=convention.decay(convention.momentum) if setup.decay is None else setup.decay,
        convention=convention,
        running_mean=given(setup.running_mean, convention.initial_mean),
        running_var=given(setup.running_var, convention.initial_var),
        cumulative=setup.cumulative,
    )


def reference_subject(
    replaced: Mapping[str, Step], convention: Convention, spatial_axes: int = 0
) -> InProcess:
    """Return the oracle's variation in which the steps in `replaced` stand, as a subject."""
    return InProcess(
        lambda setup: reference_layer(replaced, convention, setup), convention, spatial_axes
    )


class ReferenceLayer:
    """A layer of a variation; a step that cannot go on fails as a submission's would."""

    def __init__(self, variation: Variation) -> None:
        """Wrap `variation`."""
        self._variation = variation
        self._first: dict[tuple[Moment, Quantity], AnyArray] = {}

    def train(self, x: AnyArray) -> AnyArray:
        """Forward in training mode."""
        out = np.asarray(_guarded(lambda: self._variation.train(x)))
        self._first.setdefault(("train", "out"), out)
        return out

    def look_again(self, call: Moment, quantity: Quantity) -> AnyArray:
        """Return what the first call of a kind gave; no step of a variation writes into it."""
        return self._first.get((call, quantity), np.zeros(0))

    def set_parameters(self, gamma: AnyArray, beta: AnyArray, *, in_place: bool) -> None:
        """Set other parameters."""
        self._variation.set_parameters(gamma, beta)

    def other_layer(self, x: AnyArray, grad: AnyArray | None, probe: AnyArray | None) -> None:
        """Do nothing: variations share no state."""

    def edited(self) -> frozenset[str]:
        """Return nothing: the parameters are private copies."""
        return frozenset()

    def backward(self, grad: AnyArray) -> Gradient[AnyArray]:
        """Differentiate the latest training forward."""
        gradients = _guarded(lambda: self._variation.backward(grad))
        for name, value in zip(GRADIENTS, gradients, strict=True):
            self._first.setdefault(("backward", name), np.asarray(value))
        return Gradient(*(np.asarray(value) for value in gradients))

    def infer(self, x: AnyArray) -> AnyArray:
        """Forward in inference mode."""
        out = np.asarray(_guarded(lambda: self._variation.infer(x)))
        self._first.setdefault(("infer", "out"), out)
        return out

    def infer_backward(self, grad: AnyArray) -> Gradient[AnyArray]:
        """Differentiate the latest inference-mode forward."""
        gradients = _guarded(lambda: self._variation.infer_backward(grad))
        return Gradient(*(np.asarray(value) for value in gradients))

    def statistics(self) -> Statistics[AnyArray]:
        """Return the running statistics."""
        return Statistics(*(np.asarray(value) for value in self._variation.statistics()))

    def population(self, batches: tuple[AnyArray, ...]) -> Statistics[AnyArray]:
        """Return the statistics of the population."""
        found = _guarded(lambda: self._variation.population(batches))
        return Statistics(*(np.asarray(value) for value in found))


def _guarded(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (ValueError, IndexError, ArithmeticError, AttributeError) as error:
        raise SubjectError("raised", f"{type(error).__name__}: {error}") from error


Answers = Callable[[Scenario], tuple[Expected, ...]]
Asks = Callable[[Scenario], tuple[Response[AnyArray], ...]]


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
        further: Iterable[Scenario] = (),
    ) -> None:
        """Prepare every fault of the catalogue as a subject.

        `further` are scenarios that are asked only to tell apart what explains all else.
        """
        self._convention, self._spatial_axes = convention, spatial_axes
        self._single = [self._explanation(fault) for fault in FAULTS]
        self._answers = answers
        self._further = further
        self._shown: dict[tuple[str, bytes], tuple[Response[AnyArray], ...]] = {}
        self._unchanged: dict[bytes, tuple[tuple[Response[AnyArray], ...], frozenset[str]]] = {}
        self._missed: Sequence[Observation] = ()
        self._yardsticks: dict[tuple[bytes, tuple[Place, ...]], Yardstick] = {}
        self._rearranged: dict[tuple[str, bytes], tuple[Expected, ...] | None] = {}

    def _explanation(self, *faults: Fault) -> Explanation:
        replaced: dict[str, Step] = {}
        for fault in faults:
            replaced.update(fault.replaces)
        return Explanation(
            faults, reference_subject(replaced, self._convention, self._spatial_axes)
        )

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
        with np.errstate(all="ignore"):  # a submission may have given NaN, or infinities
            return self._causes([self._observation(*pair) for pair in observed], ask, failing)

    def _causes(
        self, observed: Sequence[Observation], ask: Asks | None, failing: frozenset[str] | None
    ) -> tuple[Cause, ...]:
        wrong = [each for each in observed if each.differs]
        if not wrong:
            return ()  # every number is right: what is wrong is not a matter of numbers
        right = [each for each in observed if not each.differs]
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
            more = [self._observation(scenario, ask(scenario))]
            found = [
                (each, count + extra)
                for each, count in found
                if (extra := self._explained(each, more)) is not None
            ]
            if len(found) <= 1:
                break
        return tuple(_cause(each, count) for each, count in found)

    def _explaining(
        self, candidates: Iterable[Explanation], observed: Sequence[Observation]
    ) -> list[tuple[Explanation, int]]:
        found: list[tuple[Explanation, int]] = []
        telling: Sequence[Observation] = ()
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

    def _pairs(
        self, likely: Sequence[Explanation], observed: Sequence[Observation]
    ) -> Iterator[Explanation]:
        """Two faults of different steps, one of which explains a wrong output by itself."""
        tried: set[frozenset[str]] = set()
        for first in likely:
            if not self._helps(first, observed):
                continue
            for second in likely:
                ids = frozenset((first.key, second.key))
                if ids in tried or first.faults[0].replaces.keys() & second.faults[0].replaces:
                    continue
                tried.add(ids)
                yield self._explanation(*first.faults, *second.faults)

    def _helps(self, each: Explanation, observed: Sequence[Observation]) -> bool:
        """Whether a fault puts some kind of output right, throughout, that the oracle misses."""
        helped: set[tuple[bool, Quantity]] = set()
        missed: set[tuple[bool, Quantity]] = set()
        for one in observed:
            shown = self._show(each, one.scenario)
            laid_out = self._laid_out(each, one.scenario)
            for place in one.places:
                step, quantity = place
                kind = (isinstance(one.scenario.calls[step], Infer), quantity)
                if kind not in missed and not one.agrees(place, shown, laid_out):
                    missed.add(kind)
                elif place in one.wrong:
                    helped.add(kind)
        return bool(helped - missed)

    def _observation(self, scenario: Scenario, seen: tuple[Response[AnyArray], ...]) -> Observation:
        """Put what a submission showed beside the oracle's answers."""
        answers = self._answers(scenario)
        at = places(seen, answers)
        key = (scenario.key, at)
        if key not in self._yardsticks:
            self._yardsticks[key] = Yardstick(answers, at)
        return Observation(scenario, seen, answers, at, self._yardsticks[key])

    def _show(
        self, each: Explanation, scenario: Scenario, keep: bool = True
    ) -> tuple[Response[AnyArray], ...]:
        """Return what the faults show in a scenario; with `keep`, it is asked but once."""
        key = (each.key, scenario.key)
        if key in self._shown:
            return self._shown[key]
        unchanged, used = self._without_fault(scenario)
        if not any(fault.replaces.keys() & used for fault in each.faults):
            return unchanged
        shown = each.subject.observe(scenario)
        if keep:
            self._shown[key] = shown
        return shown

    def _without_fault(
        self, scenario: Scenario
    ) -> tuple[tuple[Response[AnyArray], ...], frozenset[str]]:
        """Return what the oracle's steps show, and which of them a scenario goes through.

        A fault in none of these shows the same: most scenarios have no backward pass, say.
        """
        if scenario.key not in self._unchanged:
            used = {"rows"}
            subject = reference_subject(_noting(used), self._convention, self._spatial_axes)
            seen = subject.observe(scenario)
            self._unchanged[scenario.key] = seen, frozenset(used)
        return self._unchanged[scenario.key]

    def _laid_out(self, each: Explanation, scenario: Scenario) -> tuple[Expected, ...] | None:
        """Return the oracle's answers to the rows that a mistake in the layout makes, if it is one.

        Such a mistake is batch norm of rows in which the values of several features stand in one
        column, and rounds as it does: with their size, their spread, and the γ of that column.
        """
        rows = next((f.replaces["rows"] for f in each.faults if "rows" in f.replaces), None)
        if rows is None:
            return None
        key = (each.key, scenario.key)
        if key not in self._rearranged:
            trace = _trace(self._convention, scenario.setup)
            try:
                answers: tuple[Expected, ...] | None = self._answers(
                    _rearranged(scenario, rows, trace)
                )
            except (ValueError, IndexError):
                answers = None  # its rows are no batch of as many features
            self._rearranged[key] = answers
        return self._rearranged[key]

    def _alike_laid_out(
        self, each: Explanation, one: Observation, shown: tuple[Response[AnyArray], ...]
    ) -> bool:
        """Whether a mistake in the layout shows what was seen, by the bounds of its own rows."""
        laid_out = self._laid_out(each, one.scenario)
        return laid_out is not None and one.reproduced(shown, laid_out)

    def _explained(self, each: Explanation, observed: Sequence[Observation]) -> int | None:
        """Return how many outputs the faults reproduce; None as soon as they miss one."""
        count = 0
        single = len(each.faults) == 1
        for number, one in enumerate(observed):
            shown = self._show(each, one.scenario, keep=single and number < _FEW)
            if not one.reproduced(shown) and not self._alike_laid_out(each, one, shown):
                self._missed = [one]
                return None
            count += len(one.places)
        return count


def _noting(used: set[str]) -> dict[str, Step]:
    """Return the oracle's own steps, each of which adds its name to `used` when it is taken.

    All but the rows: a variation knows the oracle's own by identity.
    """

    def noting(name: str, step: Step) -> Step:
        def noted(t: Trace) -> Any:
            used.add(name)
            return step(t)

        return noted

    return {name: noting(name, step) for name, step in STEPS.items() if name != "rows"}


def _rearranged(scenario: Scenario, rows: Step, trace: Trace) -> Scenario:
    """Return the scenario with the rows that a mistake in the layout makes of each batch."""

    def laid_out(array: AnyArray) -> AnyArray:
        result: AnyArray = rows(replace(trace, x=array))
        return result

    return Scenario(scenario.setup, tuple(call.with_batches(laid_out) for call in scenario.calls))


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
