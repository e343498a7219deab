"""What a submission computes, where no known mistake explains all of it: formula by formula.

Each wrong observable is explained by itself: by a known mistake that gives it, or by the formula
that is recovered. What is found is put together, taken through everything that was observed, and
told only where it holds there, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from bn_oracle.arrays import Array
from bn_oracle.conventions import Convention
from bn_properties.protocol import AnyArray
from bn_properties.records import Cause
from bn_properties.scenario import Response, Scenario

from bn_diagnosis.candidates import Candidate, Candidates
from bn_diagnosis.faults.fault import Fault
from bn_diagnosis.following import Assigned, Line
from bn_diagnosis.held import Held
from bn_diagnosis.locating import Locator
from bn_diagnosis.matching import Observation
from bn_diagnosis.recovered_layer import STEPS, RecoveredCandidate, fault_of
from bn_diagnosis.recovery.evidence import Evidence, Given
from bn_diagnosis.recovery.forms import Observable
from bn_diagnosis.recovery.formula import Formula, Recovered, gives
from bn_diagnosis.recovery.recover import Recovery
from bn_diagnosis.recovery.shapes import Axes
from bn_diagnosis.recovery.tables import Keep, close, unkept

Ask = Callable[[Scenario], tuple[Response[AnyArray], ...]]
Follow = Callable[[Scenario], Sequence[Assigned]]
"""Takes a scenario to what each line of a file computed in it."""


class _Seen(NamedTuple):
    """What a submission shows on the evidence."""

    values: dict[Observable, Array]
    axes: Mapping[Observable, Axes]
    """Of what has another shape than it should have."""

    def formulas(self, recovery: Recovery, slips: int = 2) -> Recovered:
        """Return the formulas that give it."""
        found = recovery.recover(self.values, slips)
        return {
            name: each and replace(each, axes=self.axes.get(name)) for name, each in found.items()
        }


def _seen(evidence: Evidence, ask: Ask) -> _Seen:
    trained = tuple(ask(each) for each in evidence.training)
    inferred = tuple(ask(each) for each in evidence.inference)
    return _Seen(evidence.observed(trained, inferred), evidence.misshapen(trained, inferred))


class Formulas:
    """Recovers formulas under one convention, for inputs of some axes."""

    def __init__(
        self,
        convention: Convention,
        spatial_axes: int,
        candidates: Candidates,
        keep: Keep = unkept,
    ) -> None:
        """Prepare; tables are made when they are first needed, and `keep` has them not."""
        self._keep = keep
        self._convention, self._spatial_axes = convention, spatial_axes
        self._candidates = candidates
        self._recoveries: dict[bool, tuple[Evidence, Recovery, _Named]] = {}

    def recovery(self, *, inference_gradient: bool) -> tuple[Evidence, Recovery, _Named]:
        """Return the evidence for a kind of interface, the tables, and the known mistakes on it."""
        if inference_gradient not in self._recoveries:
            evidence = Evidence(self._spatial_axes, inference_gradient)
            told = f"{self._convention} {self._spatial_axes} {inference_gradient}"
            recovery = Recovery(
                self._convention, evidence, lambda name, make: self._keep(f"{told} {name}", make)
            )
            named = _Named(evidence, recovery, self._candidates.single)
            self._recoveries[inference_gradient] = evidence, recovery, named
        return self._recoveries[inference_gradient]

    def explaining(
        self, observed: Sequence[Observation], ask: Ask
    ) -> tuple[RecoveredCandidate, Cause, Recovered] | None:
        """Return what explains the wrong observables of a submission, how it is told, and the
        formulas.

        None where nothing near batch norm gives them, or where it does not hold of all that was
        observed.
        """
        evidence, recovery, named = self._recovery_for(one.scenario for one in observed)
        seen = _seen(evidence, ask)
        formulas = seen.formulas(recovery)
        formulas |= self._after_training(evidence, formulas, ask)
        left = dict(formulas)
        while left:
            roots, following = self._faults(named, seen.values, left)
            if not roots:
                return None
            given = frozenset(step for fault in roots for step in fault.replaces)
            unexplained = tuple(
                name for name in formulas if STEPS[name] not in given and left.get(name) is None
            )
            found = RecoveredCandidate(roots, following, self._candidates.batch_norm, unexplained)
            held = Held(found, observed, [name for name in left if name not in unexplained])
            if not held.refuted:
                told = found.told(held.explained, held.total)
                return (found, told, left) if held.concerned else None
            if not held.refuted & left.keys():
                return None
            left = _next(left, held.refuted)
        return None

    def _after_training(self, evidence: Evidence, formulas: Recovered, ask: Ask) -> Recovered:
        """Return what inference computes once a batch was trained on, where that is not what it
        computes on a new layer.
        """
        responses = tuple(ask(each) for each in evidence.after_training)
        symbols = evidence.given_after_training(responses)
        if symbols is None:
            return {}
        inferred = tuple(each[-1:] for each in responses)
        recovery = Recovery(self._convention, Given(symbols, evidence))
        seen = evidence.observed((), inferred)
        return {
            name: each
            for name, each in recovery.recover(seen, slips=1).items()
            if not _still_gives(formulas.get(name), symbols, seen[name])
        }

    def _recovery_for(self, scenarios: Iterable[Scenario]) -> tuple[Evidence, Recovery, _Named]:
        names = {
            operation.name
            for one in scenarios
            for operations in one.operations
            for operation in operations
        }
        return self.recovery(inference_gradient="infer_backward" in names)

    def lines(
        self,
        formulas: Recovered | None,
        scenarios: Iterable[Scenario],
        ask: Ask,
        follow: Follow,
        source: str,
    ) -> tuple[Line, ...]:
        """Return the lines of a file in which the formulas of a submission go wrong.

        `scenarios` are what it was asked. Where a known mistake explains all, there are no
        `formulas`: only what is found at once is looked at.
        """
        evidence, recovery, _ = self._recovery_for(scenarios)
        if formulas is None:
            formulas = _seen(evidence, ask).formulas(recovery, slips=1)
        found = dict[Line, None]()
        for name, each in formulas.items():
            if each is None or not each.edits:
                continue
            symbols: Mapping[str, Array] | None = evidence.symbols
            asked = evidence.inference if name.startswith("inferred") else evidence.training
            if each.mentions("last_mean", "last_var"):
                asked = evidence.after_training
                symbols = evidence.given_after_training(tuple(ask(one) for one in asked))
            if symbols is not None:
                of_one = {symbol: value[:1] for symbol, value in symbols.items()}
                locator = Locator(self._convention, of_one)
                line = locator.line(each, follow(asked[0]), source)
                found |= {line: None} if line is not None else {}
        return tuple(found)

    def _faults(
        self, named: _Named, seen: Mapping[Observable, Array], formulas: Recovered
    ) -> tuple[tuple[Fault, ...], tuple[Fault, ...]]:
        """Return the faults that are told, and those that only follow from them."""
        roots, following = list[Fault](), list[Fault]()
        left = dict(formulas)
        for fault, spoilt in named.covering(seen, left):
            roots.append(fault)
            left = {name: each for name, each in left.items() if name not in spoilt}
        for formula in left.values():
            if formula is None:
                continue
            own = bool(formula.edits) or formula.instead_of is not None
            (roots if own else following).append(fault_of(formula, self._convention))
        return tuple(roots), tuple(following)


def _next(formulas: Recovered, refuted: Set[Observable]) -> Recovered:
    """Return formulas with the next ones that give the same on the evidence in place of those that
    are refuted; where there is none, nothing.
    """
    found = dict(formulas)
    for name in refuted & formulas.keys():
        formula = found.pop(name)
        if formula is not None and formula.others:
            first, *others = formula.others
            found[name] = replace(first, others=tuple(others), axes=formula.axes)
    return found


def _still_gives(formula: Formula | None, symbols: Mapping[str, Array], value: Array) -> bool:
    return formula is not None and gives(formula, symbols, value)


class _Named:
    """What the known mistakes give on the evidence, an observable at a time."""

    def __init__(self, evidence: Evidence, recovery: Recovery, single: Sequence[Candidate]) -> None:
        self._evidence, self._recovery, self._single = evidence, recovery, single

    @cached_property
    def _given(self) -> dict[Candidate, dict[Observable, Array]]:
        """For each mistake, the observables that it spoils, and what it makes of them."""
        evidence, found = self._evidence, dict[Candidate, dict[Observable, Array]]()
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
            and given.keys() <= wrong.keys() & seen.keys()
            and all(
                close(seen[name], value, self._recovery.closeness(wrong[name], seen[name]))
                for name, value in given.items()
            )
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
