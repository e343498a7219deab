"""What the grader notes of itself: its own errors with their tracebacks, and what it does.

Jobs are other processes, on other machines even: what they note travels with the record.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bn_reports.text.visible import visible

LOGGER = "bn_grading"


class Logged(NamedTuple):
    """One note."""

    level: int
    text: str
    """With the traceback, if there is one."""


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Logged] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(Logged(record.levelno, self.format(record)))


@contextmanager
def collected() -> Iterator[list[Logged]]:
    """Collect what is noted, instead of writing it."""
    logger, collector = logging.getLogger(LOGGER), _Collector()
    before, logger.handlers = logger.handlers, [collector]
    propagate, logger.propagate = logger.propagate, False
    try:
        yield collector.found
    finally:
        logger.handlers, logger.propagate = before, propagate


def note(notes: tuple[Logged, ...]) -> None:
    """Write down what was collected elsewhere."""
    for each in notes:
        logging.getLogger(LOGGER).log(each.level, "%s", each.text)


class _Visible(logging.Formatter):
    """Times in UTC; a submission's message can neither colour nor move anything."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


class _File(logging.FileHandler):
    """A log file; where it cannot be written on, that is said once, and no more."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", errors="backslashreplace")
        self._failed = False

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not self._failed:
            reason = getattr(error, "strerror", None) or error
            print(f"bnoracle: {self.baseFilename} cannot be written: {reason}", file=sys.stderr)
        self._failed = True

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what cannot be written was told of
            super().close()


def write_log(path: Path | None, *, debug: bool) -> None:
    """Write what is noted to a file, and with `debug` to standard error, more of it.

    A log that is there already goes on.

    Raises:
        OSError: the file cannot be written, or is something else than a log.
    """
    logger = logging.getLogger(LOGGER)
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
    logger.propagate = False
    handlers: list[logging.Handler] = []
    if path is not None:
        if path.is_file() and path.stat().st_size and not _is_log(path):
            raise FileExistsError(errno.EEXIST, "it is there, and no log")
        handlers.append(_File(path))
    if debug:
        handlers.append(logging.StreamHandler())
    for handler in handlers:
        handler.setFormatter(_Visible("%(asctime)s %(levelname)s %(message)s"))
    logger.handlers = handlers or [logging.NullHandler()]


def _is_log(path: Path) -> bool:
    with path.open("rb") as file:
        return re.match(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ ", file.read(64)) is not None
