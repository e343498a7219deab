"""A formula as one function, which computes it without looking at its tree again.

Values have the axes that NumPy gives them: what is summed over the instances has lost that axis,
one number an instance has kept it, and what is summed over all is a number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np

from bn_diagnosis.recovery.trees import Number, Power, Product, Reduction, Sum, Symbol, Tree

T = TypeVar("T")
Given = Callable[[T], Any]
"""What takes a quantity out of what holds them all."""


def compiled(tree: Tree, given: Mapping[str, Given[T]]) -> Given[T]:
    """Return a formula as a function of what holds the quantities that it is made of.

    Raises:
        ValueError: it has a symbol that `given` has not.
    """
    if isinstance(tree, Symbol):
        if tree.name not in given:
            raise ValueError(f"no such quantity: {tree.name}; there are {', '.join(given)}")
        return given[tree.name]
    if isinstance(tree, Number):
        value = float(tree.value)
        return lambda held: value
    if isinstance(tree, Product):
        return _product(tree, given)
    if isinstance(tree, Sum):
        return _sum(tree, given)
    (of,) = (compiled(part, given) for part in tree.parts)
    if isinstance(tree, Reduction):
        return _reduced(tree, of)
    assert isinstance(tree, Power)
    raised = _raised(of, abs(tree.exponent))
    return raised if tree.exponent > 0 else lambda held: 1.0 / raised(held)


def _sum(tree: Sum, given: Mapping[str, Given[T]]) -> Given[T]:
    first, *others = tree.terms
    total = compiled(first, given)
    for each in others:
        opposite = _opposite(each)
        if opposite is None:
            total = _plus(total, compiled(each, given))
        else:
            total = _minus(total, compiled(opposite, given))
    return total


def _opposite(term: Tree) -> Tree | None:
    """Return a term without its minus sign, if it has one."""
    if not isinstance(term, Product):
        return None
    first = term.factors[0]
    if not (isinstance(first, Number) and first.value < 0):
        return None
    return term.with_part(0, Number(-first.value))


def _product(tree: Product, given: Mapping[str, Given[T]]) -> Given[T]:
    """Return a product. Its divisors divide one after the other: their product may vanish."""
    result: Given[T] | None = None
    for each in tree.factors:
        if result is not None and isinstance(each, Power) and each.exponent < 0:
            result = _divided(result, compiled(each.base, given), -each.exponent)
        else:
            factor = compiled(each, given)
            result = factor if result is None else _times(result, factor)
    assert result is not None
    return result


def _divided(above: Given[T], base: Given[T], exponent: Fraction) -> Given[T]:
    root = _raised(base, Fraction(1, exponent.denominator))

    def divided(held: T) -> Any:
        value, divisor = above(held), root(held)
        for _ in range(exponent.numerator):
            value = value / divisor
        return value

    return _over(above, root) if exponent.numerator == 1 else divided


def _raised(base: Given[T], exponent: Fraction) -> Given[T]:
    """Return a base to a positive exponent: a multiple of one half."""
    root = base if exponent.denominator == 1 else _root(base)
    to = exponent.numerator

    def raised(held: T) -> Any:
        value = result = root(held)
        for _ in range(to - 1):
            result = result * value
        return result

    return root if to == 1 else raised


def _reduced(tree: Reduction, of: Given[T]) -> Given[T]:
    axis = {"batch": 0, "features": 1, "all": None}[tree.axis]
    keeps, averages = tree.axis == "features", tree.kind == "mean"
    add: Callable[..., Any] = np.add.reduce

    def reduced(held: T) -> Any:
        value = of(held)
        total = add(value, axis=axis, keepdims=keeps)
        return total / (value.size if axis is None else value.shape[axis]) if averages else total

    return reduced


def _root(of: Given[T]) -> Given[T]:
    return lambda held: np.sqrt(of(held))


def _plus(one: Given[T], other: Given[T]) -> Given[T]:
    return lambda held: one(held) + other(held)


def _minus(one: Given[T], other: Given[T]) -> Given[T]:
    return lambda held: one(held) - other(held)


def _times(one: Given[T], other: Given[T]) -> Given[T]:
    return lambda held: one(held) * other(held)


def _over(one: Given[T], other: Given[T]) -> Given[T]:
    return lambda held: one(held) / other(held)
