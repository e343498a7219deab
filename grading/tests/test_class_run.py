"""A class is graded once: what has not changed is kept, and nothing of a run is lost."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent import futures
from dataclasses import replace
from pathlib import Path

import pytest
from bn_grading import api
from bn_grading.case_bank import CaseBank
from bn_grading.classroom import schedule
from bn_grading.classroom.class_run import Report, Wanted, grade_class, run
from bn_grading.classroom.folder import LOCK, MARK
from bn_grading.classroom.ledger import Ledger
from bn_grading.classroom.plan import Plan
from bn_grading.classroom.schedule import Stopped, Watch
from bn_grading.courses import model
from bn_grading.courses.model import Course, built_in, find
from bn_grading.intake.paths import collect
from bn_grading.subject.computed import children as children_of
from bn_grading.subject.isolation import Level
from bn_grading.tape_cache import FOLDER
from bn_properties.records import Results, SubmissionResult
from bn_reports.formats.results_json import as_text, read_results

EXAMPLES = 11
COURSES = tuple(built_in().values())
RIGHT, WRONG, OTHER = "cmu_handout", "cmu_root_plus_eps", "cmu_einsum"
KILLER = """
import os, signal
{condition}
    os.kill(os.getppid(), signal.SIGKILL)
class BatchNorm1d: pass
"""


@pytest.fixture
def work(tmp_path: Path, fixtures_folder: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    for name in (RIGHT, OTHER):
        shutil.copy(fixtures_folder / "correct" / f"{name}.py", folder)
    shutil.copy(fixtures_folder / "buggy" / f"{WRONG}.py", folder)
    return folder


class Noted(Watch):
    """Notes what it is told; stops after so many records."""

    def __init__(self, most: int = 1_000) -> None:
        self.done: list[str] = []
        self._most = most

    @property
    def stopped(self) -> bool:  # type: ignore[override]
        return len(self.done) >= self._most

    def ready(self, result: SubmissionResult) -> None:
        self.done.append(result.id)


def plan(folder: Path, jobs: int = 2, seed: int = 0) -> Plan:
    submissions = collect([str(folder)]).submissions
    bank = CaseBank(seed, EXAMPLES)
    return Plan(submissions, None, COURSES, bank, jobs, (Level.NONE,))


def graded(
    what: Plan, out: Path, wanted: Wanted | None = None, watch: Noted | None = None
) -> tuple[Report, list[str]]:
    """Return a run's report, and what was graded in it."""
    watch = watch or Noted()
    ledger = Ledger(out, [each.id for each in what.submissions])
    return grade_class(what, ledger, watch, wanted or Wanted()), sorted(watch.done)


def timeless(results: Results) -> str:
    """Return results but for the times."""
    alike = [
        each.model_copy(update={"seconds": 0.0, "graded": "", "memory": None})
        for each in results.submissions
    ]
    return results.model_copy(update={"submissions": tuple(alike)}).model_dump_json(indent=1)


