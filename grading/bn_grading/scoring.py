"""From findings to a verdict: each property's points, the status, and the one-sentence summary."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from bn_properties.case_errors import packed
from bn_properties.cases.traits import KNOWN
from bn_properties.catalogue import PROPERTIES
from bn_properties.checking import Finding
from bn_properties.naming import legend, named, named_cause, named_counterexample
from bn_properties.property import Property
from bn_properties.protocol import Failure
from bn_properties.records import Cause, Counterexample, Outcome, PropertyResult, Status

from bn_grading.courses.model import Course, Part
from bn_grading.part_examination import PartFindings

STABILITY = "stability"
"""The family whose failures alone make a submission unstable, not incorrect."""


class Score(NamedTuple):
    """What a submission's record says of all that was found."""

    status: Status
    points: float
    summary: str
    causes: tuple[Cause, ...] = ()
    properties: tuple[PropertyResult, ...] = ()
    optional: bool = False
    """Whether nothing but optional parts is wrong."""
    names: Mapping[str, Mapping[str, str]] = MappingProxyType({})
    """What each part of the submission calls our symbols."""


def score(course: Course, parts: Sequence[Part], examined: Sequence[PartFindings]) -> Score:
    """Make a verdict of what was found of a submission's parts."""
    state = status(examined, missing_main=not any(each.main for each in examined))
    rows = properties(course, parts, examined)
    points = max(0.0, sum(row.points - row.penalty for row in rows))
    said = summary(state, examined, parts)
    optional = state is Status.INCORRECT and not _is_required_wrong(examined)
    if optional:
        said = f"An optional part is wrong. {said}"
    elif state is not Status.CORRECT and points == course.max_score:
        said += " It costs no points in this course."
    causes: dict[str, Cause] = {}
    for found in examined:
        for cause in found.causes:
            causes.setdefault(cause.fault, named_cause(cause, found.names))
    priced = (_priced(cause, rows) for cause in causes.values())
    names = {each.part.id: dict(legend(each.names)) for each in examined}
    return Score(state, points, said, tuple(priced), rows, optional, names)


def _is_required_wrong(examined: Sequence[PartFindings]) -> bool:
    return any(
        each.part.required and finding.outcome is Outcome.FAIL and _is_wrong(finding)
        for each, finding in _all(examined)
    )


def _priced(cause: Cause, rows: Sequence[PropertyResult]) -> Cause:
    """Return a cause with the points that it took."""
    lost = sum(
        row.max_points - row.points + row.penalty for row in rows if row.charged_to == cause.fault
    )
    return cause.model_copy(update={"points": lost})


def properties(
    course: Course, parts: Sequence[Part], examined: Sequence[PartFindings]
) -> tuple[PropertyResult, ...]:
    """Return a result for each property of each part; parts that are not there are `not_run`."""
    results: list[PropertyResult] = []
    groups_present = {each.part.group for each in examined}
    by_part = {each.part.id: each for each in examined}
    for part in parts:
        found = by_part.get(part.id)
        if found is None and (part.group in groups_present or _is_later(part, parts)):
            continue  # an alternative of one that is there
        if found is None and part.if_taken:
            continue
        main = found.main if found else part.group == parts[0].group
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


def _absent(
    course: Course, part: Part, main: bool, prop: Property, *, applicable: bool
) -> PropertyResult:
    return _row(
        course,
        part,
        "" if main else f"{part.id}/",
        prop,
        status=Outcome.NOT_RUN if applicable else Outcome.NOT_APPLICABLE,
        message=f"the file does not define {part.names[0]}" if applicable else "",
    )


def _result(course: Course, found: PartFindings, prop: Property) -> PropertyResult:
    finding = found.findings[prop.id]
    root = found.root(prop.id)
    # A cause explains everything that was seen of its part; several are each other's alternatives.
    alone = _alone(found.causes, prop)
    errors = {
        number: finding.errors[i] for number, i in enumerate(found.cases) if i in finding.errors
    }
    shown = found.counterexamples.get(prop.id)
    failed = finding.outcome is Outcome.FAIL
    error = None if finding.failing is None else finding.failing.error
    # What it may refuse, or no case could show, costs nothing.
    earned = float(finding.outcome in (Outcome.PASS, Outcome.NOT_APPLICABLE))
    if failed:
        free = root is not None and course.charge == "once"
        earned = 1.0 if free else 1.0 - course.share(finding.only)
    return _row(
        course,
        found.part,
        found.prefix,
        prop,
        status=Outcome.BLOCKED if root else finding.outcome,
        earned=earned,
        charged=failed and root is None and _is_wrong(finding) and found.part.required,
        charged_to=alone or found.prefix + (root or prop.id) if failed else None,
        only=KNOWN[finding.only].words if failed and finding.only else "",
        examples=finding.examples,
        message=named(finding.message, found.names),
        failure=None if error is None else error.failure,
        blocked_by=found.prefix + root if root else None,
        error_over_bound=None if finding.worst is None else _to_four_digits(finding.worst),
        case_errors=packed(errors, len(found.cases)) if errors else "",
        cause=alone if failed else None,
        counterexample=None if shown is None else named_counterexample(shown, found.names),
    )


