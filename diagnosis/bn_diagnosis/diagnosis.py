"""Which known mistake explains what a submission did.

Every fault of the catalogue is put through the scenarios that the submission was put through. A
fault explains the submission if it reproduces *every* result that was observed. Where none does,
the formula of each wrong observable is recovered (`recovered`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from bn_oracle.conventions import Convention
from bn_properties.cases.case import Case
from bn_properties.property import Property
from bn_properties.protocol import AnyArray
from bn_properties.records import Cause
from bn_properties.scenario import Response, Scenario
from bn_properties.transcript import Oracle

from bn_diagnosis import instability
from bn_diagnosis.candidates import Candidate, Candidates
from bn_diagnosis.following import Line
from bn_diagnosis.matching import Expects, Observation, Observer
from bn_diagnosis.recovered import Follow, Formulas
from bn_diagnosis.recovery.formula import Recovered
from bn_diagnosis.recovery.tables import Keep, unkept
from bn_diagnosis.search import explaining

Transcript = Sequence[tuple[Scenario, tuple[Response[AnyArray], ...]]]
"""What one submission gave: in each scenario, step by step."""
Ask = Callable[[Scenario], tuple[Response[AnyArray], ...]]


Fails = Callable[[Property, Case, Oracle], bool]


class Explanation(NamedTuple):
    """A mistake that explains a submission, and what else it would fail."""

    cause: Cause
    fails: Fails
    """Whether it fails a property on a case."""
    own: frozenset[str] = frozenset()
    """The properties that fail by themselves, whatever else does: a slip of their own, or what the
    mistake does not explain."""
    formulas: Recovered | None = None
    """What was recovered, where that is the explanation."""


class Diagnosis:
    """The known mistakes under one convention, ready to be compared with any submission."""

    def __init__(
        self,
        convention: Convention,
        spatial_axes: int,
        expectation: Expects,
        further: Iterable[Scenario] = (),
        keep: Keep = unkept,
    ) -> None:
        """Prepare every fault of the catalogue.

        `expectation` gives what the oracle expects of a scenario. `further` are scenarios that are
        asked only to tell apart what explains all else. `keep` has tables that take seconds to
        make, from one process to the next.
        """
        self._candidates = Candidates(convention, spatial_axes, expectation)
        self._observer = Observer(expectation)
        self._further = further
        self._formulas = Formulas(convention, spatial_axes, self._candidates, keep)

    def explanations(
        self, transcript: Transcript, ask: Ask | None = None, failed: frozenset[str] | None = None
    ) -> tuple[Explanation, ...]:
        """Return the smallest sets of faults that reproduce the whole transcript, or none.

        Several are returned when nothing tells them apart: neither the transcript nor, where `ask`
        can put them to the submission, any further scenario. `failed` names the properties that
        failed: a fault whose own property holds is not what was done.
        """
        with np.errstate(all="ignore"):  # a submission may have given NaN, or infinities
            observed = [self._observer.observation(*each) for each in transcript]
            if not any(each.differs for each in observed):
                # Every number is right: what is wrong is rounding, or not a matter of numbers.
                return tuple(
                    Explanation(cause, _loses_accuracy) for cause in instability.causes(observed)
                )
            likely = [
                each
                for each in self._candidates.single
                if failed is None or each.faults[0].killed_by in failed
            ]
            found = explaining(likely, observed, self._candidates)
            if ask is not None:
                found, more = self._told_apart(found, ask)
                observed += more
            if not found and ask is not None:
                recovered = self._formulas.explaining(observed, ask)
                if recovered is not None:
                    candidate, cause, formulas = recovered
                    return (Explanation(cause, candidate.fails, candidate.own, formulas),)
            results = sum(len(each.places) for each in observed)
            return tuple(Explanation(each.cause(results), each.fails) for each in found)

    def lines(
        self,
        explanation: Explanation,
        scenarios: Iterable[Scenario],
        ask: Ask,
        follow: Follow,
        source: str,
    ) -> tuple[Line, ...]:
        """Return the lines of a file in which its formulas go wrong, as far as that can be told.

        `scenarios` are what was asked; `follow` takes one to what each line computed in it.
        """
        # A file may be nested deeper than its syntax tree can be walked.
        with np.errstate(all="ignore"), contextlib.suppress(RecursionError):
            return self._formulas.lines(explanation.formulas, scenarios, ask, follow, source)
        return ()

    def causes(
        self, transcript: Transcript, ask: Ask | None = None, failed: frozenset[str] | None = None
    ) -> tuple[Cause, ...]:
        """Return what is told of each explanation."""
        return tuple(each.cause for each in self.explanations(transcript, ask, failed))

    def _told_apart(
        self, found: Sequence[Candidate], ask: Ask
    ) -> tuple[list[Candidate], list[Observation]]:
        """Ask further scenarios while more than one candidate is left; return them as well."""
        left, more = list(found), list[Observation]()
        for scenario in self._further if len(left) > 1 else ():
            more.append(self._observer.observation(scenario, ask(scenario)))
            left = [each for each in left if each.reproduces(more[-1], keep=True)]
            if len(left) <= 1:
                break
        return left, more


def _loses_accuracy(prop: Property, case: Case, oracle: Oracle) -> bool:
    """Whether a term that vanishes may fail a property: those about accuracy, and no other."""
    return prop.family == "stability"
