"""A scenario is what is asked of a layer, call by call; a response is what it showed in one.

Properties speak in scenarios, so one transcript serves every property that needs it, a
counterexample can show every call in order, and a diagnosis can put the same questions to a
known mistake.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Generic, Protocol

import numpy as np
from bn_oracle.conventions import Convention

from bn_properties.call import EARLIER, Call, Operation, Values
from bn_properties.protocol import (
    CAPABILITIES,
    SHAPED_LIKE_THE_BATCH,
    SYMBOLS,
    AnyArray,
    Capability,
    Layer,
    Quantity,
    Refusable,
    Setup,
    SubjectError,
    T,
)


@dataclass(frozen=True, eq=False)
class Scenario:
    """A fresh layer, and the calls that it is taken through."""

    setup: Setup
    calls: tuple[Call, ...]

    @cached_property
    def operations(self) -> tuple[tuple[Operation, ...], ...]:
        """The operations of each call."""
        return tuple(
            call.operations(self.calls[:number], self.calls[number + 1 :])
            for number, call in enumerate(self.calls)
        )

    @cached_property
    def key(self) -> bytes:
        """A digest of everything that is asked: equal scenarios have equal keys."""
        digest = hashlib.blake2b(digest_size=16)
        parts: list[object] = [getattr(self.setup, each.name) for each in fields(self.setup)]
        for call in self.calls:
            parts.append(type(call).__name__)
            for each in fields(call):
                value = getattr(call, each.name)
                parts += value if isinstance(value, tuple) else (value,)
        for part in parts:
            if isinstance(part, np.ndarray):
                digest.update(f"{part.dtype.str}{part.shape}".encode())
                digest.update(np.ascontiguousarray(part).tobytes())
            else:
                digest.update(repr(part).encode())
            digest.update(b";")
        return digest.digest()


@dataclass(frozen=True, eq=False)
class Response(Generic[T]):
    """What a layer showed in one call."""

    values: Mapping[Quantity, T | SubjectError]
    """Each quantity, or why it is missing."""
    edited: frozenset[str] = frozenset()
    """What the layer changed of what it was given: the words of `Operation.lends`, `EARLIER`,
    gamma, beta."""
    error: SubjectError | None = None
    """Why the layer cannot go on."""

    @property
    def errors(self) -> tuple[SubjectError, ...]:
        """Why the layer cannot go on, and why each quantity is missing."""
        found = (self.error, *self.values.values())
        return tuple(each for each in found if isinstance(each, SubjectError))

    def array(self, quantity: Quantity) -> T:
        """Return one quantity.

        Raises:
            SubjectError: the call that should have given it failed.
        """
        if self.error is not None and quantity not in self.values:
            raise self.error
        value = self.values[quantity]
        if isinstance(value, SubjectError):
            raise value
        return value


@dataclass(frozen=True, eq=False)
class Reply(Generic[T]):
    """What came of one operation."""

    values: Values[T] = field(default_factory=dict)
    edited: frozenset[str] = frozenset()
    error: SubjectError | None = None
    """Why there is nothing."""


def walk(
    scenario: Scenario,
    ask: Callable[[Operation], Reply[T]],
    check: Callable[[Operation, Quantity, T], T],
) -> Iterator[Response[T]]:
    """Take a layer through the scenario: ask for one operation after the other, and check results.

    `check` returns a result in its proper form, or raises `SubjectError`. Once a layer has failed
    in an operation that ends its scenario, it is asked nothing more, and every quantity that
    would have come is missing for that reason.
    """
    error: SubjectError | None = None
    for operations in scenario.operations:
        values: dict[Quantity, T | SubjectError] = {}
        edited: frozenset[str] = frozenset()
        for operation in operations:
            if error is None:
                reply = ask(operation)
                found = _checked(operation, reply, check)
                error = _ending(operation, reply, found)
                values |= found
                edited |= reply.edited
            if error is not None:
                values |= dict.fromkeys(operation.gives, error)
        yield Response(values, edited, error)


def _checked(
    operation: Operation, reply: Reply[T], check: Callable[[Operation, Quantity, T], T]
) -> dict[Quantity, T | SubjectError]:
    if reply.error is not None:
        return dict.fromkeys(operation.gives, reply.error)
    found: dict[Quantity, T | SubjectError] = {}
    for quantity, value in reply.values.items():
        if isinstance(value, SubjectError):
            found[quantity] = value
            continue
        try:
            found[quantity] = check(operation, quantity, value)
        except SubjectError as error:
            found[quantity] = error
    return found


def _ending(
    operation: Operation, reply: Reply[T], found: Mapping[Quantity, T | SubjectError]
) -> SubjectError | None:
    """Return why the layer cannot go on after an operation, if it cannot."""
    if operation.goes_on:
        return None
    essential = None if operation.essential is None else found.get(operation.essential)
    return reply.error or (essential if isinstance(essential, SubjectError) else None)


def failed(scenario: Scenario, error: SubjectError) -> tuple[Response[AnyArray], ...]:
    """Return what is seen when there is no layer to begin with."""
    gives = ([q for each in operations for q in each.gives] for operations in scenario.operations)
    return tuple(Response(dict.fromkeys(names, error), error=error) for names in gives)


def refusable(scenario: Scenario, own_eps: float | None = None) -> frozenset[Refusable]:
    """Return what in a scenario some layers refuse; `own_eps` is that of one that has no other."""
    setup, found = scenario.setup, set[Refusable]()
    if setup.decay in (0.0, 1.0):
        found.add("momentum_ends")
    if own_eps is not None and setup.eps not in (None, own_eps):
        found.add("other_eps")
    if setup.eps is not None and not 1e-8 <= setup.eps < 1:
        found.add("unusual_eps")
    for operation in (each for operations in scenario.operations for each in operations):
        if operation.name == "train" and operation.arrays["x"].size == setup.features:
            found.add("one_value")
    return frozenset(found)


LARGE = 1000
"""Instances: of so many, a right layer may be too slow, or need too much memory."""


def is_large(scenario: Scenario) -> bool:
    """Whether a layer may run out of time or memory in a scenario, and be right."""
    return any(
        operation.arrays["x"].size >= LARGE * operation.arrays["x"].shape[1]
        for operations in scenario.operations
        for operation in operations
        if operation.name in ("train", "infer")
    )


def ran_out(error: SubjectError) -> bool:
    """Whether a call took too long, or more memory than there is for it."""
    return error.failure in ("timeout", "slept") or (
        error.failure == "raised" and any(each in error.message for each in _NO_MEMORY)
    )


_NO_MEMORY = ("MemoryError", "not enough memory", "can't allocate memory")
"""What Python and NumPy raise, and what PyTorch says."""


class Subject(Protocol):
    """An implementation under test."""

    @property
    def convention(self) -> Convention:
        """What it may do as it likes: momentum's meaning, the running variance, defaults."""
        ...

    @property
    def spatial_axes(self) -> int:
        """How many axes follow (N, C): 0 for (N, C), 2 for (N, C, H, W)."""
        ...

    @property
    def offers(self) -> frozenset[Capability]:
        """What its interface offers beyond the calls that all have."""
        ...

    @property
    def may_refuse(self) -> frozenset[Capability | Refusable]:
        """What of it an implementation may do without, and at which inputs it may raise an
        exception.
        """
        ...

    @property
    def fixed_eps(self) -> bool:
        """Whether it raises an exception at any ε but its own."""
        ...

    def observe(self, scenario: Scenario) -> tuple[Response[AnyArray], ...]:
        """Take a fresh layer through `scenario` and return what it shows, call by call."""
        ...


