"""What a submission computes, where no known mistake explains all of it: formula by formula.

Each wrong observable is explained by itself: by a known mistake that gives it, or by the formula
that is recovered. What is found is put together, taken through everything that was observed, and
told only where it holds there, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np
from bn_oracle.arrays import Array
from bn_oracle.conventions import Convention
from bn_properties.protocol import AnyArray
from bn_properties.records import Cause
from bn_properties.scenario import Response, Scenario

from bn_diagnosis.candidates import Candidate, Candidates
from bn_diagnosis.faults.fault import Fault
from bn_diagnosis.locating import Assigned, Line, Locator
from bn_diagnosis.matching import Observation
from bn_diagnosis.recovered_layer import KINDS, STEPS, RecoveredCandidate, fault_of
from bn_diagnosis.recovery.evidence import Evidence
from bn_diagnosis.recovery.forms import Observable
from bn_diagnosis.recovery.formula import Recovered
from bn_diagnosis.recovery.recover import Recovery
from bn_diagnosis.recovery.tables import close

Ask = Callable[[Scenario], tuple[Response[AnyArray], ...]]
Follow = Callable[[Scenario], Sequence[Assigned]]
"""Takes a scenario to what each line of a file computed in it."""

ENOUGH = 0.95
"""How much of what was observed of the explained observables must be as the formulas give it.

