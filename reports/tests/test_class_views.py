"""What is counted of a class: mistakes, pass rates, the matrix, incidents, scores and times."""

from __future__ import annotations

from typing import Any

import pytest
from bn_properties.records import SubmissionResult
from bn_reports.html.pages import class_page
from bn_reports.views import class_overview, incidents
from bn_reports.views.cause_groups import cause_groups
from bn_reports.views.incidents import CRASH, GRADER, LATE, RAISED, TAMPERING, UNUSABLE
from bn_reports.views.matrix import matrix
from bn_reports.views.pass_rates import pass_rates


def names(members: tuple[SubmissionResult, ...]) -> str:
    return " ".join(each.id for each in members)


def test_mistakes_are_grouped_and_the_most_frequent_is_first(make: Any) -> None:
    eps, mean = make.cause("eps", "eps outside"), make.cause("mean")
    both = make.cause(
        "mean + eps", "the mistake mean; and ε outside", r"w \qquad w2", r"r \qquad r"
    )
    results = make.run(
        make.submission("ada", causes=(mean,)),
        make.submission("bob", causes=(eps,)),
        make.submission("cem", causes=(eps, make.cause("other"))),
        make.submission("dan", causes=(both,)),
        make.submission("eve", "correct"),
    )
    groups = cause_groups(results)
    assert [("eps", "bob cem dan"), ("mean", "ada dan"), ("other", "cem")] == [
        (group.key, names(group.members)) for group in groups
    ]
    assert "eps outside" == groups[0].title, "as it is told where it is alone"
    assert ("w", "r", False) == (groups[0].wrong, groups[0].right, groups[0].alike)
    assert groups[1].alike
    assert all(group.named for group in groups)


def test_a_cause_that_cannot_be_taken_apart_is_one(make: Any) -> None:
    odd = make.cause("a + b", "one; and two; and three")
    (group,) = cause_groups(make.run(make.submission("ada", causes=(odd,))))
    assert ("a + b", "one; and two; and three") == (group.key, group.title)


def test_without_a_cause_the_first_property_of_its_own_counts(make: Any) -> None:
    failed = make.properties(first="blocked", second="fail", third="fail")
    raised = (make.property("f.first", "fail", failure="raised"), *failed[1:])
    shape = (make.property("f.second", "fail", failure="unusable_result"),)
    results = make.run(
        make.submission("ada", properties=failed),
        make.submission("bob", properties=raised),
        make.submission("cem", properties=shape),
        make.submission("dan", "incomplete", properties=make.properties(first="not_run")),
        make.submission("eve", properties=failed, causes=(make.cause("eps"),)),
    )
    found = [(group.key, group.named, names(group.members)) for group in cause_groups(results)]
    assert [("f.second", False, "ada cem"), ("eps", True, "eve")] == found


def test_what_follows_from_another_failure_is_not_counted_as_one(make: Any) -> None:
    statuses = [
        {"own": "fail", "follows": "blocked", "holds": "pass", "odd": "not_applicable"},
        {"own": "pass", "follows": "blocked", "holds": "error", "odd": "not_applicable"},
        {"own": "not_run", "follows": "pass", "holds": "not_applicable"},
    ]
    results = make.run(
        *(
            make.submission(str(i), properties=make.properties(**each))
            for i, each in enumerate(statuses)
        )
    )
    own, follows, holds = pass_rates(results)
    assert ("f.own", 1, 0, 1, 1, 0.5) == (
        own.id,
        own.failed,
        own.following,
        own.passed,
        own.unjudged,
        own.share,
    )
    assert ("f.follows", 0, 2, 1, 1.0) == (
        follows.id,
        follows.failed,
        follows.following,
        follows.judged,
        follows.share,
    )
    assert ("f.holds", 1, 1, 2) == (holds.id, holds.passed, holds.unjudged, holds.asked)


def test_the_matrix_has_a_character_a_property_and_none_for_what_applies_to_nobody(
    make: Any,
) -> None:
    ada = (
        make.property("f.a", "not_applicable"),
        make.property("f.b", "fail"),
        make.property("f.c", "blocked"),
        make.property("f.d", "blocked"),
        make.property("f.never", "not_applicable"),
        make.property("g.a", "pass"),
        make.property("two/f.a", "error"),
    )
    bob = (make.property("f.a", "pass"), make.property("g.a", "not_run"))
    found = matrix(
        make.run(
            make.submission("bob", "correct", properties=bob),
            make.submission("ada", properties=ada),
            make.submission("none", "unusable"),
        )
    )
    assert [("", "f", ("a", "b", "c", "d")), ("", "g", ("a",)), ("two", "f", ("a",))] == [
        (each.part, each.family, each.labels) for each in found.columns
    ]
    assert (("", 2), ("two", 1)) == found.parts
    assert ["ada", "bob"] == [row.submission.id for row in found.rows]
    assert (((" ", ""), ("×", "b"), ("~~", "i")), ((".", ""),), (("!", "u"),)) == found.rows[
        0
    ].families
    assert (((".", ""), ("   ", "")), (("o", ""),), ()) == found.rows[1].families


