"""One subject, asked property by property: what the pytest plugin runs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from bn_properties.cases.case import Case
from bn_properties.cases.draw import cases
from bn_properties.cases.pinned import pinned_cases
from bn_properties.catalogue import BY_ID, PROPERTIES
from bn_properties.transcript import Oracle, Transcript
from bn_properties.checking import Finding, allowed, blocked_by, describe, scan, try_case
from bn_properties.records import Outcome
from bn_properties.reducing import minimise
from hypothesis import HealthCheck, Phase, example, given, seed, settings, target

from bn_grading.case_bank import DEFAULT_EXAMPLES, CaseBank
from bn_grading.courses.model import Part, built_in, find
from bn_grading.intake.submissions import PathError, graded_file, parts_for, recognise, single
from bn_grading.subject.remote import RemoteSubject, RemoteSubmission

SEARCH_EXAMPLES = 500
"""How far the `thorough` profile searches for the worst error of each property."""


@dataclass(frozen=True)
class Verdict:
    """What came of one property, and how to tell pytest."""

    finding: Finding
    root: str | None
    """The property that blocks this one."""
    case: Case | None
    """The smallest failing case."""
    spatial_axes: int
    seen: Transcript

    def settle(self) -> None:
        """Pass, or leave by the pytest outcome that the verdict calls for."""
        __tracebackhide__ = True
        finding = self.finding
        if finding.outcome is Outcome.NOT_APPLICABLE:
            pytest.skip(finding.message)
        if finding.outcome is Outcome.NOT_RUN:
            pytest.fail(f"not run: {finding.message}", pytrace=False)
        if self.root is not None:
            pytest.xfail(f"blocked by {self.root}: {finding.message}")
        if finding.outcome is Outcome.FAIL:
            self._show()
            pytest.fail(f"{finding.property.title}\n{finding.message}", pytrace=False)

    def _show(self) -> None:
        """Let Hypothesis report the failing case in its own words."""
        if self.case is None:
            return
        prop, seen = self.finding.property, self.seen
        answers = Oracle(seen.subject.convention)

        @settings(database=None, deadline=None, phases=[Phase.explicit], print_blob=True)
        @example(case=self.case)
        @given(case=cases(spatial_axes=self.spatial_axes))
        def holds(case: Case) -> None:
            failing, _ = try_case(prop, case, seen, answers)
            assert failing is None, f"{prop.title}\n{describe(failing)}"

        holds()


class Examiner:
    """A subject's main part, in its worker, with the cases of one seed."""

    def __init__(
        self, subject: str, course: str, *, seed: int, examples: int, search: bool
    ) -> None:
        """Start the subject's worker.

        Raises:
            ValueError: no such subject or course, or the subject cannot be loaded.
        """
        submission = single(subject)
        chosen = recognise(submission, built_in().values()) if course == "auto" else find(course)
        if chosen is None:
            raise PathError("it belongs to no course; name one with --bn-course")
        file = None if submission.module else graded_file(submission, chosen)
        parts = parts_for(submission, chosen)
        bank = CaseBank(seed, examples)
        searched = len(PROPERTIES) * SEARCH_EXAMPLES / DEFAULT_EXAMPLES if search else 0.0
        work = bank.work + searched
        self._remote = RemoteSubmission(submission, file, chosen, parts, work)
        present = self._remote.start()
        self._part: Part | None = next((part for part in parts if part.id in present), None)
        if self._part is None:
            self.close()
            raise PathError(f"it does not define {' or '.join(parts[0].names)}")
        self._cases = bank.cases(self._part.spatial_axes)
        self._answers = bank.answers(chosen.convention)
        self._seen = Transcript(RemoteSubject(self._remote, self._part, chosen.convention))
        self._seed, self._search = seed, search
        self._findings: dict[str, Finding] = {}

    @property
    def names(self) -> list[str]:
        """The ids of the properties that apply."""
        assert self._part is not None
        return [each.id for each in PROPERTIES if each.family in self._part.families]

    def verdict(self, id_: str) -> Verdict:
        """Return the verdict on one property; what it presupposes is looked at too."""
        assert self._part is not None
        finding = self._finding(id_)
        root = None
        case = None
        if finding.outcome is Outcome.FAIL:
            self._presupposed(id_)
            root = blocked_by(finding, self._findings)
            if root is None and finding.failing is not None:
                smallest = minimise(finding.failing, finding.property, self._seen)
                case = smallest.case
        elif finding.outcome is Outcome.PASS and self._search:
            self._worst(finding)
        return Verdict(finding, root, case, self._part.spatial_axes, self._seen)

    def _finding(self, id_: str) -> Finding:
        if id_ not in self._findings:
            prop = BY_ID[id_]
            self._findings[id_] = scan(prop, self._cases, self._seen, self._answers)
        return self._findings[id_]

    def _presupposed(self, id_: str) -> None:
        for other in BY_ID[id_].presupposes:
            if other in self.names and other not in self._findings:
                self._finding(other)
                self._presupposed(other)

    def _worst(self, finding: Finding) -> None:
        """Search for a case on which rounding comes closest to the bound, or past it."""
        __tracebackhide__ = True
        assert self._part is not None
        prop, subject = finding.property, self._seen.subject

        @seed(self._seed)
        @settings(
            max_examples=SEARCH_EXAMPLES,
            database=None,
            deadline=None,
            derandomize=False,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=cases(spatial_axes=self._part.spatial_axes))
        def holds(case: Case) -> None:
            if not allowed(case, subject.convention):
                return
            failing, ratio = try_case(
                prop, case, Transcript(subject), Oracle(subject.convention)
            )
            assert failing is None, f"{prop.title}\n{describe(failing)}"
            if ratio:
                target(math.log10(ratio), label="log10 of error over bound")

        for chosen in pinned_cases(self._part.spatial_axes):
            holds = example(case=chosen)(holds)
        holds()

    def close(self) -> None:
        """End the worker."""
        self._remote.close()
