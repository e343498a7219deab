"""The verdict on findings made by hand: the status, and the sentence that says why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import get_args

import numpy as np
import pytest
from bn_grading.courses.model import Part, built_in
from bn_grading.part_examination import PartFindings
from bn_grading.scoring import score, status, summary
from bn_properties.cases.case import Case
from bn_properties.catalogue import BY_ID, PROPERTIES
from bn_properties.checking import Failing, Finding
from bn_properties.protocol import UNANSWERED, Failure, SubjectError
from bn_properties.records import Cause, Outcome, Status

COURSE = built_in()["cs231n"]
MAIN, _, SPATIAL = COURSE.parts
"""A part that is required, and one that is not."""
AGREES, SHIFT, DZ, FREE, STABLE = (
    "training.agreement",
    "training.shift_invariance",
    "backward.input_gradient",
    "training.output_mean",
    "stability.training_output",
)
"""Properties; the second presupposes the first, and the fourth is worth nothing in the course."""
NUMBER = "dz[0] = 1, but should be 2"


def finding(
    id_: str,
    outcome: Outcome = Outcome.PASS,
    *,
    failure: Failure | None = None,
    message: str = "",
    examples: int = 10,
) -> Finding:
    how = None
    if outcome is Outcome.FAIL or failure is not None:
        x, one = np.zeros((2, 1)), np.ones(1)
        case = Case(0, "ordinary", x, x, one, one, 1.0, 0.5, one, one, (), x)
        error = None if failure is None else SubjectError(failure, "it went wrong")
        how = Failing(case, None, None, error, ())
    return Finding(BY_ID[id_], outcome, examples, 0.5, how, message)


def wrong(id_: str, message: str = NUMBER) -> Finding:
    return finding(id_, Outcome.FAIL, message=message)


def raising(id_: str, message: str = "train raises") -> Finding:
    return finding(id_, Outcome.FAIL, failure="raised", message=message)


def absent(id_: str, message: str = "backward is missing") -> Finding:
    return finding(id_, Outcome.NOT_RUN, failure="not_implemented", message=message)


def late(id_: str, message: str = "the time is up") -> Finding:
    return finding(id_, Outcome.NOT_RUN, failure="unfinished", message=message)


def broken(id_: str, message: str = "the grader failed") -> Finding:
    return finding(id_, Outcome.ERROR, message=message)


def found(
    *other: Finding, of: Part = MAIN, main: bool = True, causes: Sequence[Cause] = ()
) -> PartFindings:
    """Return a part on which every property holds but those in `other`."""
    findings = {prop.id: finding(prop.id) for prop in PROPERTIES}
    findings |= {each.property.id: each for each in other}
    return PartFindings(of, main, findings, {}, tuple(causes))


def told(id_: str) -> str:
    """Return what a property's failure is told as, where its clause begins with a word."""
    clause = BY_ID[id_].finding
    return f"{clause[0].upper()}{clause[1:]}."


def cause(fault: str, title: str) -> Cause:
    return Cause(
        fault=fault, title=title, wrong="", right="", explanation="", explained=1, observed=1
    )


# The status.


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([], Status.CORRECT),
        ([finding(DZ, Outcome.NOT_APPLICABLE)], Status.CORRECT),
        ([wrong(DZ)], Status.INCORRECT),
        ([raising(DZ)], Status.INCORRECT),
        ([wrong(STABLE)], Status.UNSTABLE),
        ([raising(STABLE)], Status.INCORRECT),
        ([finding(STABLE, Outcome.FAIL, failure="timeout")], Status.INCORRECT),
        ([finding(STABLE, Outcome.FAIL, failure="slept")], Status.INCORRECT),
        ([absent(DZ)], Status.INCOMPLETE),
        ([late(DZ)], Status.INCOMPLETE),
        ([finding(DZ, Outcome.NOT_RUN)], Status.INCOMPLETE),
        ([broken(DZ)], Status.UNGRADED),
        # One outweighs the next.
        ([wrong(DZ), broken(SHIFT), absent(AGREES), wrong(STABLE)], Status.INCORRECT),
        ([broken(SHIFT), absent(AGREES), wrong(STABLE)], Status.UNGRADED),
        ([absent(AGREES), wrong(STABLE)], Status.INCOMPLETE),
        ([late(AGREES), wrong(DZ)], Status.INCORRECT),
    ],
)
def test_what_a_submission_is(others: Sequence[Finding], expected: Status) -> None:
    assert expected == status([found(*others)], missing_main=False)


def test_without_its_main_part_a_submission_is_incomplete_at_best() -> None:
    assert Status.INCOMPLETE == status([found(of=SPATIAL, main=False)], missing_main=True)
    spoiled = found(wrong(DZ), of=SPATIAL, main=False)
    assert Status.INCORRECT == status([spoiled], missing_main=True)
    only = [found(of=SPATIAL, main=False)]
    assert Status.INCOMPLETE == score(COURSE, COURSE.parts, only).status
    assert Status.CORRECT == score(COURSE, COURSE.parts, [*only, found()]).status


