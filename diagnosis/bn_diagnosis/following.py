"""What the statements of a file computed and read, in the order in which they were carried out."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
from bn_oracle.arrays import Array

_LONGEST = 120


class Assigned(Protocol):
    """A value that a line gave a name to; see `bn_worker.tracing`."""

    @property
    def frame(self) -> int:
        """Which call of which function."""
        ...

    @property
    def line(self) -> int:
        """The line; 0 for what was handed to the function."""
        ...

    @property
    def name(self) -> str:
        """What the value is called there."""
        ...

    @property
    def value(self) -> Array:
        """The value."""
        ...


@dataclass(frozen=True)
class Line:
    """A line of a submission, and what stands there."""

    number: int
    code: str


Origin = Literal["given", "renamed", "computed"]
"""Whether a function was given a value, or it was handed on under its own name; it was handed on
under another name; or a statement has computed it."""


class Read(NamedTuple):
    """An array, or a number, that a statement reads."""

    value: Array
    origin: Origin
    name: str = ""
    """What it is called there."""


class Computed(NamedTuple):
    """What a statement has computed, and what it reads."""

    statement: ast.stmt
    value: Array
    origin: Origin
    read: tuple[Read, ...]
    present: tuple[Array, ...]
    """All arrays that have a name by then."""
    is_overwritten: bool = False
    """Whether a later line of its function gives the same name another value."""
    calls_own: bool = False
    """Whether it calls a function of the file, or hands one to somebody who may."""
    reads_unknown: bool = False
    """Whether it reads something of an object that the trace does not know."""

    @property
    def returns(self) -> bool:
        """Whether it is the end of a function."""
        return isinstance(self.statement, ast.Return)

    def line(self, source: str) -> Line:
        """Return the line, and what stands there, cut where it is long."""
        code = " ".join((ast.get_source_segment(source, self.statement) or "").split())
        cut = code if len(code) <= _LONGEST else f"{code[:_LONGEST]} …"
        return Line(self.statement.lineno, cut)


_Latest = dict[tuple[int | None, str], Read]


def computed(trace: Sequence[Assigned], source: str) -> Iterator[Computed]:
    """Yield what each statement of a file computed, as far as `trace` has seen it."""
    tree = ast.parse(source)
    statements, calling, overwritten = _statements(tree), _calling(tree), _overwritten(tree)
    imported = _imported(tree)
    latest, within = _Latest(), _called_within(trace)
    for each in trace:
        statement = statements.get(each.line)
        if statement is not None:
            present = tuple(one.value for one in latest.values())
            origin = origin_of(statement, each.name)
            if _key(getattr(statement, "value", None)) is None:
                origin = "renamed" if _is_called_otherwise(statement, each, latest) else origin
            read = tuple(_read(statement, each, latest))
            yield Computed(
                statement,
                each.value,
                origin,
                read,
                present,
                is_overwritten=statement in overwritten,
                calls_own=statement in calling,
                reads_unknown=_reads_unknown(statement, each, latest, imported),
            )
        elif each.frame in within:
            # What another function of the file hands on is its own where it was given that itself.
            origin = "given" if _handed_on(each, latest) else "renamed"
        else:
            origin = "given"
        key = None if "." in each.name else each.frame, each.name
        latest[key] = Read(each.value, origin, each.name)


def _is_called_otherwise(
    statement: ast.stmt, each: Assigned, latest: Mapping[tuple[int | None, str], Read]
) -> bool:
    """Whether what is handed over under a name was called otherwise where it was made: what a call
    gives, or what is unpacked under a name that another value had there.
    """
    if not isinstance(statement, ast.Assign) or each.value.size < 2:
        return False
    value, name = statement.value, _last(each.name)
    unpacked = isinstance(statement.targets[0], ast.Tuple)
    if not isinstance(value, ast.Call) and not (unpacked and isinstance(value, ast.Name)):
        return False
    same, other = set[str](), False
    for (_, known), one in latest.items():
        if np.array_equal(one.value, each.value, equal_nan=True):
            same.add(_last(known))
        else:
            other |= _last(known) == name and one.value.shape == each.value.shape
    if name in same or not same:
        return False
    return other or isinstance(value, ast.Call)


def _called_within(trace: Sequence[Assigned]) -> frozenset[int]:
    """Return the calls that other calls of the file's functions have made."""
    first, last = dict[int, int](), dict[int, int]()
    for number, each in enumerate(trace):
        first.setdefault(each.frame, number)
        last[each.frame] = number
    return frozenset(
        frame
        for frame, began in first.items()
        if any(first[other] < began < last[other] for other in first)
    )


def _handed_on(each: Assigned, latest: Mapping[tuple[int | None, str], Read]) -> bool:
    return any(
        one.origin == "given"
        and _last(name) == _last(each.name)
        and np.array_equal(one.value, each.value, equal_nan=True)
        for (_, name), one in latest.items()
    )


def origin_of(statement: ast.stmt, name: str) -> Origin:
    """Return where a value comes from that a statement gives a name to."""
    value = getattr(statement, "value", None)
    if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Tuple):
        if isinstance(value, ast.Name | ast.Attribute):
            return "given"
        value = _element(statement.targets[0], value, name)
    if isinstance(value, ast.Name | ast.Attribute):
        return "given" if _last(ast.unparse(value)) == _last(name) else "renamed"
    key = _key(value)
    if key is not None:
        return "given" if key == _last(name) else "renamed"
    is_given = isinstance(value, ast.Subscript) and not _is_shape(value.value)
    return "given" if is_given else "computed"


