"""Two runs beside each other: what broke, what got better, and what is not the same."""

from __future__ import annotations

import io
from typing import Any

import pytest
from bn_properties.records import Basis
from bn_reports.formats.markdown import changes_comment
from bn_reports.terminal.changes import changes_report
from bn_reports.views.changes import Changes, changes
from rich.console import Console


def printed(found: Changes, width: int = 80) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(changes_report(found))
    return stream.getvalue()


def pair(make: Any, before: dict[str, Any], after: dict[str, Any]) -> Changes:
    """Return the changes of one submission."""
    old, new = ({"status": "incorrect"} | fields for fields in (before, after))
    return changes(make.run(make.submission("ada", **old)), make.run(make.submission("ada", **new)))


@pytest.mark.parametrize(
    ("before", "after", "worse", "better"),
    [
        ("pass", "fail", True, False),
        ("pass", "blocked", True, False),
        ("pass", "error", True, False),
        ("pass", "not_run", True, False),
        ("fail", "pass", False, True),
        ("blocked", "pass", False, True),
        ("not_run", "pass", False, True),
        ("fail", "blocked", False, False),
        ("not_run", "fail", False, False),
        ("pass", "not_applicable", False, False),
        ("not_applicable", "pass", False, False),
        ("not_applicable", "fail", False, False),
        ("pass", "pass", False, False),
    ],
)
def test_a_property_breaks_or_is_mended(
    make: Any, before: str, after: str, worse: bool, better: bool
) -> None:
    found = pair(
        make,
        {"properties": make.properties(a=before)},
        {"properties": make.properties(a=after)},
    )
    assert (worse, better) == (bool(found.worse), bool(found.better))
    of_itself = "blocked" not in (before, after)
    assert ["f.a"] * ((worse or better) and of_itself) == [each.id for each in found.properties]


def test_what_follows_is_counted_and_not_named(make: Any) -> None:
    passed = make.properties(a="pass", b="pass", c="pass")
    failed = make.properties(a="fail", b="blocked", c="blocked")
    found = pair(make, {"properties": passed}, {"properties": failed})
    assert (("f.a",), 2) == (found.worse[0].broke, found.worse[0].following)
    assert "broke: f.a, and 2 that follow\n" in printed(found).replace(" \n", "\n")
    assert "| `f.a`, and 2 that follow |" in changes_comment(found)
    found = pair(make, {"properties": failed}, {"properties": passed})
    assert (("f.a",), 2) == (found.better[0].mended, found.better[0].freed)


@pytest.mark.parametrize(
    ("before", "after", "worse", "better"),
    [
        ({"status": "correct"}, {"status": "unusable"}, True, False),
        ({"status": "incorrect"}, {"status": "unstable"}, False, True),
        ({"score": 4.0}, {"score": 3.5}, True, False),
        ({"score": 4.0}, {"score": 5.0}, False, True),
        ({"score": 4.0, "max_score": 8.0}, {"score": 5.0, "max_score": 10.0}, False, False),
        ({"summary": "x"}, {"summary": "y", "seconds": 9.0}, False, False),
    ],
)
def test_a_status_and_a_score_count_too(
    make: Any, before: dict[str, Any], after: dict[str, Any], worse: bool, better: bool
) -> None:
    found = pair(make, before, after)
    assert (worse, better) == (bool(found.worse), bool(found.better))
    assert int(not worse and not better) == found.unchanged


def test_what_breaks_one_thing_and_mends_another_is_worse(make: Any) -> None:
    found = pair(
        make,
        {"properties": make.properties(a="pass", b="fail")},
        {"properties": make.properties(a="fail", b="pass"), "score": 6.0},
    )
    assert (1, 0) == (len(found.worse), len(found.better))
    assert (("f.a",), ("f.b",)) == (found.worse[0].broke, found.worse[0].mended)


def several(make: Any) -> Changes:
    passed, failed = make.properties(a="pass", b="pass"), make.properties(a="fail", b="pass")
    before = make.run(
        make.submission("ada", "correct", score=10.0, properties=passed),
        make.submission("bob", "correct", score=10.0, properties=passed),
        make.submission("cem", properties=failed),
        make.submission("dan"),
        make.submission("eve"),
    )
    after = make.run(
        make.submission("new"),
        make.submission("ada", properties=failed),
        make.submission("bob", properties=failed),
        make.submission("cem", "correct", score=10.0, properties=passed),
        make.submission("dan"),
        seed=8,
        isolation="none",
    )
    return changes(before, after)


def test_changes_are_told_by_submission_and_property(make: Any) -> None:
    found = several(make)
    assert (("ada", "bob"), ("cem",)) == (found.properties[0].broke, found.properties[0].mended)
    assert (("new",), ("eve",), 1) == (found.added, found.gone, found.unchanged)
    assert ("seed: 7 → 8", "isolation: full → none") == found.conditions


def test_another_course_file_is_told(make: Any) -> None:
    def of(course: str) -> Any:
        fields: dict[str, Any] = {
            "tool": "0.1.0",
            "environment": make.run().environment,
            "runtime": "NumPy 2.2",
            "isolation": "full",
            "seed": 7,
            "examples": 100,
            "cases_sha256": "0" * 64,
            "course_sha256": course * 64,
        }
        basis = Basis(**fields)
        return make.run(make.submission("ada", basis=basis), make.submission("bob"))

    assert () == changes(of("a"), of("a")).conditions
    (told,) = changes(of("a"), of("b")).conditions
    assert "what the course says, of 1 submissions" == told


def test_the_terminal_says_what_broke_last(make: Any) -> None:
    text = printed(several(make))
    assert text.rstrip().endswith("2 worse, 1 better, 1 unchanged, 1 new, 1 gone")
    assert "ada: correct → incorrect, 10 → 4 of 10 points" in text
    assert "f.a broke in 2: ada, bob" in text
    assert "f.a mended in 1: cem" in text
    assert "not the same: seed: 7 → 8" in text
    assert text.index("Better") < text.index("Worse") < text.index("The finding on ada.")
    assert text.index("The finding on ada.") > text.index("cem:")


def test_the_terminal_keeps_its_width_and_obeys_nobody(make: Any) -> None:
    name = f"{make.hostile} {'x' * 200}"
    found = changes(make.run(make.submission(name, "correct")), make.run(make.submission(name)))
    text = printed(found, 40)
    assert all(len(line) <= 40 for line in text.splitlines())
    assert not {"\x1b", "\x00", "\u202e"} & set(text)


def test_markdown_says_the_same(make: Any) -> None:
    source = changes_comment(several(make))
    assert source.startswith("### ✗ 2 worse, 1 better, 1 unchanged, 1 new, 1 gone\n")
    assert (
        "| `ada` | correct → incorrect, 10 → 4 of 10 points<br>The finding on ada. | `f.a` |  |"
        in source
    )
    assert "| `f.a` | 2 | 1 |" in source
    assert "Gone: `eve`" in source
    same = make.run(make.submission("ada"))
    assert "### ✓ 0 worse, 0 better, 1 unchanged\n" == changes_comment(changes(same, same))
