"""Formulas as trees: sums and products of many, powers, reductions, symbols and numbers.

A tree knows nothing of batch norm. The last two axes of its values are instances and features: rows
(…, B, C), one number a feature (…, 1, C), one an instance (…, B, 1), or one number (…, 1, 1). Two
equal trees are one object, so what they share is computed once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Literal

import numpy as np
from bn_oracle.arrays import Array

Axis = Literal["batch", "features", "all"]
"""What a reduction goes over: the instances of each feature, the features of each instance, or all
numbers."""


class Tree:
    """A formula; see its subclasses. Equal trees are the same object: `is` compares them."""

    @property
    def parts(self) -> tuple[Tree, ...]:
        """What stands directly in it."""
        return ()

    def with_part(self, number: int, part: Tree) -> Tree:
        """Return the tree with another part in one place."""
        raise IndexError(number)


@dataclass(frozen=True, eq=False)
class Symbol(Tree):
    """A named quantity."""

    name: str


@dataclass(frozen=True, eq=False)
class Number(Tree):
    """A constant."""

    value: Fraction


@dataclass(frozen=True, eq=False)
class Sum(Tree):
    """The sum of two or more terms."""

    terms: tuple[Tree, ...]

    @property
    def parts(self) -> tuple[Tree, ...]:
        """The terms."""
        return self.terms

    def with_part(self, number: int, part: Tree) -> Tree:
        """Return the sum with another term in one place."""
        return add(*self.terms[:number], part, *self.terms[number + 1 :])


@dataclass(frozen=True, eq=False)
class Product(Tree):
    """The product of two or more factors; a divisor is a factor to the power of −1."""

    factors: tuple[Tree, ...]

    @property
    def parts(self) -> tuple[Tree, ...]:
        """The factors."""
        return self.factors

    def with_part(self, number: int, part: Tree) -> Tree:
        """Return the product with another factor in one place."""
        return multiply(*self.factors[:number], part, *self.factors[number + 1 :])


@dataclass(frozen=True, eq=False)
class Power(Tree):
    """A base to a constant exponent, mostly a multiple of one half."""

    base: Tree
    exponent: Fraction

    @property
    def parts(self) -> tuple[Tree, ...]:
        """The base."""
        return (self.base,)

    def with_part(self, number: int, part: Tree) -> Tree:
        """Return the same power of another base."""
        return power(part, self.exponent)


@dataclass(frozen=True, eq=False)
class Reduction(Tree):
    """The sum or the mean of a tree over an axis; the axis stays, of length one."""

    kind: Literal["sum", "mean"]
    axis: Axis
    of: Tree

    @property
    def parts(self) -> tuple[Tree, ...]:
        """What is summed."""
        return (self.of,)

    def with_part(self, number: int, part: Tree) -> Tree:
        """Return the same reduction of something else."""
        return reduction(self.kind, self.axis, part)


@cache
def symbol(name: str) -> Symbol:
    """Return the symbol of that name."""
    return Symbol(name)


@cache
def _number(value: Fraction) -> Number:
    return Number(value)


def number(value: int | str | Fraction) -> Number:
    """Return a constant: `number("-1/2")`."""
    return _number(Fraction(value))


ONE, ZERO, MINUS_ONE = number(1), number(0), number(-1)


@cache
def _sum(terms: tuple[Tree, ...]) -> Sum:
    return Sum(terms)


@cache
def _product(factors: tuple[Tree, ...]) -> Product:
    return Product(factors)


@cache
def _power(base: Tree, exponent: Fraction) -> Power:
    return Power(base, exponent)


@cache
def reduction(kind: Literal["sum", "mean"], axis: Axis, of: Tree) -> Reduction:
    """Return the sum or the mean over an axis."""
    return Reduction(kind, axis, of)


def add(*terms: Tree) -> Tree:
    """Return a sum: sums in it are taken apart, zeros left out."""
    flat: list[Tree] = []
    for each in terms:
        flat += each.terms if isinstance(each, Sum) else (each,)
    flat = [each for each in flat if each is not ZERO]
    if not flat:
        return ZERO
    return flat[0] if len(flat) == 1 else _sum(tuple(flat))


def multiply(*factors: Tree) -> Tree:
    """Return a product: products in it are taken apart, its constants drawn together in front."""
    constant, flat = Fraction(1), list[Tree]()
    for each in factors:
        for one in each.factors if isinstance(each, Product) else (each,):
            if isinstance(one, Number):
                constant *= one.value
            else:
                flat.append(one)
    if not constant:
        return ZERO
    if constant != 1 or not flat:
        flat.insert(0, _number(constant))
    return flat[0] if len(flat) == 1 else _product(tuple(flat))


def power(base: Tree, exponent: int | str | Fraction) -> Tree:
    """Return a power; of a power, the exponents are multiplied where that is the same function."""
    to = Fraction(exponent)
    if to == 1:
        return base
    if to == 0:
        return ONE
    if isinstance(base, Number) and to.denominator == 1 and base.value:
        return _number(base.value**to.numerator)
    if isinstance(base, Power) and (base.exponent.denominator > 1 or to.denominator == 1):
        return power(base.base, base.exponent * to)
    return _power(base, to)


def minus(tree: Tree) -> Tree:
    """Return −tree."""
    return multiply(MINUS_ONE, tree)


def over(one: Tree, *divisors: Tree) -> Tree:
    """Return a quotient."""
    return multiply(one, *(power(each, -1) for each in divisors))


def total(of: Tree) -> Tree:
    """Return Σ over the instances."""
    return reduction("sum", "batch", of)


def mean(of: Tree) -> Tree:
    """Return the mean over the instances."""
    return reduction("mean", "batch", of)


Path = tuple[int, ...]
"""The way from a tree's root to a part: which part, then which of that one's, and so on."""


def walk(tree: Tree) -> Iterator[tuple[Path, Tree]]:
    """Yield every part with the way to it, the tree itself first."""
    yield (), tree
    for place, part in enumerate(tree.parts):
        for path, below in walk(part):
            yield (place, *path), below


def at(tree: Tree, path: Path) -> Tree:
    """Return the part at the end of a path."""
    for place in path:
        tree = tree.parts[place]
    return tree


def as_far_as(tree: Tree, path: Path) -> Path:
    """Return a path, or as much of it as a tree has."""
    kept: list[int] = []
    for place in path:
        if place >= len(tree.parts):
            break
        kept.append(place)
        tree = tree.parts[place]
    return tuple(kept)


def replaced(tree: Tree, places: Mapping[Path, Tree]) -> Tree:
    """Return the tree with other parts at the ends of some paths, none of which goes through
    another's end.
    """
    if () in places:
        return places[()]
    parts = list(tree.parts)
    for here in {path[0] for path in places}:
        within = {path[1:]: new for path, new in places.items() if path[0] == here}
        parts[here] = replaced(parts[here], within)
    return _with_parts(tree, parts)


def substituted(tree: Tree, meaning: Mapping[str, Tree]) -> Tree:
    """Return the tree with trees in place of the symbols that `meaning` names."""
    if isinstance(tree, Symbol):
        return meaning.get(tree.name, tree)
    return _with_parts(tree, [substituted(part, meaning) for part in tree.parts])


def _with_parts(tree: Tree, parts: Sequence[Tree]) -> Tree:
    """Return the tree with other parts in the places of its own."""
    if tuple(parts) == tree.parts:
        return tree
    if isinstance(tree, Sum):
        return add(*parts)
    if isinstance(tree, Product):
        return multiply(*parts)
    if isinstance(tree, Power):
        return power(parts[0], tree.exponent)
    assert isinstance(tree, Reduction)
    return reduction(tree.kind, tree.axis, parts[0])


_AXES: dict[Axis, int | tuple[int, int]] = {"batch": -2, "features": -1, "all": (-2, -1)}


class Values:
    """What trees are worth where symbols are: each part is computed once."""

    def __init__(self, symbols: Mapping[str, Array]) -> None:
        """Hold the symbols' values, each of two axes or more."""
        self._known: dict[Tree, Array] = {symbol(name): each for name, each in symbols.items()}
        self._axes = max((each.ndim for each in symbols.values()), default=2)

    def __call__(self, tree: Tree) -> Array:
        """Return a tree's value.

        Raises:
            KeyError: it has a symbol that has no value here.
            ValueError: what is added or multiplied does not fit together.
        """
        found = self._known.get(tree)
        if found is None:
            found = self._known[tree] = self._computed(tree)
        return found

    def _computed(self, tree: Tree) -> Array:
        if isinstance(tree, Number):
            return np.full((1,) * self._axes, float(tree.value))
        if isinstance(tree, Symbol):
            raise KeyError(tree.name)
        return combined(tree, [self(part) for part in tree.parts])


def combined(tree: Tree, parts: Sequence[Array]) -> Array:
    """Return the value of a tree whose parts have these values."""
    if isinstance(tree, Power):
        return _raised(parts[0], tree.exponent)
    if isinstance(tree, Reduction):
        reduce = np.add.reduce if tree.kind == "sum" else np.mean
        return np.asarray(reduce(parts[0], axis=_AXES[tree.axis], keepdims=True))
    # The small ones first: what is stacked is put in last.
    first, *others = sorted(parts, key=lambda each: each.ndim)
    result = first
    for each in others:
        result = result + each if isinstance(tree, Sum) else result * each
    return result


@cache
def mentioned(tree: Tree) -> frozenset[str]:
    """Return the names of a tree's symbols."""
    return frozenset(part.name for _, part in walk(tree) if isinstance(part, Symbol))


def _raised(base: Array, exponent: Fraction) -> Array:
    if exponent.denominator > 2:
        return np.asarray(base ** float(exponent))
    root = np.sqrt(base) if exponent.denominator == 2 else base
    to = exponent.numerator
    result = root
    for _ in range(abs(to) - 1):
        result = result * root
    return 1.0 / result if to < 0 else result
