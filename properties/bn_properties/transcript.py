"""What was asked and answered: of one subject, and of the oracle under one convention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bn_oracle.conventions import Convention

from bn_properties.expectation import Expected
from bn_properties.expected import expected
from bn_properties.protocol import AnyArray
from bn_properties.scenario import Response, Scenario, Subject, is_large, ran_out

Responses = tuple[Response[AnyArray], ...]
"""What a subject showed in one scenario, call by call."""


class Oracle:
    """What scenarios should give under one convention, each computed once for all subjects."""

    def __init__(self, convention: Convention) -> None:
        """Answer under `convention`."""
        self.convention = convention
        self._kept: dict[bytes, tuple[Expected, ...]] = {}

    def __eq__(self, other: object) -> bool:
        """Whether the other answers under the same convention, and so gives the same answers."""
        return isinstance(other, Oracle) and self.convention == other.convention

    def __hash__(self) -> int:
        """Return the convention's."""
        return hash(self.convention)

    def __call__(self, scenario: Scenario) -> tuple[Expected, ...]:
        """Return what `scenario` should give, call by call."""
        found = self._kept.get(scenario.key)
        if found is None:
            found = self._kept[scenario.key] = expected(scenario, self.convention)
        return found


class Shown(Protocol):
    """What a subject has shown already: a playback."""

    @property
    def asked(self) -> Sequence[Scenario]:
        """The scenarios that count as asked, in order; others were shown and not looked at."""
        ...

    def response(self, scenario: Scenario) -> Responses | None:
        """Return what it showed in one; None where it was not taken through it."""
        ...


class Transcript:
    """What one subject showed; every scenario is put to it once."""

    def __init__(self, subject: Subject, shown: Shown | None = None) -> None:
        """Observe `subject`; what it has `shown` already is not asked again."""
        self.subject, self._shown = subject, shown
        self._kept: dict[bytes, tuple[Scenario, Responses]] = {}
        self._retracted: set[bytes] = set()

    def __call__(self, scenario: Scenario) -> Responses:
        """Return what the subject shows in `scenario`, call by call."""
        key = scenario.key
        if key not in self._kept:
            found = None if self._shown is None else self._shown.response(scenario)
            self._kept[key] = (scenario, found or self.subject.observe(scenario))
        return self._kept[key][1]

    def retract(self, scenario: Scenario) -> None:
        """Count `scenario` as not asked: the subject refused what it may refuse."""
        self._retracted.add(scenario.key)

    @property
    def observed(self) -> list[tuple[Scenario, Responses]]:
        """All that was asked and not taken back, in order, with what came of it.

        Where the subject ran out of time or memory on a large batch, it has shown nothing: whether
        it does may differ from run to run.
        """
        asked = self._asked()
        seen = [(each, self(each)) for key, each in asked.items() if key not in self._retracted]
        return [(each, found) for each, found in seen if not _gave_out(each, found)]

    @property
    def gave_out(self) -> bool:
        """Whether the subject ran out of time or memory on a large batch."""
        large = [each for each in self._asked().values() if is_large(each)]
        return any(_gave_out(each, self(each)) for each in large)

    def _asked(self) -> dict[bytes, Scenario]:
        settled = () if self._shown is None else self._shown.asked
        looked_at = [scenario for scenario, _ in self._kept.values()]
        return {each.key: each for each in (*settled, *looked_at)}


def _gave_out(scenario: Scenario, found: Responses) -> bool:
    errors = (error for each in found for error in each.errors)
    return any(map(ran_out, errors)) and is_large(scenario)
