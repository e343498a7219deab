"""A formula in plain text is read back as the formula it was."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import pytest
from bn_reports.text.equations import plain
from hypothesis import given
from hypothesis import strategies as st

VALUES = {"a": 0.7, "b": 1.9, "c": 2.3, "γ": 0.6, "ε": 1.3, "σ": 1.7}
SUMMED = 3.0
"""What Σ multiplies by: it reaches as far as the factors behind it do."""
HIGH = {"²": 2, "³": 3}


class Formula(NamedTuple):
    """A formula, and its value."""

    latex: str
    value: float
    is_sum: bool = False

    @property
    def factor(self) -> str:
        return rf"\left({self.latex}\right)" if self.is_sum else self.latex


SYMBOLS = st.sampled_from(
    [
        *(Formula(name, VALUES[name]) for name in "abc"),
        *(
            Formula(rf"\{word}", VALUES[name])
            for word, name in [("gamma", "γ"), ("epsilon", "ε"), ("sigma", "σ")]
        ),
        Formula("2", 2.0),
    ]
)


def grown(parts: st.SearchStrategy[Formula]) -> st.SearchStrategy[Formula]:
    """Return formulas made of others, as LaTeX writes them: products side by side."""
    return st.one_of(
        st.tuples(parts, parts).map(
            lambda two: Formula(
                f"{two[0].latex} + {two[1].factor}", two[0].value + two[1].value, is_sum=True
            )
        ),
        st.tuples(parts, parts).map(
            lambda two: Formula(
                f"{two[0].factor} - {two[1].factor}", two[0].value - two[1].value, is_sum=True
            )
        ),
        st.tuples(parts, parts)
        .filter(lambda two: not two[1].latex[0].isdigit())
        .map(lambda two: Formula(f"{two[0].factor} {two[1].factor}", two[0].value * two[1].value)),
        st.tuples(parts, parts.filter(lambda each: abs(each.value) > 1e-3)).map(
            lambda two: Formula(
                rf"\frac{{{two[0].latex}}}{{{two[1].latex}}}", two[0].value / two[1].value
            )
        ),
        parts.map(lambda one: Formula(rf"\left({one.latex}\right)^2", one.value**2)),
        parts.filter(lambda one: one.value > 0).map(
            lambda one: Formula(rf"\sqrt{{{one.latex}}}", one.value**0.5)
        ),
        parts.map(lambda one: Formula(rf"\left(\sum_i {one.factor}\right)", SUMMED * one.value)),
        parts.map(lambda one: Formula(rf"\left(\sum_i -{one.factor}\right)", -SUMMED * one.value)),
        parts.map(lambda one: Formula(f"-{one.factor}", -one.value, is_sum=True)),
    )


class Reader:
    """Reads as a careful reader would: what stands side by side belongs together first."""

    def __init__(self, text: str) -> None:
        self.text = text

    def takes(self, start: str) -> bool:
        found = self.text.startswith(start)
        self.text = self.text[len(start) :] if found else self.text
        return found

    def all_(self) -> float:
        value = self.sum_()
        assert not self.text, self.text
        return value

    def sum_(self) -> float:
        value = -self.product() if self.takes("−") else self.product()
        while True:
            if self.takes(" + "):
                value += self.product()
            elif self.takes(" − "):
                value -= self.product()
            else:
                return value

    def product(self) -> float:
        value = self.quotient()
        while self.takes(" · "):
            value *= self.quotient()
        return value

    def quotient(self) -> float:
        value = self.run()
        return value / self.run() if self.takes("/") else value

    def run(self) -> float:
        value = self.factor()
        while re.match(r" ?[(√∑\w]", self.text):
            self.takes(" ")
            value *= self.factor()
        return value

    def factor(self) -> float:
        if self.takes("√"):
            return math.sqrt(self.raised(self.bare()))
        return self.raised(self.bare())

    def raised(self, value: float) -> float:
        for sign, power in HIGH.items():
            if self.takes(sign):
                return math.pow(value, power)
        return value

    def bare(self) -> float:
        if self.takes("∑ᵢ"):
            return SUMMED
        if self.takes("("):
            value = self.sum_()
            assert self.takes(")"), self.text
            return value
        first, self.text = self.text[0], self.text[1:]
        assert first.isdigit() or first in VALUES, first + self.text
        return float(first) if first.isdigit() else VALUES[first]


@given(st.recursive(SYMBOLS, grown, max_leaves=8))
def test_what_is_written_is_read_back(formula: Formula) -> None:
    assert pytest.approx(formula.value, rel=1e-9, abs=1e-9) == Reader(plain(formula.latex)).all_()
