"""Which formula a submission computes, an observable at a time.

A right form is looked for first, then one that uses what the submission's own forward computes,
then one with a slip in one place, then with two. The plainest explanation is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from bn_oracle.arrays import Array
from bn_oracle.conventions import Convention

from bn_diagnosis.recovery.edits import FIXED_EPS, Edit, throughout
from bn_diagnosis.recovery.evidence import Evidence
from bn_diagnosis.recovery.forms import FORWARD, RESULT, Observable, Program, forms
from bn_diagnosis.recovery.tables import CLOSE, Run, Table, close, table, vanishes
from bn_diagnosis.recovery.trees import ZERO, Product, Sum, Tree, Values, gradients, minus

ORDER: tuple[Observable, ...] = (
    "out",
    "inferred",
    "running_mean",
    "running_var",
    "dbeta",
    "dgamma",
    "dz",
    "inferred_dbeta",
    "inferred_dgamma",
    "inferred_dz",
)
"""What is explained first: the forward, whose slips reach into the backward."""
_DIFFERENTIATED: Mapping[Observable, tuple[Observable, str]] = {
    "dz": ("out", "z"),
    "dgamma": ("out", "gamma"),
    "dbeta": ("out", "beta"),
    "inferred_dz": ("inferred", "z"),
    "inferred_dgamma": ("inferred", "gamma"),
    "inferred_dbeta": ("inferred", "beta"),
}


@dataclass(frozen=True, eq=False)
class Formula:
    """What one observable is computed by."""

    observable: Observable
    base: Program
    """The form that it is an edit of; of it and the edits, `program` is made."""
    edits: tuple[Edit, ...]
    """The slips of its own; none where it is right but for what an earlier slip did to it."""
    derived_from: Observable | None = None
    """The observable whose slip it follows from."""
    instead_of: Observable | None = None
    """The observable whose right formula it is: one that is computed as another one should be."""
    differentiates: str | None = None
    """The symbol by which `derived_from`'s formula is differentiated; `base` is that formula."""

    @property
    def program(self) -> Program:
        """The formula, quantity by quantity."""
        program = self.base
        for edit in self.edits:
            program = edit.made(program)
        return program

    def value(self, symbols: Mapping[str, Array]) -> Array:
        """Return what it gives for the symbols' values.

        Raises:
            KeyError, ValueError: they do not fit.
        """
        if self.differentiates is None:
            return Run(self.program, symbols).result
        tree = self.program.tree()
        found = gradients(tree, Values(symbols), symbols["g"])
        return found.get(self.differentiates, np.zeros_like(symbols[self.differentiates]))


Recovered = dict[Observable, Formula | None]
"""For each observable that is wrong: its formula, or that none was found."""