@pytest.mark.parametrize(
    ("required", "main", "missing", "expected"),
    [
        (True, True, absent, Status.INCOMPLETE),
        (True, False, absent, Status.CORRECT),
        (False, True, absent, Status.CORRECT),
        (False, False, absent, Status.CORRECT),
        (False, False, late, Status.INCOMPLETE),
        (True, False, late, Status.INCOMPLETE),
    ],
)
def test_only_what_is_asked_for_must_be_there_but_all_must_be_finished(
    required: bool, main: bool, missing: Callable[[str], Finding], expected: Status
) -> None:
    of = MAIN if required else SPATIAL
    assert expected == status([found(missing(DZ), of=of, main=main)], missing_main=False)


def test_a_failure_in_any_part_counts() -> None:
    spatial = found(wrong(DZ), of=SPATIAL, main=False)
    assert Status.INCORRECT == status([found(), spatial], missing_main=False)
    assert Status.INCORRECT == status([spatial, found()], missing_main=False)


# The sentence.


def said(*examined: PartFindings) -> str:
    """Return the sentence for the status that the findings have."""
    missing = not any(each.main for each in examined)
    return summary(status(examined, missing_main=missing), examined, COURSE.parts)


def test_all_hold() -> None:
    few = [finding(DZ, examples=77), finding(SHIFT, Outcome.NOT_APPLICABLE, examples=0)]
    count = len(PROPERTIES) - 1
    assert f"All {count} properties hold, on up to 77 cases each." == said(found(*few))


def test_what_is_missing_is_named_once() -> None:
    text = "Not implemented: backward is missing. What is implemented holds."
    assert text == said(found(absent(DZ), absent(SHIFT)))
    three = found(absent(AGREES, "b"), absent(SHIFT, "a"), absent(DZ, "b"))
    assert "Not implemented: b; a. What is implemented holds." == said(three)


def test_nothing_is_there_yet() -> None:
    nothing = found(*(absent(prop.id) for prop in PROPERTIES))
    text = "Nothing that could be checked is implemented yet: backward is missing."
    assert text == said(nothing)


def test_a_missing_main_part_is_named_by_all_its_names() -> None:
    names = "batchnorm_forward or batchnorm_backward"
    text = f"Not implemented: the file does not define {names}. What is implemented holds."
    assert text == said(found(of=SPATIAL, main=False))


def test_the_time_was_up() -> None:
    text = "Not finished: the time is up. Nothing that was asked in time is wrong."
    assert text == said(found(late(DZ)))
    nothing = found(*(late(prop.id) for prop in PROPERTIES))
    assert text == said(nothing)


def test_the_grader_failed() -> None:
    two = found(broken(DZ, "it broke"), broken(AGREES, "so did this"))
    assert f"Not graded: {AGREES}: so did this." == said(two)


def test_an_exception_is_told_as_it_is() -> None:
    assert "Train raises." == said(found(raising(AGREES), causes=[cause("f", "γ is left out")]))


@pytest.mark.parametrize("failure", get_args(Failure))
def test_a_record_says_how_a_call_failed(failure: Failure) -> None:
    outcome = Outcome.NOT_RUN if failure in UNANSWERED else Outcome.FAIL
    others = finding(DZ, outcome, failure=failure), wrong(AGREES)
    rows = {each.id: each for each in score(COURSE, COURSE.parts, [found(*others)]).properties}
    assert failure == rows[DZ].failure
    assert rows[AGREES].failure is None, "a number is wrong"
    assert rows[SHIFT].failure is None


def test_a_loss_of_accuracy_is_told_as_that() -> None:
    assert f"Right, but it loses accuracy: {NUMBER}." == said(found(wrong(STABLE)))
    text = "Right, but it loses accuracy: the sum runs over all."
    assert text == said(found(wrong(STABLE), causes=[cause("f", "the sum runs over all")]))
    two = [cause("f", "the sum runs over all"), cause("g", "the sum is squared")]
    assert f"Right, but it loses accuracy: {NUMBER}." == said(found(wrong(STABLE), causes=two))


def test_a_known_mistake_is_named() -> None:
    one = [cause("f", "the variance is divided by B − 1")]
    assert "The variance is divided by B − 1." == said(found(wrong(DZ), causes=one))


def test_several_known_mistakes_are_named_up_to_three() -> None:
    causes = [cause(letter, f"mistake {letter}") for letter in "abcd"]
    text = "Either of these explains it: mistake a; or mistake b; or mistake c."
    assert text == said(found(wrong(DZ), causes=causes))
    text = "Either of these explains it: mistake a; or mistake b."
    assert text == said(found(wrong(DZ), causes=causes[:2]))


