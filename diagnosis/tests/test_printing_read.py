"""What is printed is read back as the same formula."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fractions import Fraction

import numpy as np
import pytest
from bn_diagnosis.recovery.printing import latex
from bn_diagnosis.recovery.trees import (
    Tree,
    Values,
    add,
    at,
    minus,
    multiply,
    number,
    over,
    power,
    reduction,
    symbol,
    walk,
)
from bn_oracle.arrays import Array
from hypothesis import assume, given, settings
from hypothesis import strategies as st

_NUMBERS = np.random.default_rng(0)
_SHAPES: Mapping[str, tuple[str, tuple[int, int]]] = {
    "z": ("z_i", (4, 3)),
    "out": (r"\hat z_i", (4, 3)),
    "centred": (r"(z_i-\mu_B)", (4, 3)),
    "du": (r"\frac{\partial Div}{\partial u_i}", (4, 3)),
    "gamma": (r"\gamma", (1, 3)),
    "var": (r"\sigma_B^2", (1, 3)),
    "n": ("B", (1, 1)),
    "area": ("HW", (1, 1)),
    "less_one": ("(B-1)", (1, 1)),
    "row": (r"\mathrm{row}", (4, 1)),
    "row_size": (r"\mathrm{row\_size}", (4, 1)),
}
WRITTEN = {name: text for name, (text, _) in _SHAPES.items() if "row" not in name}
SYMBOLS = {name: _NUMBERS.uniform(0.5, 2.0, shape) for name, (_, shape) in _SHAPES.items()}
ALMOST = {name: each * (1 + 1e-12 * _NUMBERS.normal()) for name, each in SYMBOLS.items()}
BY_TEXT = {text: SYMBOLS[name] for name, (text, _) in _SHAPES.items()}
CARRIES_EXPONENT = ("B", "z_i", r"\gamma", "(B-1)", r"(z_i-\mu_B)", r"\mathrm{row}")
_SIGMAS: Mapping[str, Callable[[Array], Array]] = {
    r"\sum_i": lambda x: x.sum(axis=0, keepdims=True),
    r"\sum_c": lambda x: x.sum(axis=1, keepdims=True),
    r"\sum_{i,c}": lambda x: x.sum(keepdims=True),
    r"\frac1B\sum_i": lambda x: x.mean(axis=0, keepdims=True),
    r"\frac1C\sum_c": lambda x: x.mean(axis=1, keepdims=True),
    r"\frac{1}{BC}\sum_{i,c}": lambda x: x.mean(keepdims=True),
}


ALONE = {text[1:-1]: BY_TEXT[text] for text in CARRIES_EXPONENT if text.startswith("(")}
"""What stands alone above or below a line, or under a root, without its brackets."""


def _one_index(text: str) -> str:
    """Return a text with one name for each quantity, and for each kind of Σ."""
    text = re.sub(r"\\sum_\{[ijlm],c'*\}", r"\\sum_{i,c}", text)
    text = re.sub(r"\\sum_[ijlm]", r"\\sum_i", re.sub(r"\\sum_\{c'+\}", r"\\sum_c", text))
    text = re.sub(r"(?<!sum)_(\{[ijlm]c'*\}|[ijlm])(?![A-Za-z])", "_i", text)
    return re.sub(r"(?<!sum)_c", "_B", text)


class Reader:
    """Reads LaTeX strictly: what may be read in two ways is an error.

    A Σ goes as far as the factors behind it do, and a term that ends in one is the last of its sum.
    A number comes before all other factors. Only one symbol, or brackets, carry an exponent.
    """

    def __init__(self, text: str) -> None:
        self.text = _one_index(text)

    def value(self) -> Array:
        found = self.sum_()
        assert not self.text, self.text
        return found

    def takes(self, *starts: str) -> str:
        """Take the longest of some texts that comes next, or nothing."""
        self.text = self.text.lstrip().removeprefix(r"\, ")
        found = max((each for each in starts if self.text.startswith(each)), key=len, default="")
        self.text = self.text[len(found) :]
        return found

    def group(self, start: str, end: str) -> Array | None:
        if not self.takes(start):
            return None
        alone = next((each for each in ALONE if self.text.startswith(each + end)), "")
        self.text = self.text[len(alone) :]
        found = ALONE[alone] if alone else self.sum_()
        assert self.takes(end), self.text
        return found

    def sum_(self) -> Array:
        sign = self.takes("-")
        value, is_open = self.term()
        value = -value if sign else value
        while sign := self.takes("+", "-"):
            assert not is_open, "a term behind a Σ"
            minus_ = sign == "+" and self.takes("-")  # a box stands between them
            term, is_open = self.term()
            value = value - term if sign == "-" or minus_ else value + term
        return value

    def term(self) -> tuple[Array, bool]:
        """Return a term, and whether it ends under a Σ."""
        value = self.number()
        while True:
            if sigma := self.takes(*_SIGMAS):
                below = _SIGMAS[sigma](self.term()[0])
                return (below if value is None else value * below), True
            factor = self.factor()
            if factor is None:
                assert value is not None, self.text
                return value, False
            value = factor if value is None else value * factor

    def number(self) -> Array | None:
        found = re.match(r"\s*(\d+(?:\.\d+)?)(\^\{-(\d+)\})?", self.text)
        if found is None:
            return None
        self.text = self.text[found.end() :]
        value = float(found[1])
        return np.full((1, 1), value if found[3] is None else value ** -int(found[3]))

    def factor(self) -> Array | None:
        carries = True
        if name := self.takes(*BY_TEXT):
            value: Array | None = BY_TEXT[name]
            carries = name in CARRIES_EXPONENT
        elif self.takes(r"\frac"):
            above, below = self.group("{", "}"), self.group("{", "}")
            assert above is not None
            assert below is not None
            value, carries = above / below, False
        elif self.takes(r"\sqrt"):
            inside = self.group("{", "}")
            assert inside is not None
            value, carries = np.sqrt(inside), False
        else:
            value = self.group(r"\left(", r"\right)")
        if value is None or not self.takes("^"):
            return value
        assert carries, "an exponent behind what does not carry one"
        found = re.match(r"\{(\d+)(?:/(\d+))?\}(?!\^)", self.text)
        assert found is not None, self.text
        self.text = self.text[found.end() :]
        return np.asarray(value ** (int(found[1]) / int(found[2] or 1)))


def without_box(text: str) -> tuple[str, str]:
    """Return a text with its one box taken away, and what is in it."""
    before, rest = text.split(r"\boxed{")
    depth, end = 1, 0
    while depth:
        depth += {"{": 1, "}": -1}.get(rest[end], 0)
        end += 1
    return before + rest[: end - 1] + rest[end:], rest[: end - 1]


def same(one: Array, other: Array) -> None:
    np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


_RATIONALS = st.fractions(-3, 3, max_denominator=4).filter(bool) | st.sampled_from(
    (Fraction(1, 10**5), Fraction(-1, 1000), Fraction(-1))
)
_LEAVES = st.sampled_from(sorted(_SHAPES)).map(symbol) | _RATIONALS.map(number)
_EXPONENTS = st.sampled_from([Fraction(k, 2) for k in (-4, -3, -2, -2, -1, 1, 2, 3, 4, 6)])


def _larger(below: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    some = st.lists(below, min_size=2, max_size=4)
    return (
        some.map(lambda parts: add(*parts))
        | some.map(lambda parts: multiply(*parts))
        | some.map(lambda parts: over(*parts))
        | below.map(minus)
        | st.builds(power, below, _EXPONENTS)
        | st.builds(
            reduction,
            st.sampled_from(("sum", "mean")),
            st.sampled_from(("batch", "features", "all")),
            below,
        )
    )


TREES = st.recursive(_LEAVES, _larger, max_leaves=14)


def _well_conditioned(tree: Tree) -> Array:
    """Return a tree's value; one that rounding alone could change is not looked at."""
    with np.errstate(all="ignore"):
        value, near = Values(SYMBOLS)(tree), Values(ALMOST)(tree)
    assume(np.isfinite(value).all() and np.isfinite(near).all())
    assume((np.abs(near - value) <= 1e-8 * np.abs(value)).all())
    return value


@settings(deadline=None)
@given(TREES)
def test_what_is_printed_is_read_as_the_same_formula(tree: Tree) -> None:
    value = _well_conditioned(tree)
    same(Reader(latex(tree, WRITTEN)).value(), value)


@settings(deadline=None)
@given(st.data())
def test_a_box_changes_nothing_and_holds_the_marked_part(data: st.DataObject) -> None:
    tree = data.draw(TREES)
    path = data.draw(st.sampled_from([path for path, _ in walk(tree)]))
    value, part = _well_conditioned(tree), _well_conditioned(at(tree, path))
    text, inside = without_box(latex(tree, WRITTEN, path))
    same(Reader(text).value(), value)
    same(Reader(inside).value(), part)


@pytest.mark.parametrize(
    "text",
    [
        "B + + B",
        r"\sum_i z_i + B",
        r"\hat z_i^{2}",
        "HW^{2}",
        "2 3",
        "B 2",
        r"\sqrt{B}^{2}",
        "B^{2}^{2}",
    ],
)
def test_the_reader_refuses_what_is_ambiguous(text: str) -> None:
    with pytest.raises(AssertionError):
        Reader(text).value()
