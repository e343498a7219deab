"""How far a run is: lines off a terminal, a bar on one."""

from __future__ import annotations

import io
import os
import re
import signal

import pytest
from bn_grading.classroom.interrupts import Interrupts
from bn_grading.classroom.progress import EVERY, Display
from bn_grading.grade import ungraded
from bn_grading.intake.submission import Submission
from rich.console import Console

RESULT = ungraded(Submission("ada", "ada.py", {}, "0" * 64), None, "no")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_off_a_terminal_it_is_a_line_every_so_often() -> None:
    stream, clock = io.StringIO(), Clock()
    with Display(Interrupts(), Console(file=stream), clock) as display:
        display.begin(40)
        display.in_hand(["ada"])
        assert "" == stream.getvalue(), "a run that is soon over says nothing"
        for _ in range(10):
            display.ready(RESULT)
        clock.now += EVERY + 5
        display.in_hand(["bob\x1b[31m", "eve"])
        display.in_hand(["eve"])
    line = "bnoracle: 10 of 40 graded, 0.5/s, about 60 s left; in hand: bob\\x1b[31m, eve\n"
    assert line == stream.getvalue()


def test_nothing_graded_yet_is_told_without_a_guess() -> None:
    stream, clock = io.StringIO(), Clock()
    with Display(Interrupts(), Console(file=stream), clock) as display:
        display.begin(2)
        clock.now += EVERY
        display.in_hand([])
    assert "bnoracle: 0 of 2 graded\n" == stream.getvalue()


def test_on_a_terminal_it_is_a_bar_that_goes_away() -> None:
    stream, clock = io.StringIO(), Clock()
    console = Console(file=stream, force_terminal=True, width=120)
    with Display(Interrupts(), console, clock) as display:
        display.begin(40)
        clock.now += 2.0
        display.ready(RESULT)
        display.in_hand(["[bold]ada[/bold]"])
        display._bar.refresh()
    shown = stream.getvalue()
    for text in ("grading", "1/40", "0.5/s", "[bold]ada[/bold]"):
        assert text in shown
    assert "bnoracle:" not in shown


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_how_many_and_how_long_are_shown_at_any_width(width: int) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=width, color_system=None)
    with Display(Interrupts(), console, Clock()) as display:
        display.begin(4000)
        display.ready(RESULT)
        display.in_hand(["a_very_long_name_of_a_submission" * 5])
        display._bar.refresh()
        shown = stream.getvalue().rpartition("\x1b[2K")[2]
    assert re.search(r" 1/4000 (\d:\d\d:\d\d|-:--:--) left ", shown)
    assert width >= len(shown)


class Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("terminal", [False, True])
def test_where_it_cannot_be_shown_the_run_goes_on(terminal: bool) -> None:
    clock = Clock()
    console = Console(file=Full(), force_terminal=terminal, width=120)
    with Display(Interrupts(), console, clock) as display:
        display.begin(40)
        clock.now += EVERY
        display.ready(RESULT)
        display.in_hand(["ada"])


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="signals are POSIX")
def test_the_first_signal_counts_and_the_signals_are_given_back() -> None:
    before = {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGHUP)}
    with Interrupts() as interrupts:
        display = Display(interrupts, Console(file=io.StringIO()))
        assert not display.stopped
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert display.stopped
        assert signal.SIGTERM == interrupts.received
    assert before == {name: signal.getsignal(name) for name in before}


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="signals are POSIX")
def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            os.kill(os.getpid(), signal.SIGHUP)
        assert interrupts.received is None
    finally:
        signal.signal(signal.SIGHUP, before)
