"""Printed formulas are read as what they are, and the place that was changed is in a box."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache

import numpy as np
import pytest
from bn_diagnosis.recovery.edits import edits
from bn_diagnosis.recovery.forms import NAMES, Observable, forms
from bn_diagnosis.recovery.printing import latex
from bn_diagnosis.recovery.trees import (
    Tree,
    Values,
    add,
    at,
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
from bn_oracle.conventions import CONVENTIONS
from hypothesis import assume, given, settings
from hypothesis import strategies as st

LETTERS = {"a": "a", "b": "b", "c": "c", "d": "d", "var": r"\sigma_B^2", "area": "HW"} | {
    "less": "(B-1)",
    "gamma": r"\gamma",
    "s": r"\sqrt{\sigma_B^2+\epsilon}",
}
a, b, c, d, var, area, less, gamma, s = (symbol(name) for name in LETTERS)
WORD, TWO_WORDS = symbol("height"), symbol("old_mean")
HALF, THIRD = number("1/2"), number("-1/3")


def shown(tree: Tree, *marked: int) -> str:
    return latex(tree, LETTERS, marked)


@pytest.mark.parametrize(
    ("tree", "printed"),
    [
        # Symbols and numbers.
        (gamma, r"\gamma"),
        (WORD, r"\mathrm{height}"),
        (TWO_WORDS, r"\mathrm{old\_mean}"),
        (number(-2), "-2"),
        (number("3/4"), r"\frac{3}{4}"),
        (number("-1/2"), r"-\frac{1}{2}"),
        (number("1/100000"), "10^{-5}"),
        (number("9/10"), "0.9"),
        (number("-99/100"), "-0.99"),
        # Sums.
        (add(a, b, c), "a + b + c"),
        (add(a, minus(b)), "a - b"),
        (add(minus(a), b), "-a + b"),
        (add(a, number(-1)), "a - 1"),
        (add(a, minus(power(b, "-1/2"))), r"a - \frac{1}{\sqrt{b}}"),
        (add(a, multiply(number(-2), b, add(c, d))), r"a - 2 b \left(c + d\right)"),
        # Products.
        (multiply(a, gamma), r"a \gamma"),
        (multiply(a, add(b, c)), r"a \left(b + c\right)"),
        (minus(add(a, b)), r"-\left(a + b\right)"),
        (multiply(number(2), WORD, WORD, a), r"2 \, \mathrm{height} \, \mathrm{height} \, a"),
        (multiply(number("1/100000"), a), "10^{-5} a"),
        (multiply(number(2), power(number(3), "3/2")), r"2 \left(3\right)^{3/2}"),
        # Fractions.
        (over(a, b), r"\frac{a}{b}"),
        (over(add(a, b), c), r"\frac{a + b}{c}"),
        (over(a, add(b, c)), r"\frac{a}{b + c}"),
        (over(a, add(b, c), d), r"\frac{a}{\left(b + c\right) d}"),
        (over(a, multiply(add(a, b), add(c, d))),
         r"\frac{a}{\left(a + b\right) \left(c + d\right)}"),
        (over(a, b, multiply(number(2), c)), r"\frac{a}{b \left(2 c\right)}"),
        (multiply(number("-1/2"), a, b, power(c, -1)), r"-\frac{a b}{2 c}"),
        (multiply(number("2/3"), a), r"\frac{2 a}{3}"),
        (over(number(-1), a), r"-\frac{1}{a}"),
        (multiply(a, power(b, "-1/2")), r"\frac{a}{\sqrt{b}}"),
        (multiply(a, power(add(b, c), "-3/2")), r"\frac{a}{\left(b + c\right)^{3/2}}"),
        (multiply(a, power(b, -2)), r"\frac{a}{b^{2}}"),
        (over(power(b, -1), c), r"\frac{1}{b c}"),
        (over(number("9/10"), a), r"0.9 \frac{1}{a}"),
        (over(a, less), r"\frac{a}{B-1}"),
        (over(multiply(a, power(b, -1), add(c, total(d))), b),
         r"\frac{a}{b b} \left(c + \sum_i d\right)"),
        # Powers.
        (power(a, -1), r"\frac{1}{a}"),
        (power(a, "1/2"), r"\sqrt{a}"),
        (power(add(a, b), "1/2"), r"\sqrt{a + b}"),
        (power(a, "3/2"), "a^{3/2}"),
        (power(gamma, 2), r"\gamma^{2}"),
        (power(WORD, 2), r"\mathrm{height}^{2}"),
        (power(var, 2), r"\left(\sigma_B^2\right)^{2}"),
        (power(area, 2), r"\left(HW\right)^{2}"),
        (power(less, 2), "(B-1)^{2}"),
        (power(s, -2), r"\frac{1}{\left(\sqrt{\sigma_B^2+\epsilon}\right)^{2}}"),
        (power(multiply(a, b), 2), r"\left(a b\right)^{2}"),
        (power(minus(a), 2), r"\left(-a\right)^{2}"),
        (power(power(a, 2), "1/2"), r"\sqrt{a^{2}}"),
        (power(power(a, 2), "3/2"), r"\left(a^{2}\right)^{3/2}"),
        # Sums and means over axes.
        (total(a), r"\sum_i a"),
        (mean(a), r"\frac1B\sum_i a"),
        (reduction("sum", "features", a), r"\sum_c a"),
        (reduction("mean", "features", a), r"\frac1C\sum_c a"),
        (reduction("sum", "all", a), r"\sum_{i,c} a"),
        (reduction("mean", "all", a), r"\frac{1}{BC}\sum_{i,c} a"),
        (total(add(a, b)), r"\sum_i \left(a + b\right)"),
        (total(multiply(a, b)), r"\sum_i a b"),
        (total(minus(power(a, "-1/2"))), r"\sum_i \left(-\frac{1}{\sqrt{a}}\right)"),
        (total(number(-1)), r"\sum_i \left(-1\right)"),
        (total(mean(a)), r"\sum_i \frac1B\sum_j a"),
        (multiply(total(a), b), r"b \sum_i a"),
        (multiply(total(a), total(b), c), r"c \left(\sum_i a\right) \sum_i b"),
        (total(multiply(total(a), b)), r"\sum_i b \sum_j a"),
        (multiply(number("-1/2"), total(a)), r"-\frac{1}{2} \sum_i a"),
        (multiply(number("-1/2"), total(a), power(add(b, c), "-3/2")),
         r"-\frac{1}{2 \left(b + c\right)^{3/2}} \sum_i a"),
        (over(a, total(b), c), r"\frac{a}{c \sum_i b}"),
        (power(total(a), 2), r"\left(\sum_i a\right)^{2}"),
        (power(mean(a), "1/2"), r"\sqrt{\frac1B\sum_i a}"),
        (add(total(a), b), r"\left(\sum_i a\right) + b"),
        (add(b, total(a)), r"b + \sum_i a"),
        (add(minus(total(a)), b), r"-\left(\sum_i a\right) + b"),
        (add(c, multiply(number(-2), a, total(a)), b), r"c - 2 a \left(\sum_i a\right) + b"),
        (add(multiply(HALF, mean(a)), b), r"\frac{1}{2} \left(\frac1B\sum_i a\right) + b"),
        (add(total(a), minus(power(b, "-1/2"))), r"\left(\sum_i a\right) - \frac{1}{\sqrt{b}}"),
        (add(over(total(a), b), c), r"\frac{1}{b} \left(\sum_i a\right) + c"),
    ],
)  # fmt: skip
def test_printed(tree: Tree, printed: str) -> None:
    assert printed == latex(tree, LETTERS)


z, g, mu, row = (symbol(name) for name in ("z", "g", "mean", "var"))


@pytest.mark.parametrize(
    ("left", "tree", "printed"),
    [
        ("", total(multiply(g, z)), r"\sum_i G_i z_i"),
        ("", multiply(z, total(g)), r"z_i \sum_j G_j"),
        (r"\hat z_i", total(g), r"\sum_j G_j"),
        ("", total(multiply(g, mean(z))), r"\sum_i G_i \frac1B\sum_j z_j"),
        ("", reduction("mean", "all", add(z, minus(mu))),
         r"\frac{1}{BC}\sum_{i,c} \left(z_{ic} - \mu_c\right)"),
        ("u_i", add(z, reduction("mean", "features", row)), r"z_i + \frac1C\sum_c \sigma_c^2"),
        ("u_i", mean(power(z, 2)), r"\frac1B\sum_j z_j^{2}"),
        ("u_i", reduction("sum", "all", g), r"\sum_{j,c} G_{jc}"),
    ],
)  # fmt: skip
def test_every_sum_has_an_index_of_its_own(left: str, tree: Tree, printed: str) -> None:
    assert printed == latex(tree, NAMES, left=left)


@pytest.mark.parametrize(
    ("printed", "wanted"),
    [
        (shown(a), r"\boxed{a}"),
        (shown(add(a, b)), r"\boxed{a + b}"),
        (shown(add(a, b), 1), r"a + \boxed{b}"),
        (shown(add(a, minus(b)), 1), r"a + \boxed{-b}"),
        (shown(add(a, minus(b)), 1, 1), r"a - \boxed{b}"),
        (shown(add(a, minus(b)), 1, 0), r"a + \boxed{-1} b"),
        (shown(multiply(a, add(b, c)), 1), r"a \left(\boxed{b + c}\right)"),
        (shown(multiply(a, add(b, c)), 1, 0), r"a \left(\boxed{b} + c\right)"),
        (shown(over(add(a, b), c), 0), r"\frac{\boxed{a + b}}{c}"),
        (shown(over(a, b), 1), r"a \boxed{\frac{1}{b}}"),
        (shown(over(a, add(b, c), d), 1), r"\frac{a}{d} \boxed{\frac{1}{b + c}}"),
        (shown(multiply(a, power(b, "-1/2")), 1), r"a \boxed{\frac{1}{\sqrt{b}}}"),
        (shown(multiply(a, power(b, "-1/2")), 1, 0), r"\frac{a}{\sqrt{\boxed{b}}}"),
        (shown(power(b, -1)), r"\boxed{\frac{1}{b}}"),
        (shown(power(b, -1), 0), r"\frac{1}{\boxed{b}}"),
        (shown(multiply(THIRD, a, power(b, -1)), 0), r"\boxed{-\frac{1}{3}} \frac{a}{b}"),
        (shown(multiply(THIRD, a, power(b, -1)), 1), r"-\frac{\boxed{a}}{3 b}"),
        (shown(multiply(number(2), add(a, b)), 0), r"\boxed{2} \left(a + b\right)"),
        (shown(power(a, 2), 0), r"\boxed{a}^{2}"),
        (shown(power(less, 2), 0), r"\boxed{(B-1)}^{2}"),
        (shown(power(add(a, b), 2), 0), r"\left(\boxed{a + b}\right)^{2}"),
        (shown(total(a), 0), r"\sum_i \boxed{a}"),
        (shown(total(minus(a)), 0), r"\sum_i \left(\boxed{-a}\right)"),
        (shown(total(minus(a)), 0, 0), r"\sum_i \left(\boxed{-1} a\right)"),
        (shown(multiply(total(a), b), 0), r"b \boxed{\sum_i a}"),
        (shown(multiply(total(a), total(b)), 0), r"\left(\boxed{\sum_i a}\right) \sum_i b"),
        (shown(multiply(number(2), total(a)), 0), r"\boxed{2} \sum_i a"),
        (shown(add(total(a), b), 0), r"\boxed{\left(\sum_i a\right)} + b"),
        (shown(add(minus(total(a)), b), 0), r"\boxed{-\left(\sum_i a\right)} + b"),
    ],
)
def test_the_marked_part_is_boxed(printed: str, wanted: str) -> None:
    assert printed == wanted


# What is printed is read back as the same formula.

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


# Pages and terminals.


@lru_cache(maxsize=1)
def _printed_slips() -> tuple[str, ...]:
    observables: tuple[Observable, ...] = ("out", "running_var", "dgamma", "dz")
    found = set[str]()
    for observable in observables:
        for program in forms(observable, CONVENTIONS["torch"]):
            for edit in edits(program, ("z", "g", "gamma", "beta", "eps", "n", "height")):
                tree = edit.made(program).bindings[edit.binding]
                found.add(latex(tree, NAMES))
                if edit.everywhere is None:
                    found.add(latex(program.bindings[edit.binding], NAMES, edit.path))
    return tuple(sorted(found))


@settings(deadline=None)
@given(st.data())
def test_the_formula_of_any_slip_is_valid(data: st.DataObject) -> None:
    converter = pytest.importorskip("latex2mathml.converter")
    text = data.draw(st.sampled_from(_printed_slips()))
    converted = converter.convert(text)
    # What the converter does not know, it leaves as a command.
    assert "\\" not in converted
    assert ("<menclose" in converted) == (r"\boxed" in text)
