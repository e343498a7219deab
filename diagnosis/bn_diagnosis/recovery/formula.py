"""What is recovered of one observable: a form of its formula, and the slips in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from bn_oracle.arrays import Array

from bn_diagnosis.recovery.differentiating import gradients
from bn_diagnosis.recovery.edits import Edit, with_edits
from bn_diagnosis.recovery.forms import Observable, Program
from bn_diagnosis.recovery.shapes import Axes
from bn_diagnosis.recovery.tables import CLOSE, Run, close
from bn_diagnosis.recovery.trees import Values, mentioned


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
    others: tuple[Formula, ...] = ()
    """Further formulas that give the same on the evidence, the plainest first."""
    axes: Axes | None = None
    """Those of the value, where it has not the shape that it should have."""

    @property
    def program(self) -> Program:
        """The formula, quantity by quantity."""
        program = self.base
        for throughout, edits in groupby(self.edits, lambda each: each.everywhere):
            if throughout is None:  # their places are those before any is made
                program = with_edits(program, tuple(edits))
            for edit in edits if throughout is not None else ():
                program = edit.made(program)
        return program

    def mentions(self, *names: str) -> bool:
        """Whether one of some symbols is in it."""
        trees = self.program.bindings.values()
        return any(set(names) & mentioned(tree) for tree in trees)

    def value(self, symbols: Mapping[str, Array]) -> Array:
        """Return what it gives for the symbols' values.

        Raises:
            KeyError, ValueError: they do not fit.
        """
        with np.errstate(all="ignore"):
            if self.differentiates is None:
                return Run(self.program, symbols).result
            found = gradients(self.program.tree(), Values(symbols), symbols["g"])
        return found.get(self.differentiates, np.zeros_like(symbols[self.differentiates]))


Recovered = dict[Observable, Formula | None]
"""For each observable that is wrong: its formula, or that none was found."""


def gives(
    formula: Formula, symbols: Mapping[str, Array], value: Array, within: float = CLOSE
) -> bool:
    """Whether a formula gives a value; how closely, see `tables.close`."""
    try:
        found = formula.value(symbols)
    except (KeyError, ValueError, IndexError):
        return False
    return found.shape == value.shape and close(found, value, within)