def test_an_unknown_mistake_is_told_by_the_property_that_fails() -> None:
    dz = "The gradient dz is not the sum of its direct route and those through σ² and through μ."
    assert f"{dz} Here {NUMBER}." == said(found(wrong(DZ)))
    beta = "dβ is not the upstream gradient summed over the batch."
    assert f"{beta} Here {NUMBER}." == said(found(wrong("backward.beta_gradient")))


def test_the_root_is_told_and_not_what_it_blocks() -> None:
    message = "the root"
    blocked = {prop.id for prop in PROPERTIES if AGREES in prop.presupposes}
    several = found(*(wrong(id_, "blocked") for id_ in blocked), wrong(AGREES, message))
    reverse = dict(reversed(several.findings.items()))
    for each in (several, PartFindings(MAIN, True, reverse, {}, ())):
        assert f"{told(AGREES)} Here {message}." == said(each)


def test_a_wrong_number_is_told_before_an_inaccurate_one_wherever_they_stand() -> None:
    inaccurate = found(wrong(STABLE, "inaccurate"))
    spatial = found(wrong(DZ, "wrong"), of=SPATIAL, main=False)
    text = f"{SPATIAL.title}: {told(DZ)} Here wrong."
    assert text == said(inaccurate, spatial)
    assert text == said(spatial, inaccurate)


def test_of_two_roots_the_first_is_told() -> None:
    both = found(wrong("backward.beta_gradient", "β"), wrong("running.mean_recurrence", "μ"))
    assert said(both).endswith("Here β.")


@pytest.mark.parametrize(
    ("each", "text"),
    [
        (raising(DZ), f"{SPATIAL.title}: Train raises."),
        (wrong(STABLE), f"{SPATIAL.title}: Right, but it loses accuracy: {NUMBER}."),
    ],
)
def test_another_part_is_named(each: Finding, text: str) -> None:
    assert text == said(found(), found(each, of=SPATIAL, main=False))


def test_another_parts_mistakes_are_its_own() -> None:
    one, two = cause("f", "one"), cause("g", "two")
    each = found(wrong(DZ), of=SPATIAL, main=False, causes=[one])
    assert f"{SPATIAL.title}: One." == said(found(), each)
    each = found(wrong(DZ), of=SPATIAL, main=False, causes=[one, two])
    assert f"{SPATIAL.title}: Either of these explains it: one; or two." == said(found(), each)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("train raises", "Train raises."),
        ("a layer is shared", "A layer is shared."),
        ("a γ is shared", "A γ is shared."),
        ("it ends.", "It ends."),
        ("γ is left out", "γ is left out."),
        ("s is √σ²", "s is √σ²."),
        ("running_mean is None", "running_mean is None."),
        ("the running_mean is None", "The running_mean is None."),
        ("ε is added", "ε is added."),
        ("dγ is None", "dγ is None."),
    ],
)
def test_a_clause_becomes_a_sentence_but_a_symbol_stays(message: str, text: str) -> None:
    assert text == said(found(raising(AGREES, message)))


# All of it.


def test_a_mistake_that_costs_nothing_is_said_to_cost_nothing() -> None:
    generous = COURSE.model_copy(update={"otherwise": 0.0})

    def sentence(*findings: Finding) -> str:
        return score(generous, COURSE.parts, [found(*findings)]).summary

    free = " It costs no points in this course."
    assert FREE not in COURSE.points
    assert sentence(wrong(FREE)).endswith(f"Here {NUMBER}.{free}")
    assert free not in sentence(wrong(AGREES))
    assert free not in sentence()


def test_nobody_whose_required_part_is_wrong_has_full_points() -> None:
    scored = score(COURSE, COURSE.parts, [found(wrong(FREE))])
    assert COURSE.max_score - 1 == scored.points
    row = next(each for each in scored.properties if each.id == FREE)
    assert (1.0, FREE) == (row.penalty, row.charged_to)
    assert not scored.optional


def test_where_only_an_optional_part_is_wrong_it_is_said() -> None:
    optional = SPATIAL.model_copy(update={"required": False})
    scored = score(COURSE, COURSE.parts, [found(), found(wrong(DZ), of=optional, main=False)])
    assert scored.optional
    assert scored.summary.startswith("An optional part is wrong. ")
    assert COURSE.max_score == scored.points


def test_the_causes_of_all_parts_are_listed_once_each() -> None:
    one, again, two = cause("f", "one"), cause("f", "one, again"), cause("g", "two")
    examined = [
        found(wrong(DZ), causes=[one]),
        found(wrong(DZ), of=SPATIAL, main=False, causes=[again, two]),
    ]
    assert ["f", "g"] == [each.fault for each in score(COURSE, COURSE.parts, examined).causes]
