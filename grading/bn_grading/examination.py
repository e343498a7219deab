"""THE pipeline: a submission and its course to findings.

Everything that judges goes this way: `check`, `grade`, the plugin and the API with submissions,
the evidence with known mistakes. Each step is taken when it is asked for, and once: one property
can be looked at alone, or all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.util import find_spec
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from bn_properties.calls import Train
from bn_properties.cases.case import Case, small_integers
from bn_properties.cases.traits import WITHIN
from bn_properties.catalogue import BY_ID, PROPERTIES
from bn_properties.checking import Finding, Settled, blocked_by, describe, scan
from bn_properties.counterexample import write
from bn_properties.naming import Names
from bn_properties.property import Property
from bn_properties.protocol import UNANSWERED, Setup, SubjectError
from bn_properties.records import Cause, Counterexample, Outcome, SourceLine
from bn_properties.reducing import minimise
from bn_properties.scenario import Scenario
from bn_properties.transcript import Oracle, Transcript
from bn_worker.messages import Request
from bn_worker.tracing import Assigned

from bn_grading.case_bank import CaseBank
from bn_grading.courses.definitions import definitions
from bn_grading.courses.interfaces import FRAMEWORKS
from bn_grading.courses.matching import Match
from bn_grading.courses.model import Part
from bn_grading.subject.remote import RemoteSubject
from bn_grading.subject.session import CannotLoad, Session
from bn_grading.tape_cache import Snapshot

if TYPE_CHECKING:
    from bn_diagnosis.diagnosis import Diagnosis, Explanation


ANY_LAYER = Setup(features=3)
"""A layer on which nothing is set."""
_RAISES = "construct raises: "


class CannotExamine(Exception):
    """What examining needs is not installed here: the grader's lack, not the submission's."""


def consequences(
    roots: Sequence[Finding],
    explanations: Sequence[Explanation],
    oracle: Oracle,
    all_found: Mapping[str, Finding] = MappingProxyType({}),
) -> dict[str, str]:
    """Return which failures follow from which other one's mistake, in the catalogue's order.

    What the mistake that explains a part fails besides its own properties follows from those; what
    fails for the same few cases alone, or by the same exception, follows from the first of them.
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
        for alike in (within if within in wider else each.only, _raised(each)):
            if alike is not None:
                main_id = first.setdefault(alike, each.property.id)
                if main_id != each.property.id:
                    found[each.property.id] = main_id
    return found


def _raised(found: Finding) -> str | None:
    """Return the exception by which a property fails on some cases: there, it is one mistake.

    Where it is raised on all of them, nothing is shown to be right.
    """
    error = None if found.failing is None else found.failing.error
    if error is None or error.failure != "raised" or min(found.errors.values(), default=2) > 1:
        return None
    return error.message


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
        seen = self.transcript.observed
        found = self._diagnosis().explanations(seen, self.transcript, failed)
        return (self._located(found[0]),) if len(found) == 1 else found

    def _located(self, found: Explanation) -> Explanation:
        """Return an explanation with the lines in which it is made, as far as they can be told."""
        if self._followed is None or self._diagnosis is None:
            return found
        asked = [scenario for scenario, _ in self.transcript.observed]
        source, follow = self._followed
        lines = self._diagnosis().lines(asked, self.transcript.subject.observe, follow, source)
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
        return consequences(roots, self.explanations, self.oracle, self._scanned)

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
        return write(failing, self._seed, self.transcript, self.oracle)

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
            part, main, reduced, counterexamples, causes, indices, blocked, self._own, names
        )


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

    def root(self, id_: str) -> str | None:
        """Return the property from whose failure this one's follows, if it does."""
        if id_ in self.blocked or id_ in self.own:
            return self.blocked.get(id_)
        return blocked_by(self.findings[id_], self.findings)

    @property
    def prefix(self) -> str:
        """What stands before its property ids."""
        return "" if self.main else f"{self.part.id}/"


