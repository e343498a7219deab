"""What a file defines and imports at its top level, found without running it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Definitions:
    """What a file defines and imports at its top level."""

    defined: frozenset[str]
    imported: frozenset[str]
    derived: frozenset[str] = frozenset()
    """Classes with a base other than object, and what is made of some: other names for them, and,
    where one of them is a framework's module, what an expression gives.
    """
    parsed: bool = True
    """Whether the file is Python at all."""


_DEFINITION = re.compile(r"^(?:class|def)\s+(\w+)", re.MULTILINE)
_IMPORT = re.compile(r"^(?:import|from)\s+(\w+)", re.MULTILINE)


def definitions(source: str) -> Definitions:
    """Return what `source` defines and imports, without running it.

    A file that does not parse is read line by line, so that its course is still recognised.
    """
    try:
        return _of(list(_statements(ast.parse(source).body)))
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return Definitions(
            frozenset(_DEFINITION.findall(source)),
            frozenset(_IMPORT.findall(source)),
            parsed=False,
        )


def _of(body: list[ast.stmt]) -> Definitions:
    defined: set[str] = set()
    imported: set[str] = set()
    derived: set[str] = set()
    modules = any("Module" in ast.unparse(base) for each in body for base in _bases(each))
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            defined.add(node.name)
            if isinstance(node, ast.ClassDef) and any(
                not isinstance(base, ast.Name) or base.id != "object" for base in node.bases
            ):
                derived.add(node.name)
        elif isinstance(node, ast.Assign):
            names = {target.id for target in node.targets if isinstance(target, ast.Name)}
            defined |= names
            value = node.value
            made = modules and isinstance(value, ast.Call | ast.Subscript)
            if made or (isinstance(value, ast.Name) and value.id in derived):
                derived |= names
        elif isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported.add(node.module.partition(".")[0])
    return Definitions(frozenset(defined), frozenset(imported), frozenset(derived))


def _bases(node: ast.stmt) -> list[ast.expr]:
    return node.bases if isinstance(node, ast.ClassDef) else []


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Return the statements of a module, also those under if, try and with."""
    for node in body:
        yield node
        for inner in ("body", "orelse", "finalbody"):
            if isinstance(node, ast.If | ast.Try | ast.With):
                yield from _statements(getattr(node, inner, []))
