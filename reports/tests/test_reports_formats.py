"""The formats on hand-made records: what is shown, what is escaped, what reads back."""

from __future__ import annotations

import io
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from bn_properties.record_types import ArrayRecord
from bn_properties.records import (
    Call,
    Cause,
    Comparison,
    Counterexample,
    Environment,
    Outcome,
    PropertyResult,
    Results,
    Status,
    SubmissionResult,
    Tool,
    json_schema,
)
from bn_reports.formats.results_json import as_text, read_results, read_submission, write_results
from bn_reports.html.pages import class_page, page_name, submission_page, write_html
from bn_reports.terminal.class_report import class_report
from bn_reports.terminal.submission import submission_report
from rich.console import Console, RenderableType

HOSTILE = "<script>alert('x')</script>{{7*7}}[red]&amp;\x1b[31m\x00\u202e"
"""Markup for HTML, Jinja, rich and the terminal in one string."""


def record(values: Any, dtype: str = "float64") -> ArrayRecord:
    return ArrayRecord.of(np.array(values, dtype))


def backward(hostile: str = "") -> Counterexample:
    """A wrong gradient of the input, between rounding's bounds in one cell."""
    got, expected = np.array([[0.5, -1.0], [0.5, 1.0]]), np.array([[0.0, -1.0], [1e-9, 1.0]])
    bound = np.full((2, 2), 1e-12)
    z = record([[1.0, 2.0], [3.0, -0.1]])
    call = Call(
        call="train" + hostile,
        inputs={"z" + hostile: z, "gamma": record([1, 1]), "eps": 1e-5},
        got={"y": record([[-1.0, np.nan], [1.0, np.inf]])},
        expected={"y": record([[-1.0, 1.0], [1.0, -1.0]])},
        bound={"y": ArrayRecord.of(bound)},
        intermediates={"mean": record([2.0, 0.95]), "s": record([1.000005, 1.05])},
    )
    last = Call(
        call="backward",
        inputs={"dy": record([[1, 0], [0, 1]], "int64")},
        got={"dz": ArrayRecord.of(got), "dgamma": record([0.1, 0.2, 0.3])},
        expected={
            "dz": ArrayRecord.of(expected),
            "dgamma": record([0.1, 0.2]),
            "dbeta": record([1, 1]),
        },
        bound={"dz": ArrayRecord.of(bound)},
        intermediates={},
        error="ValueError: " + hostile if hostile else None,
    )
    comparison = Comparison(
        quantity="dz" + hostile,
        got=ArrayRecord.of(got),
        expected=ArrayRecord.of(expected),
        bound=ArrayRecord.of(bound),
        worst_index=(0, 0),
        absolute_error=0.5,
        relative_error=np.inf,
        error_over_bound=5e11,
    )
    return Counterexample(seed=7, case=3, regime="plain", calls=(call, last), comparison=comparison)


def prop(name: str, status: Outcome, **changes: Any) -> PropertyResult:
    passed = status is Outcome.PASS
    fields: dict[str, Any] = {
        "id": name,
        "part": "main",
        "title": f"The statement of {name} holds.",
        "equation": r"\sum_{i=1}^{N} \frac{\partial L}{\partial z_{ij}} = 0",
        "status": status,
        "points": 2.0 if passed else 0.0,
        "max_points": 2.0,
        "examples": 100,
        "message": "" if passed else "the results differ",
        "error_over_bound": 0.25 if passed else None,
    }
    return PropertyResult(**(fields | changes))


def submission(name: str, status: Status, **changes: Any) -> SubmissionResult:
    fields: dict[str, Any] = {
        "id": name,
        "path": f"{name}.py",
        "sha256": "0" * 64,
        "course": "demo",
        "status": status,
        "score": 4.0,
        "max_score": 10.0,
        "seconds": 1.5,
        "summary": f"The finding on {name}.",
    }
    return SubmissionResult(**(fields | changes))


