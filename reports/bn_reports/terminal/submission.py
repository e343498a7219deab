"""One submission in the terminal: what is wrong, and what to do about it, on one screen.

Everything is built of `Text`, never of rich markup, and whatever a student wrote has its control
characters made visible first: a message can neither colour nor move anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from bn_properties.records import (
    Cause,
    Counterexample,
    Outcome,
    PropertyResult,
    Status,
    SubmissionResult,
)
from rich.console import Group, RenderableType
from rich.text import Text

from bn_reports.terminal.layout import Equation, Flow, Hanging, Indented
from bn_reports.terminal.panels import SideBySide
from bn_reports.terminal.properties import all_properties
from bn_reports.terminal.styles import STYLES, badge, heading
from bn_reports.text.equations import equations, plain
from bn_reports.text.numbers import points
from bn_reports.text.visible import one_line, visible
from bn_reports.text.words import WRONG_SIGN
from bn_reports.views import overview
from bn_reports.views.arrays import Quantity, compared
from bn_reports.views.counterexamples import CallView, calls
from bn_reports.views.legend import legend
from bn_reports.views.trimmed import located, trimmed

_ALTERNATIVES = 3
"""How many causes are shown, where each would explain it."""
_BESIDES = 3
"""How many other failures are named."""
_MANY = 6
"""How many calls there are before what is said of those between the first and last is cut."""


def submission_report(submission: SubmissionResult, *, everything: bool = False) -> RenderableType:
    """Return what is wrong with `submission`, and what to do next; and `everything`, if asked."""
    return Group(*_report(submission, everything))


def example_report(submission: SubmissionResult, *, everything: bool = False) -> RenderableType:
    """Return the second half of it: the smallest example, and what to do next."""
    failures = [failure.property for failure in overview.failures(submission)]
    parts = [*_next(submission, failures, everything)]
    if failures:
        parts = [*_failure(failures[0], submission, everything), *parts]
    return Group(*parts)


def _report(submission: SubmissionResult, everything: bool) -> Iterator[RenderableType]:
    yield _line(
        Text.assemble(
            badge(submission.status),
            (" (in an optional part)" if submission.optional else ""),
            f"  {points(submission.score)}/{points(submission.max_score)} points  ",
            (one_line(submission.id), "bold"),
        )
    )
    yield _line(Text(one_line(submission.summary)))
    for note in submission.notes:
        yield _line(Text(f"Note: it {one_line(note)}.", style="dim"))
    yield from _causes(submission)
    yield example_report(submission, everything=everything)
    if everything:
        yield from all_properties(submission)


def _causes(submission: SubmissionResult) -> Iterator[RenderableType]:
    causes = submission.causes[:_ALTERNATIVES]
    if not causes:
        return
    yield heading("Likely cause" if len(causes) == 1 else "Likely causes: one of these")
    for cause in causes:
        yield from _cause(cause, submission)


def _cause(cause: Cause, submission: SubmissionResult) -> Iterator[RenderableType]:
    if one_line(cause.title).casefold() not in one_line(submission.summary).casefold():
        yield _line(Text(one_line(cause.title), style="bold"))
    yield _line(Text(one_line(cause.explanation)))
    wrong, right = (tuple(map(one_line, equations(each))) for each in (cause.wrong, cause.right))
    rows: list[RenderableType] = [
        *_equations("It computes   ", wrong),
        *_equations("It should be  ", right),
        *(
            Hanging(Text(f"Line {line.number}".ljust(14), style="dim"), Text(one_line(line.code)))
            for line in cause.lines
        ),
    ]
    called = legend(cause, submission)
    if called:
        said = ", ".join(f"{symbol} is your {one_line(name)}" for symbol, name in called)
        rows.append(Hanging(Text("Here          ", style="dim"), Text(f"{said}.", style="dim")))
    if any("⟦" in each for each in (*wrong, *right)):
        marks = "⟦ ⟧ marks the place that differs."
        rows.append(Hanging(Text(" " * 14), Text(marks, style="dim")))
    yield Indented(tuple(rows))
    unit = "point" if cause.points == 1 else "points"
    costs = f"; it costs {points(cause.points)} {unit}" if cause.points else ""
    explains = f"Explains {cause.explained} of {cause.observed} observed outputs{costs}."
    yield _line(Text(explains, style="dim"))


def _equations(label: str, texts: tuple[str, ...]) -> Iterator[RenderableType]:
    for place, text in enumerate(texts):
        yield Equation(Text(" " * len(label) if place else label, style="dim"), text)


def _failure(
    failed: PropertyResult, submission: SubmissionResult, everything: bool
) -> Iterator[RenderableType]:
    explained = bool(submission.causes)
    if not explained:
        yield heading("What fails first" if failed.counterexample else "What fails")
    message = visible(failed.message)
    if not explained:
        yield _line(Text(f"The rule: {one_line(failed.title)}"))
        if failed.equation:
            yield Indented((Equation(Text(), one_line(plain(failed.equation))),))
    told = one_line(message).rstrip(".") in one_line(submission.summary)
    said = () if told or not message else (_line(Text(message, style="bold")),)
    if failed.counterexample is None:
        yield from said
        return
    yield heading(f"The smallest example found ({WRONG_SIGN} marks what is wrong)")
    yield from said
    if failed.only:
        yield _line(Text(f"It fails only for {one_line(failed.only)}."))
    yield from _counterexample(failed.counterexample, everything)


def _counterexample(example: Counterexample, everything: bool) -> Iterator[RenderableType]:
    shown = calls(trimmed(example))
    many = len(shown) > _MANY and not everything
    for place, call in enumerate(shown):
        yield _line(Text(call.title, style="bold"))
        between = many and 0 < place < len(shown) - 1
        if not between or call.wrong:
            told = replace(call, intermediates=()) if between else call
            yield Indented(tuple(_call(told)))
    comparison = example.comparison
    if comparison is not None and located(example) is None and not any(c.wrong for c in shown):
        measured = (comparison.got, comparison.expected, comparison.bound)
        yield from _quantity(compared(comparison.quantity, *measured))
    if many:
        yield _line(Text("--all shows what the calls in between were given.", style="dim"))
    where = f"seed {example.seed}, case {example.case}, regime {one_line(example.regime)}"
    yield _line(Text(where, style="dim"))


def _call(call: CallView) -> Iterator[RenderableType]:
    given: list[tuple[Text, ...]] = [
        (Text.assemble((f"{one_line(name)} = ", "dim"), one_line(value), overflow="fold"),)
        for name, value in call.settings
    ]
    notes: list[RenderableType] = []
    for quantity in (*call.inputs, *call.intermediates):
        name = one_line(quantity.name)
        for block in quantity.blocks:
            given += SideBySide(name + block.label, block.panels).blocks()
        if not quantity.blocks:
            given.append((Text(f"{name} ({quantity.kind})"),))
        notes += [_line(Text(f"{name}: {note}", style="dim")) for note in quantity.notes]
    if given:
        yield Flow(tuple(given))
    yield from notes
    for quantity in call.outputs:
        yield from _quantity(quantity)
    if call.error:
        yield _line(Text(visible(call.error), style=STYLES["bad"]))


def _quantity(quantity: Quantity) -> Iterator[RenderableType]:
    name = one_line(quantity.name)
    if not quantity.blocks:
        yield _line(Text(f"{name} ({quantity.kind})"))
    for block in quantity.blocks:
        yield SideBySide(name + block.label, block.panels)
    marked = quantity.blocks and len(quantity.notes) == 1 and quantity.wrong
    for note in () if marked else quantity.notes:
        yield _line(Text(f"{name}: {note}", style="dim"))


def _next(
    submission: SubmissionResult, failures: list[PropertyResult], everything: bool
) -> Iterator[RenderableType]:
    if submission.status is Status.UNUSABLE:
        yield heading("What to do next")
        yield _line(Text("Nothing of it could be checked yet: mend this, and check again."))
    if not submission.properties:
        return
    if submission.status not in (Status.CORRECT, Status.UNUSABLE):
        yield heading("What to do next")
        yield from _advice(submission, failures, everything)
    counts = [
        f"{count} {one if count == 1 else many}"
        for outcome, (one, many) in _COUNTED.items()
        if (count := sum(each.status is outcome for each in submission.properties))
    ]
    more = "" if everything else "; --all lists them"
    yield _line(Text(f"Properties: {', '.join(counts)}{more}.", style="dim"))


_COUNTED = {
    Outcome.PASS: ("holds", "hold"),
    Outcome.FAIL: ("fails", "fail"),
    Outcome.BLOCKED: ("follows", "follow"),
    Outcome.ERROR: ("not judged", "not judged"),
    Outcome.NOT_RUN: ("not run", "not run"),
    Outcome.NOT_APPLICABLE: ("does not apply", "do not apply"),
}


def _advice(
    submission: SubmissionResult, failures: list[PropertyResult], everything: bool
) -> Iterator[RenderableType]:
    if submission.status is Status.UNGRADED:
        yield _line(Text("Nothing: the grader failed here. Tell the course staff."))
        return
    if not failures:
        yield _line(Text("Write what is missing, and check again."))
        return
    numbers = [str(line.number) for cause in submission.causes[:1] for line in cause.lines]
    if len(submission.causes) == 1 and numbers:
        where = f"Change line{'s' if len(numbers) > 1 else ''} {' and '.join(numbers)}"
    else:
        where = "Mend that formula" if submission.causes else "Mend this first"
    causes = {cause.fault for cause in submission.causes}
    others = [each for each in failures[1:] if each.cause is None or each.cause not in causes]
    follows = any(each.status is Outcome.BLOCKED for each in submission.properties)
    hope = ": what follows from it should then hold" if follows else ""
    yield _line(Text(f"{where}, and check again{hope}."))
    if not others or everything:
        return
    fail, itself = ("fails", "itself") if len(others) == 1 else ("fail", "themselves")
    yield _line(Text(f"{len(others)} more {fail} of {itself}:"))
    for each in others[:_BESIDES]:
        yield Hanging(Text("  ✗ ", style=STYLES["bad"]), Text(one_line(each.title)))
    if len(others) > _BESIDES:
        yield Text(f"  and {len(others) - _BESIDES} more", style="dim")


def _line(text: Text) -> RenderableType:
    """Return a text without spaces at the ends of its lines."""
    return Hanging(Text(), text)
