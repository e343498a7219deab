"""The slips of one place: every formula that is one edit away from a program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from bn_diagnosis.recovery.forms import FORWARD, RESULT, Program
from bn_diagnosis.recovery.trees import (
    MINUS_ONE,
    ONE,
    ZERO,
    Axis,
    Number,
    Path,
    Power,
    Product,
    Reduction,
    Sum,
    Symbol,
    Tree,
    add,
    mentioned,
    minus,
    multiply,
    number,
    power,
    reduction,
    replaced,
    substituted,
    symbol,
    walk,
)


@dataclass(frozen=True, eq=False)
class Edit:
    """Another formula in one place of one quantity's."""

    binding: str
    """The quantity."""
    path: Path
    """Where in its formula."""
    rule: str
    """What kind of slip it is."""
    old: Tree
    new: Tree
    kept: frozenset[str] = frozenset()
    """Of a slip that is made throughout: the quantities in which it is not made."""
    everywhere: Mapping[str, Tree] | None = None
    """For a slip that is made throughout: what stands in these symbols' places; `old` and `new` are
    the first of them, or what is exchanged in the formula of `binding`, where that is computed
    anew."""

    @property
    def is_anew(self) -> bool:
        """Whether it is in a quantity of the forward that the backward computes anew."""
        return self.binding in self.kept

    def made(self, program: Program) -> Program:
        """Return the program with the edit made."""
        if self.everywhere:
            made = {
                name: tree if name in self.kept else substituted(tree, self.everywhere)
                for name, tree in program.bindings.items()
            }
            return Program(made)
        return with_edits(program, (self,))


def with_edits(program: Program, edits: Sequence[Edit]) -> Program:
    """Return the program with edits of different places made, none of them throughout."""
    places: dict[str, dict[Path, Tree]] = {}
    for each in edits:
        places.setdefault(each.binding, {})[each.path] = each.new
    changed = {name: replaced(program.bindings[name], new) for name, new in places.items()}
    return Program({**program.bindings, **changed}, program.is_rare)


ROWS = ("z", "g", "centred", "u", "du", "dcentred", "out")
VECTORS = (
    "gamma", "beta", "mean", "var", "s", "old_mean", "old_var", "dvar", "dmean", "inverse",
    "last_mean", "last_var", "new_mean", "new_var", "dgamma", "dbeta", "dsqrt", "dinverse",
    "dsquares", "scale", "offset", "moment",
)  # fmt: skip
SCALARS = ("n", "features", "less_one", "eps", "keep", "images", "area")
_KINDS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(ROWS, (*ROWS, *VECTORS)),
    **dict.fromkeys(VECTORS, (*VECTORS, *ROWS, "eps", "n")),
    **dict.fromkeys(SCALARS, (*SCALARS, *VECTORS, *ROWS)),
}
"""What may stand in a symbol's place: what has its shape, and, further down, what broadcasts."""
_AVERAGED = ("mean", "var", "old_mean", "old_var", "gamma", "beta")
_EXPONENTS = tuple(Fraction(k, 2) for k in (-6, -4, -3, -2, -1, 1, 2, 3, 4))
_AXES: tuple[Axis, ...] = ("batch", "features", "all")


def edits(program: Program, symbols: Sequence[str]) -> Iterator[Edit]:
    """Yield every edit of one place; `symbols` are the given ones that may be put in.

    Omissions and exchanges come before insertions, so that of two formulas of one function the
    plainer slip is found first.
    """
    late: list[Edit] = []
    known = _given(program, symbols)
    for binding, tree in program.bindings.items():
        # What was computed before may stand in the place of another quantity.
        for path, part in walk(tree):
            for rule, new in _omitted(part):
                yield Edit(binding, path, rule, part, new)
            if binding == RESULT and not path:
                for name in (*ROWS, *VECTORS) if not isinstance(tree, Symbol) else ():
                    if name in known:
                        yield Edit(binding, path, "returned instead", tree, symbol(name))
            for rule, new in _exchanged(part, known):
                yield Edit(binding, path, rule, part, new)
            late += [Edit(binding, path, rule, part, new) for rule, new in _inserted(part)]
        known.append(binding)
    yield from throughout(program, symbols)
    yield from _anew(program, symbols)
    yield from late


def _given(program: Program, symbols: Sequence[str]) -> list[str]:
    """Return what may be put into a program: not what it gives itself."""
    read = mentioned(program.bindings[RESULT])
    own = {new for old, new in _BECOMES.items() if {"keep", old} <= read}
    return [name for name in symbols if name != RESULT and name not in own]


