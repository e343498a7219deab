"""`check`, `grade`, the plugin and the API say the same of every fixture."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from bn_grading import api
from bn_grading.pytest_items import Subject
from bn_properties.records import Outcome, Results, SubmissionResult
from bn_reports.formats.results_json import read_results

pytestmark = pytest.mark.once
FIXTURES = Path(__file__).parents[2] / "fixtures"
SCRIPT = Path(sysconfig.get_path("scripts")) / "bnoracle"
EXAMPLES = 11
"""Each way asks the same; how much is not the matter here."""

FOLDERS = ("correct", "buggy", "unstable", "incomplete", "unusable")
PATHS = sorted(
    path
    for folder in FOLDERS
    for path in (*FIXTURES.glob(f"{folder}/*.py"), *FIXTURES.glob(f"torch/{folder}/*.py"))
    if path.parent.parent.name != "torch" or find_spec("torch") is not None
)


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Grade all fixtures with the command line, in two jobs."""
    folder = tmp_path_factory.mktemp("graded")
    command = [str(SCRIPT), "grade", *map(str, PATHS), "--examples", str(EXAMPLES), "--jobs", "2"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)
    return read_results(folder / "bnoracle-report" / "results.json")


def told(result: SubmissionResult) -> dict[str, object]:
    """Return what a record says, but for what differs from run to run."""
    return result.model_dump(mode="json", exclude={"id", "seconds", "path"})


@lru_cache(maxsize=None)
def checked(path: Path) -> SubmissionResult:
    return api.check(str(path), examples=EXAMPLES)


def test_grade_and_the_api_give_the_same_records(graded: Results) -> None:
    records = {Path(each.path): each for each in graded.submissions}
    assert set(PATHS) == set(records)
    for path in PATHS:
        assert told(checked(path)) == told(records[path]), path


def outcome(subject: Subject, name: str) -> str:
    """Return how pytest would see an item."""
    try:
        subject.settle(name)
    except pytest.skip.Exception:
        return "skipped"
    except pytest.xfail.Exception:
        return "xfailed"
    except (pytest.fail.Exception, AssertionError):
        return "failed"
    return "passed"


IN_PYTEST = {
    Outcome.PASS: "passed",
    Outcome.FAIL: "failed",
    Outcome.ERROR: "failed",
    Outcome.BLOCKED: "xfailed",
    Outcome.NOT_RUN: "failed",
    Outcome.NOT_APPLICABLE: "skipped",
}


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_the_plugin_agrees(path: Path) -> None:
    record = checked(path)
    if not record.properties:
        with pytest.raises(ValueError, match=r".") as refused:
            Subject(str(path), "auto", seed=0, examples=EXAMPLES, search=False)
        assert str(refused.value) in record.summary
        return
    subject = Subject(str(path), "auto", seed=0, examples=EXAMPLES, search=False)
    try:
        for each in record.properties:
            if each.id not in subject.items:
                assert Outcome.NOT_APPLICABLE is each.status
                continue
            optional = not subject.items[each.id].part.required and each.examples == 0
            missing = each.status is Outcome.NOT_RUN and optional
            expected = "skipped" if missing else IN_PYTEST[each.status]
            assert expected == outcome(subject, each.id), each.id
    finally:
        subject.close()


@pytest.mark.parametrize("path", PATHS[:: len(PATHS) // 6], ids=lambda path: path.stem)
def test_check_agrees(path: Path, tmp_path: Path) -> None:
    script = (
        "import json, sys; from bn_grading import cli; "
        "cli.submission_report = lambda result: print(result.model_dump_json()) or ''; "
        "cli.app(sys.argv[1:])"
    )
    command = [sys.executable, "-c", script, "check", str(path), "--examples", str(EXAMPLES)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    said = SubmissionResult.model_validate(json.loads(done.stdout.splitlines()[0]))
    assert told(checked(path)) == told(said)
    assert done.returncode == (0 if said.status == "correct" else 1)
