"""How a class fares on each property: its own failures apart from those that follow from others."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from bn_properties.records import Outcome, PropertyResult, Results


@dataclass(frozen=True)
class PassRate:
    """How many submissions a property holds in."""

    id: str
    title: str
    passed: int
    failed: int
    """Where it fails of itself."""
    following: int
    """Where it fails, too, because of another failure: that says nothing of this property."""
    unjudged: int
    """Where it was asked, and could not be judged."""

    @property
    def judged(self) -> int:
        """How many passed it, or failed it of itself."""
        return self.passed + self.failed

    @property
    def share(self) -> float:
        """The part of those judged that passed; 1 where none was judged."""
        return self.passed / self.judged if self.judged else 1.0

    @property
    def asked(self) -> int:
        """How many submissions were asked for it."""
        return self.judged + self.following + self.unjudged


def pass_rates(results: Results) -> tuple[PassRate, ...]:
    """Return how the class fares on each property that was asked of anybody.

    The one that most submissions fail of themselves is first, and then the one that follows most.
    """
    first: dict[str, PropertyResult] = {}
    found: dict[str, Counter[Outcome]] = {}
    for submission in results.submissions:
        for each in submission.properties:
            first.setdefault(each.id, each)
            found.setdefault(each.id, Counter())[each.status] += 1
    rates = (
        PassRate(
            id=name,
            title=first[name].title,
            passed=count[Outcome.PASS],
            failed=count[Outcome.FAIL],
            following=count[Outcome.BLOCKED],
            unjudged=count[Outcome.ERROR] + count[Outcome.NOT_RUN],
        )
        for name, count in found.items()
    )
    asked = (rate for rate in rates if rate.asked)
    return tuple(sorted(asked, key=lambda rate: (-rate.failed, -rate.following, rate.share)))