_BECOMES: Mapping[str, str] = {"old_mean": "new_mean", "old_var": "new_var"}
IMAGES, AREA, N, EPS = (symbol(name) for name in ("images", "area", "n", "eps"))
FIXED_EPS = tuple(number(Fraction(1, 10**k)) for k in (5, 8, 3, 6, 7, 4, 9, 10, 12))
_EVERYWHERE: tuple[Mapping[str, Tree], ...] = (
    {"n": symbol("features")},
    {"n": symbol("less_one")},
    {"n": IMAGES},
    {"n": IMAGES, "less_one": add(IMAGES, MINUS_ONE)},
    {"n": AREA},
    {"n": multiply(symbol("features"), AREA)},
    {"n": multiply(IMAGES, symbol("features"))},
    {"n": multiply(N, symbol("features"))},
    {"n": multiply(IMAGES, symbol("height"))},
    {"n": multiply(IMAGES, symbol("width"))},
    {"n": multiply(IMAGES, symbol("height"), symbol("height"))},
    {"n": multiply(IMAGES, symbol("width"), symbol("width"))},
    {"n": ONE},
    {"eps": ZERO},
    *({"eps": each} for each in FIXED_EPS),
    {"gamma": ONE},
    {"beta": ZERO},
    {"gamma": symbol("beta"), "beta": symbol("gamma")},
    {"gamma": symbol("beta")},
    {"keep": add(ONE, minus(symbol("keep")))},
    {"keep": minus(symbol("keep"))},
    {"keep": symbol("features")},
    {"keep": N},
    {"keep": EPS},
    *({"keep": number(each)} for each in ("9/10", "1/10", "99/100", "1/100", "1/2")),
    {"old_var": multiply(symbol("old_var"), symbol("less_one"), power(N, -1))},
    {"old_var": multiply(symbol("old_var"), N, power(symbol("less_one"), -1))},
    {"old_mean": symbol("mean"), "old_var": symbol("var")},
    {"mean": symbol("old_mean"), "var": symbol("old_var")},
    {"old_mean": symbol("last_mean"), "old_var": symbol("last_var")},
)


KEEP = symbol("keep")
REST = add(ONE, minus(KEEP))
"""What the batch weighs in a running average."""
_DIVISORS = (
    symbol("less_one"),
    symbol("features"),
    IMAGES,
    multiply(IMAGES, symbol("height")),
    multiply(IMAGES, symbol("width")),
    AREA,
)
"""What a sum may be divided by in place of the count."""
VAR = symbol("var")
_BEHIND: tuple[Mapping[str, Tree], ...] = (
    {"s": VAR},
    {"centred": symbol("u")},
    *({"s": power(add(VAR, each), "1/2")} for each in FIXED_EPS),
)
"""What may stand in the backward in place of what the forward computes."""


def throughout(program: Program, symbols: Sequence[str]) -> Iterator[Edit]:
    """Yield the slips that are made wherever a symbol stands; see `edits`."""
    known = {*symbols, *program.bindings}
    read = frozenset[str]().union(*map(mentioned, program.bindings.values()))
    meanings = [(each, frozenset[str]()) for each in _EVERYWHERE]
    if _differentiates(program):
        forward = frozenset(FORWARD.keys() & program.bindings.keys())
        meanings += [(each, forward) for each in (*_BEHIND, *_EVERYWHERE)]
    for meaning, kept in meanings:
        put_in = frozenset[str]().union(*map(mentioned, meaning.values()))
        if meaning.keys() & read and put_in <= known:
            name, new = next(iter(meaning.items()))
            last = list(program.bindings)[-1]
            yield Edit(last, (), "throughout", symbol(name), new, kept, meaning)


def _anew(program: Program, symbols: Sequence[str]) -> Iterator[Edit]:
    """Yield the slips in a quantity of the forward that the backward alone makes, as it computes
    that anew.
    """
    forward = frozenset(FORWARD.keys() & program.bindings.keys())
    if not _differentiates(program):
        return
    known = [*(name for name in symbols if name != RESULT), *FORWARD]
    for name in ("centred", "s", "u"):
        tree = program.bindings[name]
        for path, part in walk(tree):
            for rule, new in (*_omitted(part), *_exchanged(part, known)):
                anew = {name: replaced(tree, {path: new})}
                yield Edit(name, path, rule, part, new, forward, anew)
                if name != "u":
                    # The normalised values are then made of it, or are those of the forward.
                    whole = {**anew, "u": substituted(FORWARD["u"], anew)}
                    yield Edit(name, path, rule, part, new, forward, whole)


def _differentiates(program: Program) -> bool:
    """Whether a program is of the backward, and has the forward's quantities."""
    return "u" in program.bindings and any("g" in mentioned(t) for t in program.bindings.values())


def _omitted(part: Tree) -> Iterator[tuple[str, Tree]]:
    if isinstance(part, Sum):
        for place, term in enumerate(part.terms):
            yield "term left out", part.with_part(place, ZERO)
            yield "sign", part.with_part(place, minus(term))
    elif isinstance(part, Product):
        yield "upside down", power(part, -1)
        for place, factor in enumerate(part.factors):
            yield "factor left out", part.with_part(place, ONE)
            yield "divided, not multiplied", part.with_part(place, power(factor, -1))
            if len(part.factors) > 2:
                yield "one factor alone", factor
    elif isinstance(part, Power):
        yield "power left out", part.base
    elif isinstance(part, Reduction):
        yield "not summed", part.of


