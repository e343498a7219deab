"""Programs: comparisons of one form, run together on the values of all their cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from bn_oracle.arrays import Array
from numpy.typing import NDArray

from bn_properties.tape.traced import (
    ELEMENTWISE,
    Applied,
    Constant,
    Indices,
    Node,
    Observed,
    Summed,
    Taken,
)


@dataclass(frozen=True, eq=False)
class Comparison:
    """One quantity beside what it should be, not computed yet."""

    entry: int
    """Which property on which case it belongs to."""
    got: Node
    expected: Node
    bound: Array
    """As many as there are elements; 0 asks for equality."""


@dataclass(frozen=True, eq=False)
class Program:
    """Comparisons of one form, one after the other in every array."""

    got: Node
    expected: Node
    bound: Array
    starts: Indices
    """Where each comparison begins."""
    entries: Indices
    """Which entry each belongs to."""

    def worst(self, values: Array) -> Array:
        """Return each comparison's largest error over its bound, or NaN."""
        error = np.abs(run(self.got, values) - run(self.expected, values))
        ratio = error / self.bound
        ratio[(error == 0) & ~np.isnan(self.bound)] = 0.0
        return np.asarray(np.maximum.reduceat(ratio, self.starts))


def run(node: Node, values: Array) -> NDArray[Any]:
    """Return what a node gives where `values` are observed."""
    match node:
        case Observed(places):
            return values[places]
        case Constant(constant):
            return constant
        case Taken(of, indices):
            return run(of, values)[indices]
        case Summed(of, starts):
            terms = run(of, values).astype(np.float64, copy=False)  # what is true counts 1
            return np.asarray(np.add.reduceat(terms, starts))
        case Applied(name, arguments):
            return ELEMENTWISE[name](*(run(each, values) for each in arguments))


def programs(comparisons: Sequence[Comparison]) -> tuple[Program, ...]:
    """Return comparisons, those of one form together."""
    forms = sorted(
        ((f"{_form(each.got)} {_form(each.expected)}", number, each))
        for number, each in enumerate(comparisons)
    )
    return tuple(
        _together([each for *_, each in group])
        for _, group in groupby(forms, key=lambda each: each[0])
    )


def _together(comparisons: list[Comparison]) -> Program:
    lengths = np.array([each.bound.size for each in comparisons])
    return Program(
        merged([each.got for each in comparisons]),
        merged([each.expected for each in comparisons]),
        np.concatenate([each.bound for each in comparisons]),
        np.cumsum(lengths) - lengths,
        np.array([each.entry for each in comparisons]),
    )


def _form(node: Node) -> str:
    """Return a node without its numbers: what has one form can be merged."""
    match node:
        case Observed():
            return "o"
        case Constant(values):
            return f"c{values.dtype.kind}"
        case Taken(of, _):
            return f"t({_form(of)})"
        case Summed(of, _):
            return f"s({_form(of)})"
        case Applied(name, arguments):
            return f"{name}({','.join(map(_form, arguments))})"


def merged(nodes: Sequence[Node]) -> Node:
    """Return nodes of one form as one node, which gives what they give, one after the other."""
    match nodes[0]:
        case Observed():
            return Observed(np.concatenate([_field(each, "places") for each in nodes]))
        case Constant():
            return Constant(np.concatenate([_field(each, "values") for each in nodes]))
        case Applied(name, arguments):
            columns = zip(*(_field(each, "arguments") for each in nodes), strict=True)
            assert arguments
            return Applied(name, tuple(merged(column) for column in columns))
        case Taken():
            of, shifted = _shifted(nodes, "indices")
            return Taken(of, shifted)
        case Summed():
            of, shifted = _shifted(nodes, "starts")
            return Summed(of, shifted)


def _field(node: Node, name: str) -> Any:
    return getattr(node, name)


def _shifted(nodes: Sequence[Node], name: str) -> tuple[Node, Indices]:
    """Return what nodes refer to, merged, and their indices into that."""
    inner: list[Node] = [_field(each, "of") for each in nodes]
    lengths = np.array([length(each) for each in inner])
    offsets = np.cumsum(lengths) - lengths
    indices = [_field(each, name) + offset for each, offset in zip(nodes, offsets, strict=True)]
    return merged(inner), np.concatenate(indices)


def length(node: Node) -> int:
    """Return how many elements a node gives."""
    match node:
        case Observed(places):
            return len(places)
        case Constant(values):
            return len(values)
        case Taken(_, indices):
            return len(indices)
        case Summed(_, starts):
            return len(starts)
        case Applied(_, arguments):
            return length(arguments[0])
