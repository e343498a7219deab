"""A whole class: every submission graded, each record written as it is ready."""

from __future__ import annotations

import gc
import hashlib
import multiprocessing
import os
import platform
import re
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import version
from pathlib import Path

import hypothesis
import numpy as np
from bn_properties.records import Environment, Results, SubmissionResult, Tool
from bn_reports.formats.results_json import write_results, write_submission

from bn_grading.case_bank import CaseBank
from bn_grading.courses.model import Course
from bn_grading.grade import grade, ungraded
from bn_grading.intake.submissions import Submission

Ready = Callable[[SubmissionResult], None]


def environment() -> Environment:
    """Return the versions that can change what is drawn or computed."""
    return Environment(
        python=platform.python_version(),
        numpy=np.__version__,
        hypothesis=hypothesis.__version__,
        platform=platform.platform(),
    )


def tool() -> Tool:
    """Return this grader's name and version."""
    return Tool(version=version("bnoracle"))


def jobs_for(count: int) -> int:
    """Return how many submissions to grade at once: as many as there are processors to use."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(count, available or 1))


def grade_class(
    submissions: Sequence[Submission],
    course: Course | None,
    courses: Sequence[Course],
    bank: CaseBank,
    jobs: int,
    out: Path | None,
    ready: Ready = lambda result: None,
) -> Results:
    """Grade all submissions, `jobs` at a time; records come in the order of the submissions.

    Each is written to `out`/results/<id>.json when it is ready, and all of them to
    `out`/results.json in the end. A failure of the grader on one leaves the others alone.
    """
    graded: dict[str, SubmissionResult] = {}
    if out is not None:
        _clear(out)
    names = file_names([submission.id for submission in submissions])

    def done(result: SubmissionResult) -> None:
        graded[result.id] = result
        if out is not None:
            write_submission(result, out / "results" / names[result.id])
        ready(result)

    if jobs == 1:
        for submission in submissions:
            done(grade_one(submission, course, courses, bank))
    else:
        _in_processes(submissions, course, courses, bank, jobs, done)
    results = Results(
        tool=tool(),
        environment=environment(),
        seed=bank.seed,
        cases_sha256=bank.sha256,
        isolation="none",
        submissions=tuple(graded[submission.id] for submission in submissions),
    )
    if out is not None:
        write_results(results, out / "results.json")
    return results


def _clear(out: Path) -> None:
    """Remove what an earlier run wrote: a record of then must not pass for one of now."""
    (out / "results.json").unlink(missing_ok=True)
    for folder, ending in (("results", ".json"), ("submissions", ".html")):
        for path in (out / folder).glob(f"*{ending}"):
            path.unlink()


def grade_one(
    submission: Submission, course: Course | None, courses: Sequence[Course], bank: CaseBank
) -> SubmissionResult:
    """Grade one submission; a failure of the grader's own stands in the record."""
    try:
        return grade(submission, course, courses, bank)
    except Exception as error:
        return ungraded(submission, course, f"the grader failed ({type(error).__name__}: {error})")


_bank: CaseBank | None = None
"""A job process's own bank; under `fork` it is the parent's, with the cases drawn."""


def _prepare(seed: int, examples: int) -> None:
    """Set a job process up: the parent alone answers Ctrl-C, and ends it with SIGTERM."""
    global _bank  # noqa: PLW0603 (a process holds one)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    _bank = CaseBank(seed, examples)
    # Cases and answers stay to the end: to look through them again and again finds no garbage.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _job(
    submission: Submission, course: Course | None, courses: Sequence[Course]
) -> SubmissionResult:
    assert _bank is not None
    return grade_one(submission, course, courses, _bank)


def _in_processes(
    submissions: Sequence[Submission],
    course: Course | None,
    courses: Sequence[Course],
    bank: CaseBank,
    jobs: int,
    done: Ready,
) -> None:
    """Grade in `jobs` processes, each of which draws the cases once (or inherits them)."""
    method = "fork" if sys.platform == "linux" else "spawn"
    if method == "fork":
        bank.sha256  # noqa: B018 (draws the cases, for all jobs to inherit)
    with ProcessPoolExecutor(
        max_workers=jobs,
        mp_context=multiprocessing.get_context(method),
        initializer=_prepare,
        initargs=(bank.seed, bank.examples),
    ) as pool:
        waiting = {pool.submit(_job, each, course, courses): each for each in submissions}
        processes = list((pool._processes or {}).values())
        try:
            for future in as_completed(waiting):
                try:
                    result = future.result()
                except BrokenProcessPool as error:
                    result = ungraded(
                        waiting[future], course, f"the grader's process died ({error})"
                    )
                done(result)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.terminate()
            raise


def file_names(ids: Sequence[str]) -> dict[str, str]:
    """Return a safe and distinct file name for each id; a plain id keeps its name."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for id_ in ids:
        name = re.sub(r"[^\w.-]", "_", id_, flags=re.ASCII).lstrip(".") or "_"
        if name != id_ or name.casefold() in taken or len(name) > 100:
            name = f"{name[:100]}-{hashlib.sha256(id_.encode('utf-8', 'replace')).hexdigest()[:12]}"
        taken.add(name.casefold())
        names[id_] = f"{name}.json"
    return names
