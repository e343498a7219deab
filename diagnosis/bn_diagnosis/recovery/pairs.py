"""All formulas that are two edits in two places away from a program: found by one number each.

There are some hundred thousand a program. Each is kept as the projection of its value on the
evidence; what has the wanted one is computed again, and compared in full.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from bn_oracle.arrays import Array
from numpy.typing import NDArray

from bn_diagnosis.recovery.edits import SCALARS, Edit, edits
from bn_diagnosis.recovery.forms import Program
from bn_diagnosis.recovery.tables import Changed, Index, Place, Run, alike, projecting
from bn_diagnosis.recovery.trees import Path, Symbol

UNLIKELY = (
    "extra factor",
    "extra term",
    "extra power",
    "averaged over the features",
    "returned instead",
    "taken into the brackets",
    "times, not to the power",
)
"""Slips that are not looked for beside another one."""
RARE = ("old_mean", "old_var", "new_mean", "new_var", "beta", "out")
"""Quantities that are not looked for in another one's place beside a second slip."""
HUGE = 1e6
"""By how much a value may be larger than the right one."""
Numbers = NDArray[np.int16]


def likely(program: Program, symbols: Sequence[str]) -> tuple[Edit, ...]:
    """Return the edits of one place that may come in pairs."""
    return tuple(each for each in edits(program, symbols) if _is_likely(each))


def _is_likely(edit: Edit) -> bool:
    """Whether an edit is looked for beside another one: it is no insertion, puts no array where a
    number belongs, nor what is seldom mistaken.
    """
    if edit.everywhere or edit.rule in UNLIKELY:
        return False
    if edit.rule != "another quantity":
        return True
    new, old = (each.name if isinstance(each, Symbol) else "" for each in (edit.new, edit.old))
    return new not in RARE and (old not in SCALARS or new in SCALARS)


def pairs(
    program: Program,
    symbols: Mapping[str, Array],
    shape: Sequence[int],
    weights: Array | None = None,
) -> Index:
    """Return the index of the pairs of likely edits in two places; the second stands behind.

    `weights` are those of the projection, where they are not `tables.projecting`'s.
    """
    made = likely(program, tuple(symbols))
    found: list[tuple[Array, Numbers, Numbers]] = []
    weights = projecting(int(np.prod(shape))) if weights is None else weights
    with np.errstate(all="ignore"):
        run = Run(program, symbols)
        for one, other in combinations(alike(run, made).items(), 2):
            if _apart(one[0], other[0]):
                with contextlib.suppress(ValueError, KeyError):
                    found.append(_both(run, made, one, other, shape, weights))
    kept = [each for each in found if each[0].size]
    if not kept:
        return Index(np.zeros(0), np.zeros((0, 2), np.int16))
    values = np.concatenate([each[0] for each in kept])
    order = np.argsort(values, kind="stable")
    both = (np.concatenate([each[k] for each in kept])[order] for k in (1, 2))
    return Index(values[order], np.stack(tuple(both), axis=1))


def _apart(one: Place, other: Place) -> bool:
    """Whether neither place lies within the other."""
    shorter = min(len(one.path), len(other.path))
    return one.binding != other.binding or one.path[:shorter] != other.path[:shorter]


def _both(
    run: Run,
    made: Sequence[Edit],
    first: tuple[Place, list[int]],
    second: tuple[Place, list[int]],
    shape: Sequence[int],
    weights: Array,
) -> tuple[Array, Numbers, Numbers]:
    """Return the projections of all pairs of two places, each with the numbers of its edits; the
    first stands before the second.
    """
    (one, rows), (other, columns) = first, second
    changed = Changed(run)
    for name, tree in run.program.bindings.items():
        put_in = dict[Path, Array]()
        if name == one.binding:
            news = [changed.value(name, made[each].new) for each in rows]
            put_in[one.path] = np.stack(news)[:, np.newaxis]
        if name == other.binding:
            # What is put in here may use what is changed already: then it has its axes.
            again = [changed.value(name, made[each].new) for each in columns]
            axes = max(each.ndim for each in again)
            spread = np.broadcast_arrays(*(_with_axes(each, max(axes, 5)) for each in again))
            put_in[other.path] = np.concatenate(spread, axis=1)
        if put_in or changed.reaches(tree):
            changed.give(name, changed.placed(name, tree, put_in))
    result = changed.result
    if result.ndim != 5 or result.shape[2:] != tuple(shape):
        raise ValueError("another shape")
    size = len(rows), len(columns)
    projected = np.broadcast_to(result, (*size, *shape)).reshape(*size, -1) @ weights
    # What is a million times too large divides by something that is zero but for rounding.
    most = HUGE * np.abs(run.result).max() * np.abs(weights).sum()
    a, b = np.nonzero(np.abs(projected) <= most)
    numbers = np.array(rows, np.int16), np.array(columns, np.int16)
    return projected[a, b], numbers[0][a], numbers[1][b]


def _with_axes(value: Array, axes: int) -> Array:
    return value.reshape(*(1,) * (axes - value.ndim), *value.shape)
