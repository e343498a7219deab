"""A class's run that is interrupted, at any moment and in any way, and started again.

What was graded is kept, no process is left behind, and the same command goes on to the same end.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bn_grading.subject.computed import children as children_of
from bn_properties.records import Results, SubmissionResult
from bn_reports.formats.results_json import read_results

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform != "linux", reason="/proc and signals are Linux's"),
]

SCRIPT = Path(sysconfig.get_path("scripts")) / "bnoracle"
SET_CHILD_SUBREAPER = 36
OPTIONS = ("--examples", "11", "--jobs", "2", "--allow-unisolated")
SLOW = "import time\ntime.sleep(120)\nclass BatchNorm1d: pass\n"


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder of a short name, whatever folder the tests are run in: see `schedule._context`."""
    with tempfile.TemporaryDirectory(prefix="bn", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
def work(tmp_path: Path, fixtures_folder: Path) -> Path:
    """A class of six, two of which take long."""
    folder = tmp_path / "class"
    folder.mkdir()
    (tmp_path / "tmp").mkdir()
    for name in ("cmu_handout", "cmu_einsum"):
        shutil.copy(fixtures_folder / "correct" / f"{name}.py", folder / f"a_{name}.py")
        shutil.copy(fixtures_folder / "correct" / f"{name}.py", folder / f"z_{name}.py")
    for name in ("m_slow", "n_slow"):
        (folder / f"{name}.py").write_text(SLOW)
    return folder


@pytest.fixture
def strays() -> Iterator[Callable[[], list[str]]]:
    """Return which processes were left behind: they become this process's children."""
    kernel = ctypes.CDLL(None)
    assert 0 == kernel.prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before = set(children_of(os.getpid()))

    def left() -> list[str]:
        return [_command(pid) for pid in set(children_of(os.getpid())) - before if _command(pid)]

    yield left
    assert 0 == kernel.prctl(SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def started(folder: Path, *more: str) -> subprocess.Popen[str]:
    temporary = {"TMPDIR": str(folder / "tmp")} if (folder / "tmp").exists() else {}
    # Where the tests run in the background, SIGINT is ignored, and a child would inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [str(SCRIPT), "grade", "class", *OPTIONS, *more],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **temporary},
            start_new_session=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)


def until(what: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.05)


def graded(report: Path) -> list[str]:
    return sorted(path.stem for path in (report / "results").glob("[!.]*.json"))


def left_behind(folder: Path) -> list[str]:
    """Return what is left of temporary files; Hypothesis keeps its notes."""
    return [path.name for path in (folder / "tmp").iterdir() if "hypothesis" not in path.name]


def timeless(results: Results) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(results.model_dump_json())
    for each in found["submissions"]:
        each |= {"seconds": 0.0, "graded": "", "memory": None}
    return found


def finish_without_the_slow(folder: Path) -> tuple[Results, str]:
    """Start the same command again, now that nobody takes long."""
    for name in ("m_slow", "n_slow"):
        (folder / "class" / f"{name}.py").write_text("x = 1\n")
    process = started(folder)
    _, stderr = process.communicate(timeout=240)
    assert 0 == process.returncode, stderr
    assert all(" graded, " in line for line in stderr.splitlines()), stderr
    report = folder / "bnoracle-report"
    return read_results(report / "results.json"), (report / "index.html").read_text("utf-8")


@pytest.mark.parametrize("seconds", [0.8, 1.1, 1.4, 1.7, 2.0])
def test_ctrl_c_at_a_terminal_is_quiet_from_the_beginning(
    tmp_path: Path, work: Path, strays: Callable[[], list[str]], seconds: float
) -> None:
    process = started(tmp_path)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=20)
    assert (130, "") == (process.returncode, stdout)
    assert stderr.startswith("bnoracle: interrupted")
    assert 1 == len(stderr.splitlines()), stderr
    until(lambda: not strays(), 10)


