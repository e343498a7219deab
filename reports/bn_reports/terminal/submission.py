"""The terminal: one table for a class, one report for a submission.

Everything is built of `Text`, never of rich markup, and whatever a student wrote has its control
characters made visible first: a message can neither colour nor move anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bn_properties.records import (
    Cause,
    Counterexample,
    Outcome,
    PropertyResult,
    Results,
    Status,
    SubmissionResult,
)
from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bn_reports.terminal.panels import SideBySide
from bn_reports.text.equations import plain
from bn_reports.text.numbers import points
from bn_reports.text.visible import one_line, visible
from bn_reports.text.words import WRONG_SIGN, label
from bn_reports.views import overview
from bn_reports.views.arrays import Quantity
from bn_reports.views.counterexamples import CallView, trimmed, worst

STYLES: Final = {"good": "green", "bad": "bold red", "warn": "yellow", "quiet": "dim"}


def class_table(results: Results) -> RenderableType:
    """Return a table of the class, a row a submission, the worst first."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("Submission", overflow="fold", max_width=20)
    table.add_column("Status", no_wrap=True)
    table.add_column("Score", no_wrap=True, justify="right")
    table.add_column("Finding", overflow="fold", ratio=1)
    for each in overview.worst_first(results):
        table.add_row(
            Text(one_line(each.id)),
            _badge(each.status),
            Text(f"{points(each.score)}/{points(each.max_score)}"),
            Text(one_line(each.summary)),
        )
    counts = ", ".join(
        f"{count} {label(status).word}"
        for status, count in overview.status_counts(results).items()
        if count
    )
    lines = [Text(counts or "no submissions")]
    if results.pending:
        lines.append(Text(f"{len(results.pending)} not graded yet", style=STYLES["warn"]))
    lines += [
        Text(f"similar: {one_line(', '.join(group))}", style="dim") for group in results.similar
    ]
    return Group(table, *lines)


def submission_report(submission: SubmissionResult) -> RenderableType:
    """Return what there is to say of `submission`: verdict, root failure, cause, properties."""
    return Group(*_report(submission))


def _report(submission: SubmissionResult) -> Iterator[RenderableType]:
    yield Text.assemble(
        _badge(submission.status),
        (" (in an optional part)" if submission.optional else ""),
        f"  {points(submission.score)}/{points(submission.max_score)} points  ",
        (one_line(submission.id), "bold"),
    )
    yield Text(one_line(submission.summary))
    for note in submission.notes:
        yield Text(f"Note: it {one_line(note)}.", style="dim")
    failed = overview.failures(submission)
    if failed:
        yield from _failure(failed[0].property)
    for cause in submission.causes[:1]:
        yield from _cause(cause)
        called = next(iter(submission.names.values()), {})
        if called:
            said = ", ".join(f"{symbol} is your {name}" for symbol, name in called.items())
            yield Text(f"In equations, {one_line(said)}.", style="dim")
    if submission.properties:
        yield _heading("Properties")
        yield from (_property(each, submission) for each in submission.properties)


def _failure(failed: PropertyResult) -> Iterator[RenderableType]:
    yield _heading("What fails first" if failed.counterexample else "What fails")
    if failed.message:
        yield Text(visible(failed.message), style="bold")
    yield Text(f"The rule: {one_line(failed.title)}")
    if failed.equation:
        yield _indented(Text(one_line(plain(failed.equation))))
    if failed.counterexample:
        yield from _counterexample(failed.counterexample)


def _counterexample(example: Counterexample) -> Iterator[RenderableType]:
    yield _heading(f"The smallest example found ({WRONG_SIGN} marks what is wrong)")
    for call in trimmed(example):
        yield Text(call.title, style="bold")
        yield _indented(Group(*_call(call)))
    if example.comparison is not None:
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in worst(example.comparison):
            table.add_row(Text(name, style="dim"), Text(value))
        yield table
    where = f"seed {example.seed}, case {example.case}, regime {one_line(example.regime)}"
    yield Text(where, style="dim")


def _call(call: CallView) -> Iterator[RenderableType]:
    for name, value in call.settings:
        yield Text(f"{one_line(name)} = {one_line(value)}")
    for quantity in call.inputs:
        yield from _quantity(quantity)
    if call.wrong:
        for quantity in call.intermediates:
            yield from _quantity(quantity)
    for quantity in call.outputs:
        yield from _quantity(quantity)
    if call.error:
        yield Text(visible(call.error), style=STYLES["bad"])


def _quantity(quantity: Quantity) -> Iterator[RenderableType]:
    name = one_line(quantity.name)
    if not quantity.blocks:
        yield Text(f"{name} ({quantity.kind})")
    for block in quantity.blocks:
        yield SideBySide(name + block.label, block.panels)
    for note in quantity.notes:
        yield Text(f"{name}: {note}", style="dim")


def _cause(cause: Cause) -> Iterator[RenderableType]:
    yield _heading("Likely cause")
    yield Text(one_line(cause.title), style="bold")
    yield Text(one_line(cause.explanation))
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(Text("It computes", style="dim"), Text(one_line(plain(cause.wrong))))
    table.add_row(Text("It should be", style="dim"), Text(one_line(plain(cause.right))))
    for line in cause.lines:
        table.add_row(Text(f"Line {line.number}", style="dim"), Text(one_line(line.code)))
    yield _indented(table)
    yield Text(f"Explains {cause.explained} of {cause.observed} observed outputs.", style="dim")


def _property(each: PropertyResult, submission: SubmissionResult) -> RenderableType:
    line = Table.grid(padding=(0, 2))
    line.add_column(no_wrap=True, min_width=16)
    line.add_column(overflow="fold")
    title = Text(one_line(each.title))
    if each.status is Outcome.BLOCKED and each.blocked_by:
        titles = {other.id: other.title for other in submission.properties}
        title.append(f" (after: {one_line(titles.get(each.blocked_by, each.blocked_by))})", "dim")
    if each.only:
        title.append(f" (fails only for {one_line(each.only)})", "dim")
    line.add_row(_badge(each.status), title)
    return line


def _badge(status: Status | Outcome) -> Text:
    shown = label(status)
    return Text(f"{shown.sign} {shown.word}", style=STYLES[shown.tone])


def _heading(words: str) -> RenderableType:
    return Text(f"\n{words}", style="bold underline")


def _indented(content: RenderableType) -> RenderableType:
    return Padding(content, (0, 0, 0, 2), expand=False)
