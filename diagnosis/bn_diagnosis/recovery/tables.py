"""All formulas that are one edit away from a program, with their values on the evidence."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from bn_oracle.arrays import Array
from numpy.typing import NDArray

from bn_diagnosis.recovery.edits import Edit, edits
from bn_diagnosis.recovery.forms import RESULT, Program
from bn_diagnosis.recovery.trees import Path, Tree, Values, combined, mentioned, symbol

CLOSE = 1e-8
"""How far, relative to the largest value, two values of one formula lie apart.

Measured, not derived: on data as well-conditioned as the evidence, all right forms that were looked
at lie within 1e-14, and the smallest real mistake is 2.9e-5 away. Only the name of a mistake rests
on it, which is then held to everything that was observed; no verdict does.
"""

EXACT = 1e-12
"""The same for two ways of computing one formula; rounding is a hundredth of it."""


def close(one: Array, other: Array, within: float = CLOSE) -> bool:
    """Whether two values are one, layer by layer; what is not finite must not be in either."""
    if one.shape != other.shape:
        return False
    size = np.maximum(np.abs(one), np.abs(other)).max(axis=(-2, -1), keepdims=True)
    return bool((np.abs(one - other) <= within * size).all())


def vanishes(value: Array, right: Array) -> bool:
    """Whether a value is nothing beside the right one; what vanishes is explained by anything."""
    return bool(np.abs(value).max() <= CLOSE * np.abs(right).max())


def projecting(size: int) -> Array:
    """Return the weights that make one number of a value of so many."""
    return np.cos(1.0 + np.arange(size, dtype=np.float64) * 2.399963)


class Run:
    """A program's quantities on the evidence; an edited one is computed from where it differs."""

    def __init__(self, program: Program, symbols: Mapping[str, Array]) -> None:
        """Compute all quantities."""
        self.program = program
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
            KeyError, ValueError: what is then put together does not fit.
        """
        changed = Changed(self)
        for name, tree in edit.made(self.program).bindings.items():
            if tree is not self.program.bindings[name] or changed.reaches(tree):
                changed.give(name, changed.value(name, tree))
        return changed.result

    def new(self, edit: Edit) -> Array:
        """Return the value of what an edit puts in one place.

        Raises:
            KeyError, ValueError: it cannot be computed there.
        """
        return self.at(edit.binding, edit.new)

    def at(self, binding: str, tree: Tree) -> Array:
        """Return the value of a tree where a quantity is computed.

        Raises:
            KeyError, ValueError: it cannot be computed there.
        """
        return self._values[binding](tree)

    def placed(self, binding: str, path: Path, values: Array) -> Array:
        """Return what it gives where many other values stand in one place: (values, …)."""
        changed = Changed(self)
        for name, tree in self.program.bindings.items():
            if name == binding or changed.reaches(tree):
                places = {path: values} if name == binding else {}
                changed.give(name, changed.placed(name, tree, places))
        return changed.result


class Changed:
    """A run, some of whose quantities have other values; only what depends on them is computed
    again.
    """

    def __init__(self, run: Run) -> None:
        """Start from what the run has."""
        self._run, self._names = run, set[str]()
        self._values: dict[Tree, Array] = {}

    @property
    def result(self) -> Array:
        """What the program gives."""
        return self._values.get(symbol(RESULT), self._run.result)

    def reaches(self, tree: Tree) -> bool:
        """Whether a quantity that has changed is in a tree."""
        return not self._names.isdisjoint(mentioned(tree))

    def give(self, name: str, value: Array) -> None:
        """Change a quantity, before anything that is computed of it is asked for."""
        self._names.add(name)
        self._values[symbol(name)] = value

    def value(self, binding: str, tree: Tree) -> Array:
        """Return the value of a tree where a quantity is computed.

        Raises:
            KeyError, ValueError: it cannot be computed there.
        """
        if not self.reaches(tree):
            return self._run.at(binding, tree)
        found = self._values.get(tree)
        if found is None:
            found = combined(tree, [self.value(binding, part) for part in tree.parts])
            self._values[tree] = found
        return found

    def placed(self, binding: str, tree: Tree, places: Mapping[Path, Array]) -> Array:
        """Return a tree's value where other values than its own stand in some places.

        A value may have more axes in front: then the whole has them, too.
        """
        if not places:
            return self.value(binding, tree)
        if () in places:
            return places[()]
        parts = list[Array]()
        for here, part in enumerate(tree.parts):
            within = {path[1:]: each for path, each in places.items() if path[0] == here}
            parts.append(self.placed(binding, part, within))
        return combined(tree, parts)


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """A program's edits, and what each gives: those alone that give another value of its shape."""

    program: Program
    numbers: NDArray[np.int16]
    """Which of the program's edits they are."""
    edits: tuple[Edit, ...]
    values: Array
    """(edits, numbers)."""
    right: Array
    """What the program gives."""