class Recovery:
    """The right forms of one convention on one evidence, and what is near them."""

    def __init__(self, convention: Convention, evidence: Evidence) -> None:
        """Remember the tables of slips, each made when it is first needed."""
        self.convention, self.evidence = convention, evidence
        self._tables: dict[object, Table | None] = {}
        self._right: dict[Observable, Array] = {}

    def recover(self, observed: Mapping[Observable, Array]) -> Recovered:
        """Return the formula of each observable that is wrong.

        `observed` are the values on the evidence, (layers, B or 1, C). What is not there is not
        judged.
        """
        found: Recovered = {}
        with np.errstate(all="ignore"):
            for observable in ORDER:
                value = observed.get(observable)
                if value is None or value.shape != self.evidence.shape(observable):
                    continue
                if not close(value, self.right(observable)):
                    found[observable] = self._formula(observable, value, found)
        return found

    def right(self, observable: Observable) -> Array:
        """Return an observable's right value."""
        if observable not in self._right:
            first = forms(observable, self.convention)[0]
            self._right[observable] = Run(first, self.evidence.symbols).result
        return self._right[observable]

    def _formula(self, observable: Observable, value: Array, before: Recovered) -> Formula | None:
        if not np.isfinite(value).all() or vanishes(value, self.right(observable)):
            return None
        derived = self._derived(observable, value, before)
        if derived is not None:
            return derived
        another = self._another(observable, value)
        if another is not None:
            return another
        right = forms(observable, self.convention)
        for programs in (right, list(self._own(observable, before))):
            single = self._single(observable, programs, value)
            if single is not None:
                return single
        return self._double(observable, right, value) or self._spread(observable, right, value)

    def _another(self, observable: Observable, value: Array) -> Formula | None:
        """Return another observable's right formula, if it is computed by that."""
        for other in ORDER:
            same = self.evidence.shape(other) == self.evidence.shape(observable)
            if other == observable or not same:
                continue
            program = forms(other, self.convention)[0]
            if close(Run(program, self.evidence.symbols).result, value):
                return Formula(observable, program, (), instead_of=other)
        return None

    def _spread(
        self, observable: Observable, programs: Sequence[Program], value: Array
    ) -> Formula | None:
        """Look for a slip in one place beside one that is made throughout."""
        for program in programs[:1]:
            for edit in throughout(program, tuple(self.evidence.symbols)):
                if edit.new in FIXED_EPS:
                    continue
                made = edit.made(program)
                found = self._single(observable, (made,), value)
                if found is not None:
                    return replace(found, base=program, edits=(edit, *found.edits))
        return None

    def _derived(self, observable: Observable, value: Array, before: Recovered) -> Formula | None:
        """Return a right form of what the submission's own forward gives, if that is it."""
        if observable in _DIFFERENTIATED:
            of, by = _DIFFERENTIATED[observable]
            forward = before.get(of)
            if forward is not None and forward.differentiates is None:
                found = Formula(observable, forward.program, (), of, differentiates=by)
                if close(found.value(self.evidence.symbols), value):
                    return found
        for program in self._own(observable, before):
            try:
                if close(Run(program, self.evidence.symbols).result, value):
                    return Formula(observable, program, (), "out")
            except ValueError:
                continue
        return None

    def _own(self, observable: Observable, before: Recovered) -> Iterator[Program]:
        """Yield the right forms with the submission's own quantities, all or some, in them."""
        forward = before.get("out")
        if forward is None or observable in ("out", "dbeta") or "inferred" in observable:
            return
        slipped = forward.program.bindings
        own = [name for name in FORWARD if slipped[name] is not FORWARD[name]]
        if not own:
            return
        whole = _in_full(slipped)
        right = _in_full(FORWARD)
        reached = [name for name in FORWARD if whole[name] is not right[name]]
        for count in range(len(reached), 0, -1):
            for chosen in combinations(reached, count):
                mixed = {name: whole[name] for name in chosen}
                for form in forms(observable, self.convention):
                    if set(chosen) & form.bindings.keys():
                        yield Program(
                            {
                                name: mixed.get(name, right.get(name, tree))
                                for name, tree in form.bindings.items()
                            }
                        )

    def _table(self, observable: Observable, program: Program) -> Table | None:
        key = program.key
        if key not in self._tables:
            shape = self.evidence.shape(observable)
            try:
                made = table(program, self.evidence.symbols, shape)
            except ValueError:
                made = None
            self._tables[key] = made
        return self._tables[key]

    def _single(
        self, observable: Observable, programs: Iterable[Program], value: Array
    ) -> Formula | None:
        best: tuple[tuple[bool, int, int, int], Formula] | None = None
        for number, program in enumerate(programs):
            made = self._table(observable, program)
            for place, exact in made.near(value) if made is not None else ():
                assert made is not None
                edit = made.edits[place]
                rank = (not exact, _weight(edit), number, place)
                if best is None or rank < best[0]:
                    best = rank, Formula(observable, program, (edit,))
        return None if best is None else best[1]

    def _double(
        self, observable: Observable, programs: Sequence[Program], value: Array
    ) -> Formula | None:
        for program in programs:
            result = program.bindings[RESULT]
            split = _terms if isinstance(result, Sum) else _factors
            if isinstance(result, Sum | Product):
                found = split(self, observable, program, value)
                if found is not None:
                    return found
        return None

    def part(self, observable: Observable, program: Program, part: Tree) -> Table | None:
        """Return the table of a program that gives one term or factor of another's result."""
        shape = self.evidence.shape(observable)
        key = program.with_binding(RESULT, part)
        value = Run(key, self.evidence.symbols).result
        if value.shape != shape:
            shape = value.shape
        return table(key, self.evidence.symbols, shape)


def _in_full(bindings: Mapping[str, Tree]) -> dict[str, Tree]:
    """Return each forward quantity of what is given alone."""
    names = [name for name in bindings if name in FORWARD]
    return {
        name: Program({**{each: bindings[each] for each in names}, RESULT: bindings[name]}).tree()
        for name in names
    }


_INSERTIONS = ("extra factor", "extra term", "extra power", "brackets left out")


def _weight(edit: Edit) -> int:
    """Return how far-fetched a slip is: what is left out or exchanged is likelier than added."""
    return int(edit.rule in _INSERTIONS)


