"""Slips, each looked for by itself: in the terms of a sum, or inside and outside of brackets.

What the one leaves of the value is looked up among what the other may give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, combinations
from typing import NamedTuple

import numpy as np
from bn_oracle.arrays import Array

from bn_diagnosis.recovery.edits import Edit
from bn_diagnosis.recovery.forms import RESULT, Observable, Program
from bn_diagnosis.recovery.formula import Formula, gives
from bn_diagnosis.recovery.pairs import likely
from bn_diagnosis.recovery.tables import CLOSE, Index, Run, Table, projecting
from bn_diagnosis.recovery.trees import ZERO, Product, Sum, Tree, minus


class Parts(NamedTuple):
    """What gives the tables of one term or factor of a program's result."""

    symbols: Mapping[str, Array]
    table: Callable[[Tree], Table | None]
    """Of the program that computes it: what each edit gives."""
    pairs: Callable[[Program, tuple[int, ...], Array], Index | None]
    """Of a program, a shape, and the weights of a projection: two edits in it."""


def in_terms(
    observable: Observable, program: Program, value: Array, parts: Parts
) -> Formula | None:
    """Look for slips in two terms of a sum or more, each by itself: one in each of two or three, or
    two in one and one in another.
    """
    terms = _Terms(program, value, parts)
    for edits in chain(
        terms.one_in_each_of_two(), terms.one_in_each_of_three(), terms.two_and_one()
    ):
        found = Formula(observable, program, edits)
        if gives(found, parts.symbols, value):
            return found
    return None


class _Terms:
    """The terms of a program's result, what edits make of each, and the value to explain."""

    def __init__(self, program: Program, value: Array, parts: Parts) -> None:
        result = program.bindings[RESULT]
        assert isinstance(result, Sum)
        self._parts, self._shape = parts, value.shape
        self._flat = value.reshape(-1)
        self._weights = projecting(value.size)
        self._room = CLOSE * np.abs(value).max() * np.abs(self._weights).sum()
        tables = ((term, parts.table(term)) for term in result.terms)
        self._tables = {
            place: _with_whole(made, term, value)
            for place, (term, made) in enumerate(tables)
            if made is not None
            and np.broadcast_shapes(made.right.shape, value.shape) == value.shape
        }
        right = (
            Run(program.with_binding(RESULT, term), parts.symbols).result for term in result.terms
        )
        self._right = [np.broadcast_to(each, value.shape).reshape(-1) for each in right]
        self._projected = {
            place: each.values @ self._weights for place, each in self._tables.items()
        }

    def _rest(self, *places: int) -> float:
        """Return the projection of what the terms in some places must give together."""
        others = (each for place, each in enumerate(self._right) if place not in places)
        return float((self._flat - sum(others, np.zeros_like(self._flat))) @ self._weights)

    def _edits(self, *placed: tuple[int, int]) -> tuple[Edit, ...]:
        """Return the edits of terms, by the place of each and its number; the one behind first:
        what is left out moves the places of those behind it.
        """
        ordered = sorted(placed, reverse=True)
        return tuple(_placed(self._tables[place].edits[each], place) for place, each in ordered)

    def one_in_each_of_two(self) -> Iterator[tuple[Edit, ...]]:
        """Yield what may give the value."""
        for one, other in combinations(self._tables, 2):
            wanted = self._rest(one, other) - self._projected[one]
            for a, b in _meeting(wanted, self._projected[other], self._room):
                yield self._edits((one, a), (other, b))

    def one_in_each_of_three(self) -> Iterator[tuple[Edit, ...]]:
        """Yield what may give the value."""
        for one, other, third in combinations(self._tables, 3):
            first, second = self._projected[one], self._projected[other]
            wanted = (self._rest(one, other, third) - first[:, np.newaxis] - second).reshape(-1)
            for both, c in _meeting(wanted, self._projected[third], self._room):
                a, b = divmod(both, second.size)
                yield self._edits((one, a), (other, b), (third, c))

    def two_and_one(self) -> Iterator[tuple[Edit, ...]]:
        """Yield what may give the value."""
        for one, made in self._tables.items():
            part, shape = made.program, made.right.shape
            weights = self._weights.reshape(self._shape)
            axes = tuple(axis for axis, size in enumerate(shape) if size != self._shape[axis])
            summed = weights.sum(axis=axes, keepdims=True).reshape(-1)
            found = self._parts.pairs(part, shape, summed)
            if found is None:
                continue
            slips = likely(part, tuple(self._parts.symbols))
            for other in self._tables.keys() - {one}:
                wanted = self._rest(one, other) - self._projected[other]
                for b, number in _meeting(wanted, found.projections, self._room):
                    first, second = found.numbers[number].tolist()
                    two = _placed(slips[second], one), _placed(slips[first], one)
                    third = _placed(self._tables[other].edits[b], other)
                    yield (*two, third) if one > other else (third, *two)


