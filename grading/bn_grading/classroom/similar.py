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
from collections.abc import Iterable, Sequence

from bn_grading.intake.submission import Submission

LEAST = 40
"""Nodes of a syntax tree: what is shorter is alike by chance."""


def similar(submissions: Sequence[Submission]) -> list[tuple[str, ...]]:
    """Return the groups of ids, two or more, that share a file but for names and formatting.

    A file that is the same to the byte in most of the class was handed out, and says nothing.
    """
    handed_out = _handed_out(submissions)
    groups: dict[str, dict[str, None]] = defaultdict(dict)
    for submission in submissions:
        for source in submission.files.values():
            if source in handed_out:
                continue
            form = normal_form(source)
            if form is not None:
                groups[form][submission.id] = None
    found = {tuple(sorted(group)) for group in groups.values() if len(group) > 1}
    return sorted(found)


def _handed_out(submissions: Sequence[Submission]) -> set[str]:
    counts: dict[str, int] = defaultdict(int)
    for submission in submissions:
        for source in set(submission.files.values()):
            counts[source] += 1
    return {
        source for source, count in counts.items() if count > 2 and 2 * count > len(submissions)
    }


def normal_form(source: str) -> str | None:
    """Return a digest of a file without its names and formatting.

    None where it does not parse, or is too short to say anything.
    """
    try:
        with warnings.catch_warnings():  # of a student's escapes and comparisons
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
        nodes = list(ast.walk(tree))
        if len(nodes) < LEAST:
            return None
        _strip(nodes)
        _Renamed(_own_names(nodes), _own_attributes(nodes)).visit(tree)
        return hashlib.sha256(ast.dump(tree).encode()).hexdigest()
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def _strip(nodes: Iterable[ast.AST]) -> None:
    """Leave out what does nothing: docstrings, and annotations of arguments and results."""
    for node in nodes:
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [  # type: ignore[attr-defined]
                each
                for each in body
                if not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
            ]
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None


def _own_names(nodes: Iterable[ast.AST]) -> set[str]:
    """Return the variables, arguments, functions, classes and modules that a file names."""
    own = set[str]()
    for node in nodes:
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                own.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                own.add(name)
            case ast.ClassDef(name=name):
                own.add(name)
            case ast.alias(name=name, asname=other):
                own.add(other or name)
    return own


def _own_attributes(nodes: Iterable[ast.AST]) -> set[str]:
    """Return the attributes that a file sets, and its methods: others are a library's."""
    own = set[str]()
    for node in nodes:
        match node:
            case ast.Attribute(attr=name, ctx=ast.Store()):
                own.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                own.add(name)
    return {name for name in own if not (name.startswith("__") and name.endswith("__"))}


class _Renamed(ast.NodeVisitor):
    """Replaces a file's own names by numbers, in order of appearance."""

    def __init__(self, names: set[str], attributes: set[str]) -> None:
        self._names, self._attributes = names, attributes
        self._numbers: dict[tuple[str, str], str] = {}

    def _number(self, kind: str, name: str) -> str:
        return self._numbers.setdefault((kind, name), f"{kind}{len(self._numbers)}")

    def _name(self, name: str) -> str:
        return self._number("n", name) if name in self._names else name

    def _attribute(self, name: str) -> str:
        return self._number("a", name) if name in self._attributes else name

    def visit(self, node: ast.AST) -> None:
        match node:
            case ast.Name():
                node.id = self._name(node.id)
            case ast.arg():
                node.arg = self._name(node.arg)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                node.name = self._name(node.name)
            case ast.Attribute():
                node.attr = self._attribute(node.attr)
            case ast.alias():  # what is imported keeps its name; what it is called here does not
                node.asname = self._name(node.asname or node.name)
            case ast.Call(func=ast.Name(id=name)) if name in self._names:
                self._keywords(node)
            case ast.Call(func=ast.Attribute(attr=name)) if name in self._attributes:
                self._keywords(node)
        self.generic_visit(node)

    def _keywords(self, call: ast.Call) -> None:
        """A call of one of the file's own functions names its arguments."""
        for each in call.keywords:
            if each.arg is not None:
                each.arg = self._name(each.arg)