def _element(target: ast.Tuple, value: ast.expr | None, name: str) -> ast.expr | None:
    """Return what a name is given where several are, side by side."""
    if isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts):
        for to, each in zip(target.elts, value.elts, strict=True):
            if ast.unparse(to) == name:
                return each
    return value


def _is_shape(value: ast.expr) -> bool:
    return isinstance(value, ast.Attribute) and value.attr == "shape"


def _key(value: ast.expr | None) -> str | None:
    """Return under which word something is taken out of a dictionary."""
    found: ast.expr | None = None
    if isinstance(value, ast.Subscript):
        found = value.slice
    elif (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Attribute)
        and value.func.attr in ("get", "setdefault", "pop")
        and value.args
    ):
        found = value.args[0]
    if isinstance(found, ast.Constant) and isinstance(found.value, str):
        return found.value
    return None


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _read(
    statement: ast.stmt, of: Assigned, latest: Mapping[tuple[int | None, str], Read]
) -> list[Read]:
    names = {
        ast.unparse(node)
        for node in ast.walk(statement)
        if isinstance(node, ast.Name | ast.Attribute | ast.Subscript)
        and isinstance(node.ctx, ast.Load)
    }
    if isinstance(statement, ast.AugAssign):
        names.add(ast.unparse(statement.target))
    found = (
        latest.get((None, name)) if "." in name else latest.get((of.frame, name)) for name in names
    )
    # Who reads a list reads all that is in it.
    whole = names - {
        ast.unparse(node.value)
        for node in ast.walk(statement)
        if isinstance(node, ast.Attribute | ast.Subscript)
    }
    held = (
        one
        for (frame, known), one in latest.items()
        if "[" in known and known.partition("[")[0] in whole and frame in (None, of.frame)
    )
    return [*(each for each in found if each is not None), *held]


def _calling(tree: ast.Module) -> frozenset[ast.stmt]:
    """Return the statements that call or name a function, or a method, that the file defines."""
    nodes = list(ast.walk(tree))
    own = {each.name for each in nodes if isinstance(each, ast.FunctionDef)}
    for each in nodes:
        if isinstance(each, ast.Assign) and isinstance(each.value, ast.Lambda):
            own |= set(_targets(each))
    return frozenset(each for each in _simple(nodes) if own & set(_called(each)))


_NO_VALUES = frozenset({"training", "shape", "ndim", "size", "dtype", "device"})
"""Attributes that hold no values of a layer, whatever has them."""


def _reads_unknown(
    statement: ast.stmt,
    of: Assigned,
    latest: Mapping[tuple[int | None, str], Read],
    imported: frozenset[str],
) -> bool:
    known = {name for frame, name in latest if frame in (None, of.frame)}
    for node in _attributes(statement):
        parts, root = [node.attr], node.value
        while isinstance(root, ast.Attribute):
            parts.append(root.attr)
            root = root.value
        if not isinstance(root, ast.Name) or root.id in imported or _NO_VALUES & set(parts):
            continue
        names = [root.id]
        for part in reversed(parts):
            names.append(f"{names[-1]}.{part}")
        if known.isdisjoint(names):
            return True
    return False


def _attributes(statement: ast.stmt) -> Iterator[ast.Attribute]:
    """Yield what a statement reads of objects, but for the functions that it calls."""
    inner = set[ast.expr]()
    for node in ast.walk(statement):
        if isinstance(node, ast.Call):
            inner.add(node.func)
        if isinstance(node, ast.Attribute) and node not in inner and isinstance(node.ctx, ast.Load):
            yield node
        if isinstance(node, ast.Attribute):
            inner.add(node.value)


def _imported(tree: ast.Module) -> frozenset[str]:
    return frozenset(
        (each.asname or each.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for each in node.names
    )


def _overwritten(tree: ast.Module) -> frozenset[ast.stmt]:
    """Return the statements of functions behind which the same name is given a value again, in one
    of the same block.
    """
    found = set[ast.stmt]()
    for node in ast.walk(tree):
        for block in (getattr(node, "body", None), getattr(node, "orelse", None)):
            later = set[str]()
            for statement in reversed(block if isinstance(block, list) else []):
                names = set(_targets(statement))
                if names & later:
                    found.add(statement)
                later |= names
    return frozenset(found)


def _targets(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.Assign):
        yield from map(ast.unparse, statement.targets)
    elif isinstance(statement, ast.AugAssign):
        yield ast.unparse(statement.target)


def _called(statement: ast.stmt) -> Iterator[str]:
    for node in ast.walk(statement):
        if isinstance(node, ast.Call):
            yield _last(ast.unparse(node.func))
        elif isinstance(node, ast.Name):
            yield node.id


def _simple(nodes: Iterable[ast.AST]) -> Iterator[ast.stmt]:
    """Yield the statements that no other ones stand in."""
    for node in nodes:
        if isinstance(node, ast.stmt) and not hasattr(node, "body"):
            yield node


def _statements(tree: ast.Module) -> dict[int, ast.stmt]:
    """Return the simple statement that stands on each line."""
    found: dict[int, ast.stmt] = {}
    for node in _simple(ast.walk(tree)):
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1):
            found.setdefault(number, node)
    return found
