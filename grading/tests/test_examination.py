"""The examination of one part: what is asked when, what is reduced, and what a cause explains."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

from bn_diagnosis.diagnosis import Diagnosis, Explanation
from bn_diagnosis.reference import reference_subject
from bn_diagnosis.trace import Step
from bn_grading.courses.model import built_in
from bn_grading.part_examination import PartExamination, PartFindings
from bn_oracle.conventions import CMU_HW1P1
from bn_properties.cases.draw import draw_cases
from bn_properties.catalogue import BY_ID
from bn_properties.protocol import AnyArray
from bn_properties.records import Outcome
from bn_properties.scenario import Response, Scenario, Subject
from bn_properties.transcript import Oracle, Transcript

PART = built_in()["cmu-hw1p1"].parts[0]
ROOT, BLOCKED, OTHER = "training.agreement", "training.shift_invariance", "inference.affine_fold"
"""Two of which the second presupposes the first, and one that has nothing to do with them."""
WRONG: dict[str, Step] = {"y": lambda t: t.gamma * t.u + 2 * t.beta + t.mean}


class Counting:
    """A subject that counts what it is asked, and may break the grader."""

    def __init__(self, subject: Subject, breaks: str = "") -> None:
        self._subject, self._breaks = subject, breaks
        self.convention, self.spatial_axes = subject.convention, subject.spatial_axes
        self.offers, self.may_refuse = subject.offers, subject.may_refuse
        self.asked = 0
        self.fixed_eps = False

    def observe(self, scenario: Scenario) -> tuple[Response[AnyArray], ...]:
        self.asked += 1
        if self._breaks in [type(call).__name__ for call in scenario.calls]:
            raise ZeroDivisionError("the grader's own")
        return self._subject.observe(scenario)


class Noting:
    """A diagnosis that notes what it was asked to explain."""

    def __init__(self) -> None:
        self.observed: list[int] = []
        self.failed: list[frozenset[str]] = []

    def explanations(
        self, observed: Sequence[Any], transcript: Transcript, failed: frozenset[str]
    ) -> tuple[Explanation, ...]:
        self.observed.append(len(observed))
        self.failed.append(failed)
        return ()


def examining(
    replaces: dict[str, Step],
    ids: Sequence[str] = (ROOT, BLOCKED, OTHER),
    *,
    breaks: str = "",
    diagnosis: Noting | None = None,
) -> tuple[PartExamination, Counting]:
    subject = Counting(reference_subject(replaces, CMU_HW1P1), breaks)
    asked = None if diagnosis is None else lambda: cast(Diagnosis, diagnosis)
    examination = PartExamination(
        Transcript(subject),
        Oracle(CMU_HW1P1),
        draw_cases(0, 11),
        properties=[BY_ID[id_] for id_ in ids],
        seed=42,
        diagnosis=asked,
    )
    return examination, subject


def outcomes(found: PartFindings) -> dict[str, Outcome]:
    return {id_: finding.outcome for id_, finding in found.findings.items()}


def test_what_holds_has_no_counterexample_and_needs_no_cause() -> None:
    examination, _ = examining({}, diagnosis=cast(Noting, SimpleNamespace()))
    found = examination.complete(PART, main=True)
    assert dict.fromkeys((ROOT, BLOCKED, OTHER), Outcome.PASS) == outcomes(found)
    assert {} == found.counterexamples
    assert () == found.causes
    assert (PART, True, "") == (found.part, found.main, found.prefix)
    assert "layer/" == examination.complete(PART, main=False).prefix


def test_a_root_failure_is_reduced_and_written_down_and_what_it_blocks_is_not() -> None:
    examination, _ = examining(WRONG)
    assert ROOT == examination.blocked_by(BLOCKED)
    assert examination.blocked_by(ROOT) is None
    assert examination.blocked_by(OTHER) is None
    assert {ROOT} == examination.complete(PART, main=True).counterexamples.keys()
    record = examination.counterexample(ROOT)
    assert record is not None
    assert 42 == record.seed
    reduced, scanned = examination.finding(ROOT), examination.scanned(ROOT)
    assert reduced.failing is not None
    assert scanned.failing is not None
    assert scanned.failing.case.beta.any()
    assert not reduced.failing.case.beta.any()
    assert reduced.message != scanned.message
    assert record.comparison is not None
    assert record.comparison.expected.shape == reduced.failing.case.x.shape
    assert examination.finding(BLOCKED) == examination.scanned(BLOCKED)


def test_what_is_not_among_the_properties_blocks_nothing() -> None:
    examination, _ = examining(WRONG, [BLOCKED])
    assert Outcome.FAIL == examination.scanned(BLOCKED).outcome
    assert examination.blocked_by(BLOCKED) is None
    assert {BLOCKED} == examination.complete(PART, main=True).counterexamples.keys()


def test_each_property_is_asked_once_and_alone() -> None:
    examination, subject = examining(WRONG)
    assert examination.scanned(OTHER) is examination.scanned(OTHER)
    alone = subject.asked
    assert 0 < alone <= 11
    assert examination.blocked_by(OTHER) is None
    assert alone == subject.asked, "what holds presupposes nothing that need be asked"
    assert examination.finding(ROOT) is examination.finding(ROOT)


def test_a_cause_must_explain_what_was_observed_before_anything_was_reduced() -> None:
    noted = Noting()
    examination, _ = examining(WRONG, diagnosis=noted)
    before, _ = examining(WRONG)
    for id_ in (ROOT, BLOCKED, OTHER):
        before.scanned(id_)
    examination.complete(PART, main=True)
    assert [len(before.transcript.observed)] == noted.observed
    assert [frozenset({ROOT, BLOCKED})] == noted.failed


def test_without_a_diagnosis_there_is_no_cause() -> None:
    examination, _ = examining(WRONG)
    assert () == examination.complete(PART, main=True).causes


def test_a_failure_of_the_graders_own_is_no_other_propertys() -> None:
    examination, _ = examining({}, breaks="Infer")
    found = examination.complete(PART, main=True)
    assert {ROOT: Outcome.PASS, BLOCKED: Outcome.PASS, OTHER: Outcome.ERROR} == outcomes(found)
    error = found.findings[OTHER]
    assert "the grader failed (ZeroDivisionError: the grader's own)" == error.message
    assert (0, None, None) == (error.examples, error.worst, error.failing)
    assert {} == found.counterexamples
