"""How a course's class is constructed: which arguments, by position or by keyword."""

from __future__ import annotations

import inspect
from typing import Any

from bn_worker.runtimes.base import Spec


def make(spec: Spec, names: dict[str, Any], setup: dict[str, Any]) -> Any:
    """Call the first of the interface's classes that there is, as the course calls it."""
    cls = next(names[name] for name in spec["classes"] if name in names)
    given = {name for name, value in setup.items() if value is not None}
    if setup.get("cumulative"):
        setup, given = {**setup, "momentum": None}, given | {"momentum"}
    arguments = [setup[name] for name in spec["arguments"] if name in given]
    keyword_only = _keyword_only(cls)
    if len(arguments) == 2 and keyword_only:
        # `def __init__(self, n, *, alpha=0.9)`: the second argument has one place to go, or the
        # place that goes by its name.
        second = [name for name in spec["arguments"] if name in given][1]
        known = [name for name in keyword_only if name in _NAMES.get(second, ())]
        if known or len(keyword_only) == 1:
            return cls(arguments[0], **{(known or keyword_only)[0]: arguments[1]})
    keywords = {
        keyword: setup[name] for keyword, name in spec["keyword_arguments"].items() if name in given
    }
    return cls(*arguments, **keywords)


_NAMES = {
    "momentum": ("momentum", "alpha", "decay", "rho"),
    "eps": ("eps", "epsilon"),
}
"""What a constructor's second argument may be called, where the course gives it by position."""

_constructors: dict[Any, list[str]] = {}


def _keyword_only(cls: Any) -> list[str]:
    """Return the constructor's keyword-only parameters, if it takes one by position."""
    if id(cls) not in _constructors:
        _constructors[id(cls)] = _find_keyword_only(cls)
    return _constructors[id(cls)]


def _find_keyword_only(cls: Any) -> list[str]:
    try:
        parameters = list(inspect.signature(cls).parameters.values())
    except (TypeError, ValueError):
        return []
    by_position = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    rest = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    keyword = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    return keyword if len(by_position) == 1 and not rest else []
