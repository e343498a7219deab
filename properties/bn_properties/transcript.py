"""What was asked and answered: of one subject, and of the oracle under one convention."""

from __future__ import annotations

from bn_oracle.conventions import Convention

from bn_properties.expectation import Expected
from bn_properties.expected import expected
from bn_properties.protocol import AnyArray
from bn_properties.scenario import Response, Scenario, Subject


class Oracle:
    """What scenarios should give under one convention, each computed once for all subjects."""

    def __init__(self, convention: Convention) -> None:
        """Answer under `convention`."""
        self.convention = convention
        self._kept: dict[bytes, tuple[Expected, ...]] = {}

    def __call__(self, scenario: Scenario) -> tuple[Expected, ...]:
        """Return what `scenario` should give, call by call."""
        found = self._kept.get(scenario.key)
        if found is None:
            found = self._kept[scenario.key] = expected(scenario, self.convention)
        return found


class Transcript:
    """What one subject showed; every scenario is put to it once."""

    def __init__(self, subject: Subject) -> None:
        """Observe `subject`."""
        self.subject = subject
        self._kept: dict[bytes, tuple[Scenario, tuple[Response[AnyArray], ...]]] = {}

    def __call__(self, scenario: Scenario) -> tuple[Response[AnyArray], ...]:
        """Return what the subject shows in `scenario`, call by call."""
        found = self._kept.get(scenario.key)
        if found is None:
            found = self._kept[scenario.key] = (scenario, self.subject.observe(scenario))
        return found[1]

    def retract(self, scenario: Scenario) -> None:
        """Count `scenario` as not asked: the subject refused what it may refuse."""
        self._kept.pop(scenario.key, None)

    @property
    def observed(self) -> list[tuple[Scenario, tuple[Response[AnyArray], ...]]]:
        """All that was asked and not taken back, in order, with what came of it."""
        return list(self._kept.values())
