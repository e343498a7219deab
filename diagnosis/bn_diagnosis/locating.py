"""In which line of a file a recovered formula goes wrong, where that can be told honestly.

The file is followed on a small batch: each array that a line gives a name to is known. A line is
where a formula goes wrong if what it computes is a value of the wrong formula and of no right one,
while all arrays that it uses are values of right ones. Where it uses what no formula here has,
nothing can be said, and nothing is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, combinations
from typing import NamedTuple

import numpy as np
from bn_oracle.arrays import Array
from bn_oracle.conventions import Convention

from bn_diagnosis.called import called, is_called
from bn_diagnosis.following import Assigned, Computed, Line, Read, computed
from bn_diagnosis.recovery.edits import Edit
from bn_diagnosis.recovery.forms import FORWARD, RESULT, Program, forms
from bn_diagnosis.recovery.formula import Formula
from bn_diagnosis.recovery.recover import ORDER, with_new
from bn_diagnosis.recovery.tables import CLOSE, Run
from bn_diagnosis.recovery.trees import (
    Number,
    Product,
    Reduction,
    Sum,
    Tree,
    Values,
    add,
    as_far_as,
    at,
    mentioned,
    minus,
    multiply,
    number,
    over,
    power,
    symbol,
    total,
    walk,
)


def _nodes() -> dict[str, Tree]:
    """Return what the nodes of CS231n's graph are called there, summed and not yet summed."""
    du, s, centred, n = (symbol(name) for name in ("du", "s", "centred", "n"))
    spread = multiply(du, centred)
    return {
        "du": multiply(symbol("gamma"), symbol("g")),
        "divar": total(spread),
        "dsqrt_each": minus(multiply(spread, power(s, -2))),
        "dsqrt": minus(multiply(symbol("divar"), power(s, -2))),
        "dvar": multiply(number("1/2"), power(s, -1), symbol("dsqrt")),
        "dsq": over(symbol("dvar"), n),
        "dxmu_1": over(du, s),
        "dxmu_2": multiply(number(2), centred, symbol("dsq")),
        "dx_1": add(symbol("dxmu_1"), symbol("dxmu_2")),
        "dmu": minus(total(symbol("dx_1"))),
        "dx_2": over(symbol("dmu"), n),
        "dmu_1": minus(total(symbol("dxmu_1"))),
        "dx_3": over(symbol("dmu_1"), n),
    }


NODES = (Program({**FORWARD, **_nodes()}),)
"""Right intermediate values that are in no form of their own."""


RESIDUE = 1e-10
"""What is smaller is what rounding leaves of a sum that vanishes; the evidence's numbers are of the
order of one.
"""


class _Known:
    """Values, found again in whatever order an array has them."""

    def __init__(self, values: Iterable[Array], batch: tuple[int, ...]) -> None:
        by_size: dict[int, list[Array]] = {}
        for value in values:
            for laid in {value.shape, _spread(value.shape, batch)}:
                flat = np.sort(np.broadcast_to(value, laid), axis=None)
                if flat.size > 1 and np.isfinite(flat).all() and np.abs(flat).max() > RESIDUE:
                    by_size.setdefault(flat.size, []).append(flat)
        self._by_size = {size: np.array(each) for size, each in by_size.items()}

    def __contains__(self, value: Array) -> bool:
        known = self._by_size.get(value.size)
        if known is None or not np.isfinite(value).all():
            return False
        flat = np.sort(value, axis=None)
        size = np.maximum(np.abs(known), np.abs(flat)).max(axis=1)
        return bool((np.abs(known - flat).max(axis=1) <= CLOSE * size).any())


