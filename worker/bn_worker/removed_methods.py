"""Methods that NumPy has taken from its arrays: a file that calls them gets what they did.

Source: NumPy's 2.0 migration guide, "ndarray and scalar methods". An array's class cannot be given
a method, so the file's syntax tree asks through `method` for what is called like one of these.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

HELPER = "__array_method__"
"""How the transformed file calls `method`."""


class RemovedMethod(NamedTuple):
    """What a method did, and what to write in its place."""

    write: str
    meaning: Callable[..., Any]


def _itemset(array: Any, *args: Any) -> None:
    *place, value = args
    where = place[0] if len(place) == 1 else tuple(place)
    if not place:
        array[...] = value
    elif isinstance(where, tuple):
        array[where] = value
    else:
        array.flat[where] = value


def _newbyteorder(array: Any, new_order: str = "S") -> Any:
    return array.view(array.dtype.newbyteorder(new_order))


METHODS: Mapping[str, RemovedMethod] = {
    "ptp": RemovedMethod("np.ptp(a, …)", np.ptp),
    "itemset": RemovedMethod("a[index] = value", _itemset),
    "newbyteorder": RemovedMethod("a.view(a.dtype.newbyteorder(order))", _newbyteorder),
}
"""Each method that is supplied."""


def method(value: Any, name: str) -> Any:
    """Return an attribute of a value, or of an array what NumPy has taken from it.

    Raises:
        AttributeError: it has none, as without this.
    """
    if isinstance(value, np.ndarray | np.generic) and not hasattr(value, name):
        meaning = METHODS[name].meaning
        return lambda *args, **keywords: meaning(value, *args, **keywords)
    return getattr(value, name)


class _Asking(ast.NodeTransformer):
    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        """Ask through `method` for what is read under one of the names."""
        self.generic_visit(node)
        if node.attr not in METHODS or not isinstance(node.ctx, ast.Load):
            return node
        helper = ast.Name(HELPER, ast.Load())
        asked = ast.Call(helper, [node.value, ast.Constant(node.attr)], [])
        return ast.fix_missing_locations(ast.copy_location(asked, node))


def asking(tree: ast.Module, source: str) -> ast.Module:
    """Return a file's tree with the methods supplied; one that uses none stays as it is."""
    if any(f".{name}" in source for name in METHODS):
        return _Asking().visit(tree)  # type: ignore[no-any-return]
    return tree
