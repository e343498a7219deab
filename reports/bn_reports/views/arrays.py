"""Arrays as tables that fit a page: cut to where they are wrong, with each wrong cell marked."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Literal

import numpy as np
from bn_properties.record_types import ArrayRecord
from numpy.typing import NDArray

from bn_reports.text.numbers import Value, apart, brief, exact, ratio

LIMIT: Final = 8
"""Rows and columns shown; the rest is cut, with a note."""
TABLES: Final = 2
"""How many tables are shown of an array of more than two axes."""
LISTED: Final = 5
"""How many of the worst entries are listed of an array that is cut."""

GOT, EXPECTED, BOUND = "got", "expected", "allowed error"
DIFFERENCE = "difference over allowed error"

Array = NDArray[Any]
Index = tuple[int, ...]
Window = tuple[int | slice, ...]
"""What is shown of an array, as an index into it."""
Kind = Literal["", "nan", "infinite"]


@dataclass(frozen=True)
class Cell:
    """One value as text."""

    text: str
    wrong: bool = False
    kind: Kind = ""
    """What it is in place of a number."""
    level: int = 0
    """Of a difference: 0 within the bound, else 1 to 4 by its size, negative where too small."""


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
    corner: tuple[int, int] = (0, 0)
    """The row and the column of the first cell."""
    difference: Panel | None = None
    """Got − expected in units of the bound, where anything is wrong."""


@dataclass(frozen=True)
class Entry:
    """One wrong value of an array that is not shown whole."""

    index: str
    got: str
    expected: str
    ratio: str


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
    worst: Index | None = None
    """Where it is furthest off, if any of it is wrong."""
    entries: tuple[Entry, ...] = ()
    """The worst values, the worst first, of an array that is cut."""
    misshapen: bool = False

    @property
    def wrong(self) -> bool:
        """Whether any of it is wrong, its shape included."""
        return self.misshapen or self.worst is not None


def listed(name: str, record: ArrayRecord, focus: Index | None = None) -> Quantity:
    """Return one array to be read, each value exact; cut to what surrounds `focus`."""
    array = record.array()
    windows = _windows(array.shape, _within(array.shape, focus))
    blocks = tuple(
        Block(label, (_panel("", array[window], _each(exact, array[window])),), _corner(window))
        for label, window in windows
    )
    return Quantity(name, _kind(array), array.ndim < 2, blocks, _cut_note(array.shape, windows))


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
        return Quantity(name, _kind(right), right.ndim < 2, (), (note,), misshapen=True)
    allowed = _allowed(bound, right.shape)
    wrong = wrong_cells(measured, right, 0.0 if allowed is None else allowed)
    over = _over(measured, right, allowed)
    order = [tuple(map(int, each)) for each in np.argwhere(wrong)]
    order.sort(key=lambda index: -np.nan_to_num(abs(over[index]), nan=np.inf))
    worst = order[0] if order else None
    windows = _windows(right.shape, worst, wrong)
    blocks = tuple(
        Block(
            label,
            _panels(measured[window], right[window], allowed, wrong[window], window),
            _corner(window),
            _differences(measured[window], over[window], wrong[window]) if order else None,
        )
        for label, window in windows
    )
    kind = _kind(right)
    if measured.dtype != right.dtype:
        kind += f", got as {measured.dtype.name}"
    cut = _cut_note(right.shape, windows)
    entries = tuple(_entry(index, measured, right, over) for index in order[:LISTED]) if cut else ()
    notes = (*cut, *_wrong_note(wrong))
    return Quantity(name, kind, right.ndim < 2, blocks, notes, worst, entries)


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
    marks = [False] * len(texts) if wrong is None else [bool(mark) for mark in wrong.flat]
    cells = [
        Cell(text, mark, _word(value))
        for text, mark, value in zip(texts, marks, array.flat, strict=True)
    ]
    return Panel(title, _rows(cells, array))


def _rows(cells: list[Cell], array: Array) -> tuple[tuple[Cell, ...], ...]:
    width = array.shape[-1] if array.ndim else 1
    starts = range(0, len(cells), width) if cells else ()
    return tuple(tuple(cells[start : start + width]) for start in starts)


def _word(value: Value) -> Kind:
    """Say what stands in place of a number."""
    number = float(value)
    return "nan" if math.isnan(number) else "infinite" if math.isinf(number) else ""


def _over(got: Array, expected: Array, allowed: Array | None) -> Array:
    """Return got − expected over what is allowed: signed; infinite where only equality is right."""
    with np.errstate(all="ignore"):
        difference = got.astype(np.float64) - expected.astype(np.float64)
        over = difference / (np.zeros(()) if allowed is None else allowed)
    return np.asarray(np.where(difference == 0.0, 0.0, over))


def _differences(got: Array, over: Array, wrong: Array) -> Panel:
    cells = []
    for mine, size, off in zip(
        np.asarray(got).flat, np.asarray(over).flat, np.asarray(wrong).flat, strict=True
    ):
        if not math.isfinite(float(mine)):
            cells.append(Cell(brief(mine), bool(off), _word(mine)))
        elif not off:
            cells.append(Cell(ratio(abs(size)) if size else "exact"))
        else:
            sign = "+" if size > 0 else "−"
            text = (
                f"{sign}{brief(float(f'{abs(size):.2g}'), 2)}"
                if math.isfinite(size)
                else f"{sign}∞"
            )
            level = 1 + min(3, int(math.log10(max(1.0, min(abs(size), 1e300))) / 3))
            cells.append(Cell(text, True, level=level if size > 0 else -level))
    return Panel(DIFFERENCE, _rows(cells, np.asarray(over)))


def _entry(index: Index, got: Array, expected: Array, over: Array) -> Entry:
    mine, right = apart(got[index], expected[index])
    size = abs(float(over[index]))
    return Entry(
        f"[{', '.join(map(str, index))}]",
        mine,
        right,
        ratio(size) if math.isfinite(size) else "no bound",
    )


def _windows(
    shape: tuple[int, ...], worst: Index | None = None, wrong: Array | None = None
) -> list[tuple[str, Window]]:
    """Return what is shown of an array of `shape`: a label and an index for each block.

    It surrounds the `worst` place; of several tables, those are shown in which anything is wrong.
    """
    if 0 in shape:
        return []
    inner = shape[-2:]
    at = worst[-len(inner) :] if worst is not None and inner else (None,) * len(inner)
    matrix = tuple(slice(start, start + LIMIT) for start in map(_start, inner, at))
    if len(shape) <= 2:
        return [("", matrix)]
    leading: list[Index] = list(islice(np.ndindex(*shape[:-2]), LIMIT * LIMIT))
    if worst is not None:
        if wrong is not None:
            leading = [index for index in leading if wrong[index].any()]
        leading = [worst[:-2], *(index for index in leading if index != worst[:-2])]
    return [
        (f"[{', '.join(map(str, index))}, :, :]", index + matrix)
        for index in sorted(leading[:TABLES])
    ]


def _start(size: int, at: int | None) -> int:
    """Return where eight of `size` places begin that have `at` in their middle."""
    return 0 if at is None else max(0, min(at - LIMIT // 2, size - LIMIT))


def _within(shape: tuple[int, ...], focus: Index | None) -> Index | None:
    """Return `focus` as a place in an array of `shape`, which may have one value a feature."""
    if focus is None or len(focus) < 2:
        return None
    place = focus[1:2] if len(shape) == 1 else focus
    fits = len(place) == len(shape) and all(map(int.__lt__, place, shape))
    return place if fits else None


def _corner(window: Window) -> tuple[int, int]:
    starts = [each.start for each in window if isinstance(each, slice)]
    row, column = (0, 0, *starts)[-2:]
    return row, column


def _cut_note(shape: tuple[int, ...], windows: list[tuple[str, Window]]) -> tuple[str, ...]:
    if 0 in shape:
        return ("it is empty",)
    blocks = math.prod(shape[:-2])
    if max(shape[-2:], default=0) <= LIMIT and blocks <= len(windows):
        return ()
    starts = _corner(windows[0][1])[-len(shape[-2:]) :]
    places = ", ".join(
        f"{start}:{min(start + LIMIT, size)}"
        for start, size in zip(starts, shape[-2:], strict=True)
    )
    of = f"{len(windows)} of {blocks} tables, each " if blocks > len(windows) else ""
    return (f"shown: {of}[{places}]; the full shape is {shape}",)


def _wrong_note(wrong: NDArray[np.bool_]) -> tuple[str, ...]:
    count = int(wrong.sum())
    return (f"{count} of {wrong.size} values are wrong",) if count and wrong.size > 1 else ()


def _kind(array: Array) -> str:
    return (
        f"{array.dtype.name}, shape {array.shape}"
        if array.ndim
        else f"{array.dtype.name}, a single value"
    )
