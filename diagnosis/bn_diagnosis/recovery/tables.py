"""All formulas that are one edit away from a program, with their values on the evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from bn_oracle.arrays import Array

from bn_diagnosis.recovery.edits import Edit, edits
from bn_diagnosis.recovery.forms import RESULT, Program
from bn_diagnosis.recovery.trees import Symbol, Tree, Values, walk

CLOSE = 1e-8
"""How far, relative to the largest value, two values of one formula lie apart.

Measured, not derived: on data as well-conditioned as the evidence, all right forms that were looked
at lie within 1e-14, and the smallest real mistake is 2.9e-5 away. Only the name of a mistake rests
on it, which is then held to everything that was observed; no verdict does.
"""

EXACT = 1e-12
"""The same for two ways of computing one formula; rounding is a hundredth of it."""


def close(one: Array, other: Array) -> bool:
    """Whether two values are one, layer by layer; what is not finite must not be in either."""
    size = np.maximum(np.abs(one), np.abs(other)).max(axis=(-2, -1), keepdims=True)
    return bool((np.abs(one - other) <= CLOSE * size).all())


def vanishes(value: Array, right: Array) -> bool:
    """Whether a value is nothing beside the right one; what vanishes is explained by anything."""
    return bool(np.abs(value).max() <= CLOSE * np.abs(right).max())


class Run:
    """A program's quantities on the evidence; an edited one is computed from where it differs."""

    def __init__(self, program: Program, symbols: Mapping[str, Array]) -> None:
        """Compute all quantities."""
        self.program, self._symbols = program, symbols
        self._values: dict[str, Values] = {}
        known = dict(symbols)
        for name, tree in program.bindings.items():
            self._values[name] = Values(known)
            known[name] = self._values[name](tree)
        self.known = known

    @property
    def result(self) -> Array:
        """What the program gives."""
        return self.known[RESULT]

    def edited(self, edit: Edit) -> Array:
        """Return what it gives with one edit made.

        Raises:
            ValueError: what is then put together does not fit.
        """
        program = edit.made(self.program)
        if not edit.everywhere and edit.binding == RESULT:
            return self._values[RESULT](program.bindings[RESULT])
        known, changed = dict(self._symbols), set[str]()
        for name, tree in program.bindings.items():
            if tree is not self.program.bindings[name] or changed & _mentioned(tree):
                changed.add(name)
                known[name] = Values(known)(tree)
            else:
                known[name] = self.known[name]
        return known[RESULT]


def _mentioned(tree: Tree) -> set[str]:
    return {part.name for _, part in walk(tree) if isinstance(part, Symbol)}


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """A program's edits, and what each gives: those alone that give another value of its shape."""

    program: Program
    edits: tuple[Edit, ...]
    values: Array
    """(edits, numbers)."""
    right: Array
    """What the program gives."""

    @cached_property
    def _largest(self) -> Array:
        largest: Array = np.abs(self.values).max(axis=1)
        return largest

    def near(self, wanted: Array) -> list[tuple[int, bool]]:
        """Return the numbers of the edits that give the wanted value, in their order, and whether
        each gives it to nearly every digit: a very small ε may look like none.
        """
        flat = wanted.reshape(-1)
        size = np.maximum(self._largest, np.abs(flat).max())
        far = np.abs(self.values - flat).max(axis=1)
        found: list[int] = np.nonzero(far <= CLOSE * size)[0].tolist()
        return [(number, bool(far[number] <= EXACT * size[number])) for number in found]


def table(program: Program, symbols: Mapping[str, Array], shape: Sequence[int]) -> Table:
    """Return the table of a program; edits whose value is not finite, or of no fitting shape, are
    left out, and so are those that give what the program gives.
    """
    run, kept, values = Run(program, symbols), list[Edit](), list[Array]()
    with np.errstate(all="ignore"):
        for edit in edits(program, tuple(symbols)):
            try:
                value = run.edited(edit)
            except (KeyError, ValueError):
                continue
            if value.shape != tuple(shape) or not np.isfinite(value).all():
                continue
            if not close(value, run.result) and not vanishes(value, run.result):
                kept.append(edit)
                values.append(value.reshape(-1))
    stacked = np.array(values) if values else np.zeros((0, int(np.prod(shape))))
    return Table(program, tuple(kept), stacked, run.result)
