"""What a property is: a sentence, an equation, and a function that compares on one case."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from bn_oracle.arrays import Array
from bn_oracle.conventions import Convention

from bn_properties.cases.case import Case
from bn_properties.expected import Expected
from bn_properties.protocol import AnyArray, Capability
from bn_properties.scenario import Response, Scenario


@dataclass(frozen=True, eq=False)
class Check:
    """One quantity beside what it should be. A bound of None asks for equality, bit for bit."""

    quantity: str
    got: AnyArray
    expected: Array
    bound: Array | None


def no_edits(edited: frozenset[str]) -> Check:
    """Return the comparison that fails when a call has edited any of the caller's arrays."""
    what = f"number of edited arrays ({', '.join(sorted(edited)) or 'none'})"
    return Check(what, np.array([float(len(edited))]), np.zeros(1), None)


class Ask:
    """Through which a property puts scenarios to the subject and to the oracle."""

    def __init__(
        self,
        convention: Convention,
        seen: Callable[[Scenario], tuple[Response, ...]],
        answer: Callable[[Scenario], tuple[Expected, ...]],
        withdraw: Callable[[Scenario], object] = lambda _: None,
    ) -> None:
        """Use `seen` to ask the subject, `answer` to ask the oracle, `withdraw` to unsay."""
        self.convention = convention
        self._seen, self._answer = seen, answer
        self.withdraw = withdraw
        """Take a scenario back that the subject may refuse: a diagnosis need not explain it."""
        self.asked: list[Scenario] = []

    def seen(self, scenario: Scenario) -> tuple[Response, ...]:
        """Return what the subject shows, step by step."""
        self.asked.append(scenario)
        return self._seen(scenario)

    def answer(self, scenario: Scenario) -> tuple[Expected, ...]:
        """Return the oracle's answers, step by step."""
        return self._answer(scenario)


Judge = Callable[[Case, Ask], Iterator[Check]]


@dataclass(frozen=True, eq=False)
class Property:
    """Something that holds of every correct batch normalization."""

    id: str
    """`family.statement`."""
    title: str
    """The sentence that a student reads: the first line of the function's docstring."""
    equation: str
    """LaTeX."""
    source: str
    presupposes: tuple[str, ...]
    """Properties without which a failure of this one says nothing new."""
    every: int
    """It is put to every so-manieth case: what asks many calls, and less, asks fewer cases."""
    needs: Capability | None
    """What the interface must offer for it."""
    judge: Judge = field(repr=False)

    @property
    def family(self) -> str:
        """The part of the id before the dot."""
        return self.id.partition(".")[0]


def invariant(
    id: str,
    *,
    equation: str,
    source: str,
    presupposes: tuple[str, ...] = (),
    every: int = 1,
    needs: Capability | None = None,
) -> Callable[[Judge], Property]:
    """Make a `Property` of a function; its docstring's first line is the statement."""

    def make(judge: Judge) -> Property:
        title = (judge.__doc__ or "").strip().splitlines()[0]
        return Property(id, title, equation, source, presupposes, every, needs, judge)

    return make


def feature_sum(array: Array) -> Array:
    """Sum over everything but the features: (N, C, …) to (C,)."""
    result: Array = array.sum(axis=(0, *range(2, array.ndim)))
    return result


def per_feature(vector: Array, like: AnyArray) -> Array:
    """Give a per-feature vector axes to broadcast against (N, C, …)."""
    return vector.reshape((1, -1) + (1,) * (like.ndim - 2))


def widen(array: AnyArray) -> Array:
    """Return a float64 copy, so that a property's own sums round in float64."""
    return np.asarray(array, np.float64)


def spread(bound: Array, factor: Array) -> Array:
    """Return bound·|factor|; infinite wherever the bound is, so that nothing is judged there."""
    with np.errstate(invalid="ignore"):
        return np.where(np.isinf(bound), np.inf, bound * np.abs(factor))
