"""In which line of a file a recovered formula goes wrong, where that can be told honestly.

The file is followed on a small batch: each array that a line gives a name to is known. A line is
where a formula goes wrong if what it computes is a value of the wrong formula and of no right one,
while all arrays that it uses are values of right ones. Where it uses what no formula here has,
nothing can be said, and nothing is.
"""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from typing import NamedTuple, Protocol

import numpy as np
from bn_oracle.arrays import Array
from bn_oracle.conventions import Convention

from bn_diagnosis.recovery.forms import FORWARD, Program, forms
from bn_diagnosis.recovery.formula import Formula
from bn_diagnosis.recovery.recover import ORDER
from bn_diagnosis.recovery.tables import Run
from bn_diagnosis.recovery.trees import (
    Number,
    Product,
    Reduction,
    Sum,
    Tree,
    Values,
    add,
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

CLOSE = 1e-8
"""As in `recovery.tables`: how far, relative to the largest, one formula's values lie apart."""
_LONGEST = 120


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


class Assigned(Protocol):
    """A value that a line gave a name to; see `bn_worker.tracing`."""

    @property
    def frame(self) -> int:
        """Which call of which function."""
        ...

    @property
    def line(self) -> int:
        """The line; 0 for what was handed to the function."""
        ...

    @property
    def name(self) -> str:
        """What the value is called there."""
        ...

    @property
    def value(self) -> Array:
        """The value."""
        ...


@dataclass(frozen=True)
class Line:
    """A line of a submission, and what stands there."""

    number: int
    code: str


class _Known:
    """Values, found again in whatever order an array has them."""

    def __init__(self, values: Iterable[Array], batch: tuple[int, ...]) -> None:
        by_size: dict[int, list[Array]] = {}
        for value in values:
            for laid in {value.shape, np.broadcast_shapes(value.shape, batch)}:
                flat = np.sort(np.broadcast_to(value, laid), axis=None)
                if flat.size > 1 and np.isfinite(flat).all():
                    by_size.setdefault(flat.size, []).append(flat)
        self._by_size = {size: np.array(each) for size, each in by_size.items()}

    def __contains__(self, value: Array) -> bool:
        known = self._by_size.get(value.size)
        if known is None or not np.isfinite(value).all():
            return False
        flat = np.sort(value, axis=None)
        size = np.maximum(np.abs(known), np.abs(flat)).max(axis=1)
        return bool((np.abs(known - flat).max(axis=1) <= CLOSE * size).any())


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


class Locator:
    """Finds lines under one convention, on one layer's batch."""

    def __init__(self, convention: Convention, symbols: Mapping[str, Array]) -> None:
        """Compute what right formulas give; `symbols` are (1, B, C), (1, 1, C) or (1, 1, 1)."""
        self._symbols, self._batch = symbols, symbols["z"].shape
        right = [program for each in ORDER for program in forms(each, convention)]
        self._right = _worth([*right, Program(FORWARD), *NODES], symbols)
        self._right.whole.extend(symbols.values())

    def line(self, formula: Formula, trace: Sequence[Assigned], source: str) -> Line | None:
        """Return the line in which a formula with a slip goes wrong, if it can be told."""
        base, slipped = (_worth([each], self._symbols) for each in (formula.base, formula.program))
        whole = self._known(self._right.whole, base.whole)
        right = self._known(self._right.whole, base.whole, self._right.some, base.some)
        wrong, partly = self._known(slipped.whole), self._known(slipped.some)
        everything = list(_computed(trace, _statements(source)))
        constants = self._constants(formula)
        for each in everything:
            if each.value.size == 1 and float(each.value.reshape(())) in constants:
                return _line(source, each.statement)
        computed = [each for each in everything if each.value.size > 1]
        found = next(
            (
                each
                for each in computed
                if (each.value in wrong and each.value not in whole)
                or (each.value in partly and each.value not in right)
            ),
            None,
        )
        if found is None:
            # What is left out of the result may leave what is right by itself.
            result = self._known([formula.value(self._symbols)])
            given = [each for each in computed if each.value in result]
            named = [each for each in given if not isinstance(each.statement, ast.Return)]
            found = next(reversed(named or given), None)
        if found is None or not all(each in whole for each in found.used):
            return None
        if any(-each in whole for each in found.used) and _is_sign(formula):
            return None  # which of two lines has the wrong sign cannot be told
        put_in = self._known(self._put_in(formula))
        if any(each in put_in or -each in put_in for each in found.computed):
            return None  # it may be the line before that computes what belongs elsewhere
        return _line(source, found.statement)

    def _put_in(self, formula: Formula) -> list[Array]:
        """Return what slips put in, other than another quantity that is there."""
        run = Run(formula.base, self._symbols)
        found = list[Array]()
        for each in formula.edits:
            if not each.everywhere and each.rule != "another quantity":
                with contextlib.suppress(ValueError, KeyError):
                    found.append(run.new(each))
        return found

    def _constants(self, formula: Formula) -> frozenset[float]:
        """Return the numbers that stand throughout a formula in another one's place, and are no
        right number by themselves.
        """
        values = Values(self._symbols)
        put_in = [tree for each in formula.edits for tree in (each.everywhere or {}).values()]
        right = {float(each.reshape(())) for each in self._symbols.values() if each.size == 1}
        found = {float(values(tree).reshape(())) for tree in put_in if not _rows(tree)}
        return frozenset(found - right - {0.0, 1.0, 2.0})

    def _known(self, *values: Iterable[Array]) -> _Known:
        return _Known(chain(*values), self._batch)


def _rows(tree: Tree) -> bool:
    """Whether a tree is more than one number."""
    numbers = {"n", "less_one", "features", "images", "area", "height", "width", "eps", "keep"}
    return not mentioned(tree) <= numbers


def _is_sign(formula: Formula) -> bool:
    return any(each.new is minus(each.old) or each.rule == "sign" for each in formula.edits)


class _Computed(NamedTuple):
    """What a statement computed, and the arrays that it read."""

    statement: ast.stmt
    value: Array
    used: tuple[Array, ...]
    computed: tuple[Array, ...]
    """Those of them that another statement has computed."""


def _computed(trace: Iterable[Assigned], statements: Mapping[int, ast.stmt]) -> Iterator[_Computed]:
    latest: dict[tuple[int | None, str], tuple[Array, bool]] = {}
    for each in trace:
        statement = statements.get(each.line)
        if statement is not None:
            used = _used(statement, each, latest)
            values = (value for value, _ in used)
            yield _Computed(
                statement, each.value, tuple(values), tuple(value for value, own in used if own)
            )
        own = statement is not None and not _renames(statement)
        latest[None if "." in each.name else each.frame, each.name] = each.value, own


def _renames(statement: ast.stmt) -> bool:
    """Whether a statement computes nothing: `self.x = x`, `a, b = cache`."""
    value = getattr(statement, "value", None)
    return isinstance(value, ast.Name | ast.Attribute | ast.Subscript | ast.Tuple)


def _used(
    statement: ast.stmt,
    of: Assigned,
    latest: Mapping[tuple[int | None, str], tuple[Array, bool]],
) -> list[tuple[Array, bool]]:
    """Return the arrays that a statement reads, and whether another one has computed each."""
    names = {
        ast.unparse(node)
        for node in ast.walk(statement)
        if isinstance(node, ast.Name | ast.Attribute | ast.Subscript)
        and isinstance(node.ctx, ast.Load)
    }
    if isinstance(statement, ast.AugAssign):
        names.add(ast.unparse(statement.target))
    found = (
        latest.get((None, name)) if "." in name else latest.get((of.frame, name)) for name in names
    )
    return [each for each in found if each is not None and each[0].size > 1]


def _statements(source: str) -> dict[int, ast.stmt]:
    """Return the simple statement that stands on each line."""
    found: dict[int, ast.stmt] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.stmt) and not hasattr(node, "body"):
            for number in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                found.setdefault(number, node)
    return found


def _line(source: str, statement: ast.stmt) -> Line:
    code = " ".join((ast.get_source_segment(source, statement) or "").split())
    return Line(statement.lineno, code if len(code) <= _LONGEST else f"{code[:_LONGEST]} …")