def _exchanged(part: Tree, known: Sequence[str]) -> Iterator[tuple[str, Tree]]:
    if isinstance(part, Symbol):
        for name in _KINDS.get(part.name, ()):
            if name != part.name and name in known:
                yield "another quantity", symbol(name)
        if part is KEEP:
            yield "another quantity", REST
    elif isinstance(part, Power):
        yield from _raised_otherwise(part)
    elif isinstance(part, Number):
        for value in (1, 2, 3, 4, "1/2", "3/2", "1/4"):
            for each in (Fraction(value), -Fraction(value)):
                if each != part.value:
                    yield "another constant", number(each)
    elif isinstance(part, Reduction):
        yield from _reduced_otherwise(part)
    elif isinstance(part, Sum):
        if part is REST:
            yield "another quantity", KEEP
        yield from _taken_in(part)


def _raised_otherwise(part: Power) -> Iterator[tuple[str, Tree]]:
    for exponent in _EXPONENTS:
        if exponent != part.exponent:
            yield "another power", power(part.base, exponent)
    once = multiply(number(abs(part.exponent)), part.base)
    yield "times, not to the power", power(once, 1 if part.exponent > 0 else -1)
    if part.exponent.denominator == 2:
        whole = power(part.base, part.exponent.numerator)
        yield "precedence", multiply(number("1/2"), whole)
    if part.exponent == 2:
        yield "absolute value", power(part, "1/2")
    if isinstance(part.base, Sum):
        yield "outside the power", _apart(part)
        for new in _power_of_one(part, part.base):
            yield "outside the power", new


def _apart(part: Power) -> Tree:
    """Return the terms of a sum, each to the power: √a + √b for √(a+b)."""
    assert isinstance(part.base, Sum)
    return add(*(power(term, part.exponent) for term in part.base.terms))


def _power_of_one(part: Power, base: Sum) -> Iterator[Tree]:
    """Yield the power of one end of a sum alone, with the others beside it: √a + b and a + √b for
    √(a+b). Of a negative power, the sum may be in the divisor, or the others beside the quotient.
    """
    for place in (0, -1):
        terms = list(base.terms)
        if part.exponent < 0:
            terms[place] = power(base.terms[place], "1/2")
            yield power(add(*terms), 2 * part.exponent)
        terms[place] = power(base.terms[place], part.exponent)
        yield add(*terms)


def _reduced_otherwise(part: Reduction) -> Iterator[tuple[str, Tree]]:
    other = "mean" if part.kind == "sum" else "sum"
    yield f"{other} for {part.kind}", reduction(other, part.axis, part.of)
    for axis in _AXES:
        if axis != part.axis:
            yield "another axis", reduction(part.kind, axis, part.of)
    if part.kind == "mean":
        for divisor in _DIVISORS:
            summed = reduction("sum", part.axis, part.of)
            yield "another divisor", multiply(summed, power(divisor, -1))
        for axis in _AXES:
            if axis != part.axis:
                summed = reduction("sum", axis, part.of)
                yield "another axis", multiply(summed, power(N, -1))
        yield "multiplied, not divided", multiply(N, reduction("sum", part.axis, part.of))
        yield "only divided", power(N, -1)
    if isinstance(part.of, Product):
        for place, factor in enumerate(part.of.factors):
            rest = part.of.with_part(place, ONE)
            yield "one factor summed", multiply(rest, reduction(part.kind, part.axis, factor))
            yield "one factor not summed", multiply(factor, reduction(part.kind, part.axis, rest))
            both = reduction(part.kind, part.axis, factor)
            yield "factors summed apart", multiply(both, reduction(part.kind, part.axis, rest))
    if isinstance(part.of, Power):
        inner = reduction(part.kind, part.axis, part.of.base)
        yield "power of the sum", power(inner, part.of.exponent)


def _taken_in(part: Sum) -> Iterator[tuple[str, Tree]]:
    """A factor of one term that takes the others in: γ(u + β) for γu + β; z − m/s for (z − m)/s."""
    for place, term in enumerate(part.terms):
        if isinstance(term, Product):
            for number_, factor in enumerate(term.factors):
                inner = part.with_part(place, term.with_part(number_, ONE))
                yield "taken into the brackets", multiply(factor, inner)


def _inserted(part: Tree) -> Iterator[tuple[str, Tree]]:
    if isinstance(part, Product):
        for place, factor in enumerate(part.factors):
            if isinstance(factor, Sum):
                rest = part.with_part(place, ONE)
                for number_, term in enumerate(factor.terms):
                    others = factor.with_part(number_, ZERO)
                    yield "brackets left out", add(multiply(rest, term), others)
    if isinstance(part, Number):
        return
    if isinstance(part, Symbol) and part.name in _AVERAGED:
        yield "averaged over the features", reduction("mean", "features", part)
    for name in ("n", "less_one", "gamma", "s", "features"):
        yield "extra factor", multiply(symbol(name), part)
        yield "extra factor", multiply(power(symbol(name), -1), part)
    for value in (-1, 2, "1/2"):
        yield "extra factor", multiply(number(value), part)
    for name in ("eps", "beta"):
        yield "extra term", add(part, symbol(name))
    if not isinstance(part, Power):
        for exponent in ("1/2", 2):
            yield "extra power", power(part, exponent)
