"""What went wrong in a class, and in whose submissions: a group for each cause."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from bn_properties.records import Results, Status, SubmissionResult

from bn_reports.views.overview import failures


@dataclass(frozen=True)
class CauseGroup:
    """The submissions in which one thing is wrong."""

    title: str
    """What is wrong: the mistake; or the first property that fails, where no cause is known."""
    known: bool
    """Whether it is a cause."""
    members: tuple[str, ...]
    """The ids, in the order of the records."""


def cause_groups(results: Results) -> tuple[CauseGroup, ...]:
    """Return the groups, the largest first; what is correct, ungraded or unusable is in none."""
    members: dict[tuple[str, bool], list[str]] = {}
    titles: dict[tuple[str, bool], Counter[str]] = {}
    for each in results.submissions:
        if each.status in (Status.CORRECT, Status.UNGRADED, Status.UNUSABLE):
            continue
        for key, title in _reasons(each).items():
            members.setdefault(key, []).append(each.id)
            titles.setdefault(key, Counter())[title] += 1
    groups = (
        CauseGroup(titles[key].most_common(1)[0][0], key[1], tuple(ids))
        for key, ids in members.items()
    )
    return tuple(sorted(groups, key=lambda group: (-len(group.members), group.title)))


def _reasons(submission: SubmissionResult) -> dict[tuple[str, bool], str]:
    """Return what is wrong with a submission, by a key that does not depend on its names."""
    if submission.causes:
        first = submission.causes[0]
        # A formula that was recovered from numbers has no name of its own.
        return {(f"{first.fault}: {first.wrong}", True): first.title}
    failed = failures(submission)
    if failed:
        first_failed = failed[0].property
        return {(first_failed.id.rpartition("/")[2], False): first_failed.title}
    return {(submission.summary, False): submission.summary}
