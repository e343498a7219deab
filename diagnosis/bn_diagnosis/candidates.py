"""Known mistakes as candidates, and what each gives in a scenario; kept for all submissions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bn_oracle.conventions import Convention
from bn_properties.cases.case import Case
from bn_properties.checking import try_case
from bn_properties.property import Property
from bn_properties.protocol import AnyArray, Quantity
from bn_properties.records import Cause
from bn_properties.scenario import InProcess, Response, Scenario
from bn_properties.transcript import Oracle, Transcript

from bn_diagnosis.faults import FAULTS, Fault
from bn_diagnosis.formulas import STEPS
from bn_diagnosis.layout import Layout
from bn_diagnosis.matching import Asked, Expects, Observation, asked
from bn_diagnosis.reference import reference_subject
from bn_diagnosis.trace import Step, StepName, Trace


@dataclass(frozen=True)
class Passage:
    """Batch norm's way through a scenario."""

    responses: tuple[Response[AnyArray], ...]
    steps: frozenset[StepName]
    """The steps that it takes. A fault in none of these gives the same: most scenarios have no
    backward pass, say."""


class BatchNorm:
    """The oracle's steps under one convention; some can be replaced."""

    def __init__(self, convention: Convention, spatial_axes: int) -> None:
        """Remember each scenario's passage."""
        self._convention, self._spatial_axes = convention, spatial_axes
        self._passages: dict[Asked, Passage] = {}

    def passage(self, scenario: Scenario) -> Passage:
        """Return what batch norm gives in a scenario, and the steps that it takes there."""
        key = asked(scenario)
        if key not in self._passages:
            taken: set[StepName] = set()
            noting = {name: _noting(taken, name, step) for name, step in STEPS.items()}
            responses = self.with_steps(noting).observe(scenario)
            self._passages[key] = Passage(responses, frozenset(taken))
        return self._passages[key]

    def with_steps(self, replaced: Mapping[StepName, Step]) -> InProcess:
        """Return batch norm with other steps in place of its own."""
        return reference_subject(replaced, self._convention, self._spatial_axes)


def _noting(taken: set[StepName], name: StepName, step: Step) -> Step:
    def noted(t: Trace) -> object:
        taken.add(name)
        return step(t)

    return noted


class Candidate:
    """One fault, or two together, that may be what a submission does."""

    def __init__(
        self, faults: tuple[Fault, ...], batch_norm: BatchNorm, layout: Layout | None
    ) -> None:
        """Put the faults' steps in place; `layout` is that of the one that makes other rows."""
        self.faults = faults
        self.replaced = {name: step for fault in faults for name, step in fault.replaces.items()}
        self._batch_norm, self._layout = batch_norm, layout
        self._subject = batch_norm.with_steps(self.replaced)
        self._kept: dict[Asked, tuple[Response[AnyArray], ...]] = {}

    def responses(self, scenario: Scenario, *, keep: bool) -> tuple[Response[AnyArray], ...]:
        """Return what the faults give in a scenario; with `keep`, it is asked but once."""
        key = asked(scenario)
        if key in self._kept:
            return self._kept[key]
        right = self._batch_norm.passage(scenario)
        if self.replaced.keys().isdisjoint(right.steps):
            return right.responses
        responses = self._subject.observe(scenario)
        if keep:
            self._kept[key] = responses
        return responses

    def reproduces(self, one: Observation, *, keep: bool) -> bool:
        """Whether the faults give all that a submission gave in one scenario."""
        responses = self.responses(one.scenario, keep=keep)
        if one.reproduced(responses):
            return True
        if self._layout is None:
            return False
        elsewhere = self._layout.measure(one.scenario)
        return elsewhere is not None and one.reproduced(responses, elsewhere)

    def helps(self, observed: Sequence[Observation]) -> bool:
        """Whether the faults put some kind of output right, throughout, that the oracle misses."""
        helped: set[tuple[bool, Quantity]] = set()
        missed: set[tuple[bool, Quantity]] = set()
        for one in observed:
            responses = self.responses(one.scenario, keep=True)
            elsewhere = None if self._layout is None else self._layout.measure(one.scenario)
            for place in one.places:
                step, quantity = place
                inference = one.scenario.operations[step][0].name == "infer"
                kind = (inference, quantity)
                if kind not in missed and not one.agrees(place, responses, elsewhere):
                    missed.add(kind)
                elif place in one.wrong:
                    helped.add(kind)
        return bool(helped - missed)

    def cause(self, explained: int) -> Cause:
        """Return what is told of the faults, which reproduce so many results: all there are."""
        return Cause(
            fault=" + ".join(fault.id for fault in self.faults),
            title="; and ".join(dict.fromkeys(fault.title for fault in self.faults)),
            wrong=r" \qquad ".join(fault.wrong for fault in self.faults),
            right=r" \qquad ".join(fault.right for fault in self.faults),
            explanation=" ".join(fault.explanation for fault in self.faults),
            explained=explained,
            observed=explained,
            properties=tuple(dict.fromkeys(fault.killed_by for fault in self.faults)),
            steps=tuple(dict.fromkeys(step for fault in self.faults for step in fault.replaces)),
        )

    def fails(self, prop: Property, case: Case, oracle: Oracle) -> bool:
        """Whether the faults fail a property on a case."""
        failing, _ = try_case(prop, case, Transcript(self._subject), oracle)
        return failing is not None


class Candidates:
    """Every fault of the catalogue under one convention, alone or with another."""

    def __init__(self, convention: Convention, spatial_axes: int, expectation: Expects) -> None:
        """Prepare every fault as a candidate."""
        self.batch_norm = BatchNorm(convention, spatial_axes)
        self._layouts = {
            fault: Layout(fault.replaces["rows"], convention, expectation)
            for fault in FAULTS
            if "rows" in fault.replaces
        }
        self.single = tuple(self._of(fault) for fault in FAULTS)

    def both(self, first: Candidate, second: Candidate) -> Candidate:
        """Return the faults of two candidates together."""
        return self._of(*first.faults, *second.faults)

    def _of(self, *faults: Fault) -> Candidate:
        layout = next((self._layouts[fault] for fault in faults if fault in self._layouts), None)
        return Candidate(faults, self.batch_norm, layout)
