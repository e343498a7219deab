"""Several submissions at a time, each in a job process; nobody's failure is another's."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing.context
import multiprocessing.util
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple, Protocol

from bn_properties.records import SubmissionResult
from pebble import ProcessExpired, ProcessPool

from bn_grading.classroom.job import Graded, KeptTapes, alone, grade_one, keep_tape, prepare
from bn_grading.classroom.plan import Plan
from bn_grading.grade import ungraded
from bn_grading.intake.submission import Submission
from bn_grading.log import LOGGER, note
from bn_grading.subject.isolation import Level
from bn_grading.tape_cache import Cache

LOOK = 0.25
"""Seconds after which it is asked again whether to stop."""

_log = logging.getLogger(__name__)


class Stopped(Exception):
    """The run was to stop."""


class Watch:
    """Who looks on: is told what is in hand and what is ready, and may stop the run."""

    stopped = False

    def begin(self, count: int) -> None:
        """Take how many there are to grade."""

    def ready(self, result: SubmissionResult) -> None:
        """Take a record, as soon as it is there."""

    def in_hand(self, ids: Sequence[str]) -> None:
        """Take the ids of the submissions that are being graded."""


class Jobs(Protocol):
    """Processes that grade, here or elsewhere."""

    @property
    def died(self) -> tuple[type[BaseException], ...]:
        """What a future raises when the process that had it in hand is gone."""

    @property
    def alive(self) -> bool:
        """Whether anything will come of what is waiting still."""

    def submit(self, submission: Submission) -> Future[Graded]:
        """Grade a submission when there is a process for it."""

    def in_hand(self, waiting: Mapping[Future[Graded], Submission]) -> list[str]:
        """Return the ids of those that are being graded."""


class Lost(NamedTuple):
    """What jobs have not graded."""

    died: list[Submission]
    """Whose process died with it in hand."""
    left: list[Submission]
    """What no process has begun, or may have begun, before there was none any more."""


def grade_here(plan: Plan, watch: Watch) -> None:
    """Grade all submissions one after another in this process."""
    for submission in plan.submissions:
        watch.in_hand([submission.id])
        watch.ready(plan.grade(submission))


ATTEMPTS = 3
"""How often processes are started anew after all were lost and nothing was graded."""


def grade_in_processes(plan: Plan, watch: Watch) -> None:
    """Grade all submissions in processes of this machine, `plan.jobs` at a time.

    Raises:
        Stopped: the watch says so; the processes are gone.
    """
    with _tapes(plan.bank.cache.folder) as folder:
        tapes, left, died, attempts = KeptTapes(folder), list(plan.submissions), [], 0
        while left and attempts < ATTEMPTS:
            with _processes(plan, tapes, plan.jobs) as jobs:
                tapes = jobs.keep_tapes(plan, watch)
                lost = grade_with(jobs, plan, left, watch)
            if lost.left:
                _log.warning("all job processes are gone; they are started again")
            # What is graded one by one must come to an end, whatever dies meanwhile.
            attempts = attempts + 1 if len(lost.left) == len(left) else 0
            left = lost.left
            died += lost.died
        for submission in (*died, *left):
            _log.warning("%s: its job process died; it is tried again alone", submission.id)
            with _processes(plan, tapes, 1) as jobs:
                give_up(grade_with(jobs, plan, [submission], watch), plan, watch)


def grade_with(jobs: Jobs, plan: Plan, submissions: Sequence[Submission], watch: Watch) -> Lost:
    """Grade submissions with `jobs`; return what was lost, in order.

    Raises:
        Stopped: the watch says so.
    """
    died, left = set[str](), {each.id for each in submissions}
    waiting: dict[Future[Graded], Submission] = {}
    for submission in submissions:
        try:
            waiting[jobs.submit(submission)] = submission
        except RuntimeError as error:  # there are no processes any more
            _log.warning("%s: not begun: %s", submission.id, error)
    for future, submission in _as_completed(jobs, waiting, watch):
        try:
            graded = future.result()
        except (BrokenProcessPool, CancelledError):
            continue
        except jobs.died as error:
            _log.warning("%s: lost: %s", submission.id, error)
            died.add(submission.id)
        except Exception as error:
            _log.exception("%s: the job failed", submission.id)
            reason = f"the grader failed ({type(error).__name__}: {error})"
            watch.ready(ungraded(submission, plan.course, reason))
        else:
            note(graded.log)
            watch.ready(graded.result)
        left.discard(submission.id)
    return Lost(
        [each for each in submissions if each.id in died],
        [each for each in submissions if each.id in left],
    )


def give_up(lost: Lost, plan: Plan, watch: Watch) -> None:
    """Enter what was lost twice as not graded."""
    for submission in (*lost.died, *lost.left):
        reason = "the grader's process died, and again when it was tried alone"
        watch.ready(ungraded(submission, plan.course, reason))


def _as_completed(
    jobs: Jobs, futures: Mapping[Future[Graded], Submission], watch: Watch
) -> Iterator[tuple[Future[Graded], Submission]]:
    """Yield what is ready, as long as more can become ready."""
    waiting = dict(futures)
    while waiting:
        alive = jobs.alive  # before it is asked what is done: nothing is missed in between
        done, _ = wait(waiting, LOOK, FIRST_COMPLETED)
        if watch.stopped:
            raise Stopped
        for future in done:
            yield future, waiting.pop(future)
        if not done and not alive:
            return
        watch.in_hand(jobs.in_hand(waiting))


class _Processes:
    """Pebble's processes: one that dies takes nothing with it but what it had in hand."""

    died: tuple[type[BaseException], ...] = (ProcessExpired,)

    def __init__(self, pool: ProcessPool, plan: Plan, tapes: KeptTapes) -> None:
        self._pool, self._plan, self._tapes = pool, alone(plan), tapes

    @property
    def alive(self) -> bool:
        return bool(self._pool.active)

    def submit(self, submission: Submission) -> Future[Graded]:
        return self._pool.schedule(grade_one, args=(self._plan, self._tapes, submission))

    def in_hand(self, waiting: Mapping[Future[Graded], Submission]) -> list[str]:
        return [each.id for future, each in waiting.items() if future.running()]

    def keep_tapes(self, plan: Plan, watch: Watch) -> KeptTapes:
        """Have the tapes made that are asked for and not kept yet.

        What is kept then is all that jobs read, where submissions could write to the folder.
        """
        bank, folder = plan.bank, self._tapes.folder
        missing = [each for each in plan.asked() if not bank.has(*each)]
        try:
            waiting: set[Future[None]] = {
                self._pool.schedule(keep_tape, args=(self._plan, self._tapes, *each))
                for each in missing
            }
        except RuntimeError:  # there are no processes any more, as will be seen
            return self._tapes
        while waiting and self.alive:
            done, waiting = wait(waiting, LOOK, FIRST_COMPLETED)
            if watch.stopped:
                raise Stopped
            for future in done:
                if future.exception() is not None:  # it is made again where it is asked for
                    _log.warning("a tape could not be made: %s", future.exception())
        if Level.NONE in plan.levels:
            self._tapes = KeptTapes(folder, Cache(folder).snapshot())
        return self._tapes