@dataclass(frozen=True, eq=False)
class InProcess:
    """A maker of layers in this process, as a subject."""

    make: Callable[[Setup], Layer[AnyArray]]
    """Return a layer; may raise `SubjectError`."""
    convention: Convention
    spatial_axes: int = 0
    offers: frozenset[Capability] = frozenset(CAPABILITIES)
    may_refuse: frozenset[Capability | Refusable] = frozenset()
    fixed_eps: bool = False

    def observe(self, scenario: Scenario) -> tuple[Response[AnyArray], ...]:
        """Take a fresh layer through `scenario`."""
        try:
            layer = self.make(scenario.setup)
        except SubjectError as error:
            return failed(scenario, error)
        return tuple(walk(scenario, _Lending(layer), plain_result))


class _Lending:
    """Runs operations on a layer with copies of their arrays, and sees which of them it edits.

    A layer may go on reading what it was given, but never write to it.
    """

    def __init__(self, layer: Layer[AnyArray]) -> None:
        self._layer = layer
        self._lent: list[tuple[AnyArray, bytes]] = []

    def __call__(self, operation: Operation) -> Reply[AnyArray]:
        layout = operation.options.get("layout")
        given = {
            name: array.copy(order="F" if layout else "C")
            for name, array in operation.arrays.items()
        }
        try:
            values = operation.run(self._layer, given)
        except SubjectError as error:
            return Reply(error=error)
        if not operation.lends:
            return Reply(values)
        edited = self._layer.edited()
        latest = [(array, operation.arrays[name].tobytes()) for name, array in given.items()]
        if _changed(latest):
            edited |= {operation.lends}
        if _changed(self._lent):
            edited |= {EARLIER}
        self._lent += latest
        return Reply(values, edited)


def _changed(lent: list[tuple[AnyArray, bytes]]) -> bool:
    return any(array.tobytes() != content for array, content in lent)


def plain_result(operation: Operation, quantity: Quantity, value: AnyArray) -> AnyArray:
    """Return a private copy of a result, in the shape that the quantity has.

    What is one number a feature may come as (C,), (1, C) or (1, C, 1, …), and alone as ().

    Raises:
        SubjectError: it is not made of real numbers, or has another shape.
    """
    name = SYMBOLS[quantity]
    if value.dtype.kind not in "biuf":
        raise SubjectError(
            "unusable_result", f"{name} has dtype {value.dtype}, but should be real numbers"
        )
    shape = proper_shape(quantity, operation.like)
    if value.shape != shape and not may_have_shape(value.shape, quantity, operation.like):
        text = f"{name} has shape {value.shape}, but should have shape {shape}"
        # No result has more numbers than the batch has: what is larger is not kept.
        fits = value.size <= math.prod(operation.like)
        raise SubjectError("unusable_result", text, np.array(value) if fits else None)
    dtype = np.float64 if value.dtype.kind != "f" or value.dtype.itemsize > 8 else value.dtype
    return np.array(value, dtype=dtype, subok=False).reshape(shape)


def proper_shape(quantity: Quantity, like: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a result's proper form: that of the batch `like`, or (C,)."""
    return like if quantity in SHAPED_LIKE_THE_BATCH else like[1:2]


def may_have_shape(shape: tuple[int, ...], quantity: Quantity, like: tuple[int, ...]) -> bool:
    """Whether a result may come in `shape`; see `plain_result`."""
    if quantity in SHAPED_LIKE_THE_BATCH:
        return shape == like
    features = like[1]
    row = (1, features)
    alone = features == 1 and shape == ()
    return alone or shape in ((features,), row, row + (1,) * (len(like) - 2))