def failing(name: str, hostile: str = "") -> SubmissionResult:
    cause = Cause(
        fault="no_mean_path",
        title="The gradient through the mean is missing" + hostile,
        wrong=r"dz = \frac{\gamma}{s}\,dy",
        right=r"dz = \frac{\gamma}{N s}\left(N\,dy - \sum_i dy_i\right)",
        explanation="The mean depends on every row." + hostile,
        explained=118,
        observed=118,
    )
    four = np.arange(2 * 12 * 3 * 9, dtype=np.float32).reshape(2, 12, 3, 9)
    nchw = Counterexample(
        seed=7,
        case=9,
        regime="large",
        calls=(
            Call(
                call="infer",
                inputs={"z": ArrayRecord.of(four)},
                got={"y": ArrayRecord.of(four)},
                expected={"y": ArrayRecord.of(four + 1)},
                bound={},
                intermediates={},
            ),
        ),
        comparison=None,
    )
    properties = (
        prop("forward.mean", Outcome.PASS),
        prop("forward.variance", Outcome.PASS, equation=r"\frac{"),
        prop(
            "backward.sum",
            Outcome.FAIL,
            title="The gradient of the input sums to zero over the batch." + hostile,
            message="dz[0, 0] = 0.5, but should be 0.0" + hostile,
            error_over_bound=5e11,
            counterexample=backward(hostile),
        ),
        prop("backward.jacobian", Outcome.BLOCKED, blocked_by="backward.sum"),
        prop("backward.chain", Outcome.BLOCKED, blocked_by="backward.jacobian"),
        prop("inference.shape", Outcome.FAIL, counterexample=nchw),
        prop("inference.fold", Outcome.ERROR, message="the oracle met a bug" + hostile),
        prop("conv/inference.nchw", Outcome.NOT_RUN, part="conv"),
        prop("stability.large", Outcome.NOT_APPLICABLE),
    )
    return submission(
        name,
        Status.INCORRECT,
        causes=(cause,),
        properties=properties,
        summary="The forward pass is right; the backward pass is wrong." + hostile,
        output="hello\n" + hostile,
    )


def run(*submissions: SubmissionResult) -> Results:
    return Results(
        tool=Tool(version="0.1.0"),
        environment=Environment(python="3.12", numpy="2.2", hypothesis="6.130", platform="Linux"),
        seed=7,
        examples=100,
        isolation="process",
        submissions=submissions,
    )


VOID = {"wbr", "meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """A page taken apart; refuses tags that are not closed in order."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words = ""
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attrs)
        assert not [name for name in given if name.startswith("on")]
        self.ids += [given["id"] or ""] if "id" in given else []
        self.links += [given["href"] or ""] if "href" in given else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def printed(content: RenderableType, width: int = 80, colour: bool = False) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, force_terminal=colour, color_system=None).print(content)
    return stream.getvalue()


EVERYTHING = run(
    submission("ada", Status.CORRECT, score=10, properties=(prop("a.b", Outcome.PASS),)),
    failing("bob"),
    failing("evil/" + HOSTILE, HOSTILE),
    *(submission(f"one-{each}", each) for each in Status),
)
EVIL = EVERYTHING.submissions[2]


def pages(results: Results) -> list[str]:
    return [class_page(results), *(submission_page(s, results) for s in results.submissions)]


@pytest.mark.parametrize("source", pages(EVERYTHING) + pages(run()))
def test_pages_are_well_formed_and_stand_alone(source: str) -> None:
    """Tags balance, ids differ, links lead to a place on the page or to a submission's page."""
    page = Page(source)
    assert {"html", "main", "header", "footer", "h1"} <= set(page.tags)
    assert set() == {"link", "img", "iframe", "object"} & set(page.tags)
    assert len(set(page.ids)) == len(page.ids)
    for link in page.links:
        assert link.startswith("submissions/") or link == "results.csv" or link[1:] in page.ids
    assert "content=\"default-src 'none'; style-src 'sha256-" in source
    assert "unsafe" not in source


