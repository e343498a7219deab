"""A counterexample's calls by role: which array is z and which the output, by any name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from bn_oracle.arrays import Array, to_rows
from bn_properties.naming import SAID, Role
from bn_properties.record_types import ArrayRecord
from bn_properties.records import Call

from bn_reports.text.visible import one_line

_SYMBOLS: Mapping[Role, str] = {**SAID, "running_mean": "M", "running_var": "V"}
"""As equations have them."""

What = Literal["construct", "train", "infer", "backward", "infer_backward", "set", "other"]


@dataclass(frozen=True)
class Named:
    """The names of one part of a submission: how it calls our symbols."""

    names: Mapping[str, str]
    """By symbol, as a record has them."""

    def key(self, role: Role) -> str:
        """Return the name that stands in a record's calls."""
        return self.names.get(_SYMBOLS[role], role)

    def shown(self, role: Role) -> str:
        """Return the file's own name, or else the symbol."""
        return one_line(self.names.get(_SYMBOLS[role], _SYMBOLS[role]))

    def what(self, call: Call) -> What:
        """Return which kind of call it is."""
        if call.call == "construct":
            return "construct"
        if call.call.startswith(("set other parameters", "write other parameters")):
            return "set"
        differentiates = self.key("dz") in call.expected and self.key("G") in call.inputs
        if call.call.startswith("backward") and differentiates:
            return "infer_backward" if "inference" in call.call else "backward"
        if self.key("out") in call.expected and self.key("z") in call.inputs:
            return "train" if call.intermediates else "infer"
        return "other"

    def given(self, call: Call, role: Role) -> ArrayRecord | float | None:
        """Return what a call was given."""
        return call.inputs.get(self.key(role))


@dataclass
class Layer:
    """What is known of a layer before a call: the parameters, and the latest training batch."""

    named: Named
    eps: float | None = None
    momentum: float | None = None
    gamma: Array | None = None
    beta: Array | None = None
    running_mean: Array | None = None
    running_var: Array | None = None
    trained: Call | None = None
    certain: bool = True
    """Whether no call has changed what cannot be told from the record."""

    @classmethod
    def before(cls, calls: Sequence[Call], named: Named) -> Layer:
        """Return the layer that all of `calls` have been made on."""
        layer = cls(named)
        for call in calls:
            layer.take(call)
        return layer

    def take(self, call: Call) -> None:
        """Follow one call."""
        named = self.named
        match named.what(call):
            case "construct":
                self.eps = _number(named.given(call, "eps"))
                self.momentum = _number(call.inputs.get("momentum"))
                self.gamma, self.beta = _vector(named, call, "gamma"), _vector(named, call, "beta")
                self.running_mean = _vector(named, call, "running_mean")
                self.running_var = _vector(named, call, "running_var")
            case "set":
                self.gamma, self.beta = _vector(named, call, "gamma"), _vector(named, call, "beta")
            case "train":
                self.trained = call
                mean, var = (named.key(role) for role in ("running_mean", "running_var"))
                if mean in call.expected and var in call.expected:
                    self.running_mean = _flat(call.expected[mean])
                    self.running_var = _flat(call.expected[var])
            case "other":
                self.certain = False
            case _:
                pass


@dataclass(frozen=True)
class Measured:
    """What a call gave of one quantity, beside what it should have given."""

    got: Array
    expected: Array
    bound: Array

    @classmethod
    def of(cls, call: Call, key: str) -> Measured | None:
        """Return it as float64; None where there is nothing to compare."""
        if key not in call.got or key not in call.expected or key not in call.bound:
            return None
        got, expected, bound = (each[key].array() for each in (call.got, call.expected, call.bound))
        if got.shape != expected.shape or bound.shape != expected.shape:
            return None
        return cls(*(each.astype(np.float64) for each in (got, expected, bound)))

    def of_feature(self, feature: int) -> Measured:
        """Return one feature of it: (B,) of what has a batch, else (1,)."""

        def cut(array: Array) -> Array:
            return to_rows(array)[:, feature] if array.ndim > 1 else array[feature : feature + 1]

        return Measured(cut(self.got), cut(self.expected), cut(self.bound))

    @cached_property
    def right(self) -> bool:
        """Whether all of it that is judged is within the bound."""
        with np.errstate(invalid="ignore"):
            off = np.abs(self.got - self.expected)
        return bool(((off <= self.bound) | np.isinf(self.bound)).all())


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _vector(named: Named, call: Call, role: Role) -> Array | None:
    value = named.given(call, role)
    return _flat(value) if isinstance(value, ArrayRecord) else None


def _flat(record: ArrayRecord) -> Array:
    return record.array().astype(np.float64).reshape(-1)
