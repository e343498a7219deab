"""Formulas as LaTeX, with the place marked that was changed.

What is printed is read as a reader would: a Σ goes as far as the factors behind it do, and no term
ever follows them. Every bracket is needed without the box, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from bn_diagnosis.recovery.indices import Indices, indices
from bn_diagnosis.recovery.trees import Number, Path, Power, Product, Reduction, Sum, Symbol, Tree

_ONE_SYMBOL = r"(?:[A-Za-z](?:_[a-z])?|\\[A-Za-z]+|\\mathrm\{[A-Za-z]+\}|\([^()]*\))"
_BARE = re.compile(rf"{_ONE_SYMBOL}|\\boxed\{{{_ONE_SYMBOL}\}}")
"""What carries an exponent without further brackets: one symbol, which may have an index, or a
name in brackets."""
_BRACKETED = re.compile(r"\(([^()]*)\)")
_NUMBER_FIRST = re.compile(r"(\\boxed\{)?\d")
_WORD_LAST = re.compile(r"\\mathrm\{[^{}]*\}$")


class _Text(NamedTuple):
    """A printed part."""

    latex: str
    is_sum: bool = False
    """Whether it is a sum, or begins with a sign."""
    closed: str | None = None
    """The same with brackets round its last Σ, if what follows would seem to stand under that."""

    def bracketed(self) -> str:
        """Return it in brackets."""
        return rf"\left({self.latex}\right)"

    def factor(self, *, last: bool) -> str:
        """Return it as a factor, the last one or one that others follow."""
        open_ = self.closed is not None and not last
        return self.bracketed() if self.is_sum or open_ else self.latex

    def term(self, *, last: bool) -> str:
        """Return it as a term, the last one or one that others follow."""
        return self.latex if self.closed is None or last else self.closed

    @property
    def is_tall(self) -> bool:
        """Whether it has a fraction or a Σ in it: such a factor stands behind a fraction."""
        return r"\frac" in self.latex or r"\sum" in self.latex

    def boxed(self) -> _Text:
        """Return it in a box."""
        closed = None if self.closed is None else rf"\boxed{{{self.closed}}}"
        return self._replace(latex=rf"\boxed{{{self.latex}}}", closed=closed)


def latex(tree: Tree, names: Mapping[str, str], marked: Path | None = None, left: str = "") -> str:
    """Return a tree as LaTeX.

    `names` has the symbols' LaTeX; the part at the end of the path `marked` is boxed. `left` is
    what the equation says on its left side: a sum has another index than that has.
    """
    return _printed(tree, indices(tree, names, left), marked).latex


def _printed(tree: Tree, names: Indices, marked: Path | None) -> _Text:
    text = _unmarked(tree, names, marked)
    return text.boxed() if marked == () else text


def _unmarked(tree: Tree, names: Indices, marked: Path | None) -> _Text:
    if isinstance(tree, Symbol):
        return _Text(names.name(tree))
    if isinstance(tree, Number):
        return _Text(_constant(tree.value), is_sum=tree.value < 0)
    if isinstance(tree, Product):
        return _product(tree, names, marked)
    if isinstance(tree, Reduction):
        sigma, below = names.summed(tree)
        of = _printed(tree.of, below, _below(marked, 0))
        text = _Text(f"{sigma} {of.factor(last=True)}")
        return text._replace(closed=text.bracketed())
    parts = [_printed(part, names, _below(marked, place)) for place, part in enumerate(tree.parts)]
    if isinstance(tree, Sum):
        return _sum(parts)
    assert isinstance(tree, Power)
    return _power(tree, parts[0], names, marked)


def _power(tree: Power, base: _Text, names: Indices, marked: Path | None) -> _Text:
    if _is_absolute(tree):
        within = _printed(tree.base.parts[0], names, _below(_below(marked, 0), 0))
        return _Text(rf"\left|{_row([within])}\right|")
    raised = _raised(base, abs(tree.exponent))
    return raised if tree.exponent > 0 else _Text(rf"\frac{{1}}{{{_row([raised])}}}")


def _is_absolute(tree: Power) -> bool:
    """Whether it is the root of a square."""
    base = tree.base
    return tree.exponent == Fraction(1, 2) and isinstance(base, Power) and base.exponent == 2


def _below(marked: Path | None, place: int) -> Path | None:
    """Return what is left of the way to the marked part, as seen from a part."""
    return marked[1:] if marked and marked[0] == place else None


def _constant(value: Fraction) -> str:
    sign = "-" if value < 0 else ""
    if _is_decimal(value):
        return sign + f"{float(abs(value)):.15g}"
    if _is_small_power_of_ten(value):
        return f"{sign}10^{{-{len(str(value.denominator)) - 1}}}"
    if value.denominator == 1:
        return str(value.numerator)
    return rf"{sign}\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


def _is_small_power_of_ten(value: Fraction) -> bool:
    zeros = len(str(value.denominator)) - 1
    return abs(value.numerator) == 1 and zeros >= 3 and value.denominator == 10**zeros


def _is_decimal(value: Fraction) -> bool:
    """Whether it is written as 0.9 is: in tenths or hundredths."""
    return value.denominator in (10, 100)


def _sum(parts: Sequence[_Text]) -> _Text:
    *others, end = parts
    first, *rest = [*(each.term(last=False) for each in others), end.term(last=True)]
    signed = (f" - {each[1:]}" if each.startswith("-") else f" + {each}" for each in rest)
    return _Text(first + "".join(signed), is_sum=True)


def _raised(base: _Text, exponent: Fraction) -> _Text:
    """Return a base to a positive exponent."""
    if exponent == 1:
        return base
    if exponent == Fraction(1, 2):
        return _Text(rf"\sqrt{{{_row([base])}}}")
    held = base.latex if _BARE.fullmatch(base.latex) else base.bracketed()
    return _Text(f"{held}^{{{exponent}}}")


def _product(tree: Product, names: Indices, marked: Path | None) -> _Text:
    """Return a product, its divisors below a line.

    A factor that is marked itself stays above it, a constant in front.
    """
    constant, front = Fraction(1), _Text("")
    above, below = list[_Text](), list[_Text]()
    for place, factor in enumerate(tree.factors):
        way = _below(marked, place)
        if isinstance(factor, Number) and way is None:
            constant *= factor.value
        elif isinstance(factor, Number):
            front = _printed(factor, names, way)
        elif isinstance(factor, Power) and factor.exponent < 0 and way != ():
            base = _printed(factor.base, names, _below(way, 0))
            below.append(_raised(base, -factor.exponent))
        else:
            above.append(_printed(factor, names, way))
    if _is_decimal(constant) or _is_small_power_of_ten(constant):
        front, constant = _Text(_constant(constant), is_sum=constant < 0), Fraction(1)
    return _behind(front, _quotient(constant, above, below))


def _behind(front: _Text, text: _Text) -> _Text:
    """Return a product with a constant in front of it."""
    if not front.latex:
        return text
    closed = None if text.closed is None else _side_by_side([front.latex, text.closed])
    return _Text(_side_by_side([front.latex, text.latex]), front.is_sum, closed)


def _quotient(constant: Fraction, above: Sequence[_Text], below: Sequence[_Text]) -> _Text:
    sign = "-" if constant < 0 else ""
    bottom = _counted(constant.denominator, below)
    tall = [each for each in above if bottom and each.is_tall]
    low = [each for each in above if not (bottom and each.is_tall)]
    factors = _counted(abs(constant.numerator), low) or [_Text("1")]
    if bottom:
        fraction = _Text(rf"\frac{{{_row(factors)}}}{{{_row(bottom)}}}")
        factors = [fraction, *_counted(1, tall)]
    closed = None if factors[-1].closed is None else sign + _factors(factors, last=False)
    return _Text(sign + _factors(factors, last=True), bool(sign), closed)


def _counted(number: int, factors: Sequence[_Text]) -> list[_Text]:
    """Return factors with a number before them, unless it is one, and what ends in a Σ last."""
    ordered = sorted(factors, key=lambda each: each.closed is not None)
    return ordered if number == 1 else [_Text(str(number)), *ordered]


def _row(factors: Sequence[_Text]) -> str:
    """Return what stands above or below a line, which brackets what is alone there."""
    if len(factors) > 1:
        return _factors(factors, last=True)
    alone = _BRACKETED.fullmatch(factors[0].latex)
    return alone[1] if alone else factors[0].latex


def _factors(factors: Sequence[_Text], *, last: bool) -> str:
    """Return factors side by side; a number comes behind none of them without brackets."""
    *others, end = factors
    texts = [*(each.factor(last=False) for each in others), end.factor(last=last)]
    for place, each in enumerate(factors):
        if place > 0 and _NUMBER_FIRST.match(texts[place]):
            texts[place] = each.bracketed()
    return _side_by_side(texts)


def _side_by_side(factors: Sequence[str]) -> str:
    """Join factors; words are set apart."""
    joined = factors[0]
    for each in factors[1:]:
        apart = _WORD_LAST.search(joined) or each.startswith(r"\mathrm")
        joined += rf" \, {each}" if apart else f" {each}"
    return joined
