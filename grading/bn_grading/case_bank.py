"""What all submissions of a run share: the cases, the tapes made of them, and what is expected."""

from __future__ import annotations

from collections.abc import Iterator

from bn_diagnosis.diagnosis import Diagnosis
from bn_oracle.conventions import Convention
from bn_properties.cases.case import Case, digest
from bn_properties.cases.pinned import pinned_cases
from bn_properties.scenario import Scenario
from bn_properties.tape.tape import Tape, record
from bn_properties.transcript import Oracle

from bn_grading.courses.model import Part
from bn_grading.subject.playing import Prepared
from bn_grading.subject.remote import encoded
from bn_grading.tape_cache import Cache

DEFAULT_EXAMPLES = 100
DEFAULT_SEED = 0


class CaseBank:
    """The cases of one seed; what takes time is done once, and kept on disk."""

    def __init__(
        self,
        seed: int = DEFAULT_SEED,
        examples: int = DEFAULT_EXAMPLES,
        cache: Cache | None = None,
    ) -> None:
        """Hold `examples` cases of `seed` for each shape of input; `cache` None is the user's."""
        self.seed, self.examples = seed, examples
        self._cache = Cache() if cache is None else cache
        self._cases: dict[int, tuple[Case, ...]] = {}
        self._oracles: dict[Convention, Oracle] = {}
        self._tapes: dict[tuple[object, ...], Prepared] = {}
        self._diagnoses: dict[tuple[Convention, int], Diagnosis] = {}

    def cases(self, spatial_axes: int) -> tuple[Case, ...]:
        """Return the cases for inputs with so many axes after (N, C): chosen, drawn and derived."""
        if spatial_axes not in self._cases:
            key = (self.seed, self.examples, "cases", spatial_axes)
            self._cases[spatial_axes] = self._cache.kept(key, lambda: self._drawn(spatial_axes))
        return self._cases[spatial_axes]

    def _drawn(self, spatial_axes: int) -> tuple[Case, ...]:
        # Hypothesis takes a third of a second to import: only who draws waits for it.
        from bn_properties.cases.draw import draw_cases  # noqa: PLC0415
        from bn_properties.cases.transform import MOST_DRAWN, enlarge  # noqa: PLC0415

        drawn = draw_cases(self.seed, min(self.examples, MOST_DRAWN), spatial_axes)
        return (*pinned_cases(spatial_axes), *enlarge(drawn, self.examples))

    def tape(self, part: Part, convention: Convention) -> Prepared:
        """Return what is asked of one part."""
        offers = tuple(sorted(part.interface.offers))
        key = ("tape", part.id, part.spatial_axes, part.families, offers, convention)
        if key not in self._tapes:
            kept = (self.seed, self.examples, *key)
            found = self._cache.kept(kept, lambda: self._recorded(part, convention))
            self._tapes[key] = Prepared(*found)
        return self._tapes[key]

    def _recorded(self, part: Part, convention: Convention) -> tuple[Tape, tuple[bytes, ...]]:
        cases, offers = self.cases(part.spatial_axes), part.interface.offers
        tape = record(cases, part.properties, self.oracle(convention), offers)
        return tape, encoded(tape, part, convention)

    @property
    def work(self) -> float:
        """How much is asked, as a multiple of what the default number of cases asks."""
        return self.examples / DEFAULT_EXAMPLES

    def oracle(self, convention: Convention) -> Oracle:
        """Return what scenarios should give under `convention`."""
        return self._oracles.setdefault(convention, Oracle(convention))

    def diagnosis(self, convention: Convention, spatial_axes: int) -> Diagnosis:
        """Return the known mistakes under `convention`, ready to be compared."""
        key = (convention, spatial_axes)
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
        from bn_properties.cases.draw import draw_cases  # noqa: PLC0415 (see `CaseBank`)

        for case in draw_cases(self._seed, 22, self._spatial_axes):
            yield from (case.training, case.interrupted)
