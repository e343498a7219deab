"""Formulas are printed so that they read as what they are: what is printed is read again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

import numpy as np
import pytest
from bn_diagnosis.recovery.edits import edits
from bn_diagnosis.recovery.forms import NAMES, Observable, forms
from bn_diagnosis.recovery.printing import latex
from bn_diagnosis.recovery.recover import ORDER
from bn_diagnosis.recovery.trees import (
    Tree,
    Values,
    add,
    mean,
    minus,
    multiply,
    number,
    over,
    power,
    reduction,
    symbol,
    total,
    walk,
)
from bn_oracle.arrays import Array
from bn_oracle.conventions import TORCH
from hypothesis import given, settings
from hypothesis import strategies as st

a, b, x = symbol("a"), symbol("b"), symbol("x")
OWN = {"a": "a", "b": "b", "x": "x_i", "mean": r"\mu_B", "var": r"\sigma_B^2"}


@pytest.mark.parametrize(
    ("tree", "printed"),
    [
        (add(a, minus(b)), "a - b"),
        (minus(add(a, b)), r"-\left(a + b\right)"),
        (over(a, b), r"\frac{a}{b}"),
        (over(multiply(a, x), power(b, "1/2")), r"\frac{a x_i}{\sqrt{b}}"),
        (power(add(a, b), "-3/2"), r"\frac{1}{\left(a + b\right)^{3/2}}"),
        (multiply(number("-1/2"), a), r"-\frac{a}{2}"),
        (multiply(add(a, b), x), r"\left(a + b\right) x_i"),
        (over(a, add(a, b)), r"\frac{a}{a + b}"),
        (power(symbol("var"), 2), r"\left(\sigma_B^2\right)^{2}"),
        (power(a, 2), "a^{2}"),
        (total(add(a, x)), r"\sum_i \left(a + x_i\right)"),
        (mean(multiply(a, x)), r"\frac1B\sum_i a x_i"),
        (multiply(total(x), a), r"a \sum_i x_i"),
        (multiply(total(x), total(a)), r"\left(\sum_i x_i\right) \sum_i a"),
        (add(total(x), a), r"\left(\sum_i x_i\right) + a"),
        (add(minus(total(x)), a), r"-\left(\sum_i x_i\right) + a"),
        (add(a, total(x)), r"a + \sum_i x_i"),
        (reduction("sum", "all", x), r"\sum_{i,c} x_i"),
        (number(Fraction(1, 10**5)), "10^{-5}"),
        (symbol("unknown"), r"\mathrm{unknown}"),
    ],
)
def test_a_tree_is_printed(tree: Tree, printed: str) -> None:
    assert latex(tree, OWN) == printed


@pytest.mark.parametrize(
    ("tree", "path", "printed"),
    [
        (add(a, b), (), r"\boxed{a + b}"),
        (add(a, minus(b)), (1,), r"a + \boxed{-b}"),
        (over(a, b), (1,), r"a \boxed{\frac{1}{b}}"),
        (power(add(a, b), "1/2"), (0,), r"\sqrt{\boxed{a + b}}"),
        (over(x, power(add(a, b), "1/2")), (1, 0, 1), r"\frac{x_i}{\sqrt{a + \boxed{b}}}"),
    ],
)
def test_the_place_is_boxed(tree: Tree, path: tuple[int, ...], printed: str) -> None:
    assert latex(tree, OWN, path) == printed


class _Reader:
    """Reads what is printed, with no more knowledge than a reader has."""

    _TOKEN = re.compile(
        r"\s*(\\left\(|\\right\)|\\[a-z]+(?:_\{i,c\}|_[ic])?|\^|[{}()+-]|\w+(?:_\w)?)"
    )
    _SUMS: Mapping[str, int | tuple[int, int]] = {
        r"\sum_i": -2,
        r"\sum_c": -1,
        r"\sum_{i,c}": (-2, -1),
    }

    def __init__(self, text: str, values: Mapping[str, Array]) -> None:
        for printed, plain in ((r"\frac1B", r"\frac{1}{B}"), (r"\frac1C", r"\frac{1}{C}")):
            text = text.replace(printed, plain)
        self._tokens, self._values, self._at = self._TOKEN.findall(text), values, 0

    def read(self) -> Array:
        found = self._sum()
        assert self._at == len(self._tokens), self._tokens[self._at :]
        return found

    def _next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self, wanted: str = "") -> str:
        token = self._next()
        assert not wanted or token == wanted, (token, wanted)
        self._at += 1
        return token

    def _sum(self) -> Array:
        sign = -1.0 if self._next() == "-" else 1.0
        if sign < 0:
            self._take()
        found = sign * self._product()
        while self._next() in ("+", "-"):
            sign = 1.0 if self._take() == "+" else -1.0
            found = found + sign * self._product()
        return found

    def _product(self) -> Array:
        found: Array | None = None
        while self._next() not in ("", "+", "-", "}", ")", r"\right)"):
            factor = self._factor()
            found = factor if found is None else found * factor
        assert found is not None
        return found

    def _factor(self) -> Array:
        token = self._take()
        if token in self._SUMS:
            # A Σ goes over the whole product behind it.
            return np.asarray(self._product().sum(axis=self._SUMS[token], keepdims=True))
        if token == r"\frac":
            found = self._group() / self._group()
        elif token == r"\sqrt":
            found = np.sqrt(self._group())
        elif token == r"\boxed":
            found = self._group()
        elif token in (r"\left(", "("):
            found = self._sum()
            self._take(r"\right)" if token == r"\left(" else ")")
        elif token.isdigit():
            found = np.full((1, 1, 1), float(token))
        else:
            found = self._values[token]
        return self._raised(found)

    def _raised(self, base: Array) -> Array:
        if self._next() != "^":
            return base
        self._take()
        exponent = float(self._group().ravel()[0])
        return np.asarray(base**exponent)

    def _group(self) -> Array:
        self._take("{")
        found = self._sum()
        self._take("}")
        return found


def _value_printed(text: str, values: Mapping[str, Array]) -> Array:
    halves = re.sub(r"\^\{(\d+)/(\d+)\}", r"^{\\frac{\1}{\2}}", text)
    return _Reader(halves, values).read()


NUMBERS = np.random.default_rng(3)
SYMBOLS = {
    "a": NUMBERS.uniform(0.5, 2, (1, 1, 3)),
    "b": NUMBERS.uniform(0.5, 2, (1, 1, 3)),
    "x": NUMBERS.uniform(0.5, 2, (1, 4, 3)),
    "y": NUMBERS.uniform(0.5, 2, (1, 4, 3)),
}
SIZES = {"B": np.full((1, 1, 1), 4.0), "C": np.full((1, 1, 1), 3.0)}


def _trees() -> st.SearchStrategy[Tree]:
    constants = [number(each) for each in ("2", "3", "1/2", "3/2", "-1", "-1/2")]
    leaves = st.sampled_from([*map(symbol, SYMBOLS), *constants])
    some = st.lists  # of two or three parts

    def larger(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
        return st.one_of(
            some(inner, min_size=2, max_size=3).map(lambda each: add(*each)),
            some(inner, min_size=2, max_size=3).map(lambda each: multiply(*each)),
            st.tuples(inner, inner).map(lambda pair: over(*pair)),
            st.builds(power, inner, st.sampled_from(("1/2", -1, 2, "-1/2", "-3/2"))),
            st.tuples(
                st.sampled_from(["sum", "mean"]), st.sampled_from(["batch", "features"]), inner
            ).map(lambda each: reduction(*each)),
        )

    return st.recursive(leaves, larger, max_leaves=8)


@settings(deadline=None, max_examples=300)
@given(_trees(), st.data())
def test_what_is_printed_reads_as_what_it_is(tree: Tree, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from([None, *(path for path, _ in walk(tree))]))
    # A mean goes over what is there: a vector's only instance, where the print says 1/B.
    with np.errstate(all="ignore"):
        full = {name: np.broadcast_to(value, (1, 4, 3)) for name, value in SYMBOLS.items()}
        wanted = Values(full)(tree)
        if not np.isfinite(wanted).all() or _reduced_twice(tree):
            return
        names = {name: name for name in SYMBOLS}
        found = _value_printed(latex(tree, names, path), full | SIZES)
    np.testing.assert_allclose(np.broadcast_to(found, wanted.shape), wanted, rtol=1e-9)


def _reduced_twice(tree: Tree) -> bool:
    """Whether a sum or mean stands in another, or goes over a constant: 1/B says less there."""
    kinds = {"Reduction"}
    return any(
        type(part).__name__ in kinds
        and (
            any(type(each).__name__ in kinds for path, each in walk(part) if path)
            or not any(type(each).__name__ == "Symbol" for _, each in walk(part))
        )
        for _, part in walk(tree)
    )


@pytest.mark.parametrize("observable", ORDER)
def test_every_slip_can_be_printed(observable: Observable) -> None:
    for form in forms(observable, TORCH):
        for edit in list(edits(form, ("z", "g", "gamma", "beta", "eps", "n", "features")))[::7]:
            binding = edit.made(form).bindings[edit.binding]
            printed = latex(binding, NAMES, None if edit.everywhere else edit.path[:0])
            assert printed.count("{") == printed.count("}")
            assert r"\mathrm" not in printed
