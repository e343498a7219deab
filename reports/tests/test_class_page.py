"""The class page: small, its script the only one that its policy allows, names whole."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from bn_properties.records import Outcome
from bn_reports.html.names import LONGEST, breakable
from bn_reports.html.pages import class_page
from bn_reports.text.visible import visible
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup


class Words(HTMLParser):
    """What a page says, without its script and style."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.said: list[str] = []
        self.tags: list[str] = []
        self._inside = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style"):
            self.said.append(data)

    def __str__(self) -> str:
        return " ".join("".join(self.said).split())


def test_the_one_script_is_the_one_that_the_policy_names(make: Any) -> None:
    page = class_page(make.run(make.submission("ada")))
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_a_class_of_a_thousand_is_less_than_a_megabyte(make: Any) -> None:
    """More is wrong than in a real class: all have a cause, and a row of the matrix 25 runs."""
    outcomes = ["pass", "pass", "fail", "blocked", "pass", "not_applicable"]
    families = ("training", "backward", "inference", "running", "stability", "hygiene", "other")
    titles = "The gradient of the input takes all three routes: through the variance and the mean"
    submissions = []
    for number in range(1000):
        submissions.append(
            make.submission(
                f"van_der_berg_anneliese_{number}_{10**6 + number}_batchnorm",
                causes=(make.cause(f"mistake-{number % 60}", titles, r"\frac{a}{b}"),),
                summary=f"{titles} (lines {number}, {number + 1}).",
                seconds=1.0 + number % 7,
                properties=[
                    make.property(
                        f"{families[i // 18]}.statement_{i:02}",
                        outcomes[(i // 4 + number) % len(outcomes)],
                        title=titles,
                    )
                    for i in range(120)
                ],
            )
        )
    page = class_page(make.run(*submissions))
    assert 300_000 < len(page.encode()) < 1_000_000
    assert all(f"{number:02}</small>" in page for number in range(120))


def test_the_page_says_what_to_teach_again_and_links_to_all_who_need_it(make: Any) -> None:
    eps = make.cause("eps", "ε outside the root")
    many = [make.submission(f"s{i}", causes=(eps,)) for i in range(14)]
    page = class_page(make.run(*many, make.submission("ada", "correct")))
    words = str(Words(page))
    assert "Most frequent mistake, in 14: ε outside the root." in words
    section = page[page.index('id="teach"') : page.index('id="scores"')]
    assert 14 == section.count('<a href="submissions/')
    assert "and 6 more" in section


def test_less_frequent_mistakes_are_folded_not_left_out(make: Any) -> None:
    several = [
        make.submission(f"s{i}{j}", causes=(make.cause(f"mistake{i}"),))
        for i in range(11)
        for j in range(1 + (i < 9))
    ]
    words = str(Words(class_page(make.run(*several))))
    assert "3 less frequent mistakes, in at most 2 submissions each" in words
    assert all(f"the mistake mistake{i}" in words for i in range(11))


def test_outcomes_are_told_by_signs_and_words_and_only_those_that_occur(make: Any) -> None:
    found = [
        make.property(f"f.{status}", status) for status in ("pass", "fail", "blocked", "error")
    ]
    page = class_page(make.run(make.submission("ada", properties=found)))
    legend = page[page.index('class="legend"') : page.index('id="cells"')]
    assert "<b>×</b>" in legend
    assert "fails of itself" in legend
    assert "does not apply" not in legend
    assert "<td>.<b>×</b><i>~</i><u>!</u></td>" in page


def test_what_a_student_writes_does_nothing_on_the_page(make: Any) -> None:
    evil = make.submission(
        make.hostile,
        summary=make.hostile,
        causes=(make.cause(make.hostile, make.hostile, make.hostile, make.hostile),),
        properties=(
            make.property("f.a", "fail", failure="died", message=make.hostile),
            make.property("f.b", "error", message=make.hostile),
        ),
    )
    alike = make.submission(make.hostile + "2", "unusable", summary=make.hostile)
    page = class_page(
        make.run(evil, alike, pending=(f"{make.hostile}3",), similar=((make.hostile, "x"),))
    )
    assert 1 == Words(page).tags.count("script")
    assert not {"\x1b", "\x00", "\u202e"} & set(page)
    assert 8 <= str(Words(page)).count(" ".join(visible(make.hostile).split()))


def test_a_class_in_which_nothing_was_asked_has_no_empty_tables(make: Any) -> None:
    for page in (class_page(make.run()), class_page(make.run(make.submission("a", "ungraded")))):
        for name in ("teach", "scores", "rates", "matrix"):
            assert f'id="{name}"' not in page
            assert f'href="#{name}"' not in page


def test_all_outcomes_have_a_legend() -> None:
    from bn_reports.text.words import LEGEND
    from bn_reports.views.matrix import GLYPHS

    assert set(Outcome) == set(LEGEND) == set(GLYPHS)
    assert len(GLYPHS) == len(set(GLYPHS.values()))


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("smith_john_batchnorm", "smith_john_batchnorm"),
        ("smith_john_12345_678901_batchnorm", "smith_john_12345_678901_|batchnorm"),
        ("a/b-c.py/assignment2/layers.py", "a/b-c.py/assignment2/|layers.py"),
        ("Countess of Lovelace, Ada", "Countess of Lovelace, |Ada"),
        (f"__{'x' * 22}_y", f"__|{'x' * 22}_y"),
        ("x" * 30, f"{'x' * LONGEST}|{'x' * 6}"),
        ("", "(no name)"),
        ("<b>", "&lt;b&gt;"),
    ],
)
def test_names_break_between_words(name: str, parts: str) -> None:
    assert parts.split("|") == breakable(name).split("<wbr>")


@given(st.text())
def test_breaks_change_no_name(name: str) -> None:
    told = breakable(name)
    assert (visible(name) or "(no name)") == Markup(told.replace("<wbr>", "")).unescape()
