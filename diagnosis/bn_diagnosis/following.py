"""What the statements of a file computed and read, in the order in which they were carried out."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

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


class Read(NamedTuple):
    """An array, or a number, that a statement reads."""

    value: Array
    origin: Literal["given", "renamed", "computed"]
    """Whether the function was given it (or another statement has only handed it on under its own
    name), another statement has given it another name, or one has computed it."""


class Computed(NamedTuple):
    """What a statement has computed, and what it reads."""

    statement: ast.stmt
    value: Array
    read: tuple[Read, ...]
    present: tuple[Array, ...]
    """All arrays that have a name by then."""

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


def computed(trace: Iterable[Assigned], source: str) -> Iterator[Computed]:
    """Yield what each statement of a file computed, as far as `trace` has seen it."""
    statements, latest = _statements(source), _Latest()
    for each in trace:
        statement = statements.get(each.line)
        if statement is not None:
            present = tuple(one.value for one in latest.values())
            yield Computed(statement, each.value, tuple(_read(statement, each, latest)), present)
        origin = "given" if statement is None else _origin(statement, each.name)
        latest[None if "." in each.name else each.frame, each.name] = Read(each.value, origin)


def _origin(statement: ast.stmt, name: str) -> Literal["given", "renamed", "computed"]:
    value = getattr(statement, "value", None)
    if isinstance(value, ast.Name | ast.Attribute):
        same = _last(ast.unparse(value)) == _last(name)
        return "given" if same else "renamed"
    # What is taken apart keeps what it was: a, b = cache.
    return "given" if isinstance(value, ast.Tuple | ast.Subscript) else "computed"


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
    return [each for each in found if each is not None]


def _statements(source: str) -> dict[int, ast.stmt]:
    """Return the simple statement that stands on each line."""
    found: dict[int, ast.stmt] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.stmt) and not hasattr(node, "body"):
            for number in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                found.setdefault(number, node)
    return found