class Examination:
    """One submission in its worker, part by part."""

    def __init__(self, match: Match, bank: CaseBank, work: float | None = None) -> None:
        """Prepare; the worker starts with `start`.

        `work` is how much is asked, as a multiple of what the default number of cases asks; the
        bank's unless more is asked than its cases.

        Raises:
            CannotExamine: what the course's submissions are written with is not installed.
        """
        framework = match.course.framework
        if framework and find_spec(framework) is None:
            raise CannotExamine(
                f"this course needs {FRAMEWORKS[framework]}, which is not installed here "
                f"(the extra is `{framework}`)"
            )
        self.match = match
        self._bank = bank
        self._session = Session(
            load_request(match), match.course.limits, bank.work if work is None else work
        )
        self._present: frozenset[str] = frozenset()
        self._cached: Snapshot | None = None

    def start(self) -> None:
        """Start the worker and load the submission.

        Raises:
            CannotLoad: it cannot be loaded, defines nothing that is asked for, or its main layer
                cannot be made.
        """
        try:
            self._present = frozenset(self._session.start(self._load_tapes))
            if not self._present:
                names = " or ".join(self.match.parts[0].names)
                raise CannotLoad(f"it does not define {names}", self.output)
            self._present -= {p.id for p in self.match.parts if p.if_taken and not self._takes(p)}
            if self.main is not None:
                error = self._subject(self.main).construct(ANY_LAYER)
                if error is not None and error.failure not in UNANSWERED:
                    name, why = self._name(self.main), error.message.removeprefix(_RAISES)
                    raise CannotLoad(f"{name} cannot be made: {why}", self.output)
        except BaseException:
            self.close()
            raise

    def _takes(self, part: Part) -> bool:
        """Whether the class gives inputs of the part's axes back, each feature about zero.

        They have other sizes on every axis, and features that are far from each other: what is
        normalised over other axes shows.
        """
        if part.id not in self._present:
            return False
        shape = (6, 3, 4, 5, 7)[: 2 + part.spatial_axes]
        offsets = np.array([-40.0, 0.0, 40.0]).reshape(1, 3, *(1 for _ in shape[2:]))
        batch = offsets + small_integers(1, shape)
        scenario = Scenario(Setup(features=3), (Train(batch),))
        try:
            out = self._subject(part).observe(scenario)[0].array("out")
        except SubjectError:
            return False
        return bool((np.abs(out.mean(axis=(0, *range(2, out.ndim)))) < 0.1).all())

    def _load_tapes(self) -> None:
        for part in self.match.defined:
            self._bank.tape(part, self.match.course.convention)
            self._bank.cases(part.spatial_axes)
        # All that is kept has been read: what the submission writes from now on is not believed.
        self._cached = self._bank.cache.believed = self._bank.cache.snapshot()

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The parts that the submission defines."""
        return tuple(part for part in self.match.parts if part.id in self._present)

    @cached_property
    def main(self) -> Part | None:
        """The part whose property ids carry no prefix: the first of the main group that
        is there.
        """
        group = self.match.parts[0].group
        return next((part for part in self.parts if part.group == group), None)

    def part(self, part: Part, *, at_once: bool = True) -> PartExamination:
        """Return the examination of one part.

        It is asked everything at once; if not, then each scenario when a property needs it: for
        those who stop at the first failure.
        """
        convention = self.match.course.convention
        subject, cases = self._subject(part), self._bank.cases(part.spatial_axes)
        refused = subject.construct(replace(ANY_LAYER, eps=2 * convention.eps))
        about: dict[str, Sequence[Case]] = {}
        if refused is not None and refused.failure in ("raised", "not_implemented"):
            # It is asked with its own ε, but for what is about another one.
            subject = self._subject(part, fixed_eps=True)
            about = {each.id: cases for each in part.properties if "other_eps" in each.about}
            cases = tuple(replace(case, eps=convention.eps) for case in cases)
        lacks = _lacking(subject) if part.interface.kind == "module" else ()
        if "gamma" in lacks:
            cases = tuple(replace(case, gamma=np.ones_like(case.gamma)) for case in cases)
        if "beta" in lacks:
            cases = tuple(replace(case, beta=np.zeros_like(case.beta)) for case in cases)
        at_once = at_once and not subject.fixed_eps and not lacks
        playback = subject.play(self._bank.tape(part, convention)) if at_once else None
        return PartExamination(
            Transcript(subject, playback),
            self._bank.oracle(convention),
            cases,
            other_cases=about,
            properties=part.properties,
            seed=self._bank.seed,
            settled=playback,
            diagnosis=lambda: self._bank.diagnosis(convention, part.spatial_axes),
            followed=None if self._source is None else Followed(self._source, subject.trace),
        )

    @property
    def _source(self) -> str | None:
        file = self.match.file
        return None if file is None else self.match.submission.files[file]

    def _subject(self, part: Part, *, fixed_eps: bool = False) -> RemoteSubject:
        convention = self.match.course.convention
        return RemoteSubject(self._session, part, convention, fixed_eps=fixed_eps)

    def _name(self, part: Part) -> str:
        """Return how the submission's class is called."""
        file = self.match.file
        defined = definitions(self.match.submission.files[file]).defined if file else part.names
        return next((name for name in part.names if name in defined), part.names[0])

    def complete(self) -> tuple[PartFindings, ...]:
        """Return everything that is found of every part."""
        source = self._source or ""
        return tuple(
            self.part(part).complete(part, main=part is self.main, names=part.names_in(source))
            for part in self.parts
        )

    @property
    def output(self) -> str:
        """The start of what the submission printed."""
        return self._session.output

    def close(self) -> None:
        """End the worker, and undo what was done to the cache meanwhile."""
        self._session.close()
        self._bank.cache.believed = None
        if self._cached is not None:
            self._bank.cache.discard_changes(self._cached)

    def __enter__(self) -> Examination:
        """Start it.

        Raises:
            CannotLoad: see `start`.
        """
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Close it."""
        self.close()


def _lacking(subject: RemoteSubject) -> tuple[str, ...]:
    """Return which of γ and β a module does without: those are left at one and zero for it."""
    numbers = np.full(ANY_LAYER.features, 2.0)
    setups = {
        "gamma": replace(ANY_LAYER, gamma=numbers),
        "beta": replace(ANY_LAYER, beta=numbers),
    }
    errors = {name: subject.construct(setup) for name, setup in setups.items()}
    return tuple(
        name
        for name, error in errors.items()
        if error is not None and error.failure == "not_implemented"
    )


def load_request(match: Match) -> Request:
    """Return the request that hands a submission's sources to its worker."""
    submission, file = match.submission, match.file
    others = {
        name.rpartition("/")[2].removesuffix(".py"): source
        for name, source in submission.files.items()
        if name != file
    }
    return Request(
        "load",
        {
            "framework": match.course.framework,
            "module": submission.module,
            "filename": (file or "").rpartition("/")[2],
            "source": submission.files[file] if file else "",
            "others": others,
            "parts": {part.id: part.interface.model_dump(mode="json") for part in match.parts},
        },
    )