The rest is shown as not explained: a formula may be left where numbers are extreme.
"""


def _seen(evidence: Evidence, ask: Ask) -> dict[Observable, Array]:
    trained = tuple(ask(each) for each in evidence.training)
    inferred = tuple(ask(each) for each in evidence.inference)
    return evidence.observed(trained, inferred)


class Formulas:
    """Recovers formulas under one convention, for inputs of some axes."""

    def __init__(self, convention: Convention, spatial_axes: int, candidates: Candidates) -> None:
        """Prepare; tables are made when they are first needed."""
        self._convention, self._spatial_axes = convention, spatial_axes
        self._candidates = candidates
        self._recoveries: dict[bool, Recovery] = {}
        self._latest: tuple[dict[Observable, Array], Recovered] | None = None
        """The formulas of the latest submission: its lines are looked for with them."""

    def recovery(self, *, inference_gradient: bool) -> Recovery:
        """Return the tables for a kind of interface."""
        if inference_gradient not in self._recoveries:
            evidence = Evidence(self._spatial_axes, inference_gradient)
            self._recoveries[inference_gradient] = Recovery(self._convention, evidence)
        return self._recoveries[inference_gradient]

    def explaining(
        self, observed: Sequence[Observation], ask: Ask
    ) -> tuple[RecoveredCandidate, Cause] | None:
        """Return what explains the wrong observables of a submission, and how it is told.

        None where nothing near batch norm gives them, or where it does not hold of all that was
        observed.
        """
        recovery = self._recovery_for(one.scenario for one in observed)
        seen = _seen(recovery.evidence, ask)
        formulas = recovery.recover(seen)
        self._latest = seen, formulas
        if not formulas:
            return None
        roots, following = self._faults(recovery, seen, formulas)
        if not roots:
            return None
        unexplained = tuple(name for name, each in formulas.items() if each is None)
        given = frozenset(step for fault in roots for step in fault.replaces)
        left = tuple(each for each in unexplained if STEPS[each] not in given)
        found = RecoveredCandidate(roots, following, self._candidates.batch_norm, left)
        return self._held(found, observed)

    def _recovery_for(self, scenarios: Iterable[Scenario]) -> Recovery:
        names = {
            operation.name
            for one in scenarios
            for operations in one.operations
            for operation in operations
        }
        return self.recovery(inference_gradient="infer_backward" in names)

    def lines(
        self, scenarios: Iterable[Scenario], ask: Ask, follow: Follow, source: str
    ) -> tuple[Line, ...]:
        """Return the lines of a file in which the formulas of a submission go wrong.

        `scenarios` are what it was asked.
        """
        recovery = self._recovery_for(scenarios)
        evidence = recovery.evidence
        seen = _seen(evidence, ask)
        # Where a known mistake explains all, only what is found at once is looked at.
        formulas = self._kept(seen) or recovery.recover(seen, slips=1)
        symbols = {name: value[:1] for name, value in evidence.symbols.items()}
        locator = Locator(self._convention, symbols)
        trained, inferred = follow(evidence.training[0]), follow(evidence.inference[0])
        found = (
            locator.line(each, inferred if name.startswith("inferred") else trained, source)
            for name, each in formulas.items()
            if each is not None and each.edits
        )
        return tuple(dict.fromkeys(each for each in found if each is not None))

    def _kept(self, seen: Mapping[Observable, Array]) -> Recovered | None:
        before, formulas = self._latest or ({}, {})
        same = before.keys() == seen.keys() and all(
            np.array_equal(before[name], value, equal_nan=True) for name, value in seen.items()
        )
        return formulas if same else None

    def _faults(
        self, recovery: Recovery, seen: Mapping[Observable, Array], formulas: Recovered
    ) -> tuple[tuple[Fault, ...], tuple[Fault, ...]]:
        """Return the faults that are told, and those that only follow from them."""
        named = _Named(recovery, self._candidates.single)
        roots, following = list[Fault](), list[Fault]()
        left = dict(formulas)
        for fault, gives in named.covering(seen, left):
            roots.append(fault)
            left = {name: each for name, each in left.items() if name not in gives}
        for formula in left.values():
            if formula is None:
                continue
            own = bool(formula.edits) or formula.instead_of is not None
            (roots if own else following).append(fault_of(formula, self._convention))
        return tuple(roots), tuple(following)

    @staticmethod
    def _held(
        found: RecoveredCandidate, observed: Sequence[Observation]
    ) -> tuple[RecoveredCandidate, Cause] | None:
        """Return the candidate where what it explains holds throughout."""
        explained = total = agreeing = concerned = 0
        steps = set(found.replaced)
        kinds = {KINDS[name] for name, taken in STEPS.items() if taken in steps}
        for one in observed:
            responses = found.responses(one.scenario, keep=False)
            alone = _trains_alone(one.scenario)
            for place in one.places:
                number, quantity = place
                inference = one.scenario.operations[number][0].name == "infer"
                agrees = one.agrees(place, responses)
                total += 1
                explained += agrees
                if (inference, quantity) in kinds and not alone:
                    concerned += 1
                    agreeing += agrees
        if not concerned or agreeing < ENOUGH * concerned:
            return None
        return found, found.told(explained, total)


def _trains_alone(scenario: Scenario) -> bool:
    """Whether a batch of one is in it: there, right layers differ, and so do wrong ones."""
    return any(
        operation.name == "train" and len(operation.arrays["x"]) == 1
        for operations in scenario.operations
        for operation in operations
    )


class _Named:
    """What the known mistakes give on the evidence, an observable at a time."""

    def __init__(self, recovery: Recovery, single: Sequence[Candidate]) -> None:
        self._recovery, self._single = recovery, single

    @cached_property
    def _given(self) -> dict[Candidate, dict[Observable, Array]]:
        """For each mistake, the observables that it spoils, and what it makes of them."""
        evidence, found = self._recovery.evidence, dict[Candidate, dict[Observable, Array]]()
        for each in self._single:
            with np.errstate(all="ignore"):
                trained = tuple(each.responses(one, keep=True) for one in evidence.training)
                inferred = tuple(each.responses(one, keep=True) for one in evidence.inference)
                try:
                    values = evidence.observed(trained, inferred)
                except ValueError:
                    continue
            found[each] = {
                name: value
                for name, value in values.items()
                if value.shape == evidence.shape(name)
                and not close(value, self._recovery.right(name))
            }
        return found

    def covering(
        self, seen: Mapping[Observable, Array], wrong: Recovered
    ) -> list[tuple[Fault, frozenset[Observable]]]:
        """Return known mistakes that give wrong observables, each all that it spoils.

        Those that give the most come first; none gives what another one gives.
        """
        fitting = [
            (each.faults[0], frozenset(given))
            for each, given in self._given.items()
            if given
            and given.keys() <= wrong.keys()
            and all(close(seen[name], value) for name, value in given.items())
        ]
        fitting.sort(key=lambda pair: -len(pair[1]))
        found = list[tuple[Fault, frozenset[Observable]]]()
        covered, steps = set[Observable](), set[str]()
        for fault, given in fitting:
            if given & covered or fault.replaces.keys() & steps:
                continue
            found.append((fault, given))
            covered |= given
            steps |= fault.replaces.keys()
        return found