@pytest.mark.parametrize(
    ("signals", "code"),
    [
        ([signal.SIGINT], 130),
        ([signal.SIGINT, signal.SIGINT, signal.SIGTERM], 130),
        ([signal.SIGTERM], 143),
        ([signal.SIGHUP, signal.SIGINT], 129),
    ],
    ids=lambda value: "-".join(each.name for each in value) if isinstance(value, list) else "",
)
def test_a_signal_ends_a_run_at_once_and_keeps_what_it_has(
    tmp_path: Path,
    work: Path,
    strays: Callable[[], list[str]],
    signals: list[signal.Signals],
    code: int,
) -> None:
    process = started(tmp_path)
    report = tmp_path / "bnoracle-report"
    until(lambda: len(graded(report)) == 2, 120)
    for number in signals:
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does
        else:
            process.send_signal(number)
        time.sleep(0.05)
    stdout, stderr = process.communicate(timeout=20)
    assert code == process.returncode
    assert "" == stdout
    assert stderr == (
        "bnoracle: interrupted; 2 of 6 are graded, and kept in bnoracle-report: the same command "
        "goes on from there\n"
    )
    until(lambda: not strays(), 10)
    assert [] == left_behind(tmp_path)
    page = " ".join((report / "index.html").read_text("utf-8").split())
    assert "4 of 6 submissions are not graded yet" in page
    so_far = read_results(report / "results.json")
    assert ["a_cmu_einsum", "a_cmu_handout"] == [each.id for each in so_far.submissions]
    assert ("m_slow", "n_slow", "z_cmu_einsum", "z_cmu_handout") == so_far.pending
    results, page = finish_without_the_slow(tmp_path)
    assert so_far.submissions == results.submissions[:2], "they were not graded again"
    assert "not graded yet" not in page


def test_a_run_that_is_killed_leaves_no_process_and_loses_what_was_in_hand_alone(
    tmp_path: Path, work: Path, strays: Callable[[], list[str]]
) -> None:
    process = started(tmp_path)
    report = tmp_path / "bnoracle-report"
    until(lambda: len(graded(report)) == 2, 120)
    process.kill()
    process.wait()
    until(lambda: not strays(), 10)
    assert [] == left_behind(tmp_path)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stderr.close()
    assert not (report / "results.json").exists()
    page = " ".join((report / "index.html").read_text("utf-8").split())
    assert "6 of 6 submissions are not graded yet" in page
    kept = {
        name: (report / "results" / f"{name}.json").read_text("utf-8") for name in graded(report)
    }
    assert ["a_cmu_einsum", "a_cmu_handout"] == list(kept)
    results, _ = finish_without_the_slow(tmp_path)
    for each in results.submissions[:2]:
        assert SubmissionResult.model_validate_json(kept[each.id]) == each
    assert not (report / "results").exists()
    other = tmp_path / "other"
    other.mkdir()
    shutil.copytree(tmp_path / "class", other / "class")
    process = started(other)
    process.communicate(timeout=240)
    whole = read_results(other / "bnoracle-report" / "results.json")
    assert timeless(whole) == timeless(results)


def test_a_disk_that_is_full_ends_a_run_in_one_line_and_keeps_what_it_has(
    tmp_path: Path, work: Path, fixtures_folder: Path, strays: Callable[[], list[str]]
) -> None:
    import resource

    for name in ("m_slow", "n_slow"):
        (work / f"{name}.py").unlink()
    shutil.copy(fixtures_folder / "buggy" / "cmu_root_plus_eps.py", work / "w_large_page.py")
    started(tmp_path).communicate(timeout=240)  # the tapes are kept, too
    done = subprocess.run(
        [str(SCRIPT), "grade", "class", *OPTIONS, "--out", "small"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000)),
    )
    assert 3 == done.returncode
    assert 1 == len(done.stderr.splitlines()), done.stderr
    assert (
        "cannot be written: File too large; what was graded before is kept in small" in done.stderr
    )
    until(lambda: not strays(), 10)
    assert graded(tmp_path / "small")
    process = subprocess.run(
        [str(SCRIPT), "grade", "class", *OPTIONS, "--out", "small"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    assert "had not changed and were not graded again" in process.stdout
