"""Which candidates reproduce all that was observed: single faults first, then two together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from bn_diagnosis.candidates import Candidate, Candidates
from bn_diagnosis.matching import Observation

FEW = 12
"""How many scenarios are put first and kept: enough to dismiss nearly every wrong fault."""

MOST_PAIRS = 1000
"""How many pairs of faults are tried: about a second. Past them, no known mistake is named."""


def explaining(
    likely: Sequence[Candidate], observed: Sequence[Observation], candidates: Candidates
) -> list[Candidate]:
    """Return the smallest sets of faults, of `likely` ones, that reproduce all observations."""
    wrong = [each for each in observed if each.differs]
    right = [each for each in observed if not each.differs]
    # Where the submission is wrong, another mistake is soon told apart from its own.
    ordered = wrong[:FEW] + right[:FEW] + wrong[FEW:] + right[FEW:]
    pairs = islice(_pairs(likely, ordered[: 2 * FEW], candidates), MOST_PAIRS)
    return _reproducing(likely, ordered, keep=True) or _reproducing(pairs, ordered, keep=False)


def _reproducing(
    candidates: Iterable[Candidate], observed: Sequence[Observation], *, keep: bool
) -> list[Candidate]:
    """Return the candidates that reproduce all; with `keep`, what they give at first is kept."""
    found: list[Candidate] = []
    telling: Observation | None = None
    for each in candidates:
        # What told the one before apart most often tells this one apart, too.
        if telling is not None and not each.reproduces(telling, keep=keep):
            continue
        missed = _first_missed(each, observed, keep=keep)
        if missed is None:
            found.append(each)
        else:
            telling = missed
    return found


def _first_missed(
    candidate: Candidate, observed: Sequence[Observation], *, keep: bool
) -> Observation | None:
    for number, one in enumerate(observed):
        if not candidate.reproduces(one, keep=keep and number < FEW):
            return one
    return None


def _pairs(
    likely: Sequence[Candidate], observed: Sequence[Observation], candidates: Candidates
) -> Iterator[Candidate]:
    """Two faults of different steps, one of which explains a wrong output by itself."""
    tried: set[frozenset[Candidate]] = set()
    for first in likely:
        if not first.helps(observed):
            continue
        for second in likely:
            both = frozenset((first, second))
            if both in tried or first.replaced.keys() & second.replaced:
                continue
            tried.add(both)
            yield candidates.both(first, second)
