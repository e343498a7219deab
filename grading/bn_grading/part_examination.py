"""One part of a submission, property by property: what fails, what follows from what, and why."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from bn_properties.cases.case import Case
from bn_properties.cases.condition import condition
from bn_properties.cases.traits import WITHIN
from bn_properties.catalogue import BY_ID, PROPERTIES
from bn_properties.checking import Finding, Settled, blocked_by, describe, scan
from bn_properties.counterexample import write
from bn_properties.jacobian import jacobian
from bn_properties.naming import Names
from bn_properties.property import Property
from bn_properties.protocol import SubjectError
from bn_properties.records import Cause, Counterexample, Outcome, SourceLine
from bn_properties.reducing import minimise
from bn_properties.scenario import Scenario
from bn_properties.transcript import Oracle, Transcript
from bn_worker.tracing import Assigned

from bn_grading.courses.model import Part

if TYPE_CHECKING:
    from bn_diagnosis.diagnosis import Diagnosis, Explanation


INPUT_GRADIENT = "backward.input_gradient"
"""The property whose failure is shown as a Jacobian, too."""
MANY = 20
"""In how many scenarios a call must be answered before an exception elsewhere is one mistake."""
_LOG = logging.getLogger(__name__)


def consequences(
    roots: Sequence[Finding],
    explanations: Sequence[Explanation],
    oracle: Oracle,
    all_found: Mapping[str, Finding] = MappingProxyType({}),
    working: Collection[str] = (),
) -> dict[str, str]:
    """Return which failures follow from which other one's mistake, in the catalogue's order.

    What the mistake that explains a part fails besides its own properties follows from those; what
    fails for the same few cases alone, or by the same exception, follows from the first of them.
    `working` are the calls that are answered elsewhere (see `_failed_alike`).
    A property of the mistake's own may be blocked (see `all_found`): then its root is the own one.
    """
    found: dict[str, str] = {}
    for one in explanations[:1]:
        named = {
            root
            for id_ in one.cause.properties
            for root in (id_, blocked_by(all_found[id_], all_found) if id_ in all_found else None)
        }
        own = [each for each in roots if each.property.id in named]
        main, *others = own or roots
        for each in roots if own else others:
            follows = each not in own and each.failing is not None
            if follows and one.fails(each.property, each.failing.case, oracle):  # type: ignore[union-attr]
                found[each.property.id] = main.property.id
    first: dict[str, str] = {}
    wider = {each.only for each in roots if each.only in WITHIN.values()}
    for each in roots:
        if each.property.id in found:
            continue
        within = WITHIN.get(each.only) if each.only else None
        for alike in (within if within in wider else each.only, _failed_alike(each, working)):
            if alike is not None:
                main_id = first.setdefault(alike, each.property.id)
                if main_id != each.property.id:
                    found[each.property.id] = main_id
    return found


def _failed_alike(found: Finding, working: Collection[str] = ()) -> str | None:
    """Return by what a property fails, where all that fails by the same is one mistake.

    That is an exception, or a shape, where some other cases show that the call is right: the
    property's own, or those of any property, as the call is among those that are `working`. Where
    it is never right, nothing is shown to be.
    """
    error = None if found.failing is None else found.failing.error
    if error is None or error.failure not in ("raised", "unusable_result"):
        return None
    what, is_shape, _ = error.message.partition(" has shape ")
    if error.failure == "unusable_result" and not is_shape:
        return error.message  # how it is given is wrong, and not the number
    partly = min(found.errors.values(), default=2) <= 1
    call, raises, _ = error.message.partition(" raises:")
    return what if partly or (raises and call in working) else None


class Followed(NamedTuple):
    """A submission whose lines can be looked at."""

    source: str
    follow: Callable[[Scenario], Sequence[Assigned]]
    """Takes a scenario to what each line computed in it."""


class PartExamination:
    """One subject, asked property by property."""

    def __init__(
        self,
        transcript: Transcript,
        oracle: Oracle,
        cases: Sequence[Case],
        *,
        properties: Sequence[Property] = PROPERTIES,
        seed: int = 0,
        settled: Settled | None = None,
        diagnosis: Callable[[], Diagnosis] | None = None,
        other_cases: Mapping[str, Sequence[Case]] = MappingProxyType({}),
        followed: Followed | None = None,
    ) -> None:
        """Examine the transcript's subject; `diagnosis` is asked for only where a cause is.

        What is `settled` is not looked at again. `other_cases` are those of single properties, by
        id, where they are not those of all. In what is `followed`, a cause's lines are looked for.
        """
        self.transcript, self.oracle, self.settled = transcript, oracle, settled
        self.properties = tuple(properties)
        self.cases, self._seed, self._diagnosis = cases, seed, diagnosis
        self._other_cases, self._followed = other_cases, followed
        self._ids = {each.id for each in self.properties}
        self._scanned: dict[str, Finding] = {}
        self._reduced: dict[str, Finding] = {}

    def scanned(self, id_: str) -> Finding:
        """Return what came of one property, as the cases show it.

        A failure of the property's own is not the submission's, nor any other property's.
        """
        if id_ not in self._scanned:
            prop, cases = BY_ID[id_], self._other_cases.get(id_, self.cases)
            try:
                found = scan(prop, cases, self.transcript, self.oracle, self.settled)
            except Exception as error:
                message = f"the grader failed ({type(error).__name__}: {error})"
                found = Finding(prop, Outcome.ERROR, 0, None, None, message)
            self._scanned[id_] = found
        return self._scanned[id_]

    def blocked_by(self, id_: str) -> str | None:
        """Return the property whose failure explains that this one fails, if there is one.

        It is one that is presupposed, or one that fails by the same mistake.
        """
        if self.scanned(id_).outcome is not Outcome.FAIL:
            return None
        root = self._presupposed_root(id_)
        if self._diagnosis is None:
            return root
        if root is not None and id_ in self._own:
            return self._consequences.get(id_)
        return self._consequences.get(root or id_, root)

    @property
    def _own(self) -> frozenset[str]:
        """What fails by a mistake of its own, though what it presupposes fails, too."""
        return self.explanations[0].own if self.explanations else frozenset()

    def _presupposed_root(self, id_: str) -> str | None:
        self._presupposed(id_)
        return blocked_by(self.scanned(id_), self._scanned)

    def _presupposed(self, id_: str) -> None:
        for other in BY_ID[id_].presupposes:
            if other in self._ids and other not in self._scanned:
                self.scanned(other)
                self._presupposed(other)

    @cached_property
    def _observed(self) -> tuple[Finding, ...]:
        """All findings, before anything is reduced: a cause must explain what was observed then."""
        return tuple(self.scanned(each.id) for each in self.properties)

    @cached_property
    def explanations(self) -> tuple[Explanation, ...]:
        """The mistakes that explain all that was observed; several are each other's
        alternatives.
        """
        failed = frozenset(f.property.id for f in self._observed if f.outcome is Outcome.FAIL)
        if not failed or self._diagnosis is None:
            return ()
        try:
            found = self._diagnosis().explanations(
                self.transcript.observed, self.transcript, failed
            )
            return (self._located(found[0]),) if len(found) == 1 else found
        except Exception:
            # No verdict rests on a cause.
            _LOG.exception("the search for a cause failed")
            return ()

    def _located(self, found: Explanation) -> Explanation:
        """Return an explanation with the lines in which it is made, as far as they can be told."""
        if self._followed is None or self._diagnosis is None:
            return found
        asked = [scenario for scenario, _ in self.transcript.observed]
        source, follow = self._followed
        lines = self._diagnosis().lines(
            found, asked, self.transcript.subject.observe, follow, source
        )
        told = tuple(SourceLine(number=each.number, code=each.code) for each in lines)
        return found._replace(cause=found.cause.model_copy(update={"lines": told}))

    @cached_property
    def _consequences(self) -> dict[str, str]:
        """For each root failure that another one's mistake explains: that other one."""
        roots = [
            each
            for each in self._observed
            if each.outcome is Outcome.FAIL
            and (each.property.id in self._own or self._presupposed_root(each.property.id) is None)
        ]
        if len(roots) < 2:
            return {}
        return consequences(roots, self.explanations, self.oracle, self._scanned, self._working())

    def _working(self) -> frozenset[str]:
        """Return the calls that are answered in many scenarios, whatever they do in others."""
        answered = Counter[str]()
        for scenario, responses in self.transcript.observed:
            for operations, response in zip(scenario.operations, responses, strict=False):
                if not any(isinstance(each, SubjectError) for each in response.values.values()):
                    answered.update(each.name for each in operations)
        return frozenset(name for name, count in answered.items() if count >= MANY)

    def finding(self, id_: str) -> Finding:
        """Return what came of one property; a root failure is brought down to the smallest case."""
        if id_ not in self._reduced:
            found = self.scanned(id_)
            if found.failing is not None and self._is_root(id_):
                smallest = minimise(found.failing, found.property, self.transcript)
                found = replace(found, failing=smallest, message=describe(smallest))
            self._reduced[id_] = found
        return self._reduced[id_]

    def _is_root(self, id_: str) -> bool:
        return self.scanned(id_).outcome is Outcome.FAIL and self.blocked_by(id_) is None

    def counterexample(self, id_: str) -> Counterexample | None:
        """Return a root failure written down; None for any other outcome."""
        failing = self.finding(id_).failing
        if failing is None or not self._is_root(id_):
            return None
        written = write(failing, self._seed, self.transcript, self.oracle)
        if id_ != INPUT_GRADIENT:
            return written
        found = jacobian(failing, Transcript(self.transcript.subject), self.oracle)
        return written.model_copy(update={"jacobian": found})

    def complete(
        self, part: Part, *, main: bool, names: Names = MappingProxyType({})
    ) -> PartFindings:
        """Return everything: every property, every counterexample, and the causes."""
        ids = [each.property.id for each in self._observed]
        causes = tuple(each.cause for each in self.explanations)
        blocked = {id_: root for id_ in ids if (root := self.blocked_by(id_)) is not None}
        counterexamples = {
            id_: written for id_ in ids if (written := self.counterexample(id_)) is not None
        }
        reduced = {id_: self.finding(id_) for id_ in ids}
        indices = tuple(case.index for case in self.cases)
        return PartFindings(
            part,
            main,
            reduced,
            counterexamples,
            causes,
            indices,
            blocked,
            self._own,
            names,
            self._conditions(reduced.values()),
            self.transcript.gave_out,
        )

    def _conditions(self, findings: Iterable[Finding]) -> dict[int, float]:
        if all(each.outcome is not Outcome.FAIL for each in findings):
            return {}
        return {number: condition(case) for number, case in enumerate(self.cases)}


