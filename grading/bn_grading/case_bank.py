"""What all submissions of a run share: the cases, the tapes made of them, and what is expected."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from bn_oracle.conventions import Convention
from bn_properties.cases.case import Case, digest
from bn_properties.cases.pinned import pinned_cases
from bn_properties.scenario import Scenario
from bn_properties.tape.tape import Tape, record
from bn_properties.transcript import Oracle

from bn_grading.courses.model import Part
from bn_grading.subject.playing import Prepared
from bn_grading.subject.remote import encoded
from bn_grading.tape_cache import Cache, digest_of

if TYPE_CHECKING:
    from bn_diagnosis.diagnosis import Diagnosis
    from bn_diagnosis.recovery.tables import Content

DEFAULT_EXAMPLES = 100
DEFAULT_SEED = 0


class CaseBank:
    """The cases of one seed; what takes time is done once, and kept on disk."""

    def __init__(
        self,
        seed: int = DEFAULT_SEED,
        examples: int = DEFAULT_EXAMPLES,
        cache: Cache | None = None,
        case: int | None = None,
    ) -> None:
        """Hold `examples` cases of `seed` for each shape of input; `cache` None is the user's.

        With `case`, only the one of that number is asked.
        """
        self.seed, self.examples, self.case = seed, examples, case
        self.cache = Cache() if cache is None else cache
        self._cases: dict[int, tuple[Case, ...]] = {}
        self._oracles: dict[Convention, Oracle] = {}
        self._tapes: dict[tuple[object, ...], Prepared] = {}
        self._digests: dict[tuple[int, ...], str] = {}
        self._diagnoses: dict[tuple[Convention, int], Diagnosis] = {}

    def cases(self, spatial_axes: int) -> tuple[Case, ...]:
        """Return the cases for inputs with so many axes after (N, C): chosen, drawn and derived."""
        if spatial_axes not in self._cases:
            key = self._named(("cases", spatial_axes))
            self._cases[spatial_axes] = self.cache.kept(key, lambda: self._drawn(spatial_axes))
        return self._cases[spatial_axes]

    def _drawn(self, spatial_axes: int) -> tuple[Case, ...]:
        # Hypothesis takes a third of a second to import: only who draws waits for it.
        from bn_properties.cases.draw import draw_cases  # noqa: PLC0415
        from bn_properties.cases.transform import MOST_DRAWN, enlarge  # noqa: PLC0415

        drawn = draw_cases(self.seed, min(self.examples, MOST_DRAWN), spatial_axes)
        found = (*pinned_cases(spatial_axes), *enlarge(drawn, self.examples))
        return tuple(each for each in found if self.case in (None, each.index))

    def tape(self, part: Part, convention: Convention) -> Prepared:
        """Return what is asked of one part."""
        key = _asked(part, convention)
        if key not in self._tapes:
            found = self.cache.kept(self._named(key), lambda: self._recorded(part, convention))
            self._tapes[key] = Prepared(*found)
        return self._tapes[key]

    def has(self, part: Part, convention: Convention) -> bool:
        """Whether the tape is there, or kept on disk, so that loading it takes no time."""
        key = _asked(part, convention)
        return key in self._tapes or self.cache.has(self._named(key))

    def _named(self, key: tuple[object, ...]) -> tuple[object, ...]:
        of_case = () if self.case is None else ("case", self.case)
        return (self.seed, self.examples, *of_case, *key)

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
        # The catalogue of mistakes is read only where something is wrong.
        from bn_diagnosis.diagnosis import Diagnosis  # noqa: PLC0415

        key = (convention, spatial_axes)
        if key not in self._diagnoses:
            further = _Further(self.seed + 1, spatial_axes)
            self._diagnoses[key] = Diagnosis(
                convention, spatial_axes, self.oracle(convention), further, self._keep
            )
        return self._diagnoses[key]

    def _keep(self, name: str, make: Callable[[], Content]) -> Content:
        """Return what is kept of a diagnosis under a name."""
        return self.cache.kept(("diagnosis", _diagnosed_by(), name), make)

    def sha256(self, axes: Collection[int]) -> str:
        """Return the digest of the cases for inputs with so many axes after (N, C).

        Equal digests mean that the same was asked.
        """
        key = tuple(sorted(axes))
        if key not in self._digests:
            self._digests[key] = digest(*(self.cases(each) for each in key))
        return self._digests[key]


@lru_cache(maxsize=1)
def _diagnosed_by() -> str:
    """Return a digest of the code that finds causes."""
    import bn_diagnosis  # noqa: PLC0415 (see `CaseBank.diagnosis`)

    return digest_of(bn_diagnosis)


def _asked(part: Part, convention: Convention) -> tuple[object, ...]:
    """Return all of a part that its tape depends on."""
    offers = tuple(sorted(part.interface.offers))
    return ("tape", part.id, part.spatial_axes, part.families, offers, convention)


class _Further:
    """Another seed's scenarios, drawn only where two mistakes look the same on the first one's."""

    def __init__(self, seed: int, spatial_axes: int) -> None:
        self._seed, self._spatial_axes = seed, spatial_axes

    def __iter__(self) -> Iterator[Scenario]:
        from bn_properties.cases.draw import draw_cases  # noqa: PLC0415 (see `CaseBank`)

        for case in draw_cases(self._seed, 22, self._spatial_axes):
            yield from (case.training, case.interrupted)
