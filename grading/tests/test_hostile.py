"""A class with attackers in it, at every level of isolation that this machine offers.

Each file in `fixtures/hostile` says in its first line what must become of it, and in its second at
which levels it may be run: at `none`, only what can harm nothing but its own process. An attack
that succeeds makes the file's output wrong, and so its status. What is not correct says in a third
line what must be told of it: it fails by what it tries, and by nothing else.
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
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest
from bn_grading.courses import model
from bn_grading.subject.computed import children as children_of
from bn_grading.subject.isolation import Level
from bn_properties.records import SubmissionResult
from bn_reports.formats.results_json import read_results

SCRIPT = Path(sysconfig.get_path("scripts")) / "bnoracle"
ROOT = Path(__file__).parents[2]
HOSTILE = sorted((ROOT / "fixtures" / "hostile").glob("*.py"))
RIGHT = ROOT / "fixtures" / "correct" / "cmu_handout.py"
BEFORE, AFTER = "aa_right_first", "zz_right_last"
PORT, CANARY = "47011", "/canary/"
"""What in the files stands for the port of a listener, and for a folder of the teacher's."""
LIMITS = "\n[limits]\nstart = 5.0\ncall = 0.7\nsubmission = 8.0\n"
SECRET = "the answers"
SET_CHILD_SUBREAPER = 36
LARGEST = 400 << 20
"""Bytes that a process of the grader's may hold."""
GROWTH, OBJECTS = 32 << 20, 1000
"""By how many bytes and objects it may grow where the same class comes again: what was given back
lies in pieces.
"""
pytestmark = [pytest.mark.sandbox, pytest.mark.skipif(sys.platform != "linux", reason="for Linux")]


class Said(NamedTuple):
    """What a file says of itself."""

    expected: str
    """The status that it must get."""
    levels: list[str]
    """The levels at which it may be run."""
    told: str
    """What its summary must hold."""


def said(path: Path) -> Said:
    """Read a file's first lines."""
    expected, levels, told = path.read_text("utf-8").splitlines()[:3]
    assert expected.startswith("# expected: "), path
    assert levels.startswith("# levels: "), path
    assert told.startswith("# told: ") or expected.endswith(": correct"), path
    return Said(
        expected.removeprefix("# expected: "),
        levels.removeprefix("# levels: ").split(),
        told.removeprefix("# told: ") if told.startswith("# told: ") else "",
    )


@dataclass(frozen=True)
class Aftermath:
    """What a run leaves behind."""

    code: int
    complained: str
    results: dict[str, SubmissionResult]
    isolation: str
    folder: Path
    connected: bool
    strays: set[str]
    memory: list[int]
    """Of the larger of the grader's processes, several times a second, in bytes."""


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
            if level.value in said(path).levels:
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
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            process = subprocess.Popen(
                [*command, "--allow-unisolated"],
                cwd=folder / "run",
                stdout=out,
                stderr=err,
                env={**os.environ, "TMPDIR": str(folder / "temporary"), "BNORACLE_SECRET": SECRET},
            )
            memory = list(sizes(process))
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
    return Aftermath(
        process.returncode,
        (folder / "err").read_text("utf-8"),
        by_id,
        results.isolation,
        folder,
        connected,
        strays,
        memory,
    )


def sizes(process: subprocess.Popen[bytes]) -> Iterator[int]:
    """Wait for a grader's end; yield meanwhile how large the largest of its processes is."""
    until = time.monotonic() + 900
    while process.poll() is None:
        assert time.monotonic() < until
        with contextlib.suppress(OSError):
            yield max(map(_size, graders(process.pid)), default=0)
        time.sleep(0.2)


def graders(pid: int) -> Iterator[int]:
    """Yield a grader's processes below its first; those of submissions are not the grader's."""
    for each in children_of(pid):
        with contextlib.suppress(OSError):
            if b"bn_worker" not in Path(f"/proc/{each}/cmdline").read_bytes():
                yield each
                yield from graders(each)


def _size(pid: int) -> int:
    with contextlib.suppress(OSError, IndexError):
        held = Path(f"/proc/{pid}/statm").read_text().split()
        return int(held[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def test_there_are_enough_attacks() -> None:
    assert len(HOSTILE) >= 80
    assert len([path for path in HOSTILE if "none" in said(path).levels]) >= 40


@pytest.mark.parametrize("level", Level)
def test_a_class_with_attackers_is_graded_as_if_they_were_not_there(
    level: Level, tmp_path: Path
) -> None:
    """One test a level, since the class is graded once for all that is asked of it."""
    after = graded(level, tmp_path)
    every_attack_has_the_status_that_it_should(after)
    nobody_is_left_ungraded_and_the_right_ones_are_correct(after)
    nothing_of_the_machine_is_touched(after)
    no_process_and_no_file_is_left(after)
    no_process_of_the_graders_grows_large(after)
    for each in after.results.values():
        assert each.basis is not None
        assert level == after.isolation == each.basis.isolation


def every_attack_has_the_status_that_it_should(after: Aftermath) -> None:
    expected = {path.stem: said(path) for path in HOSTILE if path.stem in after.results}
    found = {name: after.results[name] for name in expected}
    wrong = {
        name: f"{found[name].status.value}, not {each.expected}: {found[name].summary}"
        for name, each in expected.items()
        if found[name].status.value != each.expected or not told(each, found[name])
    }
    assert {} == wrong
    assert len(expected) == len(after.results) - 2


def told(each: Said, found: SubmissionResult) -> bool:
    """Whether a summary says what it should, or one of several things that it may."""
    return any(words in found.summary for words in each.told.split(" | "))


def nobody_is_left_ungraded_and_the_right_ones_are_correct(after: Aftermath) -> None:
    assert 0 == after.code
    assert all(" graded, " in line for line in after.complained.splitlines()), after.complained
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


def no_process_of_the_graders_grows_large(after: Aftermath) -> None:
    assert max(after.memory) <= LARGEST


GREEDY = [
    "frame_junk", "frame_large", "frame_deep", "frame_exit",
    "frame_many_messages", "long_headers", "varied_headers", "many_arrays",
    "long_message", "print_flood", "empty_output", "huge_output",
    "kept_output", "nan_output", "object_output", "equal_object",
    "zeroed_input", "forged_trace", "recursion", "overflowing_shape",
]  # fmt: skip
"""What sends much, or makes the grader look closely."""
AGAIN_AND_AGAIN = """
import gc, os, sys
from pathlib import Path
from bn_grading.case_bank import CaseBank
from bn_grading.courses.model import built_in
from bn_grading.grade import grade
from bn_grading.intake.paths import single
from bn_grading.subject.levels import chosen
course, bank, level = built_in()["cmu-hw1p1"], CaseBank(0, 11), chosen("auto")
for _ in range(4):
    for path in sys.argv[1:]:
        grade(single(path), course, [course], bank, [level])
    gc.collect()
    size = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    print(size, len(gc.get_objects()))
"""


def test_memory_is_flat_where_attackers_come_again() -> None:
    """The first two rounds fill what is kept of the cases, and of the mistakes' formulas."""
    paths = [str(path) for path in HOSTILE if path.stem in GREEDY]
    assert len(GREEDY) == len(paths)
    done = subprocess.run(
        [sys.executable, "-c", AGAIN_AND_AGAIN, *paths],
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    _, before, _, after = (tuple(map(int, line.split())) for line in done.stdout.splitlines())
    assert after[0] - before[0] <= GROWTH, done.stdout
    assert after[1] - before[1] <= OBJECTS, done.stdout
