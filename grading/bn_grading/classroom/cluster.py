"""A class on several machines: the same jobs, handed out by a Dask scheduler.

The scheduler is Dask's, and so is what becomes of a worker that dies: what it had in hand is given
to another.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import Any

from bn_grading.classroom.job import Graded, alone, grade_one
from bn_grading.classroom.plan import Plan
from bn_grading.classroom.schedule import Watch, give_up, grade_with
from bn_grading.courses.interfaces import FRAMEWORKS
from bn_grading.intake.submission import Submission
from bn_grading.versions import environment, installed, tool

PATIENCE = 10.0
"""Seconds in which a scheduler must answer."""


class NoCluster(ValueError):
    """A cluster that cannot be used; the message is one line."""


class ClusterGone(Exception):
    """A cluster whose scheduler does not answer any more."""


def grade_on_cluster(plan: Plan, client: Any, watch: Watch) -> None:
    """Grade all submissions on the cluster that `client` is connected with.

    Raises:
        ClusterGone: its scheduler does not answer any more.
        Stopped: the watch says so.
    """
    jobs = _Cluster(client, plan)
    try:
        lost = grade_with(jobs, plan, plan.submissions, watch)
        for submission in (*lost.died, *lost.left):
            again = grade_with(jobs, plan, [submission], watch)
            if again.left and not jobs.alive:
                raise ClusterGone(f"{jobs.address}: the scheduler is gone")
            give_up(again, plan, watch)
    finally:
        jobs.close()


@contextlib.contextmanager
def connected(address: str) -> Iterator[Any]:
    """Connect with the cluster whose scheduler is at `address`.

    Raises:
        NoCluster: no scheduler answers there, it has no worker, or one with other versions than
            are here.
    """
    try:
        import distributed  # noqa: PLC0415 (an extra)
    except ImportError:
        raise NoCluster("Dask is not installed here (the extra is `cluster`)") from None
    try:
        make: Any = distributed.Client
        client = make(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise NoCluster(f"{address}: no scheduler answers there ({_line(error)})") from None
    with client:
        try:
            found: dict[str, tuple[str, ...]] = client.run(versions)
        except Exception as error:
            raise NoCluster(f"{address}: a worker has no bnoracle ({_line(error)})") from None
        if not found:
            raise NoCluster(f"{address}: the scheduler has no worker")
        for worker, theirs in sorted(found.items()):
            if theirs != versions():
                there, here = ", ".join(theirs), ", ".join(versions())
                raise NoCluster(f"{worker} grades with {there}, but here it is {here}")
        yield client


def versions() -> tuple[str, ...]:
    """Return the versions that can change a verdict."""
    where = environment()
    return (
        f"bnoracle {tool().version}",
        f"Python {where.python}",
        f"NumPy {where.numpy}",
        f"Hypothesis {where.hypothesis}",
        *(f"{name} {installed(package)}" for package, name in FRAMEWORKS.items()),
    )


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


class _Cluster:
    """Dask's executor."""

    def __init__(self, client: Any, plan: Plan) -> None:
        from distributed import KilledWorker  # noqa: PLC0415 (an extra)

        self.died: tuple[type[BaseException], ...] = (KilledWorker,)
        self._client = client
        self.address = client.scheduler.addr
        self._executor = client.get_executor(pure=False)
        self._plan = alone(plan)
        self._ids: dict[str, str] = {}

    @property
    def alive(self) -> bool:
        return self._client.status in ("running", "connecting")

    def submit(self, submission: Submission) -> Future[Graded]:
        key = f"bnoracle-{uuid.uuid4().hex}"
        self._ids[key] = submission.id
        future: Future[Graded] = self._executor.submit(
            grade_one, self._plan, None, submission, key=key
        )
        return future

    def in_hand(self, waiting: Mapping[Future[Graded], Submission]) -> list[str]:
        """Return what the scheduler has given to workers."""
        try:
            given = self._client.processing()
        except Exception:  # it may be gone: that is seen elsewhere
            return []
        left = {each.id for each in waiting.values()}
        ids = (self._ids.get(key, "") for keys in given.values() for key in keys)
        return [id_ for id_ in ids if id_ in left]

    def close(self) -> None:
        with contextlib.suppress(Exception):  # the client may be closed: there is nothing left
            self._executor.shutdown(wait=False)
