"""A scenario is what is asked of a layer, step by step; an observation is what it answered.

Properties speak in scenarios, so one observation serves every property that needs it, a
counterexample can show every call in order, and a diagnosis can put the same questions to a
known mistake.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
from bn_oracle.conventions import Convention

from bn_properties.protocol import (
    CAPABILITIES,
    AnyArray,
    Capability,
    Layer,
    Setup,
    SubjectError,
)

Quantity = Literal[
    "out",
    "dz",
    "dgamma",
    "dbeta",
    "running_mean",
    "running_var",
    "population_mean",
    "population_var",
]

SYMBOLS: dict[Quantity, str] = {
    "out": "the output ẑ",
    "dz": "dz",
    "dgamma": "dγ",
    "dbeta": "dβ",
    "running_mean": "running mean",
    "running_var": "running variance",
    "population_mean": "population mean",
    "population_var": "population variance",
}
"""How a quantity is called in messages."""


@dataclass(frozen=True, eq=False)
class Train:
    """A training-mode forward of `x`, then, when `grad` is given, a backward of `grad`."""

    x: AnyArray
    grad: AnyArray | None = None


@dataclass(frozen=True, eq=False)
class Infer:
    """An inference-mode forward of `x`, then, when `grad` is given, a backward of `grad`."""

    x: AnyArray
    grad: AnyArray | None = None


@dataclass(frozen=True, eq=False)
class Backward:
    """A backward of `grad`, for the latest training-mode forward."""

    grad: AnyArray


@dataclass(frozen=True, eq=False)
class OtherLayer:
    """Another layer of its class, with another ε and momentum, trains on `x`.

    Given them, it then differentiates with `grad`, and infers on `probe`.
    """

    x: AnyArray
    grad: AnyArray | None = None
    probe: AnyArray | None = None


_REREAD: dict[str, Quantity] = {
    "train": "out",
    "infer": "out",
    "backward": "dz",
    "dgamma": "dgamma",
    "dbeta": "dbeta",
}


@dataclass(frozen=True, eq=False)
class LookAgain:
    """The array that the layer's first call of a kind gave is looked at again."""

    what: Literal["train", "infer", "backward", "dgamma", "dbeta"] = "train"
    """Which call; of a backward it is dz, or else the gradient of a parameter: where a layer keeps
    that in an attribute, what stands there now."""

    @property
    def quantity(self) -> Quantity:
        """What it was that the call gave."""
        return _REREAD[self.what]


@dataclass(frozen=True, eq=False)
class SetParameters:
    """The optimiser sets other parameters."""

    gamma: AnyArray
    beta: AnyArray
    in_place: bool = False
    """Whether it writes them into the arrays that the layer has, where it can."""


@dataclass(frozen=True, eq=False)
class Population:
    """The statistics of the population are asked for, of which these are mini-batches."""

    batches: tuple[AnyArray, ...]


Step = Train | Infer | Backward | OtherLayer | LookAgain | SetParameters | Population


@dataclass(frozen=True, eq=False)
class Scenario:
    """A fresh layer, and the steps that it is taken through."""

    setup: Setup
    steps: tuple[Step, ...]

    @cached_property
    def key(self) -> bytes:
        """A digest of everything that is asked: equal scenarios have equal keys."""
        digest = hashlib.blake2b(digest_size=16)
        parts: list[object] = [getattr(self.setup, field.name) for field in fields(self.setup)]
        for step in self.steps:
            parts.append(type(step).__name__)
            for field in fields(step):
                value = getattr(step, field.name)
                parts += value if isinstance(value, tuple) else (value,)
        for part in parts:
            if isinstance(part, np.ndarray):
                digest.update(f"{part.dtype.str}{part.shape}".encode())
                digest.update(np.ascontiguousarray(part).tobytes())
            else:
                digest.update(repr(part).encode())
            digest.update(b";")
        return digest.digest()


class Response:
    """What a layer showed in one step: for each quantity an array, or why there is none."""

    def __init__(
        self,
        answers: dict[Quantity, AnyArray | SubjectError],
        edited: frozenset[str] = frozenset(),
        error: SubjectError | None = None,
    ) -> None:
        """Hold the answers of one step.

        `edited` names what the layer changed of what it was given: input, upstream gradient, what
        an earlier call was given, gamma, beta. `error` is why the layer cannot go on.
        """
        self.answers = answers
        self.edited = edited
        self.error = error

    def array(self, quantity: Quantity) -> AnyArray:
        """Return one quantity.

        Raises:
            SubjectError: the call that should have given it failed.
        """
        if self.error is not None and quantity not in self.answers:
            raise self.error
        answer = self.answers[quantity]
        if isinstance(answer, SubjectError):
            raise answer
        return answer


