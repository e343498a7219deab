"""`check`, `grade`, the plugin and the API say the same of every fixture.

`BNORACLE_AGREEMENT=all` asks about every fixture; without it, about one in eleven.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import pytest
from bn_evidence.wrong_files import WrongFile, wrong_files
from bn_grading import api
from bn_grading.pytest_items import Subject
from bn_properties.records import Outcome, SubmissionResult
from bn_reports.formats.results_json import read_results

pytestmark = pytest.mark.once
FIXTURES = Path(__file__).parents[2] / "fixtures"
SCRIPT = Path(sysconfig.get_path("scripts")) / "bnoracle"
EXAMPLES = 11
"""Each way asks the same; how much is not the matter here."""

LECTURE = FIXTURES / "courses" / "lecture"
FOLDERS = ("correct", "buggy", "unstable", "incomplete", "unusable")
TORCH = find_spec("torch") is not None
EVERY: dict[str, Path | WrongFile] = {
    **{
        path.relative_to(FIXTURES).as_posix(): path
        for path in sorted(FIXTURES.rglob("*.py"))
        if path.parent.name in FOLDERS and (TORCH or path.parent.parent.name != "torch")
    },
    **{
        (folder / "mistakes" / wrong.name).relative_to(FIXTURES).as_posix(): wrong
        for folder in (FIXTURES, LECTURE)
        for wrong in wrong_files(folder)
    },
}
"""Every fixture, by the key of its record: a file, or what one is made of."""
ONE_IN = 1 if os.environ.get("BNORACLE_AGREEMENT") == "all" else 11
FILES = {key: EVERY[key] for key in list(EVERY)[::ONE_IN]}


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the path of every fixture; what is not there is made."""
    folder = tmp_path_factory.mktemp("made")
    return {
        key: each if isinstance(each, Path) else each.write(folder) for key, each in FILES.items()
    }


def course(key: str) -> str:
    return str(LECTURE.with_suffix(".toml")) if key.startswith("courses/lecture/") else "auto"


@pytest.fixture(scope="module")
def graded(
    paths: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, SubmissionResult]:
    """Grade all fixtures with the command line, in two jobs."""
    found: dict[str, SubmissionResult] = {}
    keys = {str(path): key for key, path in paths.items()}
    for name in ("auto", course("courses/lecture/")):
        folder = tmp_path_factory.mktemp("graded")
        files = [path for path, key in keys.items() if course(key) == name]
        options = ["--course", name, "--examples", str(EXAMPLES), "--jobs", "2"]
        command = [str(SCRIPT), "grade", "--allow-unisolated", *files, *options]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert 0 == done.returncode, done.stderr
        assert all(" graded, " in line for line in done.stderr.splitlines()), done.stderr
        results = read_results(folder / "bnoracle-report" / "results.json")
        found |= {keys[each.path]: each for each in results.submissions}
    return found


def told(result: SubmissionResult) -> dict[str, object]:
    """Return what a record says, but for what differs from run to run, printed text too."""
    fields = result.model_dump(mode="json", exclude={"id", "seconds", "graded", "memory", "path"})
    return {**fields, "output": bool(result.output)}


_checked: dict[str, SubmissionResult] = {}


def checked(key: str, path: Path) -> SubmissionResult:
    """Check a fixture by the API, once."""
    if key not in _checked:
        _checked[key] = api.check(str(path), course=course(key), examples=EXAMPLES)
    return _checked[key]


def test_grade_and_the_api_give_the_same_records(
    paths: dict[str, Path], graded: dict[str, SubmissionResult]
) -> None:
    assert set(FILES) == set(graded)
    for key, path in paths.items():
        assert told(checked(key, path)) == told(graded[key]), key


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


@pytest.mark.parametrize("key", FILES)
def test_the_plugin_agrees(key: str, paths: dict[str, Path]) -> None:
    path = paths[key]
    record = checked(key, path)
    if not record.properties:
        with pytest.raises(ValueError, match=r".") as refused:
            Subject(str(path), course(key), seed=0, examples=EXAMPLES, search=False)
        assert str(refused.value) in record.summary
        return
    subject = Subject(str(path), course(key), seed=0, examples=EXAMPLES, search=False)
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


@pytest.mark.parametrize("key", list(FILES)[:: 1 if ONE_IN == 1 else len(FILES) // 6])
def test_check_agrees(key: str, paths: dict[str, Path], tmp_path: Path) -> None:
    script = (
        "import sys; from bn_grading import cli; "
        "cli.submission_report = lambda result, everything: print(result.model_dump_json()) or ''; "
        "cli.app(sys.argv[1:])"
    )
    options = ["--course", course(key), "--examples", str(EXAMPLES)]
    command = [sys.executable, "-c", script, "check", str(paths[key]), *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    said = SubmissionResult.model_validate_json(done.stdout.splitlines()[0])
    assert told(checked(key, paths[key])) == told(said)
    assert done.returncode == (0 if said.status == "correct" else 1)
