"""A case: one batch with all that a layer needs to be asked about it, and the numbers in it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from bn_properties.calls import Infer, Train
from bn_properties.protocol import AnyArray, Setup
from bn_properties.scenario import Scenario

T = TypeVar("T")
P = ParamSpec("P")

Regime = Literal[
    "exact",
    "ordinary",
    "constant column",
    "tiny variance",
    "large offset",
    "scaled",
    "skewed",
    "duplicated rows",
    "large batch",
]

REGIMES: tuple[Regime, ...] = get_args(Regime)
"""What kind of numbers a batch is made of; the simplest first."""


@dataclass(frozen=True, eq=False)
class Case:
    """One drawn situation, from which every property derives its scenarios."""

    index: int
    regime: str
    x: AnyArray
    """(N, C) or (N, C, H, W); float64 or float32."""
    grad: AnyArray
    """The upstream gradient, in the shape and dtype of `x`."""
    gamma: AnyArray
    beta: AnyArray
    eps: float
    decay: float
    running_mean: AnyArray
    running_var: AnyArray
    more: tuple[AnyArray, ...]
    """Further batches for sequences of steps; other batch sizes. None in a reduced case."""
    probe: AnyArray
    """What inference is asked about."""
    pinned: bool = False
    """Whether it was chosen, not drawn."""
    asked_by: tuple[str, ...] | None = None
    """The properties that it was chosen for, by id; None: all that are asked often."""

    @property
    def features(self) -> int:
        """C."""
        return int(self.x.shape[1])

    @property
    def batch_size(self) -> int:
        """B: how many values share a feature's statistics."""
        return self.x.size // self.features

    @property
    def parameters(self) -> Setup:
        """A layer with the case's parameters and ε, and default statistics."""
        return Setup(self.features, self.eps, self.decay, self.gamma, self.beta)

    @property
    def full_setup(self) -> Setup:
        """A layer with the case's parameters, ε and running statistics."""
        return Setup(
            self.features,
            self.eps,
            self.decay,
            self.gamma,
            self.beta,
            self.running_mean,
            self.running_var,
        )

    @cached_property
    def training(self) -> Scenario:
        """One training step with its backward pass."""
        return Scenario(self.full_setup, (Train(self.x, self.grad),))

    @cached_property
    def inference(self) -> Scenario:
        """Inference on the probe with the running statistics set."""
        return Scenario(self.full_setup, (Infer(self.probe),))

    @cached_property
    def sequence(self) -> Scenario:
        """Training on several batches of different sizes, from a fresh layer's statistics."""
        return Scenario(self.parameters, tuple(Train(x) for x in (self.x, *self.more)))

    @cached_property
    def interrupted(self) -> Scenario:
        """The same with an inference call after the first step."""
        first, *others = (Train(x) for x in (self.x, *self.more))
        return Scenario(self.parameters, (first, Infer(self.probe), *others))

    @cached_property
    def _derived(self) -> dict[object, Any]:
        """What `per_case` functions have made of it."""
        return {}

    def arrays(self) -> tuple[AnyArray, ...]:
        """All arrays, in a fixed order."""
        return (
            self.x,
            self.grad,
            self.gamma,
            self.beta,
            self.running_mean,
            self.running_var,
            *self.more,
            self.probe,
        )


def per_case(build: Callable[Concatenate[Case, P], T]) -> Callable[Concatenate[Case, P], T]:
    """Make `build` work once for each case and arguments: its scenarios serve every submission."""

    @wraps(build)
    def kept(case: Case, /, *args: P.args, **keywords: P.kwargs) -> T:
        key = (build, args, tuple(keywords.items()))
        if key not in case._derived:
            case._derived[key] = build(case, *args, **keywords)
        found: T = case._derived[key]
        return found

    return kept


def splitmix(start: int, count: int) -> NDArray[np.uint64]:
    """Return `count` pseudo-random 64-bit numbers; the same for ever, on every platform.

    Source: Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators", §5
    (SplitMix64's finaliser on a counter). NumPy's own generators may change between versions.
    """
    with np.errstate(over="ignore"):
        z = np.uint64(start) + np.uint64(0x9E3779B97F4A7C15) * np.arange(
            1, count + 1, dtype=np.uint64
        )
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def small_integers(start: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return integers from −4 to 4 that `start` determines."""
    return integers(start, shape, -4, 4)


def integers(start: int, shape: tuple[int, ...], low: int, high: int) -> NDArray[np.float64]:
    """Return integers from `low` to `high` that `start` determines."""
    numbers = splitmix(start, int(np.prod(shape))) % np.uint64(high - low + 1)
    return numbers.astype(np.int64).reshape(shape).astype(np.float64) + low


def digest(*sets: tuple[Case, ...]) -> str:
    """Return the SHA-256 of sets of cases: every array, ε and momentum in them."""
    sha = hashlib.sha256()
    for case in (case for cases_ in sets for case in cases_):
        sha.update(f"{case.regime} {case.eps!r} {case.decay!r}".encode())
        for array in case.arrays():
            sha.update(f"{array.dtype}{array.shape}".encode())
            sha.update(array.tobytes())
    return sha.hexdigest()
