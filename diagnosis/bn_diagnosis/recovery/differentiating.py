"""The derivatives of a formula, as an automatic differentiation gives them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from bn_oracle.arrays import Array

from bn_diagnosis.recovery.trees import (
    Power,
    Product,
    Reduction,
    Symbol,
    Tree,
    Values,
    multiply,
    number,
    power,
    walk,
)


def gradients(tree: Tree, values: Values, upstream: Array) -> dict[str, Array]:
    """Return the derivative of Σ upstream·tree by each symbol in it, in the symbol's own shape.

    Source: reverse accumulation (Griewank & Walther 2008, §3.2).
    """
    order = list(dict.fromkeys(part for _, part in walk(tree)))
    whole: dict[Tree, Array] = {tree: upstream}
    found: dict[str, Array] = {}
    for part in _outermost_first(tree, order):
        above = whole.get(part)
        if above is None:
            continue
        if isinstance(part, Symbol):
            found[part.name] = above
        for place, below in enumerate(part.parts):
            share = _fitted(_share(part, place, values, above), values(below).shape)
            whole[below] = whole[below] + share if below in whole else share
    return found


def _outermost_first(tree: Tree, parts: Sequence[Tree]) -> list[Tree]:
    """Return the parts so that each comes behind all that it stands in."""
    depth: dict[Tree, int] = {}

    def settle(part: Tree, at_least: int) -> None:
        if depth.get(part, -1) < at_least:
            depth[part] = at_least
            for below in part.parts:
                settle(below, at_least + 1)

    settle(tree, 0)
    return sorted(parts, key=depth.__getitem__)


def _share(part: Tree, place: int, values: Values, above: Array) -> Array:
    """Return what one part of a tree gets of the derivative by the tree."""
    if isinstance(part, Product):
        others = multiply(*part.factors[:place], *part.factors[place + 1 :])
        return above * values(others)
    if isinstance(part, Power):
        factor = multiply(number(part.exponent), power(part.base, part.exponent - 1))
        return above * values(factor)
    if isinstance(part, Reduction):
        size, ones = values(part.of).shape, above
        if part.kind == "mean":
            ones = above / (np.prod(size) / np.prod(values(part).shape))
        return np.broadcast_to(ones, np.broadcast_shapes(size, above.shape))
    return above


def _fitted(array: Array, shape: tuple[int, ...]) -> Array:
    """Return an array summed over the axes along which a part was repeated."""
    repeated = tuple(
        axis for axis, (has, was) in enumerate(zip(array.shape, shape, strict=True)) if has != was
    )
    result: Array = array.sum(axis=repeated, keepdims=True) if repeated else array
    return result
