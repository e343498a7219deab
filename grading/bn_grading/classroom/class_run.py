"""A class from a plan to a report: what is kept of earlier runs, what is graded, what is written.

A record is taken over when it would come out the same: the files are the same to the byte, and so
is everything else that it rests on.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bn_properties.records import Basis, Results, Status, SubmissionResult

from bn_grading.classroom.cluster import ClusterGone, connected, grade_on_cluster
from bn_grading.classroom.ledger import Ledger
from bn_grading.classroom.plan import Plan
from bn_grading.classroom.schedule import Stopped, Watch, grade_here, grade_in_processes
from bn_grading.classroom.similar import similar
from bn_grading.intake.submission import Submission

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """Which submissions of a class a run is to grade."""

    only: Collection[str] = ()
    """The ids of those to grade; none of them: all."""
    again: bool = False
    """Whether to grade those, too, whose record is there and would come out the same."""

    def includes(self, id_: str) -> bool:
        """Whether a submission is to be graded if its record is not there."""
        return not self.only or id_ in self.only


@dataclass(frozen=True)
class Report:
    """What has come of a run."""

    results: Results
    index: Path
    """The class page."""
    kept: int
    """How many records were taken over."""
    stopped: str
    """Why it ended before its end, if it did."""


def grade_class(
    plan: Plan,
    ledger: Ledger,
    watch: Watch,
    wanted: Wanted = Wanted(),
    scheduler: str | None = None,
) -> Report:
    """Grade a class and write its report.

    Args:
        plan: the whole class.
        ledger: its report folder.
        watch: told of each record when it is on disk.
        wanted: which of the class.
        scheduler: the address of a Dask cluster's; None: processes of this machine.

    Raises:
        OSError: the report cannot be written; what was written before stays, for the next run.
        NoCluster: the cluster cannot be used.
    """
    try:
        return _graded(plan, ledger, watch, wanted, scheduler)
    finally:
        ledger.release()


def _graded(
    plan: Plan, ledger: Ledger, watch: Watch, wanted: Wanted, scheduler: str | None
) -> Report:
    graded = _unchanged(plan, ledger.records, wanted)
    kept, total = len(graded), len(plan.submissions)
    todo = [each for each in plan.submissions if each.id not in graded and wanted.includes(each.id)]
    alike = similar(plan.judged())
    writing = _Writing(ledger, watch, graded)
    stopped = ""
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(connected(scheduler)) if scheduler and todo else None
        ledger.begin(plan.results(graded, alike))
        _log.info("%d submissions: %d kept, %d to grade", total, kept, len(todo))
        watch.begin(len(todo))
        try:
            if todo and cluster is not None:
                grade_on_cluster(replace(plan, submissions=todo), cluster, writing)
            elif todo:
                grade_in_processes(replace(plan, submissions=todo), writing)
        except Stopped:
            stopped = "interrupted"
        except ClusterGone as error:
            stopped = str(error)
    if stopped:
        _log.info("%s: %d of %d are graded", stopped, len(graded), total)
    results = plan.results(graded, alike)
    return Report(results, ledger.close(results), kept, stopped)


def run(plan: Plan, watch: Watch | None = None) -> Results:
    """Grade a class and write nothing; one at a time is graded in this process.

    Raises:
        Stopped: the watch says so.
    """
    graded: dict[str, SubmissionResult] = {}
    collecting = _Writing(None, watch or Watch(), graded)
    (grade_here if plan.jobs == 1 else grade_in_processes)(plan, collecting)
    return plan.results(graded, similar(plan.judged()))


class _Writing(Watch):
    """Writes each record down before another is told of it."""

    def __init__(
        self, ledger: Ledger | None, watch: Watch, graded: dict[str, SubmissionResult]
    ) -> None:
        self._ledger, self._watch, self._graded = ledger, watch, graded

    @property
    def stopped(self) -> bool:  # type: ignore[override]
        return self._watch.stopped

    def ready(self, result: SubmissionResult) -> None:
        if self._ledger is not None:
            self._ledger.enter(result)
        self._graded[result.id] = result
        _log.info(
            "%s: %s, %g of %g points, %.1f s",
            result.id,
            result.status.value,
            result.score,
            result.max_score,
            result.seconds,
        )
        self._watch.ready(result)

    def in_hand(self, ids: Sequence[str]) -> None:
        self._watch.in_hand(ids)


def _unchanged(
    plan: Plan, records: Mapping[str, SubmissionResult], wanted: Wanted
) -> dict[str, SubmissionResult]:
    """Return the records that would come out the same, of those that are not asked for again."""
    kept: dict[str, SubmissionResult] = {}
    for submission in plan.submissions:
        record = records.get(submission.id)
        asked_again = wanted.again and wanted.includes(submission.id)
        if record is not None and not asked_again and _holds(record, submission, plan):
            kept[submission.id] = record.model_copy(update={"path": submission.path})
    return kept


def _holds(record: SubmissionResult, submission: Submission, plan: Plan) -> bool:
    """Whether a record would come out the same: on which machine, moves no verdict."""
    if record.status is Status.UNGRADED or record.sha256 != submission.sha256:
        return False
    try:
        rests_on = plan.rests_on(submission)
    except Exception:  # what is wrong is told when it is graded
        _log.exception("%s: what its record rests on cannot be told", submission.id)
        return False
    return rests_on is not None and _anywhere(rests_on) == _anywhere(record.basis)


def _anywhere(basis: Basis | None) -> Basis | None:
    """Return what a record rests on, wherever it was made."""
    if basis is None:
        return None
    environment = basis.environment.model_copy(update={"platform": ""})
    return basis.model_copy(update={"environment": environment})