@dataclass(frozen=True)
class PartFindings:
    """One part of a submission, with what was found of it."""

    part: Part
    main: bool
    """Whether it is the part whose property ids carry no prefix."""
    findings: dict[str, Finding]
    counterexamples: dict[str, Counterexample]
    causes: tuple[Cause, ...]
    cases: tuple[int, ...] = ()
    """The index of each case that was asked about."""
    blocked: Mapping[str, str] = field(default_factory=dict)
    """For each failure that follows from another one: that other one."""
    own: frozenset[str] = frozenset()
    """What fails by a mistake of its own, whatever else does."""
    names: Names = field(default_factory=dict)
    """What the submission calls the quantities."""
    conditions: Mapping[int, float] = field(default_factory=dict)
    """The condition number of each case, by its place among them, where anything fails."""
    gave_out: bool = False
    """Whether it ran out of time or memory on a large batch, and so is not judged on such."""

    def root(self, id_: str) -> str | None:
        """Return the property from whose failure this one's follows, if it does."""
        if id_ in self.blocked or id_ in self.own:
            return self.blocked.get(id_)
        return blocked_by(self.findings[id_], self.findings)

    @property
    def prefix(self) -> str:
        """What stands before its property ids."""
        return "" if self.main else f"{self.part.id}/"