def _meeting(wanted: Array, given: Array, room: float) -> Iterator[tuple[int, int]]:
    """Yield the places of what is wanted and of what is given that are the same number."""
    order = np.argsort(given, kind="stable")
    low = np.searchsorted(given[order], wanted - room)
    high = np.searchsorted(given[order], wanted + room)
    for a in np.nonzero(high > low)[0].tolist():
        for b in sorted(order[low[a] : high[a]].tolist()):
            yield a, b


def _with_whole(made: Table, term: Tree, like: Array) -> Table:
    """Return a term's table with the term itself left out, and with another sign.

    A term may be one number a feature: its values are given the shape of the whole.
    """
    value = made.right.reshape(-1)
    left_out = Edit(RESULT, (), "term left out", term, ZERO)
    sign = Edit(RESULT, (), "sign", term, minus(term))
    values = np.vstack([np.zeros_like(value), -value, made.values])
    laid = values.reshape(len(values), *made.right.shape)
    whole = np.broadcast_to(laid, (len(values), *like.shape)).reshape(len(values), -1)
    numbers = np.array([-1, -1, *made.numbers], np.int16)
    return Table(made.program, numbers, (left_out, sign, *made.edits), whole, made.right)


def inside_and_outside(
    observable: Observable, program: Program, value: Array, parts: Parts
) -> Formula | None:
    """Look for a slip in the brackets of a product, and one outside of them."""
    result = program.bindings[RESULT]
    assert isinstance(result, Product)
    place = next((k for k, each in enumerate(result.factors) if isinstance(each, Sum)), None)
    if place is None:
        return None
    inner = parts.table(result.factors[place])
    if inner is None or inner.values.shape[1] != value.size:
        return None
    sizes = np.abs(inner.values).max(axis=1)
    for number, factor in enumerate(result.factors):
        if number == place:
            continue
        outer = parts.table(factor)
        for edit in outer.edits if outer is not None else ():
            if edit.binding != RESULT:
                continue
            placed = _placed(edit, number)
            changed = placed.made(program).bindings[RESULT]
            if not isinstance(changed, Product):
                continue
            others = [each for each in changed.factors if each is not result.factors[place]]
            scale = _product_of(others, program, parts.symbols)
            wanted = (value / scale).reshape(-1) if scale is not None else None
            if wanted is None or wanted.size != value.size or not np.isfinite(wanted).all():
                continue
            room = CLOSE * np.maximum(sizes, np.abs(wanted).max())
            for row in np.nonzero(np.abs(inner.values - wanted).max(axis=1) <= room)[0].tolist():
                found = Formula(observable, program, (placed, _placed(inner.edits[row], place)))
                if gives(found, parts.symbols, value):
                    return found
    return None


def _product_of(
    factors: Sequence[Tree], program: Program, symbols: Mapping[str, Array]
) -> Array | None:
    scale: Array | None = None
    for each in factors:
        value = Run(program.with_binding(RESULT, each), symbols).result
        scale = value if scale is None else scale * value
    return scale


def _placed(edit: Edit, place: int) -> Edit:
    """Return an edit of a term's or factor's program as one of the whole result."""
    if edit.everywhere or edit.binding != RESULT:
        return edit
    path = (place, *edit.path)
    return replace(edit, path=path)
