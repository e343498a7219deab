"""What the API returns shows itself in a notebook; and the example notebook runs."""

from __future__ import annotations

import json
import pickle
from html.parser import HTMLParser
from pathlib import Path

import pytest
from bn_grading.api import check
from bn_properties.records import Results, Status, SubmissionResult
from bn_reports.formats.results_json import as_text, read_submission
from bn_reports.notebook import ShownSubmission, shown, shown_results

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"
HOSTILE = "<script>alert('x')</script>{{7*7}}{0}\x1b[31m\u202e"


class Fragment(HTMLParser):
    """A piece of HTML taken apart; refuses tags that are not closed in order."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.words = ""
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not [name for name, _ in attrs if name.startswith("on") or name in ("src", "href")]
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.fixture(scope="module")
def wrong() -> ShownSubmission:
    return check(str(ROOT / "fixtures" / "buggy" / "cmu_root_plus_eps.py"), examples=11)


def test_a_record_shows_verdict_cause_and_example(wrong: ShownSubmission) -> None:
    page = Fragment(wrong._repr_html_())
    for words in ("✗ incorrect", "16/20 points", "It should be", "Line 20", "1. construct"):
        assert words in page.words
    assert {"math", "details", "pre"} <= set(page.tags)


def test_it_is_a_record_in_all_else(wrong: ShownSubmission, tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_text(as_text(wrong), "utf-8")
    read = read_submission(path)
    assert type(read) is SubmissionResult
    assert read == wrong == read == shown(read)
    assert wrong != read.model_copy(update={"score": 0.0})
    assert wrong == pickle.loads(pickle.dumps(wrong))
    assert read.model_dump_json() == wrong.model_dump_json()


def test_what_a_student_writes_does_nothing(wrong: ShownSubmission) -> None:
    cause = wrong.causes[0].model_copy(
        update={"explanation": HOSTILE, "wrong": HOSTILE, "right": r"\text{<b>}"}
    )
    evil = wrong.model_copy(update={"id": HOSTILE, "summary": HOSTILE, "causes": (cause,)})
    results = _results(evil)
    for source in (evil._repr_html_(), shown_results(results)._repr_html_()):
        page = Fragment(source)
        assert not {"script", "b"} & set(page.tags)
        assert not {"\x1b", "\u202e"} & set(source)
        assert "<script>" in page.words
        assert "\\x1b[31m\\u202e" in page.words


def _results(*submissions: SubmissionResult) -> Results:
    basis = submissions[0].basis
    assert basis is not None
    return Results.model_validate(
        {
            "tool": {"version": "0"},
            "environment": basis.environment,
            "seed": 0,
            "examples": 11,
            "isolation": "none",
            "submissions": submissions,
        }
    )


def test_a_class_shows_a_line_a_submission_and_each_shows_itself(wrong: ShownSubmission) -> None:
    results = shown_results(_results(wrong))
    assert "1 incorrect" in results._repr_html_()
    assert isinstance(results.submissions[0], ShownSubmission)
    assert results == _results(wrong) == results
    assert Status.INCORRECT == results.submissions[0].status


def test_the_example_notebook_holds_no_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_example_notebook_runs() -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}
    )
    client.execute()
    outputs = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    first, second, third, last = (each[-1].data for each in outputs)
    assert "1. construct" in first["text/html"]
    assert "'root-plus-eps" in second["text/plain"]
    assert "array" in third["text/plain"]
    assert "1 incorrect, 1 correct" in last["text/html"]
