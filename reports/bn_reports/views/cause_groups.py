"""What a class did not understand: its submissions by the mistake that explains them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from bn_properties.records import Cause, Outcome, PropertyResult, Results, SubmissionResult

_SEVERAL, _TITLES, _EQUATIONS = " + ", "; and ", r" \qquad "
"""What stands between the ids, titles and equations of mistakes that are one cause together."""


@dataclass(frozen=True)
class CauseGroup:
    """Submissions that make the same mistake, or that fail the same property first."""

    key: str
    """A mistake's id, or that of a property."""
    title: str
    named: bool
    """Whether it is a mistake that has a name; else no cause is known, and it is a property."""
    wrong: str
    """What most of them seem to compute, as LaTeX; empty for a property."""
    right: str
    """What is to be computed instead, or the property's equation, as LaTeX."""
    alike: bool
    """Whether all of them compute the same."""
    members: tuple[SubmissionResult, ...]
    """In the order of the run."""


class _Shown(NamedTuple):
    """How one submission shows a mistake."""

    title: str
    wrong: str
    right: str
    alone: bool
    """Whether it is told by itself, and not with others."""


def cause_groups(results: Results) -> tuple[CauseGroup, ...]:
    """Return the mistakes of a class, the most frequent first; a tie keeps the run's order.

    A submission with several mistakes is in the group of each. One that fails, but whose cause is
    not known, is in the group of the first property that it fails of itself. Where what fails first
    is a call (an exception, a time-out, a death) it is in none: see `incidents`.
    """
    shown: dict[tuple[bool, str], list[_Shown]] = {}
    members: dict[tuple[bool, str], list[SubmissionResult]] = {}
    for submission in results.submissions:
        for key, each in dict(_mistakes(submission)).items():
            shown.setdefault(key, []).append(each)
            members.setdefault(key, []).append(submission)
    groups = [_group(key, shown[key], tuple(found)) for key, found in members.items()]
    return tuple(sorted(groups, key=lambda group: -len(group.members)))


def first_failure(submission: SubmissionResult) -> PropertyResult | None:
    """Return the first property that a submission fails of itself."""
    return next((each for each in submission.properties if each.status is Outcome.FAIL), None)


def _group(
    key: tuple[bool, str], shown: list[_Shown], members: tuple[SubmissionResult, ...]
) -> CauseGroup:
    # Titles say a course's own names: what most of them say, before what is said with others.
    title = Counter(each.title for each in shown if each.alone) or Counter(
        each.title for each in shown
    )
    equations = Counter((each.wrong, each.right) for each in shown)
    wrong, right = equations.most_common(1)[0][0]
    return CauseGroup(
        key=key[1],
        title=title.most_common(1)[0][0],
        named=key[0],
        wrong=wrong,
        right=right,
        alike=len(equations) == 1,
        members=members,
    )


def _mistakes(submission: SubmissionResult) -> Iterator[tuple[tuple[bool, str], _Shown]]:
    for cause in submission.causes:
        for fault, each in _single(cause):
            yield (True, fault), each
    failed = first_failure(submission)
    if not submission.causes and failed is not None and failed.failure in (None, "unusable_result"):
        title = failed.title.removesuffix(".")
        yield (False, failed.id), _Shown(title, "", failed.equation, alone=True)


def _single(cause: Cause) -> Iterator[tuple[str, _Shown]]:
    """Take the mistakes apart that explain a submission together, where that can be done."""
    faults, titles = cause.fault.split(_SEVERAL), cause.title.split(_TITLES)
    wrong, right = cause.wrong.split(_EQUATIONS), cause.right.split(_EQUATIONS)
    if len(faults) == len(titles) == len(wrong) == len(right):
        for each in zip(faults, titles, wrong, right, strict=True):
            yield each[0], _Shown(*each[1:], alone=len(faults) == 1)
    else:
        yield cause.fault, _Shown(cause.title, cause.wrong, cause.right, alone=True)
