"""Pages of real submissions: small enough, with a script that runs, and linked to one another."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from bn_grading.case_bank import CaseBank
from bn_grading.classroom.class_run import Wanted, grade_class
from bn_grading.classroom.ledger import Ledger
from bn_grading.classroom.plan import Plan
from bn_grading.classroom.schedule import Watch
from bn_grading.courses.model import built_in
from bn_grading.intake.paths import collect
from bn_properties.records import Results
from bn_reports.formats.results_json import read_results
from bn_reports.html.pages import page_path
from bn_reports.views.failing import failing

pytestmark = pytest.mark.once

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
PATHS = [
    FIXTURES / "buggy" / f"{name}.py"
    for name in (
        "cmu_mean_route_missing",
        "cmu_root_plus_eps",
        "cs231n_running_variance_unbiased",
        "cs231n_slipped_labels",
        "cs231n_spatial_reshape",
    )
] + [FIXTURES / "hostile" / "broadcast_output.py"]
LARGEST = 300_000
"""Bytes of a page."""


def graded(folder: Path, *only: str) -> Results:
    found = collect([str(path) for path in PATHS])
    bank = CaseBank(0, 33)
    plan = Plan(found.submissions, None, list(built_in().values()), bank)
    ledger = Ledger(folder, [each.id for each in found.submissions])
    return grade_class(plan, ledger, Watch(), Wanted(only)).results


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("class") / "report"
    graded(path)
    return path


def test_no_page_is_large(folder: Path) -> None:
    pages = list((folder / "submissions").iterdir())
    assert len(PATHS) == len(pages)
    assert max(page.stat().st_size for page in pages) < LARGEST


def test_what_fails_is_traced_and_its_script_shows_it(folder: Path) -> None:
    told = {}
    for each in read_results(folder / "results.json").submissions:
        first = failing(each)[0]
        told[each.id] = first.trace.first.symbol if first.trace else ""
        if first.script is None or each.id == "cs231n_running_variance_unbiased":
            continue  # that one imports what is not there
        done = subprocess.run(
            [sys.executable, "-c", first.script],
            cwd=FIXTURES / "buggy", capture_output=True, text=True, check=True,
        )  # fmt: skip
        got, _, expected = done.stdout.partition(", expected:")
        assert got.partition(":")[2].split("\n")[1] != expected.split("\n")[1], each.id
    assert {
        "cmu_mean_route_missing": "dμ",
        "cmu_root_plus_eps": "s",
        "cs231n_running_variance_unbiased": "V′",
        "cs231n_slipped_labels": "dμ",
    }.items() <= told.items()


def links(folder: Path, id_: str) -> tuple[bool, ...]:
    """Which links to neighbours a page has, all of which must lead somewhere."""
    page = folder / page_path(id_)
    source = page.read_text("utf-8")
    found = []
    for rel in ("prev", "next"):
        _, there, rest = source.partition(f'rel="{rel}" href="')
        found.append(bool(there))
        assert not there or (page.parent / rest.partition('"')[0]).is_file()
    assert (page.parent / "../index.html").is_file()
    return tuple(found)


def test_pages_are_linked_in_the_order_of_the_class(folder: Path) -> None:
    ids = [each.id for each in read_results(folder / "results.json").submissions]
    assert (False, True) == links(folder, ids[0])
    assert all((True, True) == links(folder, id_) for id_ in ids[1:-1])
    assert (True, False) == links(folder, ids[-1])


def test_a_page_has_no_link_to_what_a_run_left_out(tmp_path: Path) -> None:
    only = ("cmu_root_plus_eps", "cs231n_slipped_labels")
    graded(tmp_path / "report", *only)
    assert (False, True) == links(tmp_path / "report", only[0])
    assert (True, False) == links(tmp_path / "report", only[1])
    graded(tmp_path / "report")
    assert (True, True) == links(tmp_path / "report", only[0])