@pytest.mark.parametrize("source", [class_page(EVERYTHING), submission_page(EVIL, EVERYTHING)])
def test_what_a_student_writes_is_shown_and_does_nothing(source: str) -> None:
    shown = "<script>alert('x')</script>{{7*7}}[red]&amp;\\x1b[31m\\x00\\u202e"
    assert shown in Page(source).words
    assert not {"\x1b", "\x00", "\u202e"} & set(source)


def test_the_root_failure_is_open_and_what_it_blocks_is_folded_under_it() -> None:
    source = submission_page(EVERYTHING.submissions[1], EVERYTHING)
    opened, closed = source.index(" open>"), source.index("2 more properties cannot hold")
    assert source.count(" open>") == 1
    assert opened < source.index("dz[0, 0] = 0.5") < closed < source.index("backward.chain</code>")
    others = source.index("inference.shape</code>", closed)
    assert others < source.index("could not be judged")


def test_the_page_shows_wrong_cells_shapes_and_the_cut() -> None:
    source = submission_page(EVERYTHING.submissions[1], EVERYTHING)
    words = " ".join(Page(source).words.split())
    assert "≠ wrong: 0.5" in words
    assert "+5e+11" in words
    assert "Another shape: got shape (3,), expected shape (2,)" in words
    assert "shown: 2 of 24 tables, each [0:3, 0:8]; the full shape is (2, 12, 3, 9)" in words
    assert "The worst of y" in words
    assert "Explains 118 of 118 observed outputs" in words
    assert "<mfrac>" in source


def test_every_id_has_its_own_page(tmp_path: Path) -> None:
    ids = ["a/b", "a-b", "a b", "A-B", "..", "", "/", "é", "e", "x" * 500, "x" * 501, HOSTILE]
    results = run(*(submission(name, Status.CORRECT) for name in ids))
    index = write_html(results, tmp_path / "out")
    written = {path.name for path in (tmp_path / "out" / "submissions").iterdir()}
    assert tmp_path / "out" / "index.html" == index
    assert {page_name(name) for name in ids} == written
    assert len(ids) == len({name.casefold() for name in written})
    assert all(name.isascii() and len(name) < 80 and name[0] != "." for name in written)
    links = Page(index.read_text("utf-8")).links
    assert written == {Path(link).name for link in links if link.startswith("submissions/")}
    assert (tmp_path / "out" / "results.csv").is_file()


def test_two_submissions_of_one_id_are_refused() -> None:
    with pytest.raises(ValueError, match="submission id 'ada'"):
        run(submission("ada", Status.CORRECT), submission("ada", Status.CORRECT))


def test_the_class_is_worst_first_on_its_page() -> None:
    order = [f"one-{each}" for each in Status]
    page = class_page(EVERYTHING).replace("<wbr>", "")
    assert order == sorted(order, key=page[page.index('id="list"') :].index)


def test_terminal_is_bare_text_that_fits_and_wraps() -> None:
    reports = [class_report(EVERYTHING)]
    for each in EVERYTHING.submissions:
        reports += [submission_report(each), submission_report(each, everything=True)]
    for report in reports:
        for colour in (False, True):
            text = printed(report, colour=colour)
            assert not {"\x00", "\u202e"} & set(text)
            assert "\x1b[31m" not in text
        for width in (40, 80, 120):
            lines = printed(report, width).splitlines()
            assert all(len(line) <= width for line in lines)
            assert [] == [line for line in lines if line != line.rstrip()]
    assert "[red]" in printed(submission_report(EVIL), width=400)


def test_empty_class() -> None:
    assert "There are no submissions" in class_page(run())
    assert "no submissions" in printed(class_report(run()))


