"""How fast grading is: ratios and figures of one run, as docs/benchmarks.md shows them.

`python -m bn_evidence.speed` prints the table; it takes some ten minutes on two quiet cores.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path

from bn_grading.case_bank import CaseBank
from bn_grading.classroom.class_run import run
from bn_grading.classroom.plan import Plan
from bn_grading.classroom.schedule import Watch
from bn_grading.courses.matching import match
from bn_grading.courses.model import built_in
from bn_grading.examination import load_request
from bn_grading.grade import grade
from bn_grading.intake.paths import single
from bn_grading.intake.submission import Submission
from bn_grading.subject.computed import children
from bn_grading.subject.remote import requests, responses
from bn_grading.subject.session import Session, answered
from bn_properties.protocol import Capability, Refusable
from bn_properties.scenario import Scenario, Subject
from bn_properties.transcript import Responses
from bn_worker.loop import Worker

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "fixtures"
RIGHT = "correct/cmu_handout.py"
SCRIPT = Path(sysconfig.get_path("scripts")) / "bnoracle"
COURSES = list(built_in().values())
TURNS = 9


def cpu() -> float:
    """Return the CPU seconds that this process and its ended children have used."""
    return sum(os.times()[:4])


class Memory(Watch):
    """Looks, whenever it is told what is in hand, how much memory a job has had at most."""

    def __init__(self) -> None:
        """Have seen nothing yet."""
        self.most = 0
        """KiB."""

    def in_hand(self, ids: Sequence[str]) -> None:
        """Look at the jobs: children of the process that they are forked from, as Linux tells."""
        for forking in children(os.getpid()):
            for job in children(forking):
                with contextlib.suppress(OSError, StopIteration):
                    self.most = max(self.most, _most_memory(job))


def _most_memory(pid: int) -> int:
    """Return the most memory that a process has had, in KiB, by Linux."""
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def _spent(work: Callable[[], object]) -> float:
    before = cpu()
    work()
    return cpu() - before


def submission(name: str) -> Submission:
    """Return a fixture as a submission."""
    return single(str(FIXTURES / name))


def bare(bank: CaseBank, name: str) -> None:
    """Start a worker for a fixture and make the calls of its tape; judge nothing."""
    found = match(submission(name), None, COURSES)
    with Session(load_request(found), found.course.limits) as session:
        session.start()
        (part,) = found.defined
        for _ in session.stream(bank.tape(part, found.course.convention).scenarios):
            pass


def warm() -> Iterator[tuple[str, str]]:
    """Measure a right file and wrong ones in a process that has graded before."""
    bank = CaseBank()
    grade(submission(RIGHT), None, COURSES, bank)
    bare(bank, RIGHT)
    ours, calls = [], []
    for _ in range(TURNS):
        ours.append(_spent(lambda: grade(submission(RIGHT), None, COURSES, bank)))
        calls.append(_spent(lambda: bare(bank, RIGHT)))
    ratio = statistics.median(a / b for a, b in zip(ours, calls, strict=True))
    yield "right file, class warm, CPU over bare", f"{ratio:.2f}"
    yield "right file, class warm, CPU", f"{statistics.median(ours):.2f} s"
    wrong = sorted((FIXTURES / "buggy").glob("*.py"))
    names = [f"buggy/{path.name}" for path in wrong]
    for name in (names[0], names[-1]):
        grade(submission(name), None, COURSES, bank)
    spent = [_spent(partial(grade, submission(name), None, COURSES, bank)) for name in names]
    what = f"wrong file with counterexamples and cause, CPU, median of {len(spent)}"
    yield what, f"{statistics.median(spent):.2f} s"


@contextlib.contextmanager
def _own_cache(folder: Path) -> Iterator[dict[str, str]]:
    cache = folder / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    yield {**os.environ, "BNORACLE_CACHE_DIR": str(cache), "OPENBLAS_NUM_THREADS": "1"}


def _wall(command: Sequence[str], folder: Path, environment: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def commands() -> Iterator[tuple[str, str]]:
    """Measure the command line from its start to its end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(FIXTURES / RIGHT, folder / "mine.py")
        alone = [str(SCRIPT), "check", "mine.py"]
        everyone = [
            str(SCRIPT),
            "grade",
            "--allow-unisolated",
            "--regrade",
            *(str(FIXTURES / each) for each in ("correct", "buggy")),
        ]
        count = sum(1 for each in ("correct", "buggy") for _ in (FIXTURES / each).glob("*.py"))
        class_ = f"the README's first command ({count} files)"
        for what, command, turns in (("`check`, right file", alone, 5), (class_, everyone, 2)):
            first, again = [], []
            for _ in range(turns):
                with _own_cache(folder) as environment:
                    first.append(_wall(command, folder, environment))
                    again.append(_wall(command, folder, environment))
            middle = f"{statistics.median(again):.1f} s / {statistics.median(first):.1f} s"
            yield f"{what}, wall, cache warm / first time", middle


