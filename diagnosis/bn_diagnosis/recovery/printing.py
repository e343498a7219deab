"""Formulas as LaTeX, with the place marked that was changed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

from bn_diagnosis.recovery.trees import (
    Number,
    Path,
    Power,
    Product,
    Reduction,
    Sum,
    Symbol,
    Tree,
)

_PLAIN = re.compile(r"\\?[A-Za-z]+|\d+")
"""What may carry an exponent without brackets."""
_REDUCTIONS = {
    ("sum", "batch"): r"\sum_i",
    ("mean", "batch"): r"\frac1B\sum_i",
    ("sum", "features"): r"\sum_c",
    ("mean", "features"): r"\frac1C\sum_c",
    ("sum", "all"): r"\sum_{i,c}",
    ("mean", "all"): r"\frac{1}{BC}\sum_{i,c}",
}


class _Text(NamedTuple):
    """A printed part."""

    latex: str
    is_sum: bool = False
    """Whether it is a sum, or begins with a sign."""
    is_open: bool = False
    """Whether what follows would seem to stand under its Σ."""

    def bracketed(self) -> str:
        """Return it in brackets."""
        return rf"\left({self.latex}\right)"

    def factor(self) -> str:
        """Return it as a factor that another one follows."""
        return self.bracketed() if self.is_sum or self.is_open else self.latex


def latex(tree: Tree, names: Mapping[str, str], marked: Path | None = None) -> str:
    """Return a tree as LaTeX.

    `names` has the symbols' LaTeX; the part at the end of the path `marked` is boxed.
    """
    return _printed(tree, names, marked).latex


def _printed(tree: Tree, names: Mapping[str, str], marked: Path | None) -> _Text:
    text = _unmarked(tree, names, marked)
    return _Text(rf"\boxed{{{text.latex}}}") if marked == () else text


def _below(marked: Path | None, place: int) -> Path | None:
    """Return what is left of the way to the marked part, as seen from a part."""
    return marked[1:] if marked and marked[0] == place else None


def _unmarked(tree: Tree, names: Mapping[str, str], marked: Path | None) -> _Text:
    if isinstance(tree, Symbol):
        return _Text(names.get(tree.name, rf"\mathrm{{{tree.name}}}"))
    if isinstance(tree, Number):
        return _Text(_constant(tree.value), is_sum=tree.value < 0)
    parts = [_printed(part, names, _below(marked, place)) for place, part in enumerate(tree.parts)]
    if isinstance(tree, Sum):
        return _sum(parts)
    if isinstance(tree, Power):
        return _power(tree, parts[0])
    if isinstance(tree, Reduction):
        (of,) = parts
        operand = of.bracketed() if of.is_sum else of.latex
        return _Text(f"{_REDUCTIONS[tree.kind, tree.axis]} {operand}", is_open=True)
    assert isinstance(tree, Product)
    boxed = marked[0] if marked is not None and len(marked) == 1 else None
    inside = {
        place: _printed(part.parts[0], names, _below(_below(marked, place), 0))
        for place, part in enumerate(tree.factors)
        if isinstance(part, Power)
    }
    return _product(tree, parts, inside, boxed)


def _constant(value: Fraction) -> str:
    sign = "-" if value < 0 else ""
    power = len(str(value.denominator)) - 1
    if abs(value.numerator) == 1 and power >= 3 and value.denominator == 10**power:
        return f"{sign}10^{{-{power}}}"
    if value.denominator == 1:
        return str(value.numerator)
    return rf"{sign}\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


def _sum(parts: list[_Text]) -> _Text:
    written = ""
    for place, part in enumerate(parts):
        last = place == len(parts) - 1
        text = part.latex
        if part.is_open and not last:
            sign = "-" if text.startswith("-") else ""
            text = sign + _Text(text.removeprefix("-")).bracketed()
        if not written:
            written = text
        elif text.startswith("-"):
            written += f" - {text[1:]}"
        else:
            written += f" + {text}"
    return _Text(written, is_sum=True, is_open=parts[-1].is_open)


def _power(tree: Power, base: _Text) -> _Text:
    exponent = tree.exponent
    if exponent < 0:
        below = _raised(base, -exponent)
        return _Text(rf"\frac{{1}}{{{below}}}")
    return _Text(_raised(base, exponent))


def _raised(base: _Text, exponent: Fraction) -> str:
    """Return a base to a positive exponent."""
    if exponent == 1:
        return base.latex
    if exponent == Fraction(1, 2):
        return rf"\sqrt{{{base.latex}}}"
    bare = _PLAIN.fullmatch(base.latex) or base.latex.startswith(r"\boxed")
    held = base.latex if bare else base.bracketed()
    over = str(exponent.numerator)
    if exponent.denominator > 1:
        over += f"/{exponent.denominator}"
    return f"{held}^{{{over}}}"


def _product(
    tree: Product, parts: list[_Text], bases: Mapping[int, _Text], boxed: int | None
) -> _Text:
    """Return a product, its divisors under a line; a factor that is marked itself stays above."""
    constant, above, below = Fraction(1), list[_Text](), list[str]()
    for place, (factor, text) in enumerate(zip(tree.factors, parts, strict=True)):
        if place == boxed:
            above.append(text)
        elif isinstance(factor, Number):
            constant = factor.value
        elif isinstance(factor, Power) and factor.exponent < 0:
            base = bases[place]
            whole = -factor.exponent == 1
            below.append(base.factor() if whole else _raised(base, -factor.exponent))
        else:
            above.append(text)
    sign = "-" if constant < 0 else ""
    closed = [each for each in above if not each.is_open]
    opened = [each for each in above if each.is_open]
    factors = [each.factor() for each in closed + opened[:-1]]
    factors += [each.bracketed() if each.is_sum else each.latex for each in opened[-1:]]
    if abs(constant.numerator) != 1 or not factors:
        factors.insert(0, str(abs(constant.numerator)))
    if constant.denominator != 1:
        below.insert(0, str(constant.denominator))
    top = " ".join(factors)
    if not below:
        return _Text(sign + top, is_sum=bool(sign), is_open=bool(opened))
    if len(factors) == 1 and len(above) == 1 and not opened:
        top = above[0].latex  # the line of the fraction brackets it
    alone = len(below) == 1
    bottom = " ".join(below)
    if alone and below[0].startswith(r"\left(") and below[0].endswith(r"\right)"):
        bottom = bottom.removeprefix(r"\left(").removesuffix(r"\right)")
    return _Text(rf"{sign}\frac{{{top}}}{{{bottom}}}", is_sum=bool(sign))
