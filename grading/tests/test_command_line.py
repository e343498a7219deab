"""The console script, as it is installed, started in an empty folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from bn_grading import api
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
    lines = done.stdout.splitlines()
    assert ["cmu_handout", "cmu_root_plus_eps"] == [line.split()[0] for line in lines[:2]]
    told = "1 submission:  eps is added to the root in the outputs of both modes"
    assert ["", "What went wrong", told, "", "1 incorrect, 1 correct"] == lines[2:7]
    report = tmp_path / "bnoracle-report"
    assert (report / "index.html").is_file()
    assert 2 == len(list((report / "submissions").glob("*.html")))
    there = {path.name for path in report.iterdir() if not path.name.startswith(".")}
    assert {"index.html", "results.csv", "results.json", "submissions"} == there
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
            assert max(errors.values()) == pytest.approx(row.error_over_bound, rel=0.2, abs=1e-14)
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
    assert "What holds" not in done.stdout
    whole = run("check", fixtures_folder / BAD, "--all", cwd=tmp_path).stdout
    assert whole.index("What to do next") < whole.index("What fails, and what follows from it")
    assert "What holds: running" in whole


@pytest.mark.parametrize(
    "name",
    [
        "buggy/cmu_mean_route_missing",
        "buggy/cs231n_slipped_labels",
        "buggy/cs231n_spatial_flat_view",
        "unstable/cmu_one_pass",
    ],
)
def test_what_is_wrong_fits_on_one_screen(tmp_path: Path, fixtures_folder: Path, name: str) -> None:
    done = run("check", fixtures_folder / f"{name}.py", cwd=tmp_path, columns=80)
    assert 40 >= len(done.stdout.splitlines())
    assert "What to do next" in done.stdout


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
        (["grade", "one.py", "--scheduler", "nowhere:1", UNISOLATED], "--scheduler "),
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


@pytest.mark.once
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


def test_one_of_a_class_is_named_by_its_id(tmp_path: Path, fixtures_folder: Path) -> None:
    paths = [fixtures_folder / GOOD, fixtures_folder / BAD]
    refused = run("grade", *paths, "--only", "cmu_handot", UNISOLATED, cwd=tmp_path)
    assert (2, "") == (refused.returncode, refused.stdout)
    assert "--only cmu_handot: no submission is called so, but cmu_handout" in refused.stderr
    assert [] == list(tmp_path.iterdir())
    options = ("--only", "cmu_handout", "--examples", 11, UNISOLATED)
    done = run("grade", *paths, *options, cwd=tmp_path)
    assert 0 == done.returncode
    assert "1 correct\n1 not graded yet\n" in done.stdout


def test_a_folder_of_somebody_elses_is_refused_and_by_force_nothing_in_it_changes(
    tmp_path: Path, fixtures_folder: Path
) -> None:
    (tmp_path / "out" / "results").mkdir(parents=True)
    mine = tmp_path / "out" / "results" / "cmu_handout.txt"
    mine.write_text("mine")
    options = ("--examples", 11, "--out", "out", UNISOLATED)
    refused = run("grade", fixtures_folder / GOOD, *options, cwd=tmp_path)
    assert (2, "") == (refused.returncode, refused.stdout)
    assert "--out out holds files, but no report of bnoracle's" in refused.stderr
    assert ["results"] == [path.name for path in (tmp_path / "out").iterdir()]
    done = run("grade", fixtures_folder / GOOD, *options, "--force", cwd=tmp_path)
    assert (0, "") == (done.returncode, done.stderr)
    assert "mine" == mine.read_text()
    assert [mine] == list(mine.parent.iterdir())


def test_similar_submissions_are_told(tmp_path: Path, fixtures_folder: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    shutil.copy(fixtures_folder / GOOD, work / "ada.py")
    text = (fixtures_folder / GOOD).read_text("utf-8")
    (work / "bob.py").write_text("# my own work\n" + re.sub(r"\bZ\b", "inputs", text))
    done = run("grade", "work", "--examples", 11, UNISOLATED, cwd=tmp_path)
    assert "similar: ada, bob\n" in done.stdout
    report = tmp_path / "bnoracle-report"
    assert (("ada", "bob"),) == read_results(report / "results.json").similar
    assert "<li>ada, bob</li>" in (report / "index.html").read_text("utf-8")


def test_what_the_grader_does_is_written_down_where_it_is_asked_for(
    tmp_path: Path, fixtures_folder: Path
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    shutil.copy(fixtures_folder / GOOD, work)
    (work / "killer.py").write_text(
        "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nclass BatchNorm1d: pass\n"
    )
    options = ("--examples", 11, "--isolation", "none", UNISOLATED)
    done = run("grade", "work", *options, "--log", "log.txt", cwd=tmp_path)
    assert (3, "") == (done.returncode, done.stderr)
    log = (tmp_path / "log.txt").read_text("utf-8")
    assert "INFO cmu_handout: correct, 20 of 20 points" in log
    assert "WARNING killer: its job process died; it is tried again alone" in log
    assert "DEBUG" not in log
    again = run("grade", "work", *options, "--debug", cwd=tmp_path)
    assert "DEBUG killer: begun" not in again.stdout
    assert "INFO 2 submissions: 1 kept, 1 to grade" in again.stderr
    file = work / "cmu_handout.py"
    before = file.read_bytes()
    refused = run("check", file, "--log", file, cwd=tmp_path)
    assert "cannot be written: it is there, and no log" in refused.stderr
    assert before == file.read_bytes()
    done = run("check", file, "--examples", 11, "--log", tmp_path / "log.txt", cwd=tmp_path)
    assert 0 == done.returncode, "a log goes on"
    if Path("/dev/full").exists():
        done = run("grade", file, *options, "--log", "/dev/full", "--regrade", cwd=tmp_path)
        assert "bnoracle: /dev/full cannot be written: No space left on device\n" == done.stderr
        assert 0 == done.returncode
    refused = run("check", file, "--log", "no/such/log.txt", cwd=tmp_path)
    assert (2, "") == (refused.returncode, refused.stdout)
    assert "--log no/such/log.txt cannot be written: No such file or directory" in refused.stderr


@pytest.mark.once
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_any_encoding_of_the_terminal_will_do(
    tmp_path: Path, fixtures_folder: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    for command in (("check",), ("grade", UNISOLATED)):
        done = subprocess.run(
            [str(SCRIPT), *command, str(fixtures_folder / BAD), "--examples", "11"],
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
        assert b"" == done.stderr
        assert "incorrect" in done.stdout.decode(encoding)


def test_what_an_encoding_lacks_is_spelled_out(
    tmp_path: Path, fixtures_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    shown = run("check", fixtures_folder / BAD, cwd=tmp_path).stdout
    assert "u_i = (z_i - mu_B)/sqrt(sigma_B^2 + eps)" in shown
    assert "?" not in shown


@pytest.mark.skipif(sys.platform == "win32", reason="it has no such terminals")
@pytest.mark.parametrize(
    ("told", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_colour_is_for_terminals_that_want_it(
    tmp_path: Path, fixtures_folder: Path, told: dict[str, str], coloured: bool
) -> None:
    import pty

    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment |= {"TERM": "xterm-256color", **told}
    subprocess.run(
        [str(SCRIPT), "check", str(fixtures_folder / BAD), "--examples", "11"],
        cwd=tmp_path,
        stdout=theirs,
        check=False,
        env=environment,
    )
    shown = os.read(ours, 1 << 16)
    os.close(theirs)
    os.close(ours)
    assert coloured == (b"\x1b[1;31m" in shown)
    assert coloured or not re.search(rb"\x1b\[[\d;]*[34]\d", shown)
    assert b"incorrect" in shown


def test_what_is_piped_has_no_escapes(tmp_path: Path, fixtures_folder: Path) -> None:
    for command in ("check", "grade"):
        options = (UNISOLATED,) if command == "grade" else ()
        done = run(command, fixtures_folder / BAD, "--examples", 11, *options, cwd=tmp_path)
        assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_complete_the_command(tmp_path: Path, shell: str) -> None:
    done = run("completion", shell, cwd=tmp_path)
    assert (0, "") == (done.returncode, done.stderr)
    assert "_BNORACLE_COMPLETE=complete_" + shell in done.stdout
    refused = run("completion", "nosuchshell", cwd=tmp_path)
    assert (2, "") == (refused.returncode, refused.stdout)


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("ch", {"check"}),
        ("check --ex", {"--examples"}),
        ("check --course c", {"cmu-hw1p1", "cs231n"}),
        ("grade --isolation l", {"lockdown"}),
        ("completion f", {"fish"}),
    ],
)
def test_bash_completes(tmp_path: Path, typed: str, found: set[str]) -> None:
    words = ["bnoracle", *typed.split()]
    ask = (
        f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; "
        '_bnoracle_completion bnoracle; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", f'eval "$(bnoracle completion bash)"; {ask}'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{SCRIPT.parent}{os.pathsep}{os.environ['PATH']}"},
    )
    assert ("", found) == (done.stderr, set(done.stdout.split()))


@pytest.mark.skipif(sys.platform == "win32", reason="it has no shell like that")
@pytest.mark.parametrize(
    ("stdout", "code", "stderr"),
    [
        (">&-", 0, ""),
        (">/dev/full", 3, "bnoracle: standard output: No space left on device\n"),
    ],
)
def test_where_nothing_can_be_printed_what_was_graded_is_kept(
    tmp_path: Path, fixtures_folder: Path, stdout: str, code: int, stderr: str
) -> None:
    if "/dev/full" in stdout and not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    command = f"'{SCRIPT}' grade '{fixtures_folder / BAD}' --examples 11 {UNISOLATED} {stdout}"
    done = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (code, stderr) == (done.returncode, done.stderr)
    assert 1 == len(read_results(tmp_path / "bnoracle-report" / "results.json").submissions)


@pytest.mark.skipif(sys.platform != "linux", reason="there is no such folder")
def test_a_folder_that_cannot_be_written_is_told_in_one_line(
    tmp_path: Path, fixtures_folder: Path
) -> None:
    done = run("grade", fixtures_folder / GOOD, "--out", "/proc/report", UNISOLATED, cwd=tmp_path)
    assert (2, "") == (done.returncode, done.stdout)
    assert "bnoracle: --out /proc/report cannot be written: " in done.stderr
    assert 1 == len(done.stderr.splitlines())


def test_one_case_is_asked_alone(tmp_path: Path, fixtures_folder: Path) -> None:
    wrong = fixtures_folder / "buggy" / "cmu_root_plus_eps.py"
    whole = api.check(str(wrong))
    failing = next(each for each in whole.properties if each.counterexample is not None)
    assert failing.counterexample is not None
    case = failing.counterexample.case
    done = run("check", wrong, "--case", case, cwd=tmp_path)
    assert 1 == done.returncode, done.stderr
    assert f"asked about case {case} alone" in " ".join(done.stdout.split())
    assert f"seed 0, case {case}," in done.stdout
    right = fixtures_folder / "correct" / "cmu_einsum.py"
    done = run("check", right, "--case", case, cwd=tmp_path)
    assert (0, "") == (done.returncode, done.stderr)
    assert "hold, on one case." in done.stdout
    for none in ("500", "-1"):
        done = run("check", right, "--case", none, cwd=tmp_path)
        assert (2, 1) == (done.returncode, len(done.stderr.splitlines()))
        assert "there is no such case; drawn ones have the numbers 0 to 99" in done.stderr
