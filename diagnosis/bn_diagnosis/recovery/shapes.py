"""Results of another shape than they should have: which of the batch's axes they have.

A sum that is left out, or goes over another axis, shows in the shape first; the numbers say which.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from bn_oracle.arrays import Array

Axes = tuple[str, ...]
"""Each axis of a result by what is as long in the batch: "N", "C", "B" for all instances of a
feature, "space0", "space1", … or "one"."""


def rows(array: Array) -> Array:
    """Return (N, C, …) as (B, C)."""
    return np.moveaxis(np.asarray(array, np.float64), 1, -1).reshape(-1, array.shape[1])


def axes(shape: Sequence[int], batch: Sequence[int]) -> Axes | None:
    """Return the axes of a result that belongs to a batch of shape (N, C, …).

    None: it has an axis that the batch has not, or one that might be either of two.
    """
    lengths = _lengths(batch)
    found: list[str] = []
    for length in shape:
        named = [name for name, has in lengths.items() if has == length]
        if not named:
            return None
        found.append("one" if length == 1 else named[0])
    return tuple(found)


def laid(array: Array, batch: Sequence[int]) -> Array | None:
    """Return a result as (B, C), (B, 1), (1, C) or (1, 1); None: it is none of these."""
    named = axes(array.shape, batch)
    if named is None:
        return None
    if named == axes(batch, batch):
        return rows(array)
    longer = tuple(each for each in named if each != "one")
    flat = np.asarray(array, np.float64)
    instances = "N" if len(batch) == 2 else "B"
    if longer in ((), (instances,)):
        return flat.reshape(-1, 1)
    return flat.reshape(1, -1) if longer == ("C",) else None


def unlaid(value: Array, named: Axes, batch: Sequence[int]) -> Array:
    """Return what `laid` made of a result in the result's own axes; one number is all of them.

    Raises:
        ValueError: it has another size.
    """
    lengths = _lengths(batch)
    shape = [lengths[each] for each in named]
    if value.size == 1:
        return np.full(shape, value.item())
    if named == tuple(lengths)[: len(batch)]:
        of_instances = value.reshape(batch[0], *batch[2:], batch[1])
        return np.moveaxis(of_instances, -1, 1)
    return value.reshape(shape)


def _lengths(batch: Sequence[int]) -> dict[str, int]:
    """Return the axes' lengths; those of the batch come first, in their order."""
    space = {f"space{number}": length for number, length in enumerate(batch[2:])}
    many = {"B": batch[0] * math.prod(batch[2:])}
    return {"N": batch[0], "C": batch[1], **space, **many, "one": 1}
