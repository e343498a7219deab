"""CSV that computes nothing, and Markdown in which what a student wrote does nothing."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import pytest
from bn_properties.records import Results
from bn_reports.formats.markdown import (
    MOST,
    changes_comment,
    class_comment,
    code,
    submission_comment,
    text,
)
from bn_reports.formats.results_csv import COLUMNS, as_csv, text_cell
from bn_reports.text.visible import one_line
from bn_reports.views.changes import changes
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

FORMULA = "=+-@\t\r＝＋－＠"
OURS = {"<!-- -->", "<br>", "<details>", "<summary>", "</summary>", "</details>"}


def rows(source: str, delimiter: str = ",", quoting: Any = csv.QUOTE_MINIMAL) -> list[list[str]]:
    assert source.startswith("\ufeff")
    stream = io.StringIO(source.removeprefix("\ufeff"), newline="")
    return list(csv.reader(stream, delimiter=delimiter, quoting=quoting))


def test_csv_has_a_row_a_submission(make: Any) -> None:
    causes = (make.cause("eps"), make.cause("mean"))
    results = make.run(
        make.submission("ada", "correct", score=10.0, seconds=0.12345, summary='Fine, "all".'),
        make.submission("bob", causes=causes),
        pending=("cem",),
    )
    head, ada, bob, cem = rows(as_csv(results))
    assert list(COLUMNS) == head
    assert ["ada", "correct", "10.0", "10.0", 'Fine, "all".', "", "0.123"] == ada
    assert ["bob", "incorrect", "4.0", "10.0", "The finding on bob.", "eps, mean", "1.500"] == bob
    assert ["cem", "pending", "", "", "", "", ""] == cem


@given(
    st.text(st.sampled_from(FORMULA + "\n\"';|, a1\x00\u202e")) | st.text(),
    st.sampled_from([(",", csv.QUOTE_MINIMAL), (";", csv.QUOTE_MINIMAL), (";", csv.QUOTE_NONE)]),
)
def test_no_cell_is_a_formula_however_it_is_read(
    make: Any, hostile: str, read: tuple[str, Any]
) -> None:
    """A spreadsheet may expect semicolons, and may know no quotes."""
    results: Results = make.run(
        make.submission(f"x{hostile}", summary=hostile, causes=(make.cause(hostile),)),
        make.submission(hostile),
    )
    source = as_csv(results)
    delimiter, quoting = read
    for row in rows(source, delimiter, quoting):
        for cell in row:
            assert cell.strip()[:1] not in list(FORMULA)
    assert 3 == len(source.splitlines())


@pytest.mark.parametrize(
    ("written", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("\t@SUM(1)", "'@SUM(1)"),
        ("\r=1", "\\r=1"),
        ("a;=1", "a;'=1"),
        ("a - b", "a - b"),
        ("x = 1", "x = 1"),
        ("smith_john", "smith_john"),
    ],
)
def test_only_what_would_be_computed_is_changed(written: str, cell: str) -> None:
    assert cell == text_cell(written)


def parsed(source: str) -> list[Token]:
    """Return all tokens of a Markdown text, those in lines, too."""
    found = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(source)
    return [each for token in found for each in (token, *(token.children or ()))]


def said(source: str) -> str:
    return "".join(each.content for each in parsed(source) if each.type in ("text", "code_inline"))


@given(st.text(st.sampled_from("\\`*_[]()<>#+-.!|~$:@ &;wW1a/\n=")) | st.text())
def test_text_and_code_read_as_they_are_and_do_nothing(hostile: str) -> None:
    for source in (text(hostile), f"x {text(hostile)}", code(hostile)):
        tokens = parsed(source)
        assert {each.type for each in tokens} <= {
            "paragraph_open",
            "paragraph_close",
            "inline",
            "text",
            "text_special",
            "code_inline",
            "html_inline",
        }
        assert {each.content for each in tokens if each.type == "html_inline"} <= {"<!-- -->"}
    if len(hostile) < 300:
        shown = "".join(e.content for e in parsed("x " + text(hostile)) if e.type == "text")
        assert f"x {one_line(hostile)}".strip() == shown.strip()


def test_a_mention_a_reference_and_an_address_are_taken_apart() -> None:
    assert "@<!-- -->all" in text("@all")
    assert "#<!-- -->1" in text("#1")
    assert "http\\://e.vil www\\.e.vil" in text("http://e.vil www.e.vil")


def comments(make: Any) -> list[str]:
    evil = make.submission(
        make.hostile,
        summary=make.hostile,
        notes=(make.hostile,),
        causes=(make.cause("eps", make.hostile, make.hostile, make.hostile),),
        properties=(make.property("f.a", "fail", message=make.hostile, title=make.hostile),),
    )
    right = make.submission(
        make.hostile, "correct", score=10.0, properties=make.properties(a="pass")
    )
    gone = make.submission(f"{make.hostile}2")
    before, after = make.run(right, gone), make.run(evil, make.submission(f"{make.hostile}3"))
    return [
        submission_comment(evil),
        class_comment(make.run(evil, gone)),
        changes_comment(changes(before, after)),
    ]


def test_what_a_student_writes_does_nothing_in_a_comment(make: Any) -> None:
    for source in comments(make):
        tokens = parsed(source)
        assert not [each for each in tokens if each.type in ("link_open", "image", "hr")]
        markup = [each.content for each in tokens if each.type.startswith("html_")]
        assert {tag for each in markup for tag in re.findall(r"<[^>]*>", each)} <= OURS
        assert not {"\x1b", "\x00", "\u202e"} & set(source)
        for row in re.findall(r"^\|.*$", source, re.MULTILINE):
            assert row.startswith("| ")
            assert row.endswith(" |")


def test_a_table_has_as_many_cells_as_heads(make: Any) -> None:
    for source in comments(make):
        types = [each.type for each in parsed(source)]
        heads, cells = types.count("th_open"), types.count("td_open")
        assert cells % heads == 0 or types.count("table_open") > 1
        assert "tr_open" in types


def test_a_comment_names_the_mistake_and_where_it_is(make: Any) -> None:
    cause = make.cause("eps", "ε outside the root", r"\sqrt{v} + e", r"\sqrt{v + e}")
    failed = make.properties(a="fail", b="blocked", c="pass")
    source = submission_comment(make.submission("ada", causes=(cause,), properties=failed))
    assert "### ✗ `ada`: incorrect, 4 of 10 points" in source
    assert "**Likely cause:** ε outside the root. It matters." in source
    assert "- It computes `√v + e`" in source
    assert "1 property fails, and 1 more because of that" in source
    assert "f.c" not in source


def test_a_class_is_told_by_its_mistakes_and_cut_where_a_comment_ends(make: Any) -> None:
    eps = make.cause("eps", "ε outside the root")
    long = "x" * 500
    many = [make.submission(f"s{i}", causes=(eps,), summary=long) for i in range(300)]
    source = class_comment(make.run(*many, pending=("late",)))
    assert "- 300: ε outside the root" in source
    assert "1 is not graded yet." in source
    assert len(source) < MOST + 200
    assert source.count("<details>") == source.count("</details>") == 1
    assert "The rest is left out" in source
