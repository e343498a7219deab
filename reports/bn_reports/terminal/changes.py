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


def following(ids: Sequence[str], more: int) -> str:
    """Say how many properties follow from those that are named."""
    if not more:
        return ""
    return f"{', and ' if ids else ''}{more} that follow{'s' if more == 1 else ''}"


def _arrow(before: str, after: str) -> str:
    return after if before == after else f"{before} → {after}"


def _report(changes: Changes) -> Iterator[RenderableType]:
    for condition in changes.conditions:
        yield Text(f"not the same: {one_line(condition)}", style="yellow")
    if changes.gone:
        yield Text(f"gone: {_listed(changes.gone)}")
    if changes.added:
        yield Text(f"new: {_listed(changes.added)}")
    if changes.properties:
        yield _heading("By property")
    for each in changes.properties:
        for became, ids in (("broke", each.broke), ("mended", each.mended)):
            if ids:
                yield Text(f"{one_line(each.id)} {became} in {len(ids)}: {_listed(ids)}")
    for heading, found in (("Better", changes.better), ("Worse", changes.worse)):
        if found:
            yield _heading(heading)
        for change in found:
            yield from _change(change)
    yield Text(counts(changes))


def _change(change: Change) -> Iterator[RenderableType]:
    yield Text.assemble((one_line(change.after.id), "bold"), f": {step(change)}")
    for became, ids, more in (
        ("mended", change.mended, change.freed),
        ("broke", change.broke, change.following),
    ):
        if ids or more:
            yield _below(f"{became}: {_listed(ids)}{following(ids, more)}")
    if change.worse:
        yield _below(one_line(change.after.summary))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return one_line(", ".join(names[:_NAMED])) + more


def _below(text: str) -> RenderableType:
    return Padding(Text(text), (0, 0, 0, 2), expand=False)


def _heading(words: str) -> RenderableType:
    return Text(f"\n{words}", style="bold underline")
