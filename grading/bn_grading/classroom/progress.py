"""How far a run is: a bar on a terminal; elsewhere a line every so often."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType

from bn_properties.records import SubmissionResult
from bn_reports.text.visible import one_line
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column

from bn_grading.classroom.interrupts import Interrupts
from bn_grading.classroom.schedule import Watch

EVERY = 15.0
"""Seconds between two lines, off a terminal."""
_NARROW = 70
"""Columns below which there is no bar."""


def _columns(width: int) -> list[ProgressColumn]:
    """Return what is shown on a terminal: how many and how long are never cut, the rest is."""
    columns: list[ProgressColumn] = [
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
    ]
    if width >= _NARROW:
        rate = TextColumn("{task.fields[rate]}")
        columns = [TextColumn("grading"), BarColumn(bar_width=20), *columns, rate]
    rest = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    hand = TextColumn("{task.fields[hand]}", style="dim", markup=False, table_column=rest)
    return [*columns, hand]


class Display(Watch):
    """Shows a run's progress on standard error, and stops it at a signal."""

    def __init__(
        self,
        interrupts: Interrupts,
        console: Console,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Show nothing yet; `clock` gives seconds."""
        self._total, self._done, self._hand = 0, 0, ""
        self._interrupts, self._console, self._clock = interrupts, console, clock
        self._started = self._told = clock()
        self._bar = Progress(
            *_columns(console.width),
            console=console,
            transient=True,
            expand=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID = self._bar.add_task("grading", total=None, rate="", hand="")

    @property
    def stopped(self) -> bool:  # type: ignore[override]
        """Whether a signal has come."""
        return self._interrupts.received is not None

    def begin(self, count: int) -> None:
        """Take how many there are to grade."""
        self._total, self._started = count, self._clock()
        self._bar.update(self._task, total=count)

    def ready(self, result: SubmissionResult) -> None:
        """Count a record."""
        self._done += 1
        with self._shown():
            self._bar.update(self._task, advance=1, rate=self._rate())

    def in_hand(self, ids: Sequence[str]) -> None:
        """Name what is being graded."""
        self._hand = one_line(", ".join(ids))
        with self._shown():
            self._bar.update(self._task, hand=self._hand)
            now = self._clock()
            if not self._console.is_terminal and now - self._told >= EVERY:
                self._told = now
                self._console.print(self._line(), markup=False, highlight=False, soft_wrap=True)

    @staticmethod
    def _shown() -> AbstractContextManager[None]:
        """Show something, if there is anywhere to show it: the run does not end for that."""
        return contextlib.suppress(OSError)

    def _seconds(self) -> float:
        return max(self._clock() - self._started, 1e-9)

    def _rate(self) -> str:
        return f"{self._done / self._seconds():.2g}/s"

    def _line(self) -> str:
        left = self._seconds() / self._done * (self._total - self._done) if self._done else None
        about = f", {self._rate()}, about {left:.0f} s left" if left is not None else ""
        hand = f"; in hand: {self._hand}" if self._hand else ""
        return f"bnoracle: {self._done} of {self._total} graded{about}{hand}"

    def __enter__(self) -> Display:
        """Begin to show it."""
        with self._shown():
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        with self._shown():
            self._bar.stop()
