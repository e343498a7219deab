"""One-edit mutants of a source file: the same file with one operator, number or name changed.

The edits are made on the syntax tree, one at a time, in the order of the source: the same file
gives the same mutants, under the same ids, on every run.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from bn_evidence.mutants.operators import Edit, edits_of

SIMPLE = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Expr, ast.Return, ast.For)
_KEPT_ATTRIBUTES = ("running", "alpha", "momentum")
"""What a constructor sets and the grader does not always set itself."""

Path = tuple[tuple[str, int | None], ...]


@dataclass(frozen=True)
class Mutant:
    """One edited file."""

    fixture: str
    line: int
    column: int
    operator: str
    before: str
    """The edited expression or statement, as it was."""
    after: str
    statement: str
    """The whole statement that the edit is in, as it was."""
    source: str
    occurrence: int = 1
    """Counts the mutants of one operator at one place: a·b·c and a·b begin at the same column."""

    @property
    def id(self) -> str:
        """fixture:line:column:operator, and a number from the second of its kind on."""
        name = f"{self.fixture}:{self.line}:{self.column}:{self.operator}"
        return name if self.occurrence == 1 else f"{name}:{self.occurrence}"


def mutants(source: str, fixture: str) -> list[Mutant]:
    """Return every mutant of `source`, in its order; none is the same program as another."""
    tree = ast.parse(source)
    seen = {ast.unparse(tree) + "\n"}
    found: list[Mutant] = []
    counts: Counter[str] = Counter()
    for place in list(_places(tree)):
        for edit in _edits(tree, place):
            mutant = _mutant(fixture, place, edit, _edited(tree, place.path, edit.node))
            if mutant.source not in seen:
                seen.add(mutant.source)
                counts[mutant.id] += 1
                found.append(replace(mutant, occurrence=counts[mutant.id]))
    return found


def _mutant(fixture: str, place: _Place, edit: Edit, source: str) -> Mutant:
    node = place.node
    return Mutant(
        fixture,
        node.lineno,
        node.col_offset,
        edit.operator,
        ast.unparse(node),
        "" if edit.node is None else ast.unparse(edit.node),
        ast.unparse(place.statement),
        source,
    )


@dataclass(frozen=True)
class _Place:
    """A node in the tree, and how to reach it."""

    node: ast.expr | ast.stmt
    path: Path
    statement: ast.stmt
    function: ast.FunctionDef


def _edits(tree: ast.Module, place: _Place) -> Iterator[Edit]:
    if isinstance(place.node, SIMPLE) and not _is_docstring(place.node):
        yield Edit("statement deleted", None)
    parent = _at(tree, place.path[:-1])
    yield from edits_of(place.node, parent, place.function, _attributes(tree))


def _at(tree: ast.AST, path: Path) -> ast.AST:
    node = tree
    for name, index in path:
        value = getattr(node, name)
        node = value if index is None else value[index]
    return node


def _edited(tree: ast.Module, path: Path, new: ast.AST | None) -> str:
    """Return the source with `new` where `path` leads; None deletes the statement there."""
    parent = _at(tree, path[:-1])
    name, index = path[-1]
    old = getattr(parent, name)
    if index is None:
        setattr(parent, name, new)
    else:
        setattr(parent, name, [*old[:index], new or ast.Pass(), *old[index + 1 :]])
    try:
        return ast.unparse(tree) + "\n"
    finally:
        setattr(parent, name, old)


def _children(node: ast.AST) -> Iterator[tuple[tuple[str, int | None], ast.AST]]:
    for name, value in ast.iter_fields(node):
        if isinstance(value, ast.AST):
            yield (name, None), value
        elif isinstance(value, list):
            for index, each in enumerate(value):
                if isinstance(each, ast.AST):
                    yield (name, index), each


def _places(tree: ast.Module) -> Iterator[_Place]:
    """Walk through the functions that belong to batch norm, depth first."""
    wanted = _wanted(tree)
    for index, node in enumerate(tree.body):
        here: Path = (("body", index),)
        if isinstance(node, ast.FunctionDef) and node.name in wanted:
            yield from _body(node, here)
        elif isinstance(node, ast.ClassDef):
            for inner, method in enumerate(node.body):
                if isinstance(method, ast.FunctionDef):
                    yield from _body(method, (*here, ("body", inner)))


def _body(function: ast.FunctionDef, path: Path) -> Iterator[_Place]:
    for index, statement in enumerate(function.body):
        if function.name == "__init__" and not _sets_what_stays(statement):
            continue
        yield from _below(statement, (*path, ("body", index)), statement, function)


def _below(
    node: ast.AST, path: Path, statement: ast.stmt, function: ast.FunctionDef
) -> Iterator[_Place]:
    if isinstance(node, ast.Assert | ast.Raise | ast.arguments) or _is_docstring(node):
        return
    if isinstance(node, ast.stmt):
        statement = node
    if isinstance(node, ast.expr | ast.stmt):
        yield _Place(node, path, statement, function)
    for step, child in _children(node):
        yield from _below(child, (*path, step), statement, function)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _sets_what_stays(statement: ast.stmt) -> bool:
    """Whether a constructor's statement sets what the grader may leave alone."""
    if not isinstance(statement, ast.Assign):
        return False
    targets = ast.unparse(statement.targets[0])
    return any(name in targets for name in _KEPT_ATTRIBUTES)


def _wanted(tree: ast.Module) -> set[str]:
    """Return the functions that batch norm consists of: by their names, and what those call."""
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    found: set[str] = set()
    waiting: list[ast.AST] = [
        *classes,
        *(n for name, n in functions.items() if "batchnorm" in name),
    ]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef) and node in functions.values():
            found.add(node.name)
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name) and inner.id in functions and inner.id not in found:
                found.add(inner.id)
                waiting.append(functions[inner.id])
    return found


def _attributes(tree: ast.Module) -> list[str]:
    """Return the data attributes of `self`, in alphabetical order."""
    methods = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return sorted(
        {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "self"
            and node.attr not in methods
        }
    )
