"""What changed from one run to another: what got better, what broke, by submission and property."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bn_properties.records import Outcome, Results, Status, SubmissionResult

_SEVERITY = {status: rank for rank, status in enumerate(Status)}
_NEUTRAL = Outcome.NOT_APPLICABLE
"""Whether a property applies is the interface's doing: it neither breaks nor mends anything."""


@dataclass(frozen=True)
class Change:
    """One submission that both runs have, and of which they say something else."""

    before: SubmissionResult
    after: SubmissionResult
    broke: tuple[str, ...]
    """The properties that passed, and do not any more, of themselves."""
    following: int
    """How many more do not, because another one fails."""
    mended: tuple[str, ...]
    """The properties that pass, and did not, of themselves."""
    freed: int
    """How many more pass, which failed because another one did."""

    @property
    def worse(self) -> bool:
        """Whether a property broke, the status is graver, or points were lost."""
        return bool(self.broke or self.following) or self._step < 0 or self._gain < 0

    @property
    def better(self) -> bool:
        """Whether a property was mended, the status is milder, or points were won."""
        return bool(self.mended or self.freed) or self._step > 0 or self._gain > 0

    @property
    def _step(self) -> int:
        return _SEVERITY[self.after.status] - _SEVERITY[self.before.status]

    @property
    def _gain(self) -> float:
        if self.before.max_score == self.after.max_score:
            return self.after.score - self.before.score
        return _share(self.after) - _share(self.before)


@dataclass(frozen=True)
class PropertyChange:
    """One property, and the ids of the submissions in which it broke or was mended of itself."""

    id: str
    broke: tuple[str, ...]
    mended: tuple[str, ...]


@dataclass(frozen=True)
class Changes:
    """All that is different between two runs."""

    worse: tuple[Change, ...]
    """What broke something, whatever else got better; in the order of the new run."""
    better: tuple[Change, ...]
    """What broke nothing, and got better."""
    unchanged: int
    added: tuple[str, ...]
    """The ids that only the new run has."""
    gone: tuple[str, ...]
    """The ids that only the old run has."""
    properties: tuple[PropertyChange, ...]
    """What broke most, first."""
    conditions: tuple[str, ...]
    """What else was not the same, such as `seed: 0 → 7`."""


def changes(before: Results, after: Results) -> Changes:
    """Return what is different in the run `after` from the run `before`; submissions by id."""
    old = {each.id: each for each in before.submissions}
    new = {each.id: each for each in after.submissions}
    both = [_change(old[id_], each) for id_, each in new.items() if id_ in old]
    worse = tuple(each for each in both if each.worse)
    better = tuple(each for each in both if each.better and not each.worse)
    return Changes(
        worse=worse,
        better=better,
        unchanged=len(both) - len(worse) - len(better),
        added=tuple(id_ for id_ in new if id_ not in old),
        gone=tuple(id_ for id_ in old if id_ not in new),
        properties=_by_property((*worse, *better)),
        conditions=tuple(_conditions(before, after)),
    )


def _change(before: SubmissionResult, after: SubmissionResult) -> Change:
    earlier = {each.id: each.status for each in before.properties}
    pairs = [(each.id, earlier.get(each.id, _NEUTRAL), each.status) for each in after.properties]
    judged = [pair for pair in pairs if _NEUTRAL not in pair]
    lost = {id_: new for id_, old, new in judged if old is Outcome.PASS is not new}
    won = {id_: old for id_, old, new in judged if old is not Outcome.PASS is new}
    broke = tuple(id_ for id_, status in lost.items() if status is not Outcome.BLOCKED)
    mended = tuple(id_ for id_, status in won.items() if status is not Outcome.BLOCKED)
    return Change(before, after, broke, len(lost) - len(broke), mended, len(won) - len(mended))


def _by_property(changed: tuple[Change, ...]) -> tuple[PropertyChange, ...]:
    broke: dict[str, list[str]] = {}
    mended: dict[str, list[str]] = {}
    for each in changed:
        for found, ids in ((broke, each.broke), (mended, each.mended)):
            for id_ in ids:
                found.setdefault(id_, []).append(each.after.id)
    all_of_them = (
        PropertyChange(id_, tuple(broke.get(id_, ())), tuple(mended.get(id_, ())))
        for id_ in {**broke, **mended}
    )
    return tuple(sorted(all_of_them, key=lambda each: (-len(each.broke), -len(each.mended))))


def _conditions(before: Results, after: Results) -> Iterator[str]:
    def told(results: Results) -> dict[str, str]:
        where = results.environment
        return {
            results.tool.name: results.tool.version,
            "Python": where.python,
            "NumPy": where.numpy,
            "Hypothesis": where.hypothesis,
            "seed": str(results.seed),
            "cases": str(results.examples),
            "isolation": results.isolation,
        }

    old, new = told(before), told(after)
    for name, value in new.items():
        if old.get(name, value) != value:
            yield f"{name}: {old[name]} → {value}"
    courses = _courses(before)
    different = [
        id_ for id_, course in _courses(after).items() if courses.get(id_, course) != course
    ]
    if different:
        yield f"what the course says, of {len(different)} submissions"


def _courses(results: Results) -> dict[str, str]:
    return {each.id: each.basis.course_sha256 for each in results.submissions if each.basis}


def _share(submission: SubmissionResult) -> float:
    return submission.score / submission.max_score if submission.max_score else 0.0
