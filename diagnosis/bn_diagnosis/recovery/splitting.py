"""Two slips, each looked for by itself: in two terms of a sum, or inside and outside of brackets.

What the one leaves of the value is looked up among what the other may give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from bn_oracle.arrays import Array

from bn_diagnosis.recovery.edits import Edit
from bn_diagnosis.recovery.forms import RESULT, Observable, Program
from bn_diagnosis.recovery.formula import Formula, gives
from bn_diagnosis.recovery.tables import CLOSE, Run, Table, projecting
from bn_diagnosis.recovery.trees import ZERO, Product, Sum, Tree, minus

PartTable = Callable[[Tree], Table | None]
"""Gives the table of a program that computes one term or factor of another's result."""


def in_two_terms(
    observable: Observable,
    program: Program,
    value: Array,
    symbols: Mapping[str, Array],
    part: PartTable,
) -> Formula | None:
    """Look for a slip in each of two terms of a sum."""
    result = program.bindings[RESULT]
    assert isinstance(result, Sum)
    tables = [part(term) for term in result.terms]
    tables = [
        each and _with_whole(each, term, value)
        for each, term in zip(tables, result.terms, strict=True)
    ]
    right = [Run(program.with_binding(RESULT, term), symbols).result for term in result.terms]
    size = np.abs(value).max()
    weights = projecting(value.size)
    for one, other in combinations(range(len(result.terms)), 2):
        first, second = tables[one], tables[other]
        if first is None or second is None:
            continue
        others = [each for place, each in enumerate(right) if place not in (one, other)]
        rest = (value - sum(others, np.zeros_like(value))).reshape(-1)
        if first.values.shape[1] != rest.size or second.values.shape[1] != rest.size:
            continue
        for a, b in _pairs(first.values, second.values, rest, weights, CLOSE * size):
            # The one behind first: what is left out moves the places of those behind it.
            edits = _placed(second.edits[b], other), _placed(first.edits[a], one)
            found = Formula(observable, program, edits)
            if gives(found, symbols, value):
                return found
    return None


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
    return Table(made.program, (left_out, sign, *made.edits), whole, made.right)


def _pairs(
    first: Array, second: Array, rest: Array, weights: Array, room: float
) -> Iterator[tuple[int, int]]:
    """Yield the rows of two tables whose sum is what is left to explain."""
    theirs = second @ weights
    order = np.argsort(theirs)
    wanted = rest @ weights - first @ weights
    slack = room * np.abs(weights).sum()
    low = np.searchsorted(theirs[order], wanted - slack)
    high = np.searchsorted(theirs[order], wanted + slack)
    for a in np.nonzero(high > low)[0].tolist():
        for b in sorted(order[low[a] : high[a]].tolist()):
            if np.abs(first[a] + second[b] - rest).max() <= 4 * room:
                yield a, b


def inside_and_outside(
    observable: Observable,
    program: Program,
    value: Array,
    symbols: Mapping[str, Array],
    part: PartTable,
) -> Formula | None:
    """Look for a slip in the brackets of a product, and one outside of them."""
    result = program.bindings[RESULT]
    assert isinstance(result, Product)
    place = next((k for k, each in enumerate(result.factors) if isinstance(each, Sum)), None)
    if place is None:
        return None
    inner = part(result.factors[place])
    if inner is None or inner.values.shape[1] != value.size:
        return None
    sizes = np.abs(inner.values).max(axis=1)
    for number, factor in enumerate(result.factors):
        if number == place:
            continue
        outer = part(factor)
        for edit in outer.edits if outer is not None else ():
            if edit.binding != RESULT:
                continue
            placed = _placed(edit, number)
            changed = placed.made(program).bindings[RESULT]
            if not isinstance(changed, Product):
                continue
            others = [each for each in changed.factors if each is not result.factors[place]]
            scale = _product_of(others, program, symbols)
            wanted = (value / scale).reshape(-1) if scale is not None else None
            if wanted is None or wanted.size != value.size or not np.isfinite(wanted).all():
                continue
            room = CLOSE * np.maximum(sizes, np.abs(wanted).max())
            for row in np.nonzero(np.abs(inner.values - wanted).max(axis=1) <= room)[0].tolist():
                found = Formula(observable, program, (placed, _placed(inner.edits[row], place)))
                if gives(found, symbols, value):
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
