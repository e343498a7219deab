"""The terminal: what changed from one run to another, the worst last, where it is seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from bn_reports.text.numbers import points
from bn_reports.text.visible import one_line
from bn_reports.text.words import label
from bn_reports.views.changes import Change, Changes

_NAMED = 5
"""How many submissions a property names."""


def changes_report(changes: Changes) -> RenderableType:
    """Return what there is to say of two runs, without colour that means anything."""
    return Group(*_report(changes))


def counts(changes: Changes) -> str:
    """Say in one line how many submissions changed, and how."""
    said = [
        f"{len(changes.worse)} worse",
        f"{len(changes.better)} better",
        f"{changes.unchanged} unchanged",
    ]
    if changes.added:
        said.append(f"{len(changes.added)} new")
    if changes.gone:
        said.append(f"{len(changes.gone)} gone")
    return ", ".join(said)


def step(change: Change) -> str:
    """Say in one line what became of a submission's status and score."""
    before, after = change.before, change.after
    status = _arrow(label(before.status).word, label(after.status).word)
    score = _arrow(points(before.score), points(after.score))
    most = _arrow(points(before.max_score), points(after.max_score))
    return f"{status}, {score} of {most} points"


def _arrow(before: str, after: str) -> str:
    return after if before == after else f"{before} → {after}"


def _report(changes: Changes) -> Iterator[RenderableType]:
    for name, old, new in changes.conditions:
        yield Text(f"not the same: {name}: {old} → {new}", style="yellow")
    if changes.gone:
        yield Text(f"gone: {_listed(changes.gone)}")
    if changes.added:
        yield Text(f"new: {_listed(changes.added)}")
    if changes.properties:
        yield _heading("By property")
    for each in changes.properties:
        yield Text(one_line(each.id))
        if each.mended:
            yield _below(f"mended in {len(each.mended)}: {_listed(each.mended)}")
        if each.broke:
            yield _below(f"broke in {len(each.broke)}: {_listed(each.broke)}")
    for heading, found in (("Better", changes.better), ("Worse", changes.worse)):
        if found:
            yield _heading(heading)
        for change in found:
            yield from _change(change)
    yield Text(counts(changes))


def _change(change: Change) -> Iterator[RenderableType]:
    yield Text.assemble((one_line(change.after.id), "bold"), f": {step(change)}")
    if change.mended:
        yield _below(f"mended: {_listed(change.mended)}")
    if change.broke:
        yield _below(f"broke: {_listed(change.broke)}")
    if change.worse:
        yield _below(one_line(change.after.summary))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return one_line(", ".join(names[:_NAMED])) + more


def _below(text: str) -> RenderableType:
    return Padding(Text(text), (0, 0, 0, 2), expand=False)


def _heading(words: str) -> RenderableType:
    return Text(f"\n{words}", style="bold underline")