def test_what_has_not_changed_is_kept_and_what_has_is_graded_again(
    work: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first, done = graded(plan(work), out)
    assert [OTHER, RIGHT, WRONG] == done
    assert 0 == first.kept
    second, done = graded(plan(work), out)
    assert ([], 3, "") == (done, second.kept, second.stopped)
    assert first.results == second.results
    there = {path.name for path in out.iterdir()} - {LOCK}
    assert {MARK, "index.html", "results.csv", "results.json", "submissions"} == there
    with (work / f"{WRONG}.py").open("a") as file:
        file.write("# another line\n")
    (work / f"{OTHER}.py").unlink()
    third, done = graded(plan(work), out)
    assert ([WRONG], 1) == (done, third.kept)
    assert 2 == len(list((out / "submissions").iterdir())), "whoever left has no page any more"
    assert third.results == read_results(out / "results.json")


def other_course(folder: Path) -> Course:
    path = Path(model.__file__).parent / "cmu-hw1p1.toml"
    (folder / "own.toml").write_text(path.read_text("utf-8") + "\n[limits]\ncall = 1.9\n")
    return find(str(folder / "own.toml"))


@pytest.mark.once
@pytest.mark.parametrize(
    "change",
    [
        lambda plan, folder: replace(plan, bank=CaseBank(1, EXAMPLES)),
        lambda plan, folder: replace(plan, bank=CaseBank(0, EXAMPLES + 1)),
        lambda plan, folder: replace(plan, course=other_course(folder)),
        lambda plan, folder: replace(plan, levels=(Level.FULL,)),
    ],
    ids=["seed", "examples", "course", "isolation"],
)
def test_whatever_can_move_a_verdict_has_it_found_again(
    work: Path, tmp_path: Path, change: Callable[[Plan, Path], Plan]
) -> None:
    for name in (OTHER, WRONG):
        (work / f"{name}.py").unlink()
    graded(plan(work), tmp_path / "out")
    _, done = graded(change(plan(work), tmp_path), tmp_path / "out")
    assert [RIGHT] == done


def test_what_the_grader_could_not_do_is_tried_again(work: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    graded(plan(work), out)
    content = json.loads((out / "results.json").read_text("utf-8"))
    content["submissions"][0]["status"] = "ungraded"
    (out / "results.json").write_text(json.dumps(content))
    _, done = graded(plan(work), out)
    assert [content["submissions"][0]["id"]] == done


@pytest.mark.once
def test_one_alone_is_graded_and_the_others_are_kept_or_pending(work: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    one, done = graded(plan(work), out, Wanted([WRONG]))
    assert [WRONG] == done
    assert (OTHER, RIGHT) == one.results.pending
    page = (out / "index.html").read_text("utf-8")
    assert "2 of 3 submissions are not graded yet" in " ".join(page.split())
    rest, done = graded(plan(work), out)
    assert ([OTHER, RIGHT], 1, ()) == (done, rest.kept, rest.results.pending)
    assert "not graded yet" not in (out / "index.html").read_text("utf-8")
    again, done = graded(plan(work), out, Wanted([RIGHT], again=True))
    assert ([RIGHT], 2) == (done, again.kept)
    _, done = graded(plan(work), out, Wanted(again=True))
    assert [OTHER, RIGHT, WRONG] == done


def test_a_run_that_is_stopped_keeps_what_it_has_and_the_next_goes_on(
    work: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    stopped, done = graded(plan(work, jobs=1), out, watch=Noted(1))
    assert stopped.stopped
    assert 1 == len(done) == len(stopped.results.submissions)
    assert 2 == len(stopped.results.pending)
    assert "not graded yet" in (out / "index.html").read_text("utf-8")
    rest, more = graded(plan(work), out)
    assert [OTHER, RIGHT, WRONG] == sorted(done + more)
    whole, _ = graded(plan(work), tmp_path / "whole")
    assert timeless(whole.results) == timeless(rest.results)


@pytest.mark.once
def test_a_run_that_is_stopped_gives_up_no_record_that_it_has_not_replaced(
    work: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first, _ = graded(plan(work), out)
    other_seed, _ = graded(plan(work, seed=5), out, watch=Noted(0))
    assert (other_seed.stopped, other_seed.results.submissions) == ("interrupted", ())
    again, _ = graded(plan(work), out, Wanted(again=True), Noted(0))
    assert () == again.results.submissions
    _, done = graded(plan(work, seed=5), out, Wanted([WRONG]))
    assert [WRONG] == done
    second, done = graded(plan(work), out)
    assert ([WRONG], 2) == (done, second.kept)
    assert timeless(first.results) == timeless(second.results)


@pytest.mark.once
def test_on_which_machine_a_record_was_made_does_not_matter(work: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    graded(plan(work), out)
    text = (out / "results.json").read_text("utf-8")
    platform = read_results(out / "results.json").environment.platform
    (out / "results.json").write_text(text.replace(platform, "Linux-2.6"))
    again, done = graded(plan(work), out)
    assert ([], 3) == (done, again.kept)


def test_a_run_that_could_not_write_on_keeps_what_it_has(work: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    class Full(Noted):
        def ready(self, result: SubmissionResult) -> None:
            super().ready(result)
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        graded(plan(work), out, watch=(full := Full()))
    assert 1 == len(full.done) == len(list((out / "results").glob("*.json")))
    assert not (out / "results.json").exists()
    assert "not graded yet" in (out / "index.html").read_text("utf-8")
    _, done = graded(plan(work), out)
    assert sorted({OTHER, RIGHT, WRONG} - set(full.done)) == done


@pytest.mark.once
def test_records_that_cannot_be_read_are_made_again(
    work: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    graded(plan(work), out)
    (out / "results.json").write_text("{}")
    with caplog.at_level(logging.WARNING, "bn_grading"):
        _, done = graded(plan(work), out)
    assert [OTHER, RIGHT, WRONG] == done
    assert "results.json is graded again" in caplog.text


@pytest.mark.once
def test_results_do_not_depend_on_who_grades_how_many_at_once_and_in_which_order(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ordered(results: Results) -> str:
        by_id = tuple(sorted(results.submissions, key=lambda each: each.id))
        return timeless(results.model_copy(update={"submissions": by_id}))

    here = run(plan(work, jobs=1))
    backwards = plan(work)
    backwards = replace(backwards, submissions=backwards.submissions[::-1])
    assert timeless(here) == timeless(run(plan(work, jobs=3))) != ""
    assert ordered(here) == ordered(run(backwards))
    monkeypatch.setenv(FOLDER, "")
    assert timeless(here) == timeless(run(plan(work, jobs=2))), "with nothing kept on disk"
    assert timeless(here) == timeless(
        api.grade([str(work)], examples=EXAMPLES, jobs=2, isolation="none")
    )


def test_a_job_that_dies_costs_one_submission_that_is_tried_again_alone(
    work: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    once = tmp_path / "once"
    (work / "a_always.py").write_text(KILLER.format(condition="if True:"))
    (work / "b_once.py").write_text(
        KILLER.format(
            condition=f"if not os.path.exists({str(once)!r}):\n    open({str(once)!r}, 'w')"
        )
    )
    watch = Noted()
    with caplog.at_level(logging.WARNING, "bn_grading"):
        results = run(plan(work), watch)
    said = {each.id: each for each in results.submissions}
    assert 5 == len(said) == len(watch.done)
    assert "ungraded" == said["a_always"].status
    assert "died, and again when it was tried alone" in said["a_always"].summary
    assert "unusable" == said["b_once"].status, "the second time it is graded, for what it is"
    assert ("correct", "incorrect") == (said[RIGHT].status, said[WRONG].status)
    for name in ("a_always", "b_once"):
        assert f"{name}: its job process died; it is tried again alone" in caplog.text


@pytest.mark.once
@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which processes are jobs")
@pytest.mark.parametrize("times", [1, 50])
def test_jobs_that_die_with_nothing_in_hand_are_started_again(
    work: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, times: int
) -> None:
    """Pebble gives a pool up whose process dies before any has begun anything."""
    left = [times]
    waited = futures.wait

    def killing(*arguments: object) -> object:
        pools = [one for pid in children_of(os.getpid()) for one in children_of(pid)]
        if left[0] > 0 and pools:
            left[0] -= 1
            for pid in pools:
                os.kill(pid, signal.SIGKILL)
        return waited(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(schedule, "wait", killing)
    with caplog.at_level(logging.WARNING, "bn_grading"):
        results = run(plan(work))
    assert 3 == len(results.submissions)
    status = {each.status.value for each in results.submissions}
    assert status == ({"ungraded"} if times == 50 else {"correct", "incorrect"})


def test_the_graders_own_errors_are_noted_with_their_traceback(
    work: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError("in the grader")

    monkeypatch.setattr("bn_grading.grade.Examination", broken)
    results = run(plan(work, jobs=1))
    assert {"ungraded"} == {each.status for each in results.submissions}
    assert "ZeroDivisionError: in the grader" in caplog.text
    assert "Traceback" in caplog.text
    caplog.clear()


def test_a_run_that_nobody_wants_any_more_stops_before_it_begins(work: Path) -> None:
    with pytest.raises(Stopped):
        run(plan(work), Noted(0))


def test_what_is_in_hand_is_told(work: Path) -> None:
    class Hand(Noted):
        seen: set[str] = set()  # noqa: RUF012 (of this test alone)

        def in_hand(self, ids: Sequence[str]) -> None:
            self.seen |= set(ids)

    watch = Hand()
    run(plan(work, jobs=1), watch)
    assert {OTHER, RIGHT, WRONG} == watch.seen


@pytest.mark.once
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere processes are spawned anyway")
def test_where_temporary_files_have_a_long_path_processes_are_started_one_by_one(
    work: Path, tmp_path: Path
) -> None:
    """A socket's path may have a hundred letters."""
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    options = ("--examples", "11", "--jobs", "2", "--isolation", "none", "--allow-unisolated")
    done = subprocess.run(
        [sys.executable, "-m", "bn_grading.main", "grade", "work", *options],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(deep)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    assert "Traceback" not in done.stderr
    assert 3 == len(read_results(tmp_path / "bnoracle-report" / "results.json").submissions)


def test_a_class_is_small_on_disk(fixtures_folder: Path) -> None:
    names = ["correct/cmu_handout", "correct/cmu_einsum", "correct/cs231n_compact"]
    names += ["buggy/cmu_root_plus_eps", "buggy/cmu_history", "buggy/cs231n_eps_omitted"]
    paths = [str(fixtures_folder / f"{name}.py") for name in names]
    bank = CaseBank()
    few = run(Plan(collect(paths).submissions, None, COURSES, bank, 1, (Level.NONE,)))
    many = tuple(
        each.model_copy(update={"id": f"{each.id}-{number}"})
        for number in range(20)
        for each in few.submissions
    )
    whole = few.model_copy(update={"submissions": many})
    assert len(as_text(whole).encode()) < 20_000 * len(many)
