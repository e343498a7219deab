"""Which formula a submission computes, an observable at a time.

A right form is looked for first, then one that uses what the submission's own forward computes,
then one with a slip in one place, then with two. The plainest explanation is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations

import numpy as np
from bn_oracle.arrays import Array
from bn_oracle.conventions import Convention

from bn_diagnosis.recovery.edits import FIXED_EPS, Edit, edits, throughout
from bn_diagnosis.recovery.evidence import Evidence, Given
from bn_diagnosis.recovery.forms import AFFINE, FORWARD, RESULT, Observable, Program, forms
from bn_diagnosis.recovery.formula import Formula, Recovered, gives
from bn_diagnosis.recovery.pairs import likely, pairs
from bn_diagnosis.recovery.splitting import Parts, in_terms, inside_and_outside
from bn_diagnosis.recovery.tables import (
    CLOSE,
    EXACT,
    Content,
    Index,
    Keep,
    Run,
    Table,
    close,
    index,
    table,
    unkept,
    vanishes,
)
from bn_diagnosis.recovery.trees import ZERO, Product, Sum, Tree

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
FOR_TWO = 5
"""How many of the right forms are looked at where there may be two slips in one."""
_NEW: Mapping[str, Observable] = {"new_mean": "running_mean", "new_var": "running_var"}
MOST_OTHERS = 3
"""How many more formulas are kept that give the same on the evidence."""
MOST_TABLES = 64
"""How many tables are kept; each has some hundred thousand numbers."""
_DIFFERENTIATED: Mapping[Observable, tuple[Observable, str]] = {
    "dz": ("out", "z"),
    "dgamma": ("out", "gamma"),
    "dbeta": ("out", "beta"),
    "inferred_dz": ("inferred", "z"),
    "inferred_dgamma": ("inferred", "gamma"),
    "inferred_dbeta": ("inferred", "beta"),
}


def with_new(symbols: Mapping[str, Array], convention: Convention) -> Mapping[str, Array]:
    """Return symbols with what the running statistics become in the step: a backward may use it."""
    found = dict(symbols)
    for name, observable in _NEW.items():
        found[name] = Run(forms(observable, convention)[0], symbols).result
    return found


class Recovery:
    """The right forms of one convention on one evidence, and what is near them."""

    def __init__(
        self, convention: Convention, evidence: Evidence | Given, keep: Keep = unkept
    ) -> None:
        """Remember the tables of slips, each made when it is first needed, or `keep` has it."""
        self.convention, self.evidence, self._keep = convention, evidence, keep
        self._symbols = with_new(evidence.symbols, convention)
        self._tables: dict[object, Table] = {}
        self._indices: dict[object, Index | None] = {}
        self._right: dict[Observable, Array] = {}

    def recover(self, observed: Mapping[Observable, Array], slips: int = 2) -> Recovered:
        """Return the formula of each observable that is wrong.

        `observed` are the values on the evidence, (layers, B or 1, C or 1). What is not there is
        not judged. Of a formula, at most so many `slips` are looked for, 1 or 2; one, where the
        value has not the shape that it should have.
        """
        found: Recovered = {}
        with np.errstate(all="ignore"):
            for observable in ORDER:
                value = observed.get(observable)
                if value is not None and not close(value, self.right(observable)):
                    found[observable] = self._formula(observable, value, found, slips)
        return found

    def closeness(self, formula: Formula | None, value: Array) -> float:
        """Return how closely another way of computing a value must give it, if a formula does: an ε
        left out is not one of 1e-8.
        """
        exact = formula is not None and gives(formula, self._symbols, value, EXACT)
        return EXACT if exact else CLOSE

    def right(self, observable: Observable) -> Array:
        """Return an observable's right value."""
        if observable not in self._right:
            first = forms(observable, self.convention)[0]
            self._right[observable] = Run(first, self._symbols).result
        return self._right[observable]

    def _formula(
        self, observable: Observable, value: Array, before: Recovered, slips: int
    ) -> Formula | None:
        if not np.isfinite(value).all():
            return None
        whole = self._derived(observable, value, before) or self._another(observable, value)
        if whole is not None:
            return whole
        right = forms(observable, self.convention)
        if vanishes(value, self.right(observable)):
            return _nothing(right[0], observable)
        for programs in (right, tuple(self._own(observable, before, whole=True))):
            single = self._single(observable, programs, value)
            if single is not None:
                return single
        right_value = self.right(observable)
        if slips == 1 or value.shape != right_value.shape or _nearly(value, right_value):
            return None
        return (
            self._pair(observable, right[:FOR_TWO], value)
            or self._apart(observable, right[:FOR_TWO], value)
            or self._spread(observable, right, value)
        )

    def _another(self, observable: Observable, value: Array) -> Formula | None:
        """Return another observable's right formula, if it is computed by that."""
        for other in ORDER:
            if other == observable:
                continue
            program = forms(other, self.convention)[0]
            if close(Run(program, self._symbols).result, value):
                return Formula(observable, program, (), instead_of=other)
        return None

    def _spread(
        self, observable: Observable, programs: Sequence[Program], value: Array
    ) -> Formula | None:
        """Look for a slip in one place beside one that is made throughout."""
        for program in programs[:1]:
            for edit in throughout(program, tuple(self._symbols)):
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
                if close(found.value(self._symbols), value):
                    return found
        for program in self._own(observable, before):
            try:
                if close(Run(program, self._symbols).result, value):
                    return Formula(observable, program, (), "out")
            except ValueError:
                continue
        return None

    def _own(
        self, observable: Observable, before: Recovered, *, whole: bool = False
    ) -> Iterator[Program]:
        """Yield the right forms with the submission's own quantities, all or some, in them; all
        alone, where it is the `whole`.
        """
        forward = before.get("out")
        if forward is None or observable in ("out", "dbeta") or "inferred" in observable:
            return
        slipped = forward.program.bindings
        own = _in_full({**slipped, "out": slipped[RESULT]})
        right = _in_full({**FORWARD, "out": AFFINE})
        reached = [name for name in own if own[name] is not right[name]]
        for count in range(len(reached), len(reached) - 1 if whole else 0, -1):
            for chosen in combinations(reached, count):
                mixed = {name: own[name] for name in chosen}
                for form in forms(observable, self.convention):
                    if set(chosen) & form.bindings.keys():
                        yield Program(
                            {
                                name: mixed.get(name, right.get(name, tree))
                                for name, tree in form.bindings.items()
                            },
                            form.is_rare,
                        )

    def _kept(
        self,
        kind: Callable[..., Index],
        program: Program,
        shape: tuple[int, ...],
        weights: Array | None = None,
    ) -> Index | None:
        key = (kind, program.key, shape)
        if key not in self._indices:

            def make() -> Content:
                more = {} if weights is None else {"weights": weights}
                made = kind(program, self._symbols, shape, **more)
                return made.projections, made.numbers

            try:
                name = f"{kind.__name__} {shape} {program.bindings!r}"
                self._indices[key] = Index(*self._keep(name, make))
            except (KeyError, ValueError):
                self._indices[key] = None
        return self._indices[key]

    def _single(
        self, observable: Observable, programs: Iterable[Program], value: Array
    ) -> Formula | None:
        """Look for a slip in one place, or one made throughout."""
        found = self._looked_up(index, observable, programs, value)
        return self._plainest(found, value)

    def _pair(
        self, observable: Observable, programs: Iterable[Program], value: Array
    ) -> Formula | None:
        """Look for slips in two places."""
        found = self._looked_up(pairs, observable, programs, value)
        return self._plainest(found, value)

    def _looked_up(
        self,
        kind: Callable[..., Index],
        observable: Observable,
        programs: Iterable[Program],
        value: Array,
    ) -> Iterator[tuple[tuple[int, ...], Formula]]:
        """Yield the formulas that may give a value, each with its place among all."""
        symbols = tuple(self._symbols)
        for form, program in enumerate(programs):
            kept = self._kept(kind, program, value.shape)
            numbers = kept.near(value) if kept is not None else []
            if not numbers:
                continue
            if kind is index:
                made = tuple(edits(program, symbols))
                for each in numbers:
                    yield (form, each), Formula(observable, program, (made[each],))
            else:
                made = likely(program, symbols)
                for one, other in numbers:
                    # The one behind first: what is left out moves the places of those behind it.
                    slips = made[other], made[one]
                    yield (form, one, other), Formula(observable, program, slips)

    def _plainest(
        self, found: Iterable[tuple[tuple[int, ...], Formula]], value: Array
    ) -> Formula | None:
        """Return the plainest of the formulas that do give a value."""
        symbols = self._symbols
        ranked: list[tuple[tuple[bool, int, tuple[int, ...]], Formula]] = []
        for place, formula in found:
            if gives(formula, symbols, value):
                exact = gives(formula, symbols, value, EXACT)
                weight = sum(map(_weight, formula.edits)) + formula.base.is_rare
                ranked.append(((not exact, weight, place), formula))
        if not ranked:
            return None
        best, *others = (each for _, each in sorted(ranked, key=lambda pair: pair[0]))
        return replace(best, others=tuple(others[:MOST_OTHERS]))

    def _apart(
        self, observable: Observable, programs: Sequence[Program], value: Array
    ) -> Formula | None:
        """Look for two slips that the pairs do not hold, each by itself."""
        for program in programs:
            result = program.bindings[RESULT]
            split = in_terms if isinstance(result, Sum) else inside_and_outside
            if isinstance(result, Sum | Product):
                parts = Parts(self._symbols, partial(self._part, program), self._pairs_of)
                found = split(observable, program, value, parts)
                if found is not None:
                    return found
        return None

    def _pairs_of(self, program: Program, shape: tuple[int, ...], weights: Array) -> Index | None:
        return self._kept(pairs, program, shape, weights)

    def _part(self, program: Program, part: Tree) -> Table | None:
        """Return the table of a program that gives one term or factor of another's result."""
        changed = program.with_binding(RESULT, part)
        shape = Run(changed, self._symbols).result.shape
        key = (changed.key, shape)
        if key not in self._tables:
            if len(self._tables) >= MOST_TABLES:
                self._tables.pop(next(iter(self._tables)))
            self._tables[key] = table(changed, self._symbols, shape)
        return self._tables[key]


def _nothing(program: Program, observable: Observable) -> Formula:
    """Return the formula that gives zero."""
    edit = Edit(RESULT, (), "zero", program.bindings[RESULT], ZERO)
    return Formula(observable, program, (edit,))


def _nearly(value: Array, right: Array) -> bool:
    """Whether a value is as near to the right one as rounding to float32 brings it, or a small
    constant: two slips do not.
    """
    return bool(np.abs(value - right).max() <= 1e-3 * np.abs(right).max())


def _in_full(bindings: Mapping[str, Tree]) -> dict[str, Tree]:
    """Return each forward quantity of what is given alone."""
    apart = {name: tree for name, tree in bindings.items() if name != RESULT}
    return {
        name: Program({**apart, RESULT: tree}).tree()
        for name, tree in apart.items()
        if name in FORWARD or name == "out"
    }


_INSERTIONS = (
    "averaged over the features", "extra factor", "extra term", "extra power", "brackets left out",
)  # fmt: skip


def _weight(edit: Edit) -> int:
    """Return how far-fetched a slip is: what is left out or exchanged is likelier than added."""
    return int(edit.rule in _INSERTIONS)