def test_what_looks_alike_stands_together_below_its_status(make: Any) -> None:
    def of(name: str, status: str, a: str, b: str) -> SubmissionResult:
        found: SubmissionResult = make.submission(
            name, status, properties=make.properties(a=a, b=b)
        )
        return found

    found = matrix(
        make.run(
            of("a", "correct", "pass", "pass"),
            of("b", "incorrect", "fail", "pass"),
            of("c", "incorrect", "pass", "fail"),
            of("d", "incorrect", "fail", "pass"),
        )
    )
    assert "c b d a" == names(tuple(row.submission for row in found.rows))


@pytest.mark.parametrize(
    ("failure", "message", "kind"),
    [
        ("died", "train crashes its process (SIGSEGV)", CRASH),
        ("died", "the submission does not load again: it raises", CRASH),
        ("died", "train ends its process (exit status 0)", TAMPERING),
        ("died", "train kills its process (SIGKILL)", TAMPERING),
        ("died", "train prints more than 1 MiB", TAMPERING),
        ("died", "train disturbs the pipe to the grader: no header", TAMPERING),
        ("died", "the reply holds no out", TAMPERING),
        ("timeout", "train takes longer than 2 s", LATE),
        ("slept", "train takes longer than 2 s", LATE),
        ("raised", "train raises: ValueError: it crashes its process", RAISED),
        ("unusable_result", "out has shape (1,)", None),
        (None, "out is wrong", None),
    ],
)
def test_calls_that_end_badly_are_told_apart(
    make: Any, failure: str | None, message: str, kind: incidents.Kind | None
) -> None:
    failed = make.property("f.a", "fail", failure=failure, message=message)
    again = make.property("f.b", "fail", failure=failure, message=f"later, {message}")
    found = incidents.incidents(make.run(make.submission("ada", properties=(failed, again))))
    assert [(kind, [message])] * (kind is not None) == [
        (each.kind, [text for _, text in each.found]) for each in found
    ]


def test_grader_errors_and_files_that_do_not_load_are_told_apart(make: Any) -> None:
    late = make.property("f.b", "not_run", failure="unfinished", message="the time is up")
    raised = make.property("f.b", "fail", failure="raised", message="later than a wrong number")
    results = make.run(
        make.submission("grader", "ungraded"),
        make.submission("file", "unusable"),
        make.submission("error", properties=make.properties(a="error")),
        make.submission("late", "incomplete", properties=(late,)),
        make.submission("wrong", properties=(make.property("f.a", "fail"), raised)),
        make.submission("missing", "incomplete", properties=make.properties(a="not_run")),
    )
    found = {each.kind: [s.id for s, _ in each.found] for each in incidents.incidents(results)}
    assert {GRADER: ["grader", "error"], UNUSABLE: ["file"], LATE: ["late"]} == found


def test_scores_are_counted_by_tenths_and_full_ones_apart(make: Any) -> None:
    def scored(score: float, most: float = 10.0, status: str = "incorrect") -> Any:
        name = f"{score} {most} {status}"
        return make.submission(name, status, score=score, max_score=most)

    tenths = sum([0.1] * 7) * 10  # rounding leaves it below 7
    results = make.run(
        *map(scored, (0.0, 0.99, 1.0, 9.99, 10.0, tenths)),
        scored(20.0, 20.0),
        scored(0.0, 0.0),
        scored(0.0, status="ungraded"),
    )
    bins = class_overview.histogram(results)
    assert ["0–9", "10–19", "90–99", "100"] == [bins[i].label for i in (0, 1, 9, 10)]
    assert [2, 1, 0, 0, 0, 0, 0, 1, 0, 1, 2] == [each.count for each in bins]


def test_who_takes_much_longer_than_most_is_told(make: Any) -> None:
    def timed(*seconds: float) -> Any:
        return make.run(*(make.submission(str(each), seconds=each) for each in seconds))

    usual = [1 + i / 10 for i in range(10)]
    assert () == class_overview.slow(timed(*usual[:6], 30.0)).found, "too few"
    found = class_overview.slow(timed(9.0, *usual, 30.0))
    assert "30.0 9.0" == names(found.found)
    assert 1.55 == pytest.approx(found.usual)
    even = [1 + i / 1000 for i in range(20)]
    assert () == class_overview.slow(timed(*even, 1.9)).found, "not twice what is usual"


def test_whose_process_held_much_more_memory_than_most_is_told(make: Any) -> None:
    usual = [make.submission(f"u{mib}", memory=mib) for mib in range(40, 50)]
    greedy = make.submission("greedy", memory=900)
    unknown = make.submission("unknown", memory=None)
    found = class_overview.large(make.run(*usual, greedy, unknown))
    assert ("greedy", 45.0) == (names(found.found), found.usual)
    page = class_page(make.run(*usual, greedy, unknown))
    assert "Unusually much memory: 1" in page
    assert "900 MiB" in page
