"""Several submissions at a time, each in a job process; nobody's failure is another's."""

from __future__ import annotations

import gc
import multiprocessing
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial

from bn_oracle.conventions import Convention
from bn_properties.records import Results, SubmissionResult

from bn_grading.case_bank import CaseBank
from bn_grading.classroom.plan import Plan
from bn_grading.courses.model import Part
from bn_grading.grade import ungraded
from bn_grading.intake.submission import Submission

Ready = Callable[[SubmissionResult], None]


def run(plan: Plan, ready: Ready = lambda result: None) -> Results:
    """Grade all submissions; `ready` gets each record as soon as it is there."""
    graded: dict[str, SubmissionResult] = {}

    def done(result: SubmissionResult) -> None:
        graded[result.id] = result
        ready(result)

    if plan.jobs == 1:
        for submission in plan.submissions:
            done(plan.grade(submission))
    else:
        _in_processes(plan, done)
    return plan.results(graded)


_bank: CaseBank | None = None
"""A job process's own cases and tapes; under `fork`, those that the parent has loaded."""


def _prepare(seed: int, examples: int) -> None:
    """Set a job process up: the parent alone answers Ctrl-C, and ends it with SIGTERM."""
    global _bank  # noqa: PLW0603 (a process holds one)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    _bank = _bank or CaseBank(seed, examples)
    # Cases and expectations stay to the end: looking through them again would find no garbage.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _job(plan: Plan, submission: Submission) -> SubmissionResult:
    return plan.grade(submission, _bank)


def _record_tapes(plan: Plan) -> None:
    """Load the tapes that will be asked for, for all jobs to inherit.

    Those that are not kept on disk yet are made in several processes, which keep them there.
    """
    global _bank  # noqa: PLW0603 (a process holds one)
    asked = plan.asked()
    missing = [each for each in asked if not plan.bank.has(*each)]
    if len(missing) > 1 and plan.bank.keeps:
        # Hypothesis and the cases are there before the processes part.
        for axes in {part.spatial_axes for part, _ in missing}:
            plan.bank.cases(axes)
        with ProcessPoolExecutor(plan.jobs, multiprocessing.get_context("fork")) as pool:
            list(pool.map(partial(_keep_tape, plan.bank), missing))
    for part, convention in asked:
        plan.bank.tape(part, convention)
    _bank = plan.bank


def _keep_tape(bank: CaseBank, asked: tuple[Part, Convention]) -> None:
    bank.tape(*asked)


def _in_processes(plan: Plan, done: Ready) -> None:
    """Grade in job processes, each of which loads the tapes once (or inherits them)."""
    method = "fork" if sys.platform == "linux" else "spawn"
    if method == "fork":
        _record_tapes(plan)
    seed, examples = plan.bank.seed, plan.bank.examples
    # What a job is sent holds no drawn cases, and no other submission.
    alone = replace(plan, submissions=(), bank=CaseBank(seed, examples))
    with ProcessPoolExecutor(
        max_workers=plan.jobs,
        mp_context=multiprocessing.get_context(method),
        initializer=_prepare,
        initargs=(seed, examples),
    ) as pool:
        waiting = {pool.submit(_job, alone, each): each for each in plan.submissions}
        processes = list((pool._processes or {}).values())
        try:
            for future in as_completed(waiting):
                try:
                    result = future.result()
                except BrokenProcessPool as error:
                    reason = f"the grader's process died ({error})"
                    result = ungraded(waiting[future], plan.course, reason)
                done(result)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.terminate()
            raise