def _spread(shape: tuple[int, ...], batch: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of something that is the same for all instances, had it one for each."""
    fits = len(shape) == len(batch) and all(
        has in (1, size) for has, size in zip(shape, batch, strict=True)
    )
    return batch if fits else shape


_KEPT_AS: Mapping[str, str] = {"new_mean": "old_mean", "new_var": "old_var"}
"""Under which names quantities are kept that replace others."""


class _Worth(NamedTuple):
    """What the parts of formulas are worth."""

    whole: list[Array]
    """Each part."""
    some: list[Array]
    """Some of the terms or factors of each, which a line may compute by themselves."""


def _worth(programs: Iterable[Program], symbols: Mapping[str, Array]) -> _Worth:
    found = _Worth([], [])
    with np.errstate(all="ignore"):
        for program in programs:
            known = dict(symbols)
            for name, tree in program.bindings.items():
                values = Values(known)
                for _, part in walk(tree):
                    for into, each in ((found.whole, (part,)), (found.some, _some(part))):
                        for one in each:
                            with contextlib.suppress(ValueError, KeyError):
                                into.append(values(one))
                known[name] = values(tree)
    return found


def _some(part: Tree) -> Iterator[Tree]:
    """Yield what a line may compute of a sum or a product, and leave the rest to another one."""
    if isinstance(part, Sum | Product) and len(part.parts) > 2:
        for count in range(2, len(part.parts)):
            for chosen in combinations(part.parts, count):
                yield add(*chosen) if isinstance(part, Sum) else multiply(*chosen)
    if isinstance(part, Product) and isinstance(part.factors[0], Number):
        yield multiply(*part.factors[1:])
    if isinstance(part, Reduction):
        yield from _some(part.of)
    if isinstance(part, Product):
        # What stands before a sum may be taken into it, and summed later.
        for summed in part.factors:
            if isinstance(summed, Reduction):
                others = [each for each in part.factors if each is not summed]
                for count in range(1, len(others) + 1):
                    for chosen in combinations(others, count):
                        yield multiply(summed.of, *chosen)


class _Exchanged(NamedTuple):
    """What a slip exchanges."""

    new: _Known
    """What it puts in, and its parts."""
    whole: _Known
    """What it makes of the quantity that it is in."""
    instead_of: list[Array]
    """What it puts it in the place of."""


class Locator:
    """Finds lines under one convention, on one layer's batch."""

    def __init__(self, convention: Convention, symbols: Mapping[str, Array]) -> None:
        """Compute what right formulas give; `symbols` are (1, B, C), (1, 1, C) or (1, 1, 1)."""
        self._convention, symbols = convention, with_new(symbols, convention)
        self._symbols, self._batch = symbols, symbols["z"].shape
        right = [program for each in ORDER for program in forms(each, convention)]
        self._right = _worth([*right, Program(FORWARD), *NODES], symbols)
        self._right.whole.extend(symbols.values())
        self._numbers = frozenset(_numbers(symbols))
        named = dict[str, list[Array]]()
        with np.errstate(all="ignore"):
            for program in right:
                for name, value in Run(program, symbols).known.items():
                    named.setdefault(_KEPT_AS.get(name, name), []).append(value)
        self._named = {name: self._known(each) for name, each in named.items()}
        """What each quantity is in right forms."""

    def line(self, formula: Formula, trace: Sequence[Assigned], source: str) -> Line | None:
        """Return the line in which a formula with a slip goes wrong, if it can be told."""
        everything = list(computed(trace, source))
        constants = self._constants(formula)
        for each in everything:
            is_constant = each.value.size == 1 and float(each.value.reshape(())) in constants
            if is_constant and each.origin == "computed":
                return each.line(source)
        if self._leaves_nothing(formula):
            return None  # what goes wrong is the line whose sum vanishes, and that is nobody's
        is_right = any(
            formula.base.key == each.key for each in forms(formula.observable, self._convention)
        )
        # Else it is of what the submission's own forward gives.
        base = _worth([formula.base] if is_right else [], self._symbols)
        slipped = _worth([formula.program], self._symbols)
        whole = self._known(self._right.whole, base.whole)
        right = self._known(self._right.whole, base.whole, self._right.some, base.some)
        wrong, partly = self._known(slipped.whole), self._known(slipped.some)
        arrays = [each for each in everything if each.value.size > 1]
        found = next(
            (
                each
                for each in arrays
                if (each.value in wrong and each.value not in whole)
                or (each.value in partly and each.value not in right)
            ),
            None,
        )
        if found is None:
            found = self._last(formula, arrays)
        if found is None or not self._reads_right(found, formula, whole):
            return None
        return found.line(source)

    def _leaves_nothing(self, formula: Formula) -> bool:
        """Whether a quantity is rounding because of the slip."""
        with np.errstate(all="ignore"):
            right, wrong = (
                Run(each, self._symbols).known for each in (formula.base, formula.program)
            )
            return any(
                np.abs(wrong[name]).max() <= RESIDUE < np.abs(right[name]).max()
                for name in formula.base.bindings
            )

    def _last(self, formula: Formula, arrays: Sequence[Computed]) -> Computed | None:
        """Return what gives the result, where it is a part of what is right: some is left out."""
        value = formula.value(self._symbols)
        if value in self._known(self._symbols.values()):
            return None  # nothing is computed: who knows where
        result = self._known([value])
        given = [each for each in arrays if each.value in result]
        named = [each for each in given if not each.returns]
        last = next(reversed(named or given), None)
        # A later line may have left what it was given as it is.
        return None if last is not None and last.is_overwritten else last

    def _reads_right(self, found: Computed, formula: Formula, whole: _Known) -> bool:
        """Whether all that a statement reads is right, and is what its name says, as far as that
        can be told.
        """
        if (
            found.calls_own
            or found.reads_unknown
            or any(each.origin == "renamed" for each in found.read)
        ):
            return False  # another line may be it; what it is called is not what it was called
        arrays = [each for each in found.read if each.value.size > 1]
        numbers = [each for each in found.read if each.value.size == 1]
        if not arrays:
            return False  # it hands on what was computed elsewhere
        given = self._known(self._symbols.values())
        signed = any(-each.value in whole and each.value not in given for each in arrays)
        if signed and _is_sign(formula):
            return False  # which of two lines has the wrong sign cannot be told
        right = all(each.value in whole and self._is_what_it_says(each) for each in arrays)
        right &= all(self._is_right_number(each) for each in numbers)
        return right and not self._is_put_in(found, formula)

    def _is_put_in(self, found: Computed, formula: Formula) -> bool:
        """Whether a statement reads what a slip puts in: then another one may have computed, or
        named, it.
        """
        present, run = self._known(found.present), Run(formula.base, self._symbols)
        for edit in formula.edits:
            put_in = self._exchanged(formula, edit)
            # Where the right one is nowhere, the line before may compute what belongs elsewhere.
            swapped = edit.rule == "another quantity" and any(
                one in present for one in put_in.instead_of
            )
            numbers = self._numbers_of(run, edit)
            for each in found.read:
                if each.value.size == 1:
                    same = any(_same(each.value.item(), one) for one in numbers)
                    is_it = same and each.origin == "computed"
                else:
                    itself = each.value in put_in.new or -each.value in put_in.new
                    made = each.value in put_in.whole or -each.value in put_in.whole
                    apart = swapped and not is_called(each.name, edit.old)
                    is_it = each.origin != "given" and (made or (itself and not apart))
                if is_it:
                    return True
        return False

    def _numbers_of(self, run: Run, edit: Edit) -> list[float]:
        """Return the numbers that a slip puts in: alone, or into what was there."""
        news = edit.everywhere.values() if edit.everywhere else (edit.new,)
        names = frozenset[str]().union(*map(mentioned, news)) - mentioned(edit.old)
        values = [self._symbols[name] for name in names if name in self._symbols]
        values += [run.at(RESULT if edit.everywhere else edit.binding, each) for each in news]
        return [each.item() for each in values if each.size == 1]

    def _is_what_it_says(self, read: Read) -> bool:
        """Whether an array that has a quantity's usual name is that quantity."""
        name = called(read.name)
        right = self._named.get(name) if name is not None else None
        return right is None or read.value in right or -read.value in right

    def _is_right_number(self, read: Read) -> bool:
        """Whether a right line may read a number; one that is computed must be about something."""
        value = float(read.value.reshape(()))
        counts = [self._symbols[name].item() for name in ("n", "images") if name in self._symbols]
        if is_called(read.name, symbol("n")) and value == self._symbols["features"].item():
            return value in counts
        if read.origin == "computed" and value in (-1.0, 0.0, 1.0):
            return False
        return any(_same(value, one) for one in self._numbers)

    def _exchanged(self, formula: Formula, edit: Edit) -> _Exchanged:
        """Return what a slip puts in, with its parts, what it makes of the quantity that it is in,
        and what it puts it in the place of.
        """
        run = Run(formula.base, self._symbols)
        if edit.everywhere:
            whole_ones = (run.at(RESULT, tree) for tree in edit.everywhere.values())
            return _Exchanged(self._known(whole_ones), self._known([]), [])
        news = [edit.new]
        if type(edit.new) is type(edit.old):
            news += [each for each in edit.new.parts if each not in edit.old.parts]
        whole = edit.made(formula.base).bindings[edit.binding]
        ways = {as_far_as(whole, edit.path[:depth]) for depth in range(len(edit.path))}
        with np.errstate(all="ignore"):
            made = [
                list(self._both_ways(run, edit, trees))
                for trees in (news, [at(whole, way) for way in ways])
            ]
            old = [run.at(edit.binding, edit.old)]
        return _Exchanged(self._known(made[0]), self._known(made[1]), old)

    def _both_ways(self, run: Run, edit: Edit, trees: Iterable[Tree]) -> Iterator[Array]:
        for each in trees:
            with contextlib.suppress(ValueError, KeyError):
                value = run.at(edit.binding, each)
                yield from (value, 1.0 / value)  # to divide by it is to multiply by the other

    def _constants(self, formula: Formula) -> frozenset[float]:
        """Return the numbers that stand throughout a formula in another one's place, and are no
        right number by themselves.
        """
        values = Values(self._symbols)
        put_in = [tree for each in formula.edits for tree in (each.everywhere or {}).values()]
        right = {float(each.reshape(())) for each in self._symbols.values() if each.size == 1}
        right.add(1.0 - float(self._symbols["keep"].reshape(())))
        found = {float(values(tree).reshape(())) for tree in put_in if not _rows(tree)}
        return frozenset(found - right - {0.0, 1.0, 2.0})

    def _known(self, *values: Iterable[Array]) -> _Known:
        return _Known(chain(*values), self._batch)


def _numbers(symbols: Mapping[str, Array]) -> Iterator[float]:
    """Yield the numbers that a right line may read."""
    single = {name: float(each.reshape(())) for name, each in symbols.items() if each.size == 1}
    keep, eps = single.pop("keep"), single.pop("eps")
    counts = set(single.values()) | {1.0, 2.0}
    counts |= {one * other for one in counts for other in counts}
    yield from (keep, 1 - keep, eps, single["n"] / single["less_one"])
    for count in counts:
        for factor in (1.0, 2.0, 0.5):
            yield from (factor * count, factor / count)
    yield from (half / 2 for half in range(-8, 9))


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= CLOSE * max(abs(one), abs(other))


def _rows(tree: Tree) -> bool:
    """Whether a tree is more than one number."""
    numbers = {"n", "less_one", "features", "images", "area", "height", "width", "eps", "keep"}
    return not mentioned(tree) <= numbers


def _is_sign(formula: Formula) -> bool:
    return any(each.new is minus(each.old) or each.rule == "sign" for each in formula.edits)