class Given:
    """The arrays that a layer was given: it may go on reading them, but never write to them."""

    def __init__(self) -> None:
        """Begin with none."""
        self._before: list[tuple[AnyArray, bytes]] = []
        self._latest: list[tuple[AnyArray, bytes]] = []

    def take(self, array: AnyArray) -> AnyArray:
        """Return a copy of `array` for the next call."""
        self._before += self._latest
        copy = array.copy()
        self._latest = [(copy, copy.tobytes())]
        return copy

    def edited(self, name: str) -> frozenset[str]:
        """Return `name` if what the latest call was given has changed, and whether others have."""
        latest = {name for array, content in self._latest if array.tobytes() != content}
        if any(array.tobytes() != content for array, content in self._before):
            latest.add(EARLIER)
        return frozenset(latest)


EARLIER = "what an earlier call was given"
"""How an edit of an array of the caller's is called when another call has made it."""


def walk(layer: Layer, scenario: Scenario) -> tuple[Response, ...]:
    """Take `layer` through the scenario's steps; failures stand in what is seen."""
    seen: list[Response] = []
    shapes: dict[str, tuple[int, ...]] = {}
    given = Given()
    for step in scenario.steps:
        if isinstance(step, Train | Infer):
            seen.append(_forward(layer, scenario.setup.features, step, given))
            shapes.setdefault("train" if isinstance(step, Train) else "infer", step.x.shape)
            if isinstance(step, Train):
                shapes.setdefault("backward", step.x.shape)
        elif isinstance(step, Backward):
            answers, edited = _backward(layer, scenario.setup.features, step, given)
            seen.append(Response(answers, edited))
            shapes.setdefault("backward", step.grad.shape)
        elif isinstance(step, Population):
            seen.append(_population(layer, scenario.setup.features, step))
        else:
            seen.append(_aside(layer, step, shapes))
        error = seen[-1].error
        if error is not None:
            return (*seen, *(_nothing(later, error) for later in scenario.steps[len(seen) :]))
    return tuple(seen)


def failed(scenario: Scenario, error: SubjectError) -> tuple[Response, ...]:
    """Return what is seen when there is no layer to begin with."""
    return tuple(_nothing(step, error) for step in scenario.steps)


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
    def may_refuse(self) -> frozenset[Capability]:
        """What of it an implementation may do without, by raising an exception."""
        ...

    def observe(self, scenario: Scenario) -> tuple[Response, ...]:
        """Take a fresh layer through `scenario` and return what it shows, step by step."""
        ...


class InProcess:
    """A maker of layers in this process, as a subject."""

    def __init__(
        self,
        make: Callable[[Setup], Layer],
        convention: Convention,
        spatial_axes: int = 0,
        offers: frozenset[Capability] = frozenset(CAPABILITIES),
    ) -> None:
        """Observe the layers that `make` returns; it may raise `SubjectError`."""
        self._make = make
        self.convention = convention
        self.spatial_axes = spatial_axes
        self.offers = offers
        self.may_refuse: frozenset[Capability] = frozenset()

    def observe(self, scenario: Scenario) -> tuple[Response, ...]:
        """Take a fresh layer through `scenario`."""
        try:
            layer = self._make(scenario.setup)
        except SubjectError as error:
            return failed(scenario, error)
        return walk(layer, scenario)


def _nothing(step: Step, error: SubjectError) -> Response:
    names: tuple[Quantity, ...] = ()
    if isinstance(step, Train | Infer):
        names += ("out", "running_mean", "running_var")
    if isinstance(step, LookAgain):
        names += (step.quantity,)
    if isinstance(step, Train | Infer | Backward) and step.grad is not None:
        names += ("dz", "dgamma", "dbeta")
    if isinstance(step, Population):
        names += ("population_mean", "population_var")
    return Response(dict.fromkeys(names, error), error=error)


