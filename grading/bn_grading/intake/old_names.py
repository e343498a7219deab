"""What a file uses of NumPy that NumPy has removed: told once, and supplied where it runs."""

from __future__ import annotations

import ast

import numpy as np
from bn_worker.removed_methods import METHODS
from bn_worker.removed_names import REMOVED


def old_names(source: str) -> tuple[str, ...]:
    """Say of each name that a file takes from NumPy, and NumPy has no more, what to write instead.

    A file that does not parse uses nothing.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return ()
    modules, found = set[str](), list[str]()
    methods = dict.fromkeys(
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in METHODS
        and not (isinstance(node.value, ast.Name) and node.value.id in ("np", "numpy"))
        and not hasattr(np.ndarray, node.attr)
    )
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {each.asname or "numpy" for each in node.names if each.name == "numpy"}
        elif isinstance(node, ast.ImportFrom) and node.module == "numpy" and not node.level:
            found += [each.name for each in node.names]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found += [node.attr] if node.value.id in modules else []
    gone = [name for name in dict.fromkeys(found) if name in REMOVED and name not in dir(np)]
    return tuple(
        f"uses np.{name}, which NumPy has removed: write {REMOVED[name].write}" for name in gone
    ) + tuple(
        f"uses the method {name}, which arrays have no more: write {METHODS[name].write}"
        for name in methods
    )
