"""A class with attackers in it, at every level of isolation that this machine offers.

Each file in `fixtures/hostile` says in its first line what must become of it, and in its second at
which levels it may be run: at `none`, only what can harm nothing but its own process. An attack
that succeeds makes the file's output wrong, and so its status.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest
from bn_grading.courses import model
from bn_grading.subject.isolation import Level
from bn_grading.subject.levels import lacking
from bn_properties.records import SubmissionResult
from bn_reports.formats.results_json import read_results

SCRIPT = Path(sysconfig.get_path("scripts")) / "bnoracle"
ROOT = Path(__file__).parents[2]
HOSTILE = sorted((ROOT / "fixtures" / "hostile").glob("*.py"))
RIGHT = ROOT / "fixtures" / "correct" / "cmu_handout.py"
BEFORE, AFTER = "aa_right_first", "zz_right_last"
LEVELS = [level for level in Level if lacking(level) is None]
PORT, CANARY = "47011", "/canary/"
"""What in the files stands for the port of a listener, and for a folder of the teacher's."""
LIMITS = "\n[limits]\nstart = 5.0\ncall = 0.7\nsubmission = 8.0\n"
SECRET = "the answers"
SET_CHILD_SUBREAPER = 36
pytestmark = [pytest.mark.once, pytest.mark.skipif(sys.platform != "linux", reason="for Linux")]


def said(path: Path) -> tuple[str, list[str]]:
    """Return the status that a file must get, and the levels at which it may be run."""
    expected, levels = path.read_text("utf-8").splitlines()[:2]
    assert expected.startswith("# expected: "), path
    assert levels.startswith("# levels: "), path
    return expected.removeprefix("# expected: "), levels.removeprefix("# levels: ").split()


@dataclass(frozen=True)
class Aftermath:
    """What a run leaves behind."""

    done: subprocess.CompletedProcess[str]
    results: dict[str, SubmissionResult]
    isolation: str
    folder: Path
    connected: bool
    strays: set[str]


def children() -> set[str]:
    """Return the processes that are this one's children, without those that have ended."""
    found = set[str]()
    for each in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{each}/cmdline").read_text().replace("\0", " ")
            if command:
                found.add(f"{each} {command}")
    return found


def graded(level: Level, folder: Path) -> Aftermath:
    """Grade a class of attackers at one level."""
    for name in ("class", "canary", "temporary", "run"):
        (folder / name).mkdir()
    (folder / "canary" / "secret").write_text(SECRET)
    (folder / "course.toml").write_text(
        (Path(model.__file__).parent / "cmu-hw1p1.toml").read_text("utf-8") + LIMITS
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for path in HOSTILE:
            if level.value in said(path)[1]:
                text = path.read_text("utf-8").replace(PORT, str(listener.getsockname()[1]))
                text = text.replace(CANARY, f"{folder}/canary/")
                (folder / "class" / path.name).write_text(text)
        for name in (BEFORE, AFTER):
            shutil.copy(RIGHT, folder / "class" / f"{name}.py")
        # Whoever loses its parent becomes this process's child, and is found.
        assert 0 == ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        before = children()
        command = [str(SCRIPT), "grade", str(folder / "class"), "--jobs", "2", "--examples", "11"]
        command += ["--isolation", level.value, "--course", str(folder / "course.toml")]
        done = subprocess.run(
            [*command, "--allow-unisolated"],
            cwd=folder / "run",
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
            env={**os.environ, "TMPDIR": str(folder / "temporary"), "BNORACLE_SECRET": SECRET},
        )
        listener.setblocking(False)
        try:
            listener.accept()
            connected = True
        except BlockingIOError:
            connected = False
    strays = children() - before
    assert 0 == ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    results = read_results(folder / "run" / "bnoracle-report" / "results.json")
    by_id = {each.id: each for each in results.submissions}
    return Aftermath(done, by_id, results.isolation, folder, connected, strays)


def test_there_are_enough_attacks() -> None:
    assert len(HOSTILE) >= 80
    assert len([path for path in HOSTILE if "none" in said(path)[1]]) >= 40


@pytest.mark.parametrize("level", LEVELS)
def test_a_class_with_attackers_is_graded_as_if_they_were_not_there(
    level: Level, tmp_path: Path
) -> None:
    """One test a level, since the class is graded once for all that is asked of it."""
    after = graded(level, tmp_path)
    every_attack_has_the_status_that_it_should(after)
    nobody_is_left_ungraded_and_the_right_ones_are_correct(after)
    nothing_of_the_machine_is_touched(after)
    no_process_and_no_file_is_left(after)
    for each in after.results.values():
        assert each.basis is not None
        assert level == after.isolation == each.basis.isolation


def every_attack_has_the_status_that_it_should(after: Aftermath) -> None:
    expected = {path.stem: said(path)[0] for path in HOSTILE if path.stem in after.results}
    found = {name: after.results[name].status.value for name in expected}
    wrong = {
        name: f"{found[name]}, not {expected[name]}: {after.results[name].summary}"
        for name in expected
        if found[name] != expected[name]
    }
    assert {} == wrong
    assert len(expected) == len(after.results) - 2


def nobody_is_left_ungraded_and_the_right_ones_are_correct(after: Aftermath) -> None:
    assert (0, "") == (after.done.returncode, after.done.stderr)
    assert "ungraded" not in {each.status.value for each in after.results.values()}
    for name in (BEFORE, AFTER):
        assert "correct" == after.results[name].status.value, after.results[name].summary


def nothing_of_the_machine_is_touched(after: Aftermath) -> None:
    canary = after.folder / "canary"
    assert [canary / "secret"] == list(canary.iterdir())
    assert SECRET == (canary / "secret").read_text()
    found = (canary / "secret").stat()
    assert (1, 0o644) == (found.st_nlink, found.st_mode & 0o777)
    assert not after.connected


def no_process_and_no_file_is_left(after: Aftermath) -> None:
    assert set() == after.strays
    left = {path.name for path in (after.folder / "temporary").iterdir()}
    assert set() == left - {"bnoracle-hypothesis"}
    assert ["bnoracle-report"] == [path.name for path in (after.folder / "run").iterdir()]
    for folder in ("/tmp", "/dev/shm"):
        assert [] == [*Path(folder).glob("bnoracle-hostile*")]
        assert [] == [*Path(folder).glob("bnoracle-probe*")]
