"""`report` makes the pages again from the records alone, and `compare` tells two runs apart."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from bn_grading.classroom.folder import MARK
from bn_reports.formats.results_csv import COLUMNS
from bn_reports.formats.results_json import read_results
from bn_reports.views.incidents import CRASH, TAMPERING, incidents

pytestmark = pytest.mark.once

SCRIPT = Path(sysconfig.get_path("scripts")) / "bnoracle"
CLASS = (
    "correct/cmu_handout.py",
    "buggy/cmu_root_plus_eps.py",
    "unusable/syntax_error.py",
    "hostile/segfault.py",
    "hostile/exit_in_call.py",
)


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SCRIPT), *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=240,
        check=False,
        env={**os.environ, "COLUMNS": "120", "PYTHONIOENCODING": "utf-8"},
    )


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory, fixtures_folder: Path) -> Path:
    """A report of a class of five."""
    folder = tmp_path_factory.mktemp("graded")
    paths = [fixtures_folder / name for name in CLASS]
    options = ("--examples", 11, "--allow-unisolated", "--course", "cmu-hw1p1")
    done = run("grade", *paths, *options, cwd=folder)
    assert (0, "") == (done.returncode, done.stderr)
    return folder / "bnoracle-report"


@pytest.fixture
def report(graded: Path, tmp_path: Path) -> Path:
    """The same on another machine: a copy of the folder alone."""
    return Path(shutil.copytree(graded, tmp_path / "report"))


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def test_a_report_is_made_again_to_the_byte_and_nothing_is_graded(report: Path) -> None:
    before = content(report)
    for path in report.rglob("*.html"):
        path.write_text("old", "utf-8")
    (report / "results.csv").unlink()
    done = run("report", report.name, cwd=report.parent)
    assert (0, "", f"{Path('report', 'index.html')}\n") == (
        done.returncode,
        done.stderr,
        done.stdout,
    )
    assert before == content(report)


def test_a_report_can_be_made_of_the_records_alone(report: Path) -> None:
    work = report.parent / "work"
    work.mkdir()
    shutil.copy(report / "results.json", work / "mailed.json")
    done = run("report", "mailed.json", "--out", "new", cwd=work)
    assert (0, "") == (done.returncode, done.stderr)
    assert content(report) == content(work / "new")
    assert (work / "new" / MARK).is_file()


def test_a_page_of_nobody_in_the_records_goes_and_what_is_not_ours_stays(report: Path) -> None:
    path = report / "results.json"
    records = json.loads(path.read_text("utf-8"))
    records["submissions"].pop(0)
    path.write_text(json.dumps(records), "utf-8")
    (report / "submissions" / "notes.html").write_text("mine", "utf-8")
    assert 0 == run("report", report, cwd=report.parent).returncode
    assert len(CLASS) - 1 + 1 == len(list((report / "submissions").iterdir()))
    assert "mine" == (report / "submissions" / "notes.html").read_text("utf-8")


def test_a_folder_without_our_mark_is_refused(report: Path) -> None:
    (report / MARK).unlink()
    before = content(report)
    done = run("report", report, cwd=report.parent)
    assert (2, "") == (done.returncode, done.stdout)
    assert "holds files, but no report of bnoracle's" in done.stderr
    forced = run("report", report, "--force", cwd=report.parent)
    assert 2 == forced.returncode
    assert "is not bnoracle's, and would be replaced" in forced.stderr
    assert before == content(report)


@pytest.mark.parametrize("command", [("report", "none"), ("compare", "none", "report")])
def test_records_that_are_not_there_or_are_none_are_named(
    report: Path, command: tuple[str, ...]
) -> None:
    done = run(*command, cwd=report.parent)
    assert (2, "") == (done.returncode, done.stdout)
    assert "bnoracle: none is not there" in done.stderr
    (report.parent / "none").mkdir()
    done = run(*command, cwd=report.parent)
    assert f"bnoracle: {Path('none', 'results.json')} is not there" in done.stderr
    (report.parent / "none" / "results.json").write_text("{}", "utf-8")
    done = run(*command, cwd=report.parent)
    assert 2 == done.returncode
    assert 1 == len(done.stderr.splitlines())


def test_the_csv_has_a_row_each(graded: Path) -> None:
    with (graded / "results.csv").open(encoding="utf-8-sig", newline="") as file:
        head, *rows = csv.reader(file)
    assert list(COLUMNS) == head
    assert [
        ("cmu_handout", "correct", ""),
        ("cmu_root_plus_eps", "incorrect", "root-plus-eps"),
    ] == [(row[0], row[1], row[5]) for row in rows[:2]]
    assert len(CLASS) == len(rows)


@pytest.mark.skipif(sys.platform == "win32", reason="a crash is told otherwise there")
def test_a_crash_is_told_apart_from_what_ends_its_process(graded: Path) -> None:
    found = incidents(read_results(graded / "results.json"))
    kinds = {each.kind: [submission.id for submission, _ in each.found] for each in found}
    assert ["segfault"] == kinds[CRASH]
    assert ["exit_in_call"] == kinds[TAMPERING]


def test_markdown_is_printed_and_nothing_is_written(report: Path) -> None:
    before = content(report)
    done = run("report", report, "--markdown", cwd=report.parent)
    assert 0 == done.returncode
    assert done.stdout.startswith("### 5 submissions: 1 unusable, 3 incorrect, 1 correct\n")
    assert "| `cmu_root_plus_eps` | ✗ incorrect |" in done.stdout
    assert before == content(report)


def test_one_submission_is_checked_for_a_comment(fixtures_folder: Path, tmp_path: Path) -> None:
    path = fixtures_folder / "buggy" / "cmu_root_plus_eps.py"
    done = run("check", path, "--markdown", "--examples", 11, cwd=tmp_path)
    assert (1, "") == (done.returncode, done.stderr)
    assert done.stdout.startswith("### ✗ `cmu_root_plus_eps`: incorrect")
    assert "**Likely cause:**" in done.stdout


def test_two_runs_are_compared_and_the_exit_code_says_whether_something_broke(
    report: Path,
) -> None:
    same = run("compare", report, report, cwd=report.parent)
    assert (0, "0 worse, 0 better, 5 unchanged\n") == (same.returncode, same.stdout)
    right, wrong = read_results(report / "results.json").submissions[:2]
    worse = report.parent / "worse.json"
    records = json.loads((report / "results.json").read_text("utf-8"))
    records["submissions"][0] |= {
        key: records["submissions"][1][key]
        for key in ("status", "score", "summary", "properties", "causes")
    }
    worse.write_text(json.dumps(records), "utf-8")
    broke = run("compare", report, worse, cwd=report.parent)
    assert (1, "") == (broke.returncode, broke.stderr)
    assert f"{right.id}: correct → incorrect, {right.score:g} → {wrong.score:g} of" in broke.stdout
    assert "broke: training.agreement" in broke.stdout
    mended = run("compare", worse, report, "--markdown", cwd=report.parent)
    assert 0 == mended.returncode
    assert mended.stdout.startswith("### ✓ 0 worse, 1 better, 4 unchanged\n")
