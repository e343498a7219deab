"""All properties of a submission in the terminal: what fails, what follows, what holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bn_properties.records import Outcome, PropertyResult, SubmissionResult
from rich.console import RenderableType
from rich.text import Text

from bn_reports.terminal.layout import Hanging, Indented
from bn_reports.terminal.styles import badge, heading
from bn_reports.text.visible import one_line, visible
from bn_reports.views import overview


def all_properties(submission: SubmissionResult) -> Iterator[RenderableType]:
    """Yield each property once: failures with what they block, the rest by outcome and family."""
    failures = overview.failures(submission)
    if failures:
        yield heading("What fails, and what follows from it")
    for failure in failures:
        yield _row(failure.property, told=True)
        yield Indented(tuple(_row(each) for each in failure.blocked), by=4)
    loose = overview.loose_ends(submission)
    if loose:
        yield heading("What could not be judged")
        yield from (_row(each, told=True) for each in loose)
    yield from _not_run(submission)
    yield from _held(submission)
    absent = [each.id for each in submission.properties if each.status is Outcome.NOT_APPLICABLE]
    if absent:
        yield heading("What does not apply")
        yield Hanging(Text(), Text(one_line(", ".join(absent)), style="dim"))


def _not_run(submission: SubmissionResult) -> Iterator[RenderableType]:
    """Yield what was not run, once for each reason."""
    reasons: dict[str, list[str]] = {}
    for each in submission.properties:
        if each.status is Outcome.NOT_RUN:
            reasons.setdefault(one_line(each.message), []).append(each.id)
    if reasons:
        yield heading("What was not run")
    for reason, ids in reasons.items():
        yield Hanging(Text.assemble(badge(Outcome.NOT_RUN), "  "), Text(reason))
        yield Indented((Hanging(Text(), Text(one_line(", ".join(ids)), style="dim")),), by=4)


def _held(submission: SubmissionResult) -> Iterator[RenderableType]:
    for family in overview.families(submission):
        held = [each for each in family.properties if each.status is Outcome.PASS]
        if held:
            yield heading(f"What holds: {one_line(family.name)}")
            yield from _sentences(held)


def _sentences(properties: Iterable[PropertyResult]) -> Iterator[RenderableType]:
    for each in properties:
        yield Hanging(Text("✓ ", style="green"), Text(one_line(each.title)))


def _row(each: PropertyResult, *, told: bool = False) -> RenderableType:
    body = Text(one_line(each.title))
    if each.only:
        body.append(f" (fails only for {one_line(each.only)})", "dim")
    if told and each.message:
        body.append(f"\n{visible(each.message)}", "dim")
    return Hanging(Text.assemble(badge(each.status), "  "), body)
