"""A class on a Dask cluster: a real scheduler, two real workers, and one of them is killed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from bn_grading.case_bank import CaseBank
from bn_grading.classroom import cluster
from bn_grading.classroom.plan import Plan
from bn_grading.classroom.schedule import Watch
from bn_grading.courses.model import built_in
from bn_grading.intake.paths import collect
from bn_grading.subject.isolation import Level
from bn_properties.records import Tool
from bn_reports.formats.results_json import read_results

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(find_spec("distributed") is None, reason="Dask is not installed"),
]

SCRIPTS = Path(sysconfig.get_path("scripts"))
OPTIONS = ("--examples", "11", "--allow-unisolated")


class Cluster:
    """A scheduler and its workers, on loopback."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        self._folder = folder
        self.processes = [self._start("scheduler", "--host", "127.0.0.1", "--port", str(port))]

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        with (self._folder / f"{len(list(self._folder.iterdir()))}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "distributed.cli.dask_" + command[0], *command[1:]],
                cwd=self._folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def add_worker(self) -> subprocess.Popen[bytes]:
        # Without its nanny, so that what is killed stays dead.
        options = ("--nthreads", "1", "--no-nanny", "--no-dashboard")
        worker = self._start("worker", self.address, *options)
        self.processes.append(worker)
        return worker

    def close(self) -> None:
        for process in reversed(self.processes):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:  # a worker that waits for its scheduler
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Cluster]:
    folder = tmp_path / "cluster"
    folder.mkdir()
    started = Cluster(folder)
    try:
        yield started
    finally:
        started.close()


def grade(folder: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(SCRIPTS / "bnoracle"), "grade", "class", *OPTIONS, *more],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextlib.contextmanager
def until_connected(address: str) -> Iterator[Any]:
    """Connect with a cluster as soon as it has a worker."""
    deadline = time.monotonic() + 60
    with contextlib.ExitStack() as stack:
        while True:
            try:
                client = stack.enter_context(cluster.connected(address))
                break
            except cluster.NoCluster:
                assert time.monotonic() < deadline
                time.sleep(0.5)
        yield client


def timeless(report: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(read_results(report / "results.json").model_dump_json())
    for each in found["submissions"]:
        each |= {"seconds": 0.0, "graded": "", "memory": None}
    return found


def test_a_worker_is_killed_midway_and_nothing_is_lost(
    tmp_path: Path, fixtures_folder: Path, workers: Cluster
) -> None:
    (tmp_path / "class").mkdir()
    for number in range(6):
        for name in ("correct/cmu_handout", "buggy/cmu_root_plus_eps", "correct/cs231n_compact"):
            path = fixtures_folder / f"{name}.py"
            shutil.copy(path, tmp_path / "class" / f"{number}_{path.name}")
    slow = "import time\ntime.sleep(1.5)\n"
    for number in range(4):
        path = tmp_path / "class" / f"{number}_cmu_handout.py"
        path.write_text(slow + path.read_text("utf-8"))
    first, _ = workers.add_worker(), workers.add_worker()
    process = grade(tmp_path, "--scheduler", workers.address, "--out", "there")
    deadline = time.monotonic() + 240
    while len(list((tmp_path / "there" / "results").glob("*.json"))) < 3:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=240)
    assert 0 == process.returncode, stderr
    assert "12 correct" in stdout
    assert "6 incorrect" in stdout
    here = grade(tmp_path, "--jobs", "2", "--out", "here")
    here.communicate(timeout=240)
    assert timeless(tmp_path / "here") == timeless(tmp_path / "there")


def test_what_is_in_hand_is_told(tmp_path: Path, fixtures_folder: Path, workers: Cluster) -> None:
    path = fixtures_folder / "correct" / "cmu_handout.py"
    for name in ("a", "b"):
        (tmp_path / f"{name}.py").write_text(
            "import time\ntime.sleep(1)\n" + path.read_text("utf-8")
        )
    seen = set[str]()

    class Hand(Watch):
        def in_hand(self, ids: Sequence[str]) -> None:
            seen.update(ids)

    submissions = collect([str(tmp_path / "a.py"), str(tmp_path / "b.py")]).submissions
    courses = tuple(built_in().values())
    plan = Plan(submissions, None, courses, CaseBank(0, 11), 1, (Level.NONE,))
    workers.add_worker()
    connected = until_connected(workers.address)
    with connected as client:
        cluster.grade_on_cluster(plan, client, Hand())
    assert {"a", "b"} == seen


def test_a_scheduler_that_is_gone_ends_the_run_and_what_was_graded_is_kept(
    tmp_path: Path, fixtures_folder: Path, workers: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "class").mkdir()
    path = fixtures_folder / "correct" / "cmu_handout.py"
    shutil.copy(path, tmp_path / "class" / "a.py")
    for name in ("b", "c"):
        (tmp_path / "class" / f"{name}.py").write_text(
            "import time\ntime.sleep(9)\n" + path.read_text("utf-8")
        )
    workers.add_worker()
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "3s")
    process = grade(tmp_path, "--scheduler", workers.address)
    report = tmp_path / "bnoracle-report"
    deadline = time.monotonic() + 240
    while not (report / "results" / "a.json").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    os.killpg(workers.processes[0].pid, signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=60)
    assert (3, "") == (process.returncode, stdout)
    last = stderr.splitlines()[-1]
    assert last.startswith(f"bnoracle: {workers.address}: the scheduler is gone; 1 of 3 are graded")
    results = read_results(report / "results.json")
    assert (["a"], ("b", "c")) == ([each.id for each in results.submissions], results.pending)


def test_a_cluster_that_cannot_be_used_is_told_in_one_line(
    tmp_path: Path, fixtures_folder: Path, workers: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "class").mkdir()
    shutil.copy(fixtures_folder / "correct" / "cmu_handout.py", tmp_path / "class")
    process = grade(tmp_path, "--scheduler", workers.address)
    stdout, stderr = process.communicate(timeout=120)
    assert (2, "") == (process.returncode, stdout)
    assert f"bnoracle: --scheduler {workers.address}: the scheduler has no worker" in stderr
    assert not (tmp_path / "bnoracle-report" / "index.html").exists()
    workers.add_worker()
    with until_connected(workers.address):
        pass
    monkeypatch.setattr(cluster, "tool", lambda: Tool(version="9.9"))  # here, and not there
    with pytest.raises(cluster.NoCluster, match=r"grades with .* here it is bnoracle 9\.9"):
        cluster.connected(workers.address).__enter__()


def test_where_no_scheduler_is_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "PATIENCE", 0.5)
    for address in ("tcp://127.0.0.1:1", "nonsense://x"):
        with pytest.raises(cluster.NoCluster, match="no scheduler answers there"):
            cluster.connected(address).__enter__()
