"""What a job process does: grade one submission after another, and end when it is told to.

It ends, too, when the process that started it is gone, and takes the submission's process with it.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import shutil
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from bn_oracle.conventions import Convention
from bn_properties.records import SubmissionResult

from bn_grading.case_bank import CaseBank
from bn_grading.classroom.plan import Plan
from bn_grading.courses.model import Part
from bn_grading.intake.submission import Submission
from bn_grading.log import LOGGER, Logged, collected
from bn_grading.tape_cache import Cache, Snapshot

PATIENCE = 5.0
"""Seconds that a job has to put its submission's process away, when there is nobody to wait."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Graded:
    """A record, and what was noted on the way."""

    result: SubmissionResult
    log: tuple[Logged, ...]


class _Ended(BaseException):
    """The job is to end; what it has in hand puts itself away on the way out."""


@dataclass
class _State:
    """Of this process."""

    busy: bool = False
    turn: threading.Lock = field(default_factory=threading.Lock)


_state = _State()


def prepare(level: int, temporary: Path) -> None:
    """Set a job process up: the parent alone answers Ctrl-C, and ends it with SIGTERM.

    `level` is the least of what is logged; `temporary`, what multiprocessing has made for the
    parent's processes.
    """
    logging.getLogger(LOGGER).setLevel(level)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):  # blocked while the process began
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGTERM, _end)
    warnings.filterwarnings("ignore", category=SyntaxWarning)  # of a student's escapes
    threading.Thread(target=_watch_parent, args=(temporary,), daemon=True).start()
    # Cases and expectations stay to the end: looking through them again would find no garbage.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _end(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if _state.busy:
        raise _Ended
    os._exit(1)


def _watch_parent(temporary: Path) -> None:
    """End with the process that the job was started by, however that ends."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        shutil.rmtree(temporary, ignore_errors=True)
        signal.raise_signal(signal.SIGTERM)
        time.sleep(PATIENCE)
        os._exit(1)


class KeptTapes(NamedTuple):
    """The folder in which all jobs of a machine find the tapes."""

    folder: Path
    files: Snapshot | None = None
    """What was there before the first submission ran: nothing else is read. None: it may be."""


@lru_cache(maxsize=2)
def _bank(seed: int, examples: int, folder: Path | None) -> CaseBank:
    """Return the process's own cases and tapes; `folder` None is the user's."""
    return CaseBank(seed, examples, Cache(folder))


@contextmanager
def _ending() -> Iterator[None]:
    """Be interrupted only where what was begun is put away."""
    _state.busy = True
    try:
        yield
    except _Ended:
        os._exit(1)
    finally:
        _state.busy = False


def keep_tape(plan: Plan, tapes: KeptTapes, part: Part, convention: Convention) -> None:
    """Make one tape, and keep it on disk for all."""
    with _ending():
        _bank(plan.bank.seed, plan.bank.examples, tapes.folder).tape(part, convention)


def grade_one(plan: Plan, tapes: KeptTapes | None, submission: Submission) -> Graded:
    """Grade one submission of a plan; `tapes` None are those of this machine."""
    # A cluster's process has several threads, but one grader.
    with _state.turn, _ending(), collected() as log:
        bank = _bank(plan.bank.seed, plan.bank.examples, tapes.folder if tapes else None)
        if tapes is not None and tapes.files is not None:
            bank.cache.seal(tapes.files)
        _log.debug("%s: begun", submission.id)
        result = plan.grade(submission, bank)
    return Graded(result, tuple(log))


def alone(plan: Plan) -> Plan:
    """Return what a job is sent of a plan: no drawn cases, and no other submission."""
    return replace(plan, submissions=(), bank=CaseBank(plan.bank.seed, plan.bank.examples))
