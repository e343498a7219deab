"""How a formula becomes a step of a layer, and what its quantities are there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

import numpy as np
from bn_oracle.arrays import from_rows

from bn_diagnosis.recovery.compiling import compiled
from bn_diagnosis.recovery.trees import Number, Reduction, Symbol, Tree
from bn_diagnosis.trace import Step, StepName, Trace, batch_var

Given = Callable[[Trace], Any]

_ROWS: Mapping[str, Given] = {
    **{name: attrgetter(name) for name in ("z", "g", "centred", "u", "du", "trained")},
    "out": attrgetter("y"),
    "inferred_u": lambda t: (t.z - t.running_mean) / t.s,
    "row_var": lambda t: t.z.var(axis=1, keepdims=True),
}
_VECTORS: Mapping[str, Given] = {
    **{name: attrgetter(name) for name in ("gamma", "beta", "mean", "var", "s", "dvar", "dmean")},
    "old_mean": attrgetter("running_mean"),
    "old_var": attrgetter("running_var"),
    "batch_var": batch_var,
    "last_mean": attrgetter("mean"),
    "last_var": attrgetter("var"),
    "own_mean": lambda t: t.z.mean(axis=0),
    "own_var": lambda t: t.z.var(axis=0),
}
_NUMBERS: Mapping[str, Given] = {
    "eps": attrgetter("eps"),
    "keep": attrgetter("decay"),
    "n": attrgetter("n"),
    "less_one": attrgetter("less_one"),
    "features": lambda t: t.z.shape[1],
    "images": lambda t: len(t.x),
    "area": lambda t: t.n // len(t.x),
    "pixels": lambda t: t.n // len(t.x) if t.x.ndim > 2 else t.n,
    "steps": attrgetter("steps_taken"),
}
GIVEN: Mapping[str, Given] = {**_ROWS, **_VECTORS, **_NUMBERS}
"""A formula's quantities, as a layer's step finds them. At inference, `mean` and `var` are still
the latest training batch's; `own_mean` and `own_var` are those of the batch at hand. `area` of a
matrix is one, and `pixels` is the number of its rows.
"""

_OF_ROWS = ("u", "y", "du", "dz", "infer", "infer_dz")
_OF_FEATURES = ("mean", "var")


def step_of(name: StepName, tree: Tree) -> Step:
    """Return the step that computes a formula.

    A number that stands for all has their shape. Only as a gradient of the parameters it stays a
    number: it is what is then seen; and rows are, too, in the shape of the input.

    Raises:
        ValueError: there is no such quantity as one in it.
    """
    value = compiled(tree, GIVEN)
    if name in ("dgamma", "dbeta") and _is_of_rows(tree):
        return lambda t: from_rows(value(t), t.x.shape)
    if not _is_number(tree):
        return value
    if name in _OF_ROWS:
        return lambda t: np.full(t.z.shape, value(t))
    return (lambda t: np.full(t.z.shape[1], value(t))) if name in _OF_FEATURES else value


def _is_number(tree: Tree) -> bool:
    """Whether a formula is one number for all instances and features."""
    if isinstance(tree, Symbol):
        return tree.name in _NUMBERS
    if isinstance(tree, Reduction) and tree.axis == "all":
        return True
    return isinstance(tree, Number) or all(map(_is_number, tree.parts))


def _is_of_rows(tree: Tree) -> bool:
    """Whether a formula has a value for each instance."""
    if isinstance(tree, Symbol):
        return tree.name in _ROWS
    if isinstance(tree, Reduction) and tree.axis != "features":
        return False
    return any(map(_is_of_rows, tree.parts))