def _forward(layer: Layer, features: int, step: Train | Infer, given: Given) -> Response:
    x = given.take(step.x)
    answers: dict[Quantity, AnyArray | SubjectError] = {}
    try:
        out = layer.train(x) if isinstance(step, Train) else layer.infer(x)
        answers["out"] = _checked("out", out, step.x.shape)
    except SubjectError as error:
        return _nothing(step, error)
    edited = layer.edited() | given.edited("input")
    if step.grad is not None:
        gradients, more = _backward(layer, features, step, given)
        answers |= gradients
        edited |= more
    try:
        statistics = layer.statistics()
    except SubjectError as error:
        answers |= {"running_mean": error, "running_var": error}
    else:
        ndim = step.x.ndim
        answers["running_mean"] = _attempt("running_mean", statistics.mean, (features,), ndim)
        answers["running_var"] = _attempt("running_var", statistics.var, (features,), ndim)
    return Response(answers, edited)


def _backward(
    layer: Layer, features: int, step: Train | Infer | Backward, given: Given
) -> tuple[dict[Quantity, AnyArray | SubjectError], frozenset[str]]:
    upstream = step.grad
    assert upstream is not None
    grad = given.take(upstream)
    try:
        gradient = (layer.infer_backward if isinstance(step, Infer) else layer.backward)(grad)
    except SubjectError as error:
        return {"dz": error, "dgamma": error, "dbeta": error}, frozenset()
    answers: dict[Quantity, AnyArray | SubjectError] = {
        "dz": _attempt("dz", gradient.dz, upstream.shape),
        "dgamma": _attempt("dgamma", gradient.dgamma, (features,), upstream.ndim),
        "dbeta": _attempt("dbeta", gradient.dbeta, (features,), upstream.ndim),
    }
    return answers, layer.edited() | given.edited("upstream gradient")


def _population(layer: Layer, features: int, step: Population) -> Response:
    batches = tuple(batch.copy() for batch in step.batches)
    try:
        found = layer.population(batches)
    except SubjectError as error:
        return _nothing(step, error)
    ndim = step.batches[0].ndim
    pairs = zip(batches, step.batches, strict=True)
    changed = any(batch.tobytes() != given.tobytes() for batch, given in pairs)
    return Response(
        {
            "population_mean": _attempt("population_mean", found.mean, (features,), ndim),
            "population_var": _attempt("population_var", found.var, (features,), ndim),
        },
        layer.edited() | ({"input"} if changed else set()),
    )


def _aside(
    layer: Layer,
    step: OtherLayer | LookAgain | SetParameters,
    shapes: Mapping[str, tuple[int, ...]],
) -> Response:
    try:
        if isinstance(step, OtherLayer):
            more = (None if array is None else array.copy() for array in (step.grad, step.probe))
            layer.other_layer(step.x.copy(), *more)
            return Response({})
        if isinstance(step, SetParameters):
            layer.set_parameters(step.gamma.copy(), step.beta.copy(), in_place=step.in_place)
            return Response({})
        name = step.quantity
        if step.what in ("dgamma", "dbeta"):
            shape, ndim = shapes["backward"][1:2], len(shapes["backward"])
        else:
            shape, ndim = shapes[step.what], 0
        return Response({name: _checked(name, layer.look_again(step.what), shape, ndim)})
    except SubjectError as error:
        return _nothing(step, error)


def _attempt(
    quantity: Quantity, value: AnyArray | SubjectError, shape: tuple[int, ...], ndim: int = 0
) -> AnyArray | SubjectError:
    if isinstance(value, SubjectError):
        return value
    try:
        return _checked(quantity, value, shape, ndim)
    except SubjectError as error:
        return error


def _checked(
    quantity: Quantity, value: AnyArray, shape: tuple[int, ...], ndim: int = 0
) -> AnyArray:
    """Return a private copy of a result, or raise SubjectError if it is not what was asked for.

    With `ndim`, the result is one number a feature: (C,), (1, C) and (1, C, 1, …) all will do.
    """
    name = SYMBOLS[quantity]
    if value.dtype.kind not in "biuf":
        raise SubjectError(
            "unusable_result", f"{name} has dtype {value.dtype}, but should be real numbers"
        )
    if value.shape != shape and value.shape not in _other_shapes(shape, ndim):
        raise SubjectError(
            "unusable_result", f"{name} has shape {value.shape}, but should have shape {shape}"
        )
    dtype = np.float64 if value.dtype.kind != "f" or value.dtype.itemsize > 8 else value.dtype
    return np.array(value, dtype=dtype, subok=False).reshape(shape)


def _other_shapes(shape: tuple[int, ...], ndim: int) -> set[tuple[int, ...]]:
    if not ndim:
        return set()
    features = shape[0]
    alone: set[tuple[int, ...]] = {()} if features == 1 else set()
    return alone | {(1, features), (1, features) + (1,) * (ndim - 2)}
