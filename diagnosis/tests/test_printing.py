"""Printed formulas are read as what they are, and the place that was changed is in a box."""

from __future__ import annotations

from functools import lru_cache

import pytest
from bn_diagnosis.recovery.edits import edits
from bn_diagnosis.recovery.forms import NAMES, Observable, forms
from bn_diagnosis.recovery.printing import latex
from bn_diagnosis.recovery.trees import (
    Tree,
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
)
from bn_oracle.conventions import CONVENTIONS
from hypothesis import given, settings
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
        (power(power(a, 2), "1/2"), r"\left|a\right|"),
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