def test_what_results_have_in_common_stands_once_and_is_read_back(tmp_path: Path) -> None:
    alike = prop("training.agreement", Outcome.PASS)
    others = (
        alike.model_copy(update={"examples": 0, "max_points": 0.0, "title": "", "equation": "x"}),
        alike.model_copy(update={"part": "another", "status": Outcome.NOT_RUN}),
        alike,
    )
    whole = run(
        submission("first", Status.CORRECT, properties=(alike,)),
        *(
            submission(f"n{number}", Status.CORRECT, properties=(each,))
            for number, each in enumerate(others)
        ),
    )
    write_results(whole, tmp_path / "results.json")
    assert whole == read_results(tmp_path / "results.json")
    text = (tmp_path / "results.json").read_text("utf-8")
    assert 1 == text.count(alike.title)
    assert 5 == len(text.splitlines()) - 1, "a line each, and the head"
    jsonschema.validate(json.loads(text), json_schema())


def test_json_reads_back_bit_for_bit_and_is_strict(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.json"
    write_results(EVERYTHING, path)
    (tmp_path / "one.json").write_text(as_text(EVIL), "utf-8")

    def refuse(word: str) -> None:
        raise AssertionError(word)

    text = path.read_text("utf-8")
    json.loads(text, parse_constant=refuse)
    again = read_results(path)
    assert EVERYTHING.model_dump_json() == again.model_dump_json()
    example = again.submissions[1].properties[2].counterexample
    assert example is not None
    got = example.calls[0].got["y"].array()
    assert np.array([[-1.0, np.nan], [1.0, np.inf]]).tobytes() == got.tobytes()
    one = read_submission(tmp_path / "one.json")
    assert EVIL.model_dump_json() == one.model_dump_json()
    assert [path] == list(path.parent.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "results.json").mkdir()
    with pytest.raises(OSError, match=r"results\.json"):
        write_results(run(), tmp_path / "results.json")
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


GOOD = json.loads(run(submission("ada", Status.CORRECT)).model_dump_json())


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ("{", "content: "),
        ("\udcff", "content: "),
        (json.dumps(GOOD | {"seed": "x"}), "seed: "),
        (json.dumps(GOOD | {"more": 1}), "more: "),
        (json.dumps(GOOD | {"schema_version": "two"}), "schema_version: "),
        (json.dumps(GOOD | {"schema_version": 1}), "it has schema_version 1, .* an older one"),
        (json.dumps({"schema_version": 1, "anything": []}), "it has schema_version 1, .* older"),
        (json.dumps(GOOD | {"schema_version": 2}), "it has schema_version 2, .* an older one"),
        (json.dumps(GOOD | {"schema_version": 4}), "it has schema_version 4, .* a newer one"),
        (json.dumps(GOOD | {"common": {"a.b": 1}}), "common.a.b: "),
        (json.dumps(GOOD | {"common": [1]}), "common: "),
        (json.dumps(GOOD | {"common": {"a.b": {"status": "fine"}}}), "common.a.b.status: "),
        (
            json.dumps(GOOD | {"submissions": [GOOD["submissions"][0] | {"status": "fine"}]}),
            "submissions.0.status: ",
        ),
    ],
)
def test_bad_json_is_refused_by_file_and_field(content: str, field: str, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(content, "utf-8", errors="surrogateescape")
    with pytest.raises(ValueError, match=rf"results\.json: {field}"):
        read_results(path)


def test_page_and_terminal_say_what_is_optional_noted_or_special() -> None:
    told = submission(
        "s",
        Status.INCORRECT,
        optional=True,
        notes=("uses np.product, which NumPy has removed: write np.prod",),
        properties=[prop("training.agreement", Outcome.FAIL, only="batches of one")],
    )
    results = EVERYTHING.model_copy(update={"submissions": (told,)})
    shown_all = submission_report(told, everything=True)
    page, text = submission_page(told, results), printed(shown_all, width=200)
    for shown in (page, text):
        assert "in an optional part" in shown
        assert "uses np.product, which NumPy has removed: write np.prod." in shown
        assert "only for batches of one" in shown
