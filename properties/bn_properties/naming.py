"""A course's own names: CS231n writes `dx` for dz, and its students read that more easily."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from bn_properties.record_types import ArrayRecord
from bn_properties.records import Call, Cause, Counterexample

Role = Literal[
    "z",
    "G",
    "out",
    "dz",
    "dgamma",
    "dbeta",
    "gamma",
    "beta",
    "eps",
    "running_mean",
    "running_var",
    "mean",
    "var",
    "u",
]
"""What may have a name of its own."""
Names = Mapping[Role, str]

SAID: Mapping[Role, str] = {
    "z": "z",
    "G": "G",
    "out": "ẑ",
    "dz": "dz",
    "dgamma": "dγ",
    "dbeta": "dβ",
    "gamma": "γ",
    "beta": "β",
    "eps": "ε",
    "running_mean": "running mean",
    "running_var": "running variance",
    "mean": "μ",
    "var": "σ²",
    "u": "u",
}
"""How each is said in a message."""


def named(text: str, names: Names) -> str:
    """Return a text with a course's names in place of our symbols."""
    by_symbol = {SAID[role]: name for role, name in names.items()}
    if not by_symbol:
        return text
    longest_first = sorted(by_symbol, key=len, reverse=True)
    # ∂Div/∂γ is a name of its own, and so is B² or μ_B.
    pattern = rf"(?<![\w∂′'])({'|'.join(map(re.escape, longest_first))})(?![\w′²_])"
    return re.sub(pattern, lambda found: by_symbol[found[1]], text)


def legend(names: Names) -> tuple[tuple[str, str], ...]:
    """Return each symbol that stands in equations under another name, and that name."""
    symbols = {**SAID, "running_mean": "M", "running_var": "V"}
    return tuple((symbols[role], name) for role, name in names.items() if symbols[role] != name)


def named_cause(cause: Cause, names: Names) -> Cause:
    """Return a cause whose words have a course's names; its equations stay as they are."""
    told = {"title": named(cause.title, names), "explanation": named(cause.explanation, names)}
    return cause.model_copy(update=told)


def named_counterexample(example: Counterexample, names: Names) -> Counterexample:
    """Return a counterexample whose quantities have a course's names."""
    comparison = example.comparison
    if comparison is not None:
        said = named(comparison.quantity, names)
        comparison = comparison.model_copy(update={"quantity": said})
    calls = tuple(_call(each, names) for each in example.calls)
    return example.model_copy(update={"calls": calls, "comparison": comparison})


def _call(call: Call, names: Names) -> Call:
    def keyed(values: Mapping[str, ArrayRecord]) -> dict[str, ArrayRecord]:
        return {_key(key, names): value for key, value in values.items()}

    changed = {
        "call": named(call.call, names),
        "inputs": {_key(key, names): value for key, value in call.inputs.items()},
        "got": keyed(call.got),
        "expected": keyed(call.expected),
        "bound": keyed(call.bound),
    }
    return call.model_copy(update=changed)


def _key(key: str, names: Names) -> str:
    return names.get(key, key)  # type: ignore[call-overload,no-any-return]  # a key that is no role