def table(program: Program, symbols: Mapping[str, Array], shape: Sequence[int]) -> Table:
    """Return the table of a program; edits whose value is not finite, or of no fitting shape, are
    left out, and so are those that give what the program gives.
    """
    made = tuple(edits(program, tuple(symbols)))
    values = np.full((len(made), *shape), np.nan)
    with np.errstate(all="ignore"):
        run = Run(program, symbols)
        for (binding, path, _), numbers in alike(run, made).items():
            stacked = np.stack([run.new(made[each]) for each in numbers])
            with contextlib.suppress(ValueError):
                given = run.placed(binding, path, stacked)
                if given.shape[1:] == tuple(shape):
                    values[numbers] = given
        for number, edit in enumerate(made):
            if edit.everywhere:
                with contextlib.suppress(KeyError, ValueError):
                    value = run.edited(edit)
                    if value.shape == tuple(shape):
                        values[number] = value
        size = np.maximum(np.abs(values), np.abs(run.result)).max(axis=(-2, -1), keepdims=True)
        same = (np.abs(values - run.result) <= CLOSE * size).all(axis=(1, 2, 3))
        nothing = np.abs(values).max(axis=(1, 2, 3)) <= CLOSE * np.abs(run.result).max()
        kept = np.isfinite(values).all(axis=(1, 2, 3)) & ~same & ~nothing
    places = np.nonzero(kept)[0].astype(np.int16)
    flat = values[kept].reshape(len(places), int(np.prod(shape)))
    return Table(program, places, tuple(made[each] for each in places), flat, run.result)


Content = tuple[Array, NDArray[np.int16]]
"""What is in an index."""
Keep = Callable[[str, Callable[[], Content]], Content]
"""Returns what is kept under a name, or makes it and keeps it."""


def unkept(name: str, make: Callable[[], Content]) -> Content:
    """Keep nothing."""
    return make()


@dataclass(frozen=True, eq=False, repr=False)
class Index:
    """A program's edits by one number each, the projection of what they give; small enough to keep
    many.
    """

    projections: Array
    """In ascending order."""
    numbers: NDArray[np.int16]
    """Which of the program's edits, or which ones, gives that: (edits,) or (edits, edits a set)."""

    def near(self, wanted: Array) -> list[Any]:
        """Return the numbers of those that may give a value."""
        middle, room = projected(wanted)
        low, high = np.searchsorted(self.projections, (middle - room, middle + room))
        found: list[Any] = self.numbers[low:high].tolist()
        return found


def projected(value: Array) -> tuple[float, float]:
    """Return the projection of a value, and how far that of the same value may lie from it."""
    flat = value.reshape(-1)
    weights = projecting(flat.size)
    return float(flat @ weights), float(CLOSE * np.abs(flat).max() * np.abs(weights).sum())


def index(program: Program, symbols: Mapping[str, Array], shape: Sequence[int]) -> Index:
    """Return the index of a program's edits of one place, and of those made throughout."""
    made = table(program, symbols, shape)
    values = made.values @ projecting(made.values.shape[1])
    order = np.argsort(values, kind="stable")
    return Index(values[order], made.numbers[order])


class Place(NamedTuple):
    """Where edits put something, and the shape of its value."""

    binding: str
    path: Path
    shape: tuple[int, ...]


def alike(run: Run, made: Sequence[Edit]) -> dict[Place, list[int]]:
    """Return the numbers of the edits of each place whose new values have one shape."""
    found: dict[Place, list[int]] = {}
    for number, edit in enumerate(made):
        if not edit.everywhere:
            with contextlib.suppress(KeyError, ValueError):
                key = Place(edit.binding, edit.path, run.new(edit).shape)
                found.setdefault(key, []).append(number)
    return found
