"""A whole class: every submission graded, each record written as it is ready."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from importlib.metadata import version
from pathlib import Path

import hypothesis
import numpy as np
from bn_properties.verdicts import Environment, Results, SubmissionResult, Tool
from bn_reports.results_json import write_results, write_submission

from bn_grading.bank import CaseBank
from bn_grading.courses import Course
from bn_grading.grade import grade, ungraded
from bn_grading.submissions import Submission

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
    names = file_names([submission.id for submission in submissions])

    def one(submission: Submission) -> SubmissionResult:
        try:
            return grade(submission, course, courses, bank)
        except Exception as error:
            return ungraded(submission, course, error)

    with ThreadPoolExecutor(max_workers=jobs) as pool:
        waiting: set[Future[SubmissionResult]] = {pool.submit(one, each) for each in submissions}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    result = future.result()
                    graded[result.id] = result
                    if out is not None:
                        write_submission(result, out / "results" / names[result.id])
                    ready(result)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
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
