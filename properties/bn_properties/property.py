"""What a property is: a sentence, an equation, and a function that compares on one case."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from bn_oracle.arrays import Array
from bn_oracle.bounds.precision import FLOAT64
from bn_oracle.bounds.training import Algorithm

from bn_properties.cases.case import Case
from bn_properties.expectation import Expected
from bn_properties.protocol import SYMBOLS, AnyArray, Capability, Quantity, Refusable
from bn_properties.scenario import Response, Scenario
from bn_properties.transcript import Oracle, Transcript


@dataclass(frozen=True, eq=False)
class Check:
    """One quantity beside what it should be. A bound of None asks for equality, bit for bit."""

    quantity: str
    got: AnyArray
    expected: Array
    bound: Array | None


class Ask:
    """Through which a property puts scenarios to the subject and to the oracle."""

    def __init__(self, transcript: Transcript, oracle: Oracle) -> None:
        """Ask the transcript's subject, under the oracle's convention."""
        self.oracle = oracle
        self.convention = oracle.convention
        self.scenarios: list[Scenario] = []
        """What was asked of the subject, in order."""
        self._transcript = transcript

    def response(self, scenario: Scenario) -> tuple[Response[AnyArray], ...]:
        """Return what the subject shows, call by call."""
        self.scenarios.append(scenario)
        return self._transcript(scenario)

    def expected(self, scenario: Scenario) -> tuple[Expected, ...]:
        """Return what it should show, call by call."""
        return self.oracle(scenario)

    def retract(self, scenario: Scenario) -> None:
        """Take back a scenario that the subject may refuse: nothing need explain it."""
        self._transcript.retract(scenario)


Checks = Callable[[Case, Ask], Iterator[Check]]
"""Compares on one case."""


@dataclass(frozen=True, eq=False)
class Property:
    """Something that holds of every correct batch normalization."""

    id: str
    """`family.statement`."""
    title: str
    """The sentence that a student reads: the first paragraph of the function's docstring."""
    finding: str
    """What is wrong where it fails, as a clause that can follow a colon; begins in lower case."""
    equation: str
    """LaTeX."""
    source: str
    presupposes: tuple[str, ...]
    """Properties without which a failure of this one says nothing new."""
    stride: int
    """It is put to every so-manieth case: what asks many calls, and less, asks fewer cases; 0: to
    those alone that are chosen for it."""
    needs: Capability | None
    """What the interface must offer for it."""
    checks: Checks = field(repr=False)
    about: tuple[Refusable, ...] = ()
    """What it is about: a layer that raises an exception at that, though it may not, fails this
    property, and no other."""

    @property
    def family(self) -> str:
        """The part of the id before the dot."""
        return self.id.partition(".")[0]


def states(
    id: str,
    *,
    finding: str,
    equation: str,
    source: str,
    presupposes: tuple[str, ...] = (),
    stride: int = 1,
    needs: Capability | None = None,
    about: tuple[Refusable, ...] = (),
) -> Callable[[Checks], Property]:
    """Make a `Property` of a function; its docstring's first paragraph is the sentence."""

    def make(checks: Checks) -> Property:
        title = " ".join((checks.__doc__ or "").partition("\n\n")[0].split())
        return Property(
            id, title, finding, equation, source, presupposes, stride, needs, checks, about
        )

    return make


def compare(
    ask: Ask,
    scenario: Scenario,
    quantities: Quantity | tuple[Quantity, ...],
    *,
    call: int = 0,
    name: str = "{}",
    algorithm: Algorithm = "one-pass",
) -> Iterator[Check]:
    """Compare quantities that one call of a scenario gives with what they should be.

    What the oracle does not give there is not compared. `name` is how a quantity is called in
    messages: `{}` stands for its symbol.
    """
    want = ask.expected(scenario)[call]
    for quantity in (quantities,) if isinstance(quantities, str) else quantities:
        if quantity in want.values:
            got = ask.response(scenario)[call].array(quantity)
            symbol = name.format(SYMBOLS[quantity])
            yield Check(symbol, got, want.values[quantity], want.bound(quantity, algorithm))


def no_edits(edited: frozenset[str]) -> Check:
    """Return the comparison that fails when a call has edited any of the caller's arrays."""
    what = f"number of edited arrays ({', '.join(sorted(edited)) or 'none'})"
    return Check(what, np.array([float(len(edited))]), np.zeros(1), None)


def feature_sum(array: Array) -> Array:
    """Sum over everything but the features: (N, C, …) to (C,)."""
    result: Array = array.sum(axis=(0, *range(2, array.ndim)))
    return result


def per_feature(vector: Array, like: AnyArray) -> Array:
    """Give a per-feature vector axes to broadcast against (N, C, …)."""
    return vector.reshape((1, -1) + (1,) * (like.ndim - 2))


def widen(array: AnyArray) -> Array:
    """Return a float64 copy, so that a property's own sums round in float64."""
    return array.astype(np.float64, copy=False)


def times(bound: Array, factor: Array) -> Array:
    """Return bound·|factor|; infinite wherever the bound is, so that nothing is judged there."""
    with np.errstate(invalid="ignore"):
        return np.where(np.isinf(bound), np.inf, bound * np.abs(factor))


def dot_room(expected: Array, bound: Array, factor: Array) -> Array:
    """Bound a property's own Σ value·factor over a feature, (C,), for values within `bound`.

    Each value by its bound; B products and B−1 sums round in float64.
    """
    count = expected.size // expected.shape[1]
    size = np.abs(expected) + bound
    return feature_sum(times(bound, factor)) + roundings(count) * feature_sum(times(size, factor))


def roundings(count: int) -> float:
    """Return γ_n: what `count` roundings of a property's own arithmetic, in float64, amount to."""
    return FLOAT64.roundings(count)
