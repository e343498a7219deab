"""From findings to a verdict: each property's points, the status, and the one-sentence summary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bn_properties.catalogue import PROPERTIES
from bn_properties.checking import Finding, blocked_by
from bn_properties.property import Property
from bn_properties.records import Cause, Counterexample, Outcome, PropertyResult, Status

from bn_grading.courses.model import Course, Part

STABILITY = "stability"
"""The family whose failures alone make a submission unstable, not incorrect."""


@dataclass(frozen=True)
class Examined:
    """One part of a submission, with what was found of it."""

    part: Part
    main: bool
    """Whether it is the part whose property ids carry no prefix."""
    findings: dict[str, Finding]
    counterexamples: dict[str, Counterexample]
    causes: tuple[Cause, ...]


def properties(
    course: Course, parts: Sequence[Part], examined: Sequence[Examined]
) -> tuple[PropertyResult, ...]:
    """Return a result for each property of each part; parts that are not there are `not_run`."""
    results: list[PropertyResult] = []
    have_main = any(each.main for each in examined)
    groups_present = {each.part.group for each in examined}
    by_part = {each.part.id: each for each in examined}
    for part in parts:
        found = by_part.get(part.id)
        if found is None and (part.group in groups_present or _is_later(part, parts)):
            continue  # an alternative of one that is there
        main = found.main if found else not have_main and part.group == parts[0].group
        for prop in PROPERTIES:
            if prop.family not in part.families:
                results.append(_absent(course, part, main, prop, applicable=False))
            elif found is None:
                results.append(_absent(course, part, main, prop, applicable=True))
            else:
                results.append(_result(course, found, prop))
    return tuple(results)


def _is_later(part: Part, parts: Sequence[Part]) -> bool:
    """Whether an earlier part of the same group speaks for it."""
    first = next(each for each in parts if each.group == part.group)
    return first is not part


def _id(part: Part, main: bool, prop: Property) -> str:
    return prop.id if main else f"{part.id}/{prop.id}"


def _absent(
    course: Course, part: Part, main: bool, prop: Property, *, applicable: bool
) -> PropertyResult:
    id_ = _id(part, main, prop)
    return PropertyResult(
        id=id_,
        part=part.id,
        group=prop.family,
        title=prop.title,
        equation=prop.equation,
        status=Outcome.NOT_RUN if applicable else Outcome.NOT_APPLICABLE,
        points=0.0,
        max_points=course.points.get(id_, 0.0),
        examples=0,
        message=f"the file does not define {part.names[0]}" if applicable else "",
    )


def _result(course: Course, found: Examined, prop: Property) -> PropertyResult:
    finding = found.findings[prop.id]
    root = blocked_by(finding, found.findings)
    id_ = _id(found.part, found.main, prop)
    most = course.points.get(id_, 0.0)
    earned = finding.outcome is Outcome.PASS or (root is not None and course.one_cause_costs_once)
    prefix = "" if found.main else f"{found.part.id}/"
    return PropertyResult(
        id=id_,
        part=found.part.id,
        group=prop.family,
        title=prop.title,
        equation=prop.equation,
        status=Outcome.BLOCKED if root else finding.outcome,
        points=most if earned else 0.0,
        max_points=most,
        examples=finding.examples,
        message=finding.message,
        blocked_by=prefix + root if root else None,
        error_over_bound=finding.worst,
        counterexample=found.counterexamples.get(prop.id),
    )


def _all(examined: Iterable[Examined]) -> list[tuple[Examined, Finding]]:
    return [(each, finding) for each in examined for finding in each.findings.values()]


def status(examined: Sequence[Examined], *, missing_main: bool) -> Status:
    """Return what the submission is; see `Status` for the order."""
    found = _all(examined)
    failed = [finding for _, finding in found if finding.outcome is Outcome.FAIL]
    if any(_is_wrong(finding) for finding in failed):
        return Status.INCORRECT
    if any(finding.outcome is Outcome.ERROR for _, finding in found):
        return Status.UNGRADED
    if missing_main or any(
        finding.outcome is Outcome.NOT_RUN and (_is_asked_for(each) or _ran_out(finding))
        for each, finding in found
    ):
        return Status.INCOMPLETE
    return Status.UNSTABLE if failed else Status.CORRECT


def _is_asked_for(each: Examined) -> bool:
    """Whether the part must be whole: one a group is; an alternative beside the main one is not."""
    return each.part.required and each.main


def _is_wrong(finding: Finding) -> bool:
    """Whether a failure makes the submission incorrect: all but a loss of accuracy alone."""
    by_accuracy = finding.failing is not None and finding.failing.error is None
    return not (finding.property.family == STABILITY and by_accuracy)


def summary(state: Status, examined: Sequence[Examined], parts: Sequence[Part]) -> str:
    """Say in one sentence what was found."""
    found = _all(examined)
    if state is Status.CORRECT:
        count = sum(finding.outcome is Outcome.PASS for _, finding in found)
        cases = max(finding.examples for _, finding in found)
        return f"All {count} properties hold, on up to {cases} cases each."
    if state is Status.INCOMPLETE:
        missing = {f.message: None for each, f in found if f.outcome is Outcome.NOT_RUN}
        what = "; ".join(missing) or f"the file does not define {' or '.join(parts[0].names)}"
        if any(_ran_out(finding) for _, finding in found):
            return f"Not finished: {what}. Nothing that was asked in time is wrong."
        if not any(finding.outcome is Outcome.PASS for _, finding in found):
            return f"Nothing that could be checked is implemented yet: {what}."
        return f"Not implemented: {what}. What is implemented holds."
    if state is Status.UNGRADED:
        error = next(f for _, f in found if f.outcome is Outcome.ERROR)
        return f"Not graded: {error.property.id}: {error.message}."
    return _failure(state, examined)


def _ran_out(finding: Finding) -> bool:
    """Whether the time for all calls was up before anything was found."""
    error = finding.failing.error if finding.failing else None
    return error is not None and error.failure == "unfinished"


def _failure(state: Status, examined: Sequence[Examined]) -> str:
    """Name the mistake, or else the property that fails first."""
    failed = [
        (each, finding)
        for each, finding in _all(examined)
        if finding.outcome is Outcome.FAIL and blocked_by(finding, each.findings) is None
    ]
    # A number that is wrong outweighs one that is inaccurate.
    each, root = min(failed, key=lambda pair: not _is_wrong(pair[1]))
    place = "" if each.main else f"{each.part.title}: "
    if root.failing is not None and root.failing.error is not None:
        return f"{place}{_sentence(root.message)}"
    if state is Status.UNSTABLE:
        return f"{place}Right, but it loses accuracy: {root.message}."
    if len(each.causes) == 1:
        return f"{place}{_sentence(each.causes[0].title)}"
    if each.causes:
        titles = "; or ".join(cause.title for cause in each.causes[:3])
        return f"{place}Either of these explains it: {titles}."
    return f"{place}{root.property.title} Here {root.message}."


def _sentence(title: str) -> str:
    """Make a sentence of a clause; one that begins with a symbol keeps it as it is."""
    name = "_" in title.partition(" ")[0]  # an identifier stays as it is written
    if not name and title[:2].isascii() and (title[:2].isalpha() or title[:2] == "a "):
        title = title[0].upper() + title[1:]
    return title if title.endswith(".") else title + "."
