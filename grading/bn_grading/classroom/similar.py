"""Submissions that differ in names and formatting alone: for staff to look at, and not judged.

Two files count as the same when their syntax trees do, after every name that a file gives itself
(of a variable, an argument, a function, an attribute that it sets) is replaced by its number in
order of appearance, and comments, docstrings and annotations are left out.
"""

from __future__ import annotations

import ast
import hashlib
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

LEAST = 40
"""Nodes of a syntax tree: what is shorter is alike by chance."""
MOST = 200_000
"""Characters: nobody wrote a longer file by hand."""


def similar(files: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Return the groups of ids, two or more, whose files are one but for names and formatting."""
    groups: dict[str, list[str]] = defaultdict(list)
    for id_, source in files.items():
        form = normal_form(source)
        if form is not None:
            groups[form].append(id_)
    return sorted(tuple(sorted(group)) for group in groups.values() if len(group) > 1)


def normal_form(source: str) -> str | None:
    """Return a digest of a file without its names and formatting.

    None where it does not parse, or is too short, or too long, to say anything.
    """
    if len(source) > MOST:
        return None
    try:
        with warnings.catch_warnings():  # of a student's escapes and comparisons
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
        nodes = list(ast.walk(tree))
        if len(nodes) < LEAST:
            return None
        bare = _Bare().visit(tree)
        return hashlib.sha256(ast.dump(_Renamed(nodes).visit(bare)).encode()).hexdigest()
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


class _Bare(ast.NodeTransformer):
    """Leaves out what does nothing: docstrings and annotations."""

    def visit_Expr(self, node: ast.Expr) -> Any:
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        node.annotation = ast.Constant(None)
        if node.value is None:  # a field, or nothing at all
            return self.generic_visit(node)
        return self.generic_visit(ast.Assign([node.target], node.value))

    def visit_arg(self, node: ast.arg) -> Any:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        node.returns = None
        return self.generic_visit(node)


_NAMES = {
    ast.Name: ("id",),
    ast.arg: ("arg",),
    ast.FunctionDef: ("name",),
    ast.AsyncFunctionDef: ("name",),
    ast.ClassDef: ("name",),
    ast.ExceptHandler: ("name",),
    ast.MatchAs: ("name",),
    ast.MatchStar: ("name",),
    ast.MatchMapping: ("rest",),
}
"""Where a node names something, or stands for it."""


class _Renamed(ast.NodeTransformer):
    """Replaces a file's own names by numbers, in order of appearance."""

    def __init__(self, nodes: Iterable[ast.AST]) -> None:
        nodes = list(nodes)
        imports = [each for node in nodes for each in _aliases(node)]
        self._modules = {each.asname or each.name for each in imports}
        self._names = self._modules | {name for node in nodes for name in _given(node)}
        self._fields = {
            node.attr
            for node in nodes
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        }
        self._methods = {
            each.name
            for node in nodes
            if isinstance(node, ast.ClassDef)
            for each in node.body
            if isinstance(each, ast.FunctionDef) and not each.name.startswith("__")
        }
        self._named = self._names | self._methods
        self._members = self._fields | self._methods
        self._numbers: dict[str, str] = {}

    def _number(self, name: str, own: set[str]) -> str:
        return self._numbers.setdefault(name, f"n{len(self._numbers)}") if name in own else name

    def visit(self, node: ast.AST) -> Any:
        for kind in _NAMES.get(type(node), ()):
            name = getattr(node, kind)
            if name is not None:
                setattr(node, kind, self._number(name, self._named))
        return super().visit(node)

    def visit_alias(self, node: ast.alias) -> Any:
        """What is imported keeps its name; what it is called here does not."""
        node.asname = self._number(node.asname or node.name, self._names)
        return node

    def visit_Global(self, node: ast.Global) -> Any:
        node.names = [self._number(name, self._names) for name in node.names]
        return node

    def visit_Nonlocal(self, node: ast.Nonlocal) -> Any:
        node.names = [self._number(name, self._names) for name in node.names]
        return node

    def visit_Call(self, node: ast.Call) -> Any:
        """A method that is called may be a library's, as of an array; so may its arguments."""
        attribute: ast.Attribute | None = None
        own = False
        match node.func:
            case ast.Attribute(value=ast.Name(id=name)) as attribute if name in self._modules:
                own = False
            case ast.Attribute(value=ast.Name(id="self" | "cls")) as attribute:
                own = attribute.attr in self._members
            case ast.Attribute() as attribute:
                own = attribute.attr in self._methods
            case ast.Name(id=name):
                own = name in self._names and name not in self._modules
        if attribute is None:
            node.func = self.visit(node.func)
        else:
            attribute.value = self.visit(attribute.value)
            if own:
                attribute.attr = self._number(attribute.attr, self._members)
        node.args = [self.visit(each) for each in node.args]
        for each in node.keywords:
            if own and each.arg is not None:
                each.arg = self._number(each.arg, self._names)
            each.value = self.visit(each.value)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        """Where it is not called: of a module, it is a library's."""
        of_module = isinstance(node.value, ast.Name) and node.value.id in self._modules
        node.value = self.visit(node.value)
        if not of_module:
            node.attr = self._number(node.attr, self._members)
        return node


def _aliases(node: ast.AST) -> list[ast.alias]:
    return node.names if isinstance(node, ast.Import | ast.ImportFrom) else []


def _given(node: ast.AST) -> list[str]:
    """Return the names that a node gives."""
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store):
        return []
    found = (getattr(node, kind) for kind in _NAMES.get(type(node), ()))
    return [name for name in found if name is not None]
