"""Arrays that are not there yet: what is computed of observed values, written down.

A `Traced` array behaves as NumPy's in what properties do: arithmetic, comparisons, slices, sums,
concatenation, matrix products with constants. Each step becomes a node. What needs the numbers
themselves, a branch above all, raises `Untraceable`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


class Untraceable(Exception):
    """The step needs the numbers themselves, or is none that is written down."""


@dataclass(frozen=True, eq=False)
class Observed:
    """Values of the replies, by their places."""

    places: Indices


@dataclass(frozen=True, eq=False)
class Constant:
    """Numbers that no submission changes."""

    values: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Applied:
    """An elementwise function of arrays of one length; `name` is in `ELEMENTWISE`."""

    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, eq=False)
class Taken:
    """Elements of another array, by their indices in it."""

    of: Node
    indices: Indices


@dataclass(frozen=True, eq=False)
class Summed:
    """Sums over stretches of another array; each begins where the one before it ends."""

    of: Node
    starts: Indices


Node = Observed | Constant | Applied | Taken | Summed
"""A step; each gives a one-dimensional array."""

_UFUNCS = (
    np.add, np.subtract, np.multiply, np.true_divide, np.negative, np.absolute, np.power,
    np.square, np.sqrt, np.maximum, np.minimum,
    np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal,
    np.logical_and, np.logical_or, np.logical_not, np.bitwise_and, np.bitwise_or, np.invert,
    np.isfinite, np.isinf, np.isnan,
)  # fmt: skip
ELEMENTWISE: Mapping[str, Callable[..., NDArray[Any]]] = {
    **{ufunc.__name__: ufunc for ufunc in _UFUNCS},
    "where": np.where,
}
"""The elementwise functions that are written down."""


class Traced(np.lib.mixins.NDArrayOperatorsMixin):
    """An array of a shape, whose elements are some of a node's."""

    def __init__(self, node: Node, index: Indices) -> None:
        """Hold, for each element, its index in what `node` gives."""
        self.node, self.index = node, index

    @property
    def shape(self) -> tuple[int, ...]:
        """As of an array."""
        return self.index.shape

    @property
    def ndim(self) -> int:
        """As of an array."""
        return self.index.ndim

    @property
    def size(self) -> int:
        """As of an array."""
        return self.index.size

    def flat(self) -> Node:
        """Return the node that gives the elements, one after the other."""
        return _taken(self.node, self.index)

    def __getitem__(self, key: Any) -> Traced:
        """Return a part, as of an array."""
        if isinstance(key, Traced):
            raise Untraceable("an index that depends on what was observed")
        return Traced(self.node, self.index[key])

    def __len__(self) -> int:
        """Return the length of the first axis."""
        return len(self.index)

    def astype(self, dtype: Any, *, copy: bool = True) -> Traced:
        """Return itself: all that is observed is computed with in float64."""
        return self

    def reshape(self, *shape: Any) -> Traced:
        """Return the same elements in another shape."""
        return Traced(self.node, self.index.reshape(*shape))

    def sum(self, axis: int | tuple[int, ...] | None = None) -> Traced:
        """Return sums over axes."""
        axes = range(self.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
        summed = [each % self.ndim for each in axes]
        kept = [each for each in range(self.ndim) if each not in summed]
        moved = self.index.transpose(*kept, *summed)
        shape = moved.shape[: len(kept)]
        size = math.prod(moved.shape[len(kept) :])
        if size == 0:
            raise Untraceable("a sum of nothing")
        starts = _counted((math.prod(shape),)) * size
        return Traced(Summed(_taken(self.node, moved), starts), _counted(shape))

    def __bool__(self) -> bool:
        """Refuse: no branch can be taken yet."""
        raise Untraceable("a branch on what was observed")

    def __getattr__(self, name: str) -> Any:
        """Refuse what is not written down."""
        if name.startswith("__"):
            raise AttributeError(name)
        raise Untraceable(f"an array's {name}")

    def __float__(self) -> float:
        """Refuse: there are no numbers yet."""
        raise Untraceable("the numbers themselves")

    def __array__(self, *arguments: Any, **keywords: Any) -> NDArray[Any]:
        """Refuse: there are no numbers yet."""
        raise Untraceable("the numbers themselves")

    def all(self) -> Traced:
        """Return whether every element is true, as one element."""
        return _applied("equal", (_applied("logical_not", (self,)).sum(), 0.0))

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **keywords: Any) -> Any:
        """Write an elementwise function down, or a matrix product."""
        if method != "__call__" or keywords:
            raise Untraceable(f"{ufunc.__name__}.{method}")
        if ufunc is np.matmul:
            return _product(*inputs)
        return _applied(ufunc.__name__, inputs)

    def __array_function__(
        self, function: Any, types: Any, arguments: Any, keywords: Any
    ) -> Traced:
        """Write down what is no elementwise function."""
        if function is np.where and len(arguments) == 3:
            return _applied("where", arguments)
        if function is np.concatenate and not keywords and len(arguments) == 1:
            return _joined(arguments[0])
        raise Untraceable(f"numpy.{function.__name__}")


def _counted(shape: tuple[int, ...]) -> Indices:
    return np.arange(math.prod(shape), dtype=np.int64).reshape(shape)


def observed(places: Indices) -> Any:
    """Return values of the replies, in the shape of `places`; to properties, it is an array."""
    return Traced(Observed(places.reshape(-1)), _counted(places.shape))


def traced(value: Any) -> Traced:
    """Return `value`, a constant unless it is traced already."""
    if isinstance(value, Traced):
        return value
    array = np.asarray(value)
    return Traced(Constant(array.reshape(-1)), _counted(array.shape))


def _applied(name: str, inputs: Sequence[Any]) -> Traced:
    if name not in ELEMENTWISE:
        raise Untraceable(f"numpy.{name}")
    arguments = [traced(each) for each in inputs]
    shape = broadcast_shape(*arguments)
    spread = (
        _taken(each.node, each.index if each.shape == shape else np.broadcast_to(each.index, shape))
        for each in arguments
    )
    return Traced(Applied(name, tuple(spread)), _counted(shape))


def broadcast_shape(*arrays: Traced) -> tuple[int, ...]:
    """Return the shape that arrays have together."""
    first, *others = {each.shape for each in arrays}
    return np.broadcast_shapes(first, *others) if others else first


def _taken(node: Node, index: Indices) -> Node:
    """Return some elements of what a node gives, one after the other."""
    flat = index.reshape(-1)
    if isinstance(node, Constant):
        return Constant(node.values[flat])
    if isinstance(node, Observed):
        return Observed(node.places[flat])
    return Taken(node, flat)


def _joined(arrays: Sequence[Any]) -> Traced:
    """Return arrays one after the other along their first axis: parts of one node, or copies."""
    parts = [traced(each) for each in arrays]
    if any(each.node is not parts[0].node for each in parts):
        raise Untraceable("a concatenation of different arrays")
    return Traced(parts[0].node, np.concatenate([each.index for each in parts]))


def _product(left: Any, right: Any) -> Traced:
    """Return the product of two matrices."""
    first, second = traced(left), traced(right)
    if first.ndim != 2 or second.ndim != 2:
        raise Untraceable("a product of anything but matrices")
    columns = Traced(second.node, second.index.T[None, :, :])
    product: Traced = first[:, None, :] * columns
    return product.sum(axis=2)
