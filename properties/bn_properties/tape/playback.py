"""What one subject showed against a tape, and which properties that settles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from bn_oracle.arrays import Array
from numpy.typing import NDArray

from bn_properties.cases.case import Case
from bn_properties.property import Property
from bn_properties.scenario import Scenario
from bn_properties.tape.tape import Tape
from bn_properties.transcript import Responses


@dataclass(frozen=True, eq=False)
class Playback:
    """What one subject showed, scenario by scenario."""

    tape: Tape
    played: int
    """How many scenarios: fewer than the tape has where the subject did not come to its end."""
    values: Array
    """All results, by their places; what stands where there was none is not looked at."""
    regular: NDArray[np.bool_]
    """(scenarios,): whether one gave each result in a shape that it may have, and nothing else
    happened."""
    decode: Callable[[int], Responses]
    """Return what was shown in a scenario, by its number."""
    _asked: set[int] = field(default_factory=set)

    @cached_property
    def _worst(self) -> Array:
        """Each entry's worst error over bound; NaN where it must be asked as it stands."""
        worst = np.zeros(len(self.tape.entries))
        with np.errstate(all="ignore"):  # a submission may give NaN, infinities, huge numbers
            for program in self.tape.programs:
                np.maximum.at(worst, program.entries, program.worst(self.values))
        worst[~self._settled] = np.nan
        return worst

    @property
    def _settled(self) -> NDArray[np.bool_]:
        """(entries,): whether the programs say all of an entry, and what it asks was regular."""
        entries = self.tape.entries
        settled = np.array([entry.traced for entry in entries], bool)
        if not self.regular.all():
            odd = frozenset(np.flatnonzero(~self.regular).tolist())
            settled &= np.array([odd.isdisjoint(entry.scenarios) for entry in entries], bool)
        return settled

    def holds(self, prop: Property, case: Case) -> bool:
        """Whether a property holds on a case, so that nothing need be looked at more closely."""
        number = self.tape.by_property.get((prop.id, case.index))
        return number is not None and bool(self._worst[number] <= 1.0)

    def settle(self, prop: Property, case: Case) -> float | None:
        """Count what a property that holds asks on a case as asked.

        Returns the worst error over bound; None: it compares nothing.
        """
        number = self.tape.by_property[prop.id, case.index]
        entry = self.tape.entries[number]
        self._asked.update(entry.scenarios)
        return float(self._worst[number]) if entry.compares else None

    @property
    def asked(self) -> Sequence[Scenario]:
        """What properties that hold have asked, in order."""
        return [self.tape.scenarios[number] for number in sorted(self._asked)]

    def response(self, scenario: Scenario) -> Responses | None:
        """Return what the subject showed in a scenario; None where it was not taken through it."""
        number = self.tape.numbers.get(scenario.key)
        return None if number is None or number >= self.played else self.decode(number)