def _alone(causes: Sequence[Cause], prop: Property) -> str | None:
    """Return the cause of a failure; one that leaves something unexplained is that of its own."""
    if len(causes) != 1:
        return None
    (cause,) = causes
    whole = cause.explained == cause.observed
    return cause.fault if whole or prop.id in cause.properties else None


def _row(
    course: Course,
    part: Part,
    prefix: str,
    prop: Property,
    *,
    status: Outcome,
    message: str,
    failure: Failure | None = None,
    earned: float = 0.0,
    charged: bool = False,
    charged_to: str | None = None,
    only: str = "",
    examples: int = 0,
    blocked_by: str | None = None,
    error_over_bound: float | None = None,
    case_errors: str = "",
    cause: str | None = None,
    counterexample: Counterexample | None = None,
) -> PropertyResult:
    most = course.points.get(prefix + prop.id, 0.0)
    points = most * earned
    penalty = (1.0 - earned) * course.otherwise if charged and not most else 0.0
    return PropertyResult(
        id=prefix + prop.id,
        part=part.id,
        title=prop.title,
        equation=prop.equation,
        status=status,
        points=points,
        only=only,
        penalty=penalty,
        charged_to=charged_to if penalty or points < most else None,
        max_points=most,
        examples=examples,
        message=message,
        failure=failure,
        blocked_by=blocked_by,
        error_over_bound=error_over_bound,
        case_errors=case_errors,
        cause=cause,
        hidden=prefix + prop.id in course.hidden,
        hint=course.hidden.get(prefix + prop.id, ""),
        counterexample=counterexample,
    )


def _to_four_digits(ratio: float) -> float:
    """Round an error over its bound; what is past the bound stays past it."""
    rounded = float(f"{ratio:.4g}")
    return rounded if ratio <= 1.0 or rounded > 1.0 else ratio


def _all(examined: Iterable[PartFindings]) -> list[tuple[PartFindings, Finding]]:
    return [(each, finding) for each in examined for finding in each.findings.values()]


def status(examined: Sequence[PartFindings], *, missing_main: bool) -> Status:
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


def _is_asked_for(each: PartFindings) -> bool:
    """Whether the part must be whole: one a group is; an alternative beside the main one is not."""
    return each.part.required and each.main


def _is_wrong(finding: Finding) -> bool:
    """Whether a failure makes the submission incorrect: all but a loss of accuracy alone."""
    by_accuracy = finding.failing is not None and finding.failing.error is None
    return not (finding.property.family == STABILITY and by_accuracy)


def summary(state: Status, examined: Sequence[PartFindings], parts: Sequence[Part]) -> str:
    """Say in one sentence what was found."""
    found = _all(examined)
    if state is Status.CORRECT:
        count = sum(finding.outcome is Outcome.PASS for _, finding in found)
        cases = max(finding.examples for _, finding in found)
        on = "one case" if cases == 1 else f"up to {cases} cases each"
        return f"All {count} properties hold, on {on}."
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


def _failure(state: Status, examined: Sequence[PartFindings]) -> str:
    """Name the mistake, or else say what is wrong where the first property fails."""
    failed = [
        (each, finding)
        for each, finding in _all(examined)
        if finding.outcome is Outcome.FAIL and each.root(finding.property.id) is None
    ]
    # A number that is wrong outweighs one that is inaccurate.
    each, root = min(failed, key=lambda pair: not _is_wrong(pair[1]))
    place = "" if each.main else f"{each.part.title}: "
    return place + _said(state, each, root)


def _said(state: Status, each: PartFindings, root: Finding) -> str:
    """Say of one part what is wrong, in its own names."""

    def sentence(text: str) -> str:
        return _sentence(named(text, each.names), each.names.values())

    message = named(root.message, each.names)
    if root.failing is not None and root.failing.error is not None:
        return sentence(root.message)
    if state is Status.UNSTABLE:
        why = named(each.causes[0].title, each.names) if len(each.causes) == 1 else message
        return f"Right, but it loses accuracy: {why}."
    if len(each.causes) == 1:
        (cause,) = each.causes
        numbers = ", ".join(str(line.number) for line in cause.lines)
        where = f" (line {numbers})" if len(cause.lines) == 1 else f" (lines {numbers})"
        return sentence(cause.title + (where if cause.lines else ""))
    if each.causes:
        titles = "; or ".join(named(cause.title, each.names) for cause in each.causes[:3])
        return f"Either of these explains it: {titles}."
    where = f"Only for {KNOWN[root.only].words}: here" if root.only else "Here"
    return f"{sentence(root.property.finding)} {where} {message}."


def _sentence(title: str, names: Collection[str] = ()) -> str:
    """Make a sentence of a clause; one that begins with a symbol keeps it as it is."""
    first = title.partition(" ")[0].partition("[")[0]
    name = "_" in first or first in names  # an identifier stays as it is written
    if not name and title[:2].isascii() and (title[:2].isalpha() or title[:2] == "a "):
        title = title[0].upper() + title[1:]
    return title if title.endswith(".") else title + "."
