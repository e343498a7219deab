"""THE pipeline: a submission and its course to findings.

Everything that judges goes this way: `check`, `grade`, the plugin and the API with submissions,
the evidence with known mistakes. Each step is taken when it is asked for, and once: one property
can be looked at alone, or all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from importlib.util import find_spec

import numpy as np
from bn_properties.calls import Train
from bn_properties.cases.case import Case, small_integers
from bn_properties.protocol import UNANSWERED, Setup, SubjectError
from bn_properties.scenario import Scenario
from bn_properties.transcript import Transcript
from bn_worker.messages import Request

from bn_grading.case_bank import CaseBank
from bn_grading.courses.definitions import definitions
from bn_grading.courses.interfaces import FRAMEWORKS
from bn_grading.courses.matching import Match
from bn_grading.courses.model import Part
from bn_grading.part_examination import Followed, PartExamination, PartFindings
from bn_grading.subject.isolation import Isolation, Level
from bn_grading.subject.remote import RemoteSubject
from bn_grading.subject.session import CannotLoad, Session
from bn_grading.tape_cache import Snapshot

ANY_LAYER = Setup(features=3)
"""A layer on which nothing is set."""
_RAISES = "construct raises: "


class CannotExamine(Exception):
    """What examining needs is not installed here: the grader's lack, not the submission's."""


class Examination:
    """One submission in its worker, part by part."""

    def __init__(
        self,
        match: Match,
        bank: CaseBank,
        work: float | None = None,
        levels: Sequence[Level] = (Level.NONE,),
    ) -> None:
        """Prepare; the worker starts with `start`.

        `work` is how much is asked, as a multiple of what the default number of cases asks; the
        bank's unless more is asked than its cases. The worker is kept apart at the first of
        `levels` at which it starts.

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
            load_request(match),
            match.course.limits,
            bank.work if work is None else work,
            Isolation(framework=framework, module=match.submission.module),
            levels,
        )
        self._present: frozenset[str] = frozenset()
        self._cached: Snapshot | None = None

    def start(self) -> None:
        """Start the worker and load the submission.

        Raises:
            CannotLoad: it cannot be loaded, defines nothing that is asked for, or its main layer
                cannot be made.
            NotIsolated: the worker cannot be kept apart as it should be.
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
        normalised over other axes shows. Each position by itself over the instances is what a
        class for two axes does with more, when it does not look at their number.
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
        centred = bool((np.abs(out.mean(axis=(0, *range(2, out.ndim)))) < 0.1).all())
        by_position = bool((np.abs(out.mean(axis=0)) < 0.1).all())
        return centred and not by_position

    def _load_tapes(self) -> None:
        for part in self.match.defined:
            self._bank.tape(part, self.match.course.convention)
            self._bank.cases(part.spatial_axes)
        # All that is kept has been read: what the submission writes from now on is not believed.
        self._cached = self._bank.cache.snapshot()
        self._bank.cache.believe(self._cached)

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

    @property
    def memory(self) -> int | None:
        """MiB that the worker has held at the most; None: not known, or it is not closed yet."""
        return self._session.memory

    @property
    def level(self) -> Level:
        """How the worker is kept apart."""
        return self._session.level

    def close(self) -> None:
        """End the worker, and undo what was done to the cache meanwhile."""
        self._session.close()
        self._bank.cache.believe(None)
        if self._cached is not None and self.level is Level.NONE:  # elsewhere it cannot write there
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
