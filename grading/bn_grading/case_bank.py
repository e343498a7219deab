"""What all submissions of a run share: the drawn cases, and what the oracle expects of them."""

from __future__ import annotations

from collections.abc import Iterator

from bn_diagnosis.diagnosis import Diagnosis
from bn_oracle.conventions import Convention
from bn_properties.cases.case import Case, digest
from bn_properties.cases.draw import draw_cases
from bn_properties.cases.pinned import pinned_cases
from bn_properties.cases.transform import MOST_DRAWN, enlarge
from bn_properties.scenario import Scenario
from bn_properties.transcript import Oracle

DEFAULT_EXAMPLES = 100
DEFAULT_SEED = 0


class CaseBank:
    """The cases of one seed; drawn once a process, and what is expected computed once."""

    def __init__(self, seed: int = DEFAULT_SEED, examples: int = DEFAULT_EXAMPLES) -> None:
        """Hold `examples` cases of `seed` for each shape of input."""
        self.seed, self.examples = seed, examples
        self._cases: dict[int, tuple[Case, ...]] = {}
        self._oracles: dict[str, Oracle] = {}
        self._diagnoses: dict[tuple[str, int], Diagnosis] = {}

    def cases(self, spatial_axes: int) -> tuple[Case, ...]:
        """Return the cases for inputs with so many axes after (N, C): past misses, drawn and
        derived.
        """
        if spatial_axes not in self._cases:
            drawn = draw_cases(self.seed, min(self.examples, MOST_DRAWN), spatial_axes)
            found = (*pinned_cases(spatial_axes), *enlarge(drawn, self.examples))
            self._cases[spatial_axes] = found
        return self._cases[spatial_axes]

    @property
    def work(self) -> float:
        """How much is asked, as a multiple of what the default number of cases asks."""
        return self.examples / DEFAULT_EXAMPLES

    def oracle(self, convention: Convention) -> Oracle:
        """Return what scenarios should give under `convention`."""
        return self._oracles.setdefault(convention.name, Oracle(convention))

    def diagnosis(self, convention: Convention, spatial_axes: int) -> Diagnosis:
        """Return the known mistakes under `convention`, ready to be compared."""
        key = (convention.name, spatial_axes)
        if key not in self._diagnoses:
            further = _Further(self.seed + 1, spatial_axes)
            self._diagnoses[key] = Diagnosis(
                convention, spatial_axes, self.oracle(convention), further
            )
        return self._diagnoses[key]

    @property
    def sha256(self) -> str:
        """The digest of the cases: equal digests mean that the same was asked."""
        return digest(self.cases(0), self.cases(2))


class _Further:
    """Another seed's scenarios, drawn only where two mistakes look the same on the first one's."""

    def __init__(self, seed: int, spatial_axes: int) -> None:
        self._seed, self._spatial_axes = seed, spatial_axes

    def __iter__(self) -> Iterator[Scenario]:
        for case in draw_cases(self._seed, 22, self._spatial_axes):
            yield from (case.training, case.interrupted)
