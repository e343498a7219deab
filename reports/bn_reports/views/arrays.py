"""Arrays as tables that fit a page, with each cell that is wrong marked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import numpy as np
from bn_properties.record_types import ArrayRecord
from numpy.typing import NDArray

from bn_reports.text.numbers import Value, apart, brief, exact

LIMIT: Final = 8
"""Rows, columns and leading indices shown; the rest is cut, with a note."""

GOT, EXPECTED, BOUND = "got", "expected", "allowed error"

Array = NDArray[Any]
Window = tuple[int | slice, ...]
"""What is shown of an array, as an index into it."""


@dataclass(frozen=True)
class Cell:
    """One value as text."""

    text: str
    wrong: bool = False


@dataclass(frozen=True)
class Panel:
    """What was got, what was expected or what rounding may explain, as rows of cells."""

    title: str
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Block:
    """A vector or matrix out of the array: the same cells in every panel."""

    label: str
    """Which leading index, e.g. `[0, 2, :, :]`; empty for arrays of at most two dimensions."""
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Quantity:
    """A named array, or several measured beside one another."""

    name: str
    kind: str
    """Its dtype and shape in words."""
    flat: bool
    """Whether it has at most one dimension."""
    blocks: tuple[Block, ...]
    notes: tuple[str, ...]
    """What is not shown, and what cannot be compared."""

    @property
    def wrong(self) -> bool:
        """Whether any cell of it is marked."""
        return any(
            cell.wrong
            for block in self.blocks
            for panel in block.panels
            for row in panel.rows
            for cell in row
        )


def listed(name: str, record: ArrayRecord) -> Quantity:
    """Return one array to be read, each value exact."""
    array = record.array()
    blocks = tuple(
        Block(label, (_panel("", array[window], _each(exact, array[window])),))
        for label, window in _windows(array.shape)
    )
    return Quantity(name, _kind(array), array.ndim < 2, blocks, _cut_note(array.shape))


def compared(
    name: str, got: ArrayRecord | None, expected: ArrayRecord | None, bound: ArrayRecord | None
) -> Quantity:
    """Return what was got beside what was expected, wrong cells marked.

    Without a bound only equality is right. Where either is missing or the shapes differ, the
    values that there are stand alone, with a note.
    """
    if got is None or expected is None:
        return _alone(name, got, expected)
    measured, right = got.array(), expected.array()
    if measured.shape != right.shape:
        note = f"got shape {measured.shape}, expected shape {right.shape}"
        return Quantity(name, _kind(right), right.ndim < 2, (), (note,))
    allowed = _allowed(bound, right.shape)
    wrong = wrong_cells(measured, right, 0.0 if allowed is None else allowed)
    blocks = tuple(
        Block(label, _panels(measured[window], right[window], allowed, wrong[window], window))
        for label, window in _windows(right.shape)
    )
    kind = _kind(right)
    if measured.dtype != right.dtype:
        kind += f", got as {measured.dtype.name}"
    notes = (*_cut_note(right.shape), *_wrong_note(wrong))
    return Quantity(name, kind, right.ndim < 2, blocks, notes)


def wrong_cells(got: Array, expected: Array, bound: Array | float) -> NDArray[np.bool_]:
    """Return where `got` is further from `expected` than `bound`; NaN equals NaN alone."""
    measured, right = got.astype(np.float64), expected.astype(np.float64)
    same = (measured == right) | (np.isnan(measured) & np.isnan(right))
    unlike = ~(np.isfinite(measured) & np.isfinite(right))
    with np.errstate(invalid="ignore", over="ignore"):
        beyond = np.abs(measured - right) > bound
    return np.asarray(~same & (unlike | beyond), dtype=np.bool_)


def _alone(name: str, got: ArrayRecord | None, expected: ArrayRecord | None) -> Quantity:
    record = got or expected
    if record is None:
        return Quantity(name, "nothing", True, (), ("nothing was given and nothing expected",))
    title = GOT if got else EXPECTED
    note = "there is nothing to compare this with" if got else "your code did not give this"
    alone = listed(name, record)
    blocks = tuple(
        Block(block.label, tuple(Panel(title, panel.rows) for panel in block.panels))
        for block in alone.blocks
    )
    return Quantity(name, alone.kind, alone.flat, blocks, (*alone.notes, note))


def _allowed(bound: ArrayRecord | None, shape: tuple[int, ...]) -> Array | None:
    if bound is None:
        return None
    allowed = bound.array().astype(np.float64)
    return np.broadcast_to(allowed, shape) if allowed.shape != shape else allowed


def _panels(
    got: Array, expected: Array, allowed: Array | None, wrong: Array, window: Window
) -> tuple[Panel, ...]:
    got, expected, wrong = np.asarray(got), np.asarray(expected), np.asarray(wrong)
    pairs = [
        apart(mine, right) if off else (brief(mine), brief(right))
        for mine, right, off in zip(got.flat, expected.flat, wrong.flat, strict=True)
    ]
    panels = [
        _panel(GOT, got, [mine for mine, _ in pairs], wrong),
        _panel(EXPECTED, expected, [right for _, right in pairs]),
    ]
    if allowed is not None:
        limits = np.asarray(allowed[window])
        panels.append(_panel(BOUND, limits, [brief(each, 3) for each in limits.flat]))
    return tuple(panels)


def _each(show: Callable[[Value], str], array: Array) -> list[str]:
    return [show(value) for value in np.asarray(array).flat]


def _panel(title: str, array: Array, texts: list[str], wrong: Array | None = None) -> Panel:
    array = np.asarray(array)
    width = array.shape[-1] if array.ndim else 1
    marks = [False] * len(texts) if wrong is None else [bool(mark) for mark in wrong.flat]
    cells = [Cell(text, mark) for text, mark in zip(texts, marks, strict=True)]
    starts = range(0, len(cells), width) if cells else ()
    return Panel(title, tuple(tuple(cells[start : start + width]) for start in starts))


def _windows(shape: tuple[int, ...]) -> list[tuple[str, Window]]:
    """Return what is shown of an array of `shape`: a label and an index for each block."""
    if 0 in shape:
        return []
    matrix = (slice(LIMIT),) * min(len(shape), 2)
    if len(shape) <= 2:
        return [("", matrix)]
    leading = islice(np.ndindex(*shape[:-2]), LIMIT)
    return [(f"[{', '.join(map(str, index))}, :, :]", index + matrix) for index in leading]


def _cut_note(shape: tuple[int, ...]) -> tuple[str, ...]:
    if 0 in shape:
        return ("it is empty",)
    blocks = int(np.prod(shape[:-2]))
    if max(shape[-2:], default=0) <= LIMIT and blocks <= LIMIT:
        return ()
    shown = " × ".join(str(min(size, LIMIT)) for size in shape[-2:])
    first = f"the first {LIMIT} of {blocks} tables, each " if blocks > LIMIT else "the first "
    return (f"shown: {first}{shown}; the full shape is {shape}",)


def _wrong_note(wrong: NDArray[np.bool_]) -> tuple[str, ...]:
    count = int(wrong.sum())
    if not count:
        return ()
    return (f"{count} of {wrong.size} {'value is' if wrong.size == 1 else 'values are'} wrong",)


def _kind(array: Array) -> str:
    return (
        f"{array.dtype.name}, shape {array.shape}"
        if array.ndim
        else f"{array.dtype.name}, a single value"
    )
