"""A class of a hundred, attackers among them, is graded twice, once killed halfway: one result.

The attackers are those of `fixtures/hostile`, at the weaker level that keeps submissions apart.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any

import pytest
from bn_grading.courses import model
from bn_grading.subject.computed import children as children_of
from bn_grading.subject.isolation import Level
from bn_reports.formats.results_json import read_results

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.skipif(sys.platform != "linux", reason="/proc and signals are Linux's"),
]

ROOT = Path(__file__).parents[2]
SCRIPT = Path(sysconfig.get_path("scripts")) / "bnoracle"
SET_CHILD_SUBREAPER = 36
LIMITS = "\n[limits]\nstart = 5.0\ncall = 0.7\nsubmission = 8.0\n"
SIZE, RIGHT, WRONG = 100, 45, 30


def class_of(folder: Path) -> None:
    """Write a class: right files under other names, wrong ones, and attackers between them."""
    fixtures = ROOT / "fixtures"
    right = [path for path in sorted((fixtures / "correct").glob("cmu_*.py")) if not _slow(path)]
    wrong = [path for path in sorted((fixtures / "buggy").glob("cmu_*.py")) if not _slow(path)]
    hostile = sorted((fixtures / "hostile").glob("*.py"))
    hostile = [path for path in hostile if "lockdown" in path.read_text("utf-8").splitlines()[1]]
    chosen = [("right", right[n % len(right)]) for n in range(RIGHT)]
    chosen += [("wrong", wrong[n % len(wrong)]) for n in range(WRONG)]
    step = len(hostile) // (SIZE - RIGHT - WRONG)
    chosen += [("hostile", path) for path in hostile[::step][: SIZE - RIGHT - WRONG]]
    assert SIZE == len(chosen)
    folder.mkdir()
    for number, (kind, path) in enumerate(chosen):
        # Mixed by a fixed rule, so that attackers stand before and after whom they might harm.
        place = number * 37 % SIZE
        shutil.copy(path, folder / f"s{place:02}_{kind}.py")


def _slow(path: Path) -> bool:
    """Whether a file takes so long for a thousand instances that it is not judged on them.

    How far it comes within the attackers' short limits is a matter of the machine's load.
    """
    text = path.read_text("utf-8")
    return any(word in text for word in ("acobian", "pairs", "np.eye", "for i in", "for j in"))


def started(folder: Path, level: Level, out: str) -> subprocess.Popen[str]:
    options = ["--course", "course.toml", "--examples", "11", "--jobs", "2", "--out", out]
    options += ["--isolation", level.value]
    return subprocess.Popen(
        [str(SCRIPT), "grade", "class", *options],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def records(report: Path) -> dict[str, Any]:
    """Return what was found out about everybody; times aside, and what depends on them alone."""
    found: dict[str, Any] = json.loads(read_results(report / "results.json").model_dump_json())
    for each in found["submissions"]:
        each |= {"seconds": 0.0, "graded": "", "memory": None}
        if "hostile" in each["id"]:  # what such a one is caught at first can be a matter of time
            for name in ("properties", "causes", "summary", "output", "notes", "score"):
                del each[name]
    return found


@pytest.mark.parametrize("level", [Level.LOCKDOWN])
def test_a_class_of_a_hundred_is_killed_halfway_and_comes_out_the_same(
    tmp_path: Path, level: Level
) -> None:
    class_of(tmp_path / "class")
    course = Path(model.__file__).parent / "cmu-hw1p1.toml"
    (tmp_path / "course.toml").write_text(course.read_text("utf-8") + LIMITS)
    kernel = ctypes.CDLL(None)
    assert 0 == kernel.prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before = set(children_of(os.getpid()))
    process = started(tmp_path, level, "twice")
    assert process.stdout is not None
    assert process.stderr is not None
    until = time.monotonic() + 400
    while len(list((tmp_path / "twice" / "results").glob("[!.]*.json"))) < SIZE // 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    process.stderr.close()
    time.sleep(3.0)
    assert [] == _strays(before), "killed, it leaves no process"
    done = len(list((tmp_path / "twice" / "results").glob("[!.]*.json")))
    for out in ("twice", "once"):
        process = started(tmp_path, level, out)
        stdout, stderr = process.communicate(timeout=600)
        assert 0 == process.returncode, stderr
        assert all(" graded, " in line for line in stderr.splitlines()), stderr
        assert (f"{done} had not changed" in stdout) == (out == "twice")
    time.sleep(1.0)
    assert [] == _strays(before)
    assert 0 == kernel.prctl(SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    assert records(tmp_path / "once") == records(tmp_path / "twice")
    by_kind: dict[str, set[str]] = {"right": set(), "wrong": set(), "hostile": set()}
    for each in read_results(tmp_path / "once" / "results.json").submissions:
        by_kind[each.id.split("_")[1]].add(each.status.value)
    assert {"correct"} == by_kind["right"]
    assert "correct" not in by_kind["wrong"]
    assert "ungraded" not in by_kind["wrong"] | by_kind["hostile"]


def _strays(before: set[int]) -> list[str]:
    """Return the processes that lost their parent, and became this one's children."""
    found = []
    for pid in set(children_of(os.getpid())) - before:
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
            if command:
                found.append(command)
    return found
