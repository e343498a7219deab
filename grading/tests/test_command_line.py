"""The console script, as it is installed, started in an empty folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from importlib.util import find_spec
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from bn_grading.courses.model import built_in
from bn_grading.subject.levels import chosen
from bn_properties.case_errors import unpacked
from bn_reports.formats.results_json import read_results

SCRIPT = Path(sysconfig.get_path("scripts")) / "bnoracle"
GOOD = "correct/cmu_handout.py"
BAD = "buggy/cmu_root_plus_eps.py"
UNISOLATED = "--allow-unisolated"
"""Where nothing can keep submissions apart, these tests are run all the same."""


def run(*arguments: object, cwd: Path, columns: int = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SCRIPT), *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, "COLUMNS": str(columns)},
    )


def test_grade_writes_the_table_the_pages_and_the_records(
    tmp_path: Path, fixtures_folder: Path
) -> None:
    done = run("grade", fixtures_folder / GOOD, fixtures_folder / BAD, UNISOLATED, cwd=tmp_path)
    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.index("cmu_root_plus_eps") < done.stdout.index("cmu_handout")
    report = tmp_path / "bnoracle-report"
    assert (report / "index.html").is_file()
    assert 2 == len(list((report / "submissions").glob("*.html")))
    assert {"index.html", "results.json", "submissions"} == {path.name for path in report.iterdir()}
    results = read_results(report / "results.json")
    assert [("cmu_handout", "correct"), ("cmu_root_plus_eps", "incorrect")] == [
        (submission.id, submission.status) for submission in results.submissions
    ]
    right, wrong = results.submissions
    level = chosen("auto").value
    assert (0, 100, level) == (results.seed, results.examples, results.isolation)
    course = built_in()["cmu-hw1p1"]
    for each in (right, wrong):
        assert each.basis is not None
        assert each.basis.environment == results.environment
        assert (course.sha256, level) == (each.basis.course_sha256, each.basis.isolation)
        assert each.basis.runtime == f"NumPy {np.__version__}"
    (cause,) = wrong.causes
    assert cause.points == wrong.max_score - wrong.score > 0
    for row in wrong.properties:
        lost = row.max_points - row.points
        assert row.cause == (cause.fault if row.status in ("fail", "blocked") else None)
        assert not lost or row.cause
        errors = unpacked(row.case_errors) if row.case_errors else {}
        assert row.examples == len(errors)
        if row.status == "pass":
            assert max(errors.values()) == pytest.approx(row.error_over_bound, rel=0.1, abs=1e-14)
        if row.status == "fail":
            assert max(errors.values()) > 1.0
    schema = json.loads(run("schema", cwd=tmp_path).stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads((report / "results.json").read_text("utf-8")), schema)


def test_the_cache_is_shown_and_cleared(
    tmp_path: Path, fixtures_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "kept"
    monkeypatch.setenv("BNORACLE_CACHE_DIR", str(folder))
    assert f"{folder}: 0 files, 0.0 MiB\n" == run("cache", cwd=tmp_path).stdout
    first = run("check", fixtures_folder / GOOD, "--examples", 11, cwd=tmp_path)
    assert 0 == first.returncode
    held = run("cache", cwd=tmp_path).stdout
    assert re.fullmatch(rf"{re.escape(str(folder))}: [23] files, \d+\.\d MiB\n", held)
    assert held.replace(": ", ": deleted ") == run("cache", "--clear", cwd=tmp_path).stdout
    assert [] == list(folder.iterdir())
    monkeypatch.setenv("BNORACLE_CACHE_DIR", "")
    refused = run("cache", cwd=tmp_path)
    assert (2, "") == (refused.returncode, refused.stdout)
    assert "BNORACLE_CACHE_DIR is empty" in refused.stderr


def test_results_of_other_versions_are_warned_of(tmp_path: Path, fixtures_folder: Path) -> None:
    first = run("grade", fixtures_folder / GOOD, "--examples", 11, UNISOLATED, cwd=tmp_path)
    assert "" == first.stderr
    path = tmp_path / "bnoracle-report" / "results.json"
    content = json.loads(path.read_text("utf-8"))
    content["environment"]["numpy"] = "1.0"
    path.write_text(json.dumps(content), "utf-8")
    second = run("grade", fixtures_folder / GOOD, "--examples", 11, UNISOLATED, cwd=tmp_path)
    assert 0 == second.returncode
    assert "made with numpy 1.0" in second.stderr


def test_check_shows_the_counterexample_and_the_cause(
    tmp_path: Path, fixtures_folder: Path
) -> None:
    done = run("check", fixtures_folder / BAD, cwd=tmp_path)
    assert (1, "") == (done.returncode, done.stderr)
    for text in ("incorrect", "expected", "got", "√"):
        assert text in done.stdout
    assert [] == list(tmp_path.iterdir()), "check leaves nothing behind"


def test_the_readme_shows_a_real_report(tmp_path: Path, fixtures_folder: Path) -> None:
    readme = (fixtures_folder.parent / "README.md").read_text("utf-8")
    shown = readme.split("```text\n")[1].split("```")[0].rstrip().splitlines()
    done = run("check", fixtures_folder / BAD, cwd=tmp_path, columns=80)
    assert shown == [line.rstrip() for line in done.stdout.splitlines()][: len(shown)]


def test_check_of_a_correct_file_ends_with_zero(tmp_path: Path, fixtures_folder: Path) -> None:
    done = run("check", fixtures_folder / GOOD, cwd=tmp_path)
    assert (0, "") == (done.returncode, done.stderr)
    assert "correct" in done.stdout


@pytest.mark.torch
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_torch_itself_is_correct(tmp_path: Path, axes: int) -> None:
    done = run("check", f"torch.nn.BatchNorm{axes}d", cwd=tmp_path)
    assert (0, "") == (done.returncode, done.stderr)
    assert "20/20" in done.stdout


@pytest.mark.skipif(find_spec("torch") is not None, reason="PyTorch is installed")
def test_a_torch_module_without_torch_is_not_graded_and_says_so(
    tmp_path: Path, fixtures_folder: Path
) -> None:
    done = run("grade", fixtures_folder / "torch/correct", fixtures_folder / GOOD, cwd=tmp_path)
    assert 3 == done.returncode
    results = read_results(tmp_path / "bnoracle-report" / "results.json")
    said = [str(submission.status) for submission in results.submissions]
    modules = list((fixtures_folder / "torch/correct").glob("*.py"))
    assert [*["ungraded" for _ in modules], "correct"] == said
    assert "needs PyTorch" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["check", "missing.py"], "missing.py does not exist"),
        (["check", "nomodule.Foo"], "no module nomodule to import"),
        (["grade", "missing"], "missing does not exist"),
        (["grade", "empty"], "empty holds no .py file"),
        (["check", "one.py", "--course", "nowhere"], "there is no course 'nowhere'"),
        (["check", "one.py", "--course", "gone.toml"], "gone.toml cannot be read"),
        (["check", "one.py", "--course", "broken.toml"], "broken.toml is not TOML"),
        (["check", "one.py", "--course", "wrong.toml"], "wrong.toml is wrong: "),
        (["check", "one.py", "--examples", "0"], "--examples"),
        (["grade", "one.py", "--seed", "-1"], "--seed"),
        (["grade", "one.py", "--jobs", "many"], "--jobs is 'many'"),
        (["grade", "one.py", "--out", "one.py"], "--out one.py is a file"),
        (["grade", "one.py", "--isolation", "none"], "--allow-unisolated grades them all the same"),
        (
            ["grade", "one.py", "--isolation", "most"],
            "--isolation is 'most', but must be auto",
        ),
        (
            ["check", "one.py", "--isolation", "most"],
            "--isolation is 'most', but must be auto",
        ),
        (["nothing"], "nothing"),
        (["check", "one.py", "--no-such"], "--no-such"),
    ],
)
def test_wrong_usage_is_one_clear_line_and_two(
    tmp_path: Path, arguments: list[str], expected: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "one.py").write_text("x = 1\n")
    (tmp_path / "broken.toml").write_text("id = \n")
    (tmp_path / "wrong.toml").write_text('id = "x"\n')
    done = run(*arguments, cwd=tmp_path)
    assert 2 == done.returncode
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert "" == done.stdout


def test_the_class_survives_a_submission_that_exits_hangs_or_floods(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    base = "class BatchNorm1d:\n    def __init__(self, c, alpha=0.9):\n        {}\n"
    (work / "dies.py").write_text("import os\n" + base.format("os._exit(0)"))
    (work / "hangs.py").write_text(base.format("\n        while True: pass"))
    (work / "floods.py").write_text(base.format("print('x' * 5_000_000)"))
    done = run("grade", "work", "--examples", 11, UNISOLATED, cwd=tmp_path)
    assert 0 == done.returncode, done.stderr
    results = read_results(tmp_path / "bnoracle-report" / "results.json")
    said = {submission.id: submission for submission in results.submissions}
    assert {"unusable"} == {str(submission.status) for submission in said.values()}
    assert "exit status 0" in said["dies"].summary
    assert "longer than 2 s" in said["hangs"].summary
    assert "1 MiB" in said["floods"].summary


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_ctrl_c_keeps_what_was_graded(tmp_path: Path, fixtures_folder: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    shutil.copy(fixtures_folder / GOOD, work / "a_good.py")
    (work / "b_slow.py").write_text("import time\ntime.sleep(60)\nclass BatchNorm1d: pass\n")
    # Where the tests run in the background, SIGINT is ignored, and a child would inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [str(SCRIPT), "grade", "work", "--jobs", "1", UNISOLATED],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    signal.signal(signal.SIGINT, before)
    written = tmp_path / "bnoracle-report" / "results" / "a_good.json"
    deadline = time.monotonic() + 120
    while not written.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert 130 == process.returncode
    assert "interrupted" in stderr
    assert "Traceback" not in stderr
    assert written.exists()
