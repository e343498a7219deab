"""What a call is: operations, each one method of a layer and one message to a worker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np

from bn_properties.protocol import (
    FORWARD,
    GRADIENTS,
    AnyArray,
    Gradient,
    Layer,
    Quantity,
    Statistics,
    SubjectError,
    T,
)

Values = Mapping[Quantity, T | SubjectError]
"""What an operation gave: each quantity, or why it is missing."""

EARLIER = "what an earlier call was given"
"""How an edit of an array of the caller's is told when another call has made it."""


@dataclass(frozen=True, eq=False)
class Operation:
    """One method of a layer, with its arguments."""

    name: str
    """The method's name, and the message's."""
    run: Callable[[Layer[Any], Mapping[str, AnyArray]], Values[Any]]
    """Call the method with the arrays, by name, and name what it gives."""
    gives: tuple[Quantity, ...] = ()
    arrays: Mapping[str, AnyArray] = field(default_factory=dict)
    options: Mapping[str, bool | str | int | float] = field(default_factory=dict)
    like: tuple[int, ...] = ()
    """The shape of the batch that the results belong to."""
    lends: str = ""
    """How an edit of the arrays is told; empty where the layer may keep them."""
    essential: Quantity | None = None
    """What must be given for the scenario to go on."""
    goes_on: bool = False
    """Whether a layer that raises here is asked what follows, all the same."""


class Told(NamedTuple):
    """A call as a counterexample shows it: its name, what went in, which quantities came out."""

    name: str
    inputs: Mapping[str, AnyArray]
    gives: tuple[Quantity, ...] = ()
    intermediates: bool = False
    """Whether the oracle's mean, variance, s and u are shown beside it."""


@dataclass(frozen=True, eq=False)
class Call(ABC):
    """One step of a scenario."""

    effect: ClassVar[Literal["none", "trains", "differentiates"]] = "none"
    """What it does with the forward pass that a backward belongs to."""
    of_batches: ClassVar[tuple[str, ...]] = ()
    """The fields that hold a batch, or several, or None."""

    @abstractmethod
    def operations(self, before: Sequence[Call], after: Sequence[Call]) -> tuple[Operation, ...]:
        """Return its operations; `before` and `after` are the scenario's other calls."""

    @abstractmethod
    def told(self) -> tuple[Told, ...]:
        """Return how it is told, in the order of what happens."""

    def with_batches(self, change: Callable[[AnyArray], AnyArray]) -> Self:
        """Return the same call with `change` applied to every batch in it."""
        changed: dict[str, Any] = {}
        for name in self.of_batches:
            value = getattr(self, name)
            if isinstance(value, tuple):
                changed[name] = tuple(change(batch) for batch in value)
            elif value is not None:
                changed[name] = change(value)
        return replace(self, **changed)


def differentiated(after: Sequence[Call]) -> bool:
    """Whether a backward comes before another training forward."""
    effects = [call.effect for call in after if call.effect != "none"]
    return effects[:1] == ["differentiates"]


def forward(
    name: Literal["train", "infer"],
    x: AnyArray,
    differentiable: bool,
    options: Mapping[str, bool | str | int] = MappingProxyType({}),
    before: AnyArray | None = None,
) -> Operation:
    """Return a forward of a batch (N, C, …); see `calls.Train` for `before`."""

    def run(layer: Layer[Any], given: Mapping[str, AnyArray]) -> Values[Any]:
        x = given["x"]
        if "before" in given:
            x = given["before"].copy()
            getattr(layer, name)(x)
            x[...] = given["x"]
        for _ in range(int(options.get("times", 1))):
            out = getattr(layer, name)(x)
        may_write = isinstance(out, np.ndarray) and out.flags.writeable
        if options.get("overwritten") and may_write:
            out, returned = out.copy(), out
            returned[...] = 0
        try:
            running: Statistics[Any] = layer.statistics()
        except SubjectError as error:
            running = Statistics(error, error)
        return {"out": out, "running_mean": running.mean, "running_var": running.var}

    asked = {**options, "differentiable": True} if differentiable else dict(options)
    arrays = {"x": x} if before is None else {"x": x, "before": before}
    return Operation(name, run, FORWARD, arrays, asked, x.shape, "input", essential="out")


def backward(
    name: Literal["backward", "infer_backward"],
    grad: AnyArray | None,
    options: Mapping[str, bool | str | int] = MappingProxyType({}),
) -> tuple[Operation, ...]:
    """Return a backward, if there is an upstream gradient (N, C, …)."""
    if grad is None:
        return ()
    gives = GRADIENTS[1:] if options.get("frozen") else GRADIENTS

    def run(layer: Layer[Any], given: Mapping[str, AnyArray]) -> Values[Any]:
        gradient: Gradient[Any] = getattr(layer, name)(given["grad"])
        found: Values[Any]
        found = {"dz": gradient.dz, "dgamma": gradient.dgamma, "dbeta": gradient.dbeta}
        return {quantity: found[quantity] for quantity in gives}

    arrays, lends = {"grad": grad}, "upstream gradient"
    asked = {key: value for key, value in options.items() if key in ("layout", "frozen")}
    return (Operation(name, run, gives, arrays, asked, grad.shape, lends, goes_on=True),)


def told_backward(name: str, grad: AnyArray | None, *, frozen: bool = False) -> tuple[Told, ...]:
    """Return how a backward is told, if there is one."""
    gives = GRADIENTS[1:] if frozen else GRADIENTS
    return () if grad is None else (Told(name, {"G": grad}, gives),)