def _terms(
    recovery: Recovery, observable: Observable, program: Program, value: Array
) -> Formula | None:
    """Look for a slip in each of two terms of a sum."""
    result = program.bindings[RESULT]
    assert isinstance(result, Sum)
    symbols = recovery.evidence.symbols
    tables = [recovery.part(observable, program, term) for term in result.terms]
    tables = [
        each and _with_whole(each, term, value)
        for each, term in zip(tables, result.terms, strict=True)
    ]
    right = [Run(program.with_binding(RESULT, term), symbols).result for term in result.terms]
    size = np.abs(value).max()
    weights = _weights(value.size)
    for one, other in combinations(range(len(result.terms)), 2):
        first, second = tables[one], tables[other]
        if first is None or second is None:
            continue
        others = [each for place, each in enumerate(right) if place not in (one, other)]
        rest = (value - sum(others, np.zeros_like(value))).reshape(-1)
        if first.values.shape[1] != rest.size or second.values.shape[1] != rest.size:
            continue
        for a, b in _pairs(first.values, second.values, rest, weights, CLOSE * size):
            # The one behind first: what is left out moves the places of those behind it.
            edits = _placed(second.edits[b], other), _placed(first.edits[a], one)
            found = Formula(observable, program, edits)
            if _gives(found, symbols, value):
                return found
    return None


def _with_whole(made: Table, term: Tree, like: Array) -> Table:
    """Return a term's table with the term itself left out, and with another sign.

    A term may be one number a feature: its values are given the shape of the whole.
    """
    value = made.right.reshape(-1)
    left_out = Edit(RESULT, (), "term left out", term, ZERO)
    sign = Edit(RESULT, (), "sign", term, minus(term))
    values = np.vstack([np.zeros_like(value), -value, made.values])
    laid = values.reshape(len(values), *made.right.shape)
    whole = np.broadcast_to(laid, (len(values), *like.shape)).reshape(len(values), -1)
    return Table(made.program, (left_out, sign, *made.edits), whole, made.right)


def _pairs(
    first: Array, second: Array, rest: Array, weights: Array, room: float
) -> Iterator[tuple[int, int]]:
    """Yield the rows of two tables whose sum is what is left to explain."""
    theirs = second @ weights
    order = np.argsort(theirs)
    wanted = rest @ weights - first @ weights
    slack = room * np.abs(weights).sum()
    low = np.searchsorted(theirs[order], wanted - slack)
    high = np.searchsorted(theirs[order], wanted + slack)
    for a in np.nonzero(high > low)[0].tolist():
        for b in sorted(order[low[a] : high[a]].tolist()):
            if np.abs(first[a] + second[b] - rest).max() <= 4 * room:
                yield a, b


def _weights(size: int) -> Array:
    return np.cos(1.0 + np.arange(size, dtype=np.float64) * 2.399963)


def _factors(
    recovery: Recovery, observable: Observable, program: Program, value: Array
) -> Formula | None:
    """Look for a slip in the brackets of a product, and one outside of them."""
    result = program.bindings[RESULT]
    assert isinstance(result, Product)
    place = next((k for k, each in enumerate(result.factors) if isinstance(each, Sum)), None)
    if place is None:
        return None
    symbols = recovery.evidence.symbols
    inner = recovery.part(observable, program, result.factors[place])
    if inner is None or inner.values.shape[1] != value.size:
        return None
    sizes = np.abs(inner.values).max(axis=1)
    for number, factor in enumerate(result.factors):
        if number == place:
            continue
        outer = recovery.part(observable, program, factor)
        for edit in outer.edits if outer is not None else ():
            if edit.binding != RESULT:
                continue
            placed = _placed(edit, number)
            changed = placed.made(program).bindings[RESULT]
            if not isinstance(changed, Product):
                continue
            others = [each for each in changed.factors if each is not result.factors[place]]
            scale = _product_of(others, program, symbols)
            wanted = (value / scale).reshape(-1) if scale is not None else None
            if wanted is None or wanted.size != value.size or not np.isfinite(wanted).all():
                continue
            room = CLOSE * np.maximum(sizes, np.abs(wanted).max())
            for row in np.nonzero(np.abs(inner.values - wanted).max(axis=1) <= room)[0].tolist():
                found = Formula(observable, program, (placed, _placed(inner.edits[row], place)))
                if _gives(found, symbols, value):
                    return found
    return None


def _product_of(
    factors: Sequence[Tree], program: Program, symbols: Mapping[str, Array]
) -> Array | None:
    scale: Array | None = None
    for each in factors:
        value = Run(program.with_binding(RESULT, each), symbols).result
        scale = value if scale is None else scale * value
    return scale


def _placed(edit: Edit, place: int) -> Edit:
    """Return an edit of a term's or factor's program as one of the whole result."""
    if edit.everywhere or edit.binding != RESULT:
        return edit
    path = (place, *edit.path)
    return replace(edit, path=path)


def _gives(formula: Formula, symbols: Mapping[str, Array], value: Array) -> bool:
    try:
        found = formula.value(symbols)
    except (KeyError, ValueError, IndexError):
        return False
    return found.shape == value.shape and close(found, value)