@contextlib.contextmanager
def _processes(plan: Plan, tapes: KeptTapes, count: int) -> Iterator[_Processes]:
    level = logging.getLogger(LOGGER).getEffectiveLevel()
    initial = (level, Path(multiprocessing.util.get_temp_dir()))
    pool = ProcessPool(count, initializer=prepare, initargs=initial, context=_context())
    try:
        yield _Processes(pool, plan, tapes)
    finally:
        pool.stop()  # type: ignore[no-untyped-call]
        pool.join()


def _context() -> multiprocessing.context.BaseContext:
    """Return how processes are started: forked from one that has no threads and holds nothing,
    where there can be one; its socket needs a folder for temporary files whose path is not long.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver, resource_tracker  # noqa: PLC0415 (POSIX alone)

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bn_grading.classroom.job"])
    # Ctrl-C at a terminal reaches that process, too: it must not be at its imports then. The
    # tracker's start would let the signal through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    except OSError as error:
        _log.info("job processes are started one by one: %s", error)
        return multiprocessing.get_context("spawn")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context


@contextlib.contextmanager
def _tapes(folder: Path | None) -> Iterator[Path]:
    """Return the folder of the tapes; where none is kept, one for this run."""
    if folder is not None:
        yield folder
    else:
        with tempfile.TemporaryDirectory(prefix="bnoracle-tapes-") as own:
            yield Path(own)