NAIVE = '''
"""One Hypothesis test a property, in this process, with nothing shared between examples."""

from bn_evidence.speed import in_process
from bn_oracle.conventions import CMU_HW1P1
from bn_properties.cases.draw import cases
from bn_properties.catalogue import PROPERTIES
from bn_properties.checking import allowed, try_case
from bn_properties.transcript import Oracle, Transcript
from hypothesis import HealthCheck, given, settings


def _test(prop):
    @given(case=cases())
    @settings(max_examples=100, database=None, deadline=None,
              suppress_health_check=list(HealthCheck))
    def test(case):
        if allowed(case, CMU_HW1P1):
            subject = in_process({path!r})
            failing, _ = try_case(prop, case, Transcript(subject), Oracle(CMU_HW1P1))
            assert failing is None
    return test


for _prop in PROPERTIES:
    if _prop.needs is None:
        globals()["test_" + _prop.id.replace(".", "_")] = _test(_prop)
'''


class _InThisProcess:
    """A submission's first part, asked in this process: no worker, no pipe."""

    def __init__(self, path: str) -> None:
        found = match(single(path), None, COURSES)
        self._worker = Worker()
        finders = sys.meta_path[:]  # loading keeps Hypothesis, too, out of a submission's reach
        self._worker.answer(load_request(found))
        sys.meta_path[:] = finders
        self._part, self.convention = found.parts[0], found.course.convention
        self.spatial_axes = self._part.spatial_axes
        self.offers = frozenset[Capability]()
        self.may_refuse = frozenset[Capability | Refusable]()
        self.fixed_eps = False

    def observe(self, scenario: Scenario) -> Responses:
        asked = requests(scenario, self._part.id, self.spatial_axes, self.convention)
        return responses(scenario, [answered(self._worker.answer(each)) for each in asked])


@lru_cache
def in_process(path: str) -> Subject:
    """Return a file as a subject of this process."""
    return _InThisProcess(path)


def naive() -> Iterator[tuple[str, str]]:
    """Measure what the same properties cost as a plain suite of Hypothesis tests."""
    bank = CaseBank()
    grade(submission(RIGHT), None, COURSES, bank)
    ours = statistics.median(
        _spent(lambda: grade(submission(RIGHT), None, COURSES, bank)) for _ in range(TURNS)
    )
    with tempfile.TemporaryDirectory() as name:
        test = Path(name) / "test_naive.py"
        test.write_text(NAIVE.replace("{path!r}", repr(str(FIXTURES / RIGHT))), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)]
        paths = {"PYTHONPATH": str(ROOT / "evidence"), "OPENBLAS_NUM_THREADS": "1"}
        theirs = _spent(
            lambda: subprocess.run(
                command, check=True, cwd=name, env=os.environ | paths, stdout=subprocess.DEVNULL
            )
        )
    yield (
        "naive suite (pytest, one `@given` a property, in-process) over ours, CPU",
        (f"{theirs / ours:.0f} ({theirs:.0f} s over {ours:.2f} s)"),
    )


def many(count: int, jobs: int) -> None:
    """Grade so many copies of some files; print seconds a submission, and a job's memory."""
    with tempfile.TemporaryDirectory() as name:
        # Without the one whose own arrays, of all pairs of instances, would hide the job's memory.
        right = sorted((FIXTURES / "correct").glob("cmu_[!a]*.py"))
        files = right[:8]
        files += sorted((FIXTURES / "buggy").glob("cmu_*.py"))[:2]
        for number in range(count):
            shutil.copy(files[number % len(files)], Path(name) / f"student{number:03}.py")
        submissions = [single(str(path)) for path in sorted(Path(name).glob("*.py"))]
        plan = Plan(submissions, None, COURSES, CaseBank(), jobs)
        began = time.perf_counter()
        memory = Memory()
        run(plan, memory)
        seconds = (time.perf_counter() - began) / count
    print(seconds, memory.most)


def growth() -> Iterator[tuple[str, str]]:
    """Measure whether a class of 300 costs more a submission than one of 30."""

    def measured(count: int, jobs: int) -> tuple[float, float]:
        code = f"from bn_evidence.speed import many; many({count}, {jobs})"
        done = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        )
        seconds, memory = done.stdout.split()
        return float(seconds), float(memory)

    first, seconds, second = (measured(count, 1)[0] for count in (30, 300, 30))
    yield "time a submission at 300 over that at 30", f"{seconds / ((first + second) / 2):.2f}"
    # What a process that runs jobs needs; the records are with the one that hands them out.
    small, large = (measured(count, 2)[1] for count in (30, 300))
    yield "memory of a job at 300 over 30", f"{large / small:.2f} ({large / 1024:.0f} MiB)"


def imports() -> Iterator[tuple[str, str]]:
    """Measure the import of the command line."""
    code = (
        "import sys, time; began = time.perf_counter(); import bn_grading.main; "
        "took = time.perf_counter() - began; "
        "print(took, *(x for x in ('hypothesis', 'jinja2', 'torch') if x in sys.modules))"
    )
    took, loaded = [], set[str]()
    for _ in range(TURNS):
        done = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        )
        first, *rest = done.stdout.split()
        took.append(float(first))
        loaded |= set(rest)
    middle = f"{1000 * statistics.median(took):.0f} ms"
    yield "import of the command line", f"{middle}, {' and '.join(loaded) or 'none'} of them"


def main() -> None:
    """Print the table."""
    print("| what | measured |\n|---|---|")
    for part in (warm, commands, naive, growth, imports):
        for what, figure in part():
            print(f"| {what} | {figure} |", flush=True)


if __name__ == "__main__":
    main()
