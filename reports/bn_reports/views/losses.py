"""Who took which points: what a score lost, by the cause that it is charged to."""

from __future__ import annotations

from dataclasses import dataclass

from bn_properties.records import Outcome, PropertyResult, SubmissionResult


@dataclass(frozen=True)
class Loss:
    """What one mistake, or one thing that is missing, took."""

    title: str
    points: float
    properties: tuple[PropertyResult, ...]
    """What would have earned the points, or whose failure takes some off."""


def losses(submission: SubmissionResult) -> tuple[Loss, ...]:
    """Return what took points of `submission`, the most first; together, all that was lost.

    The score is never below zero, so there they may be more than the points that there were.
    """
    causes = {cause.fault: cause.title for cause in submission.causes}
    titles = {each.id: each.title for each in submission.properties}
    found: dict[str, list[PropertyResult]] = {}
    for each in submission.properties:
        if _lost(each) > 0:
            found.setdefault(_charged(each, causes, titles), []).append(each)
    taken = [Loss(t, sum(map(_lost, those)), tuple(those)) for t, those in found.items()]
    return tuple(sorted(taken, key=lambda loss: -loss.points))


def _lost(each: PropertyResult) -> float:
    return each.max_points - each.points + each.penalty


def _charged(each: PropertyResult, causes: dict[str, str], titles: dict[str, str]) -> str:
    if each.charged_to in causes:
        return causes[each.charged_to]
    if each.charged_to in titles:
        return titles[each.charged_to]
    if each.status is Outcome.NOT_RUN:
        return f"Not run: {each.message}"
    return each.title
