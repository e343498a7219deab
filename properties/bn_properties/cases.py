"""The cases: batches, parameters and upstream gradients, drawn by Hypothesis in known regimes.

Every draw is an integer of small range or an element of a fixed list, and floats are built from
them by exact scaling. So the cases are the same whatever is imported (Hypothesis mixes constants
found in imported modules into float and text draws) and on every Python; `digest` proves it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, Literal, TypeVar

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bn_properties.scenario import Infer, Scenario, Train
from bn_properties.subject import AnyArray, Setup

T = TypeVar("T")

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

REGIMES: tuple[Regime, ...] = (
    "exact",
    "ordinary",
    "constant column",
    "tiny variance",
    "large offset",
    "scaled",
    "skewed",
    "duplicated rows",
    "large batch",
)
"""What kind of numbers a batch is made of; the simplest first."""

EPSILONS = (1.0, 10.0, 1e-12, 1e-8, 0.0625, 1e-5, 1e-3, 1e-1)
KEEPS = (0.5, 0.75, 0.875, 0.25, 0.0, 1.0)
"""Weights of the old average; binary fractions, so that 1 − k is exact in every arithmetic."""


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
    keep: float
    running_mean: AnyArray
    running_var: AnyArray
    more: tuple[AnyArray, ...]
    """Further batches for sequences of steps; other batch sizes. None in a reduced case."""
    probe: AnyArray
    """What inference is asked about."""
    example: bool = False
    """Whether it was chosen, not drawn."""

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
        return Setup(self.features, self.eps, self.keep, self.gamma, self.beta)

    @property
    def full_setup(self) -> Setup:
        """A layer with the case's parameters, ε and running statistics."""
        return Setup(
            self.features,
            self.eps,
            self.keep,
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
    def _kept(self) -> dict[str, Any]:
        return {}

    def once(self, name: str, build: Callable[[], T]) -> T:
        """Return what `build` gives, built once a case: its scenarios serve every submission."""
        if name not in self._kept:
            self._kept[name] = build()
        found: T = self._kept[name]
        return found

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
    return _integers(start, shape, -4, 4)


def _integers(start: int, shape: tuple[int, ...], low: int, high: int) -> NDArray[np.float64]:
    numbers = splitmix(start, int(np.prod(shape))) % np.uint64(high - low + 1)
    return numbers.astype(np.int64).reshape(shape).astype(np.float64) + low


def _drawn_integers(
    draw: st.DrawFn, shape: tuple[int, ...], low: int, high: int
) -> NDArray[np.float64]:
    count = int(np.prod(shape))
    return np.array(
        draw(st.lists(st.integers(low, high), min_size=count, max_size=count)), dtype=np.float64
    ).reshape(shape)


def _drawn_seed(draw: st.DrawFn) -> int:
    """Draw a seed in two small integers: constants of imported modules get into larger ones."""
    return 100 * draw(st.integers(0, 99)) + draw(st.integers(0, 99))


@st.composite
def shapes(draw: st.DrawFn, *, spatial_axes: int, exact: bool) -> tuple[int, ...]:
    """Shapes (N, C) or (N, C, H, W): from one instance and one feature up, N = C included."""
    # Hypothesis favours both ends of a range: one instance stands in the middle.
    sizes: tuple[int, ...] = (2, 4, 1, 2, 4, 8) if exact else (3, 5, 2, 6, 4, 1, 12, 9, 2, 7)
    if spatial_axes:
        sizes = (2, 1, 4) if exact else (3, 1, 4, 2)
    features = draw(st.sampled_from((2, 3, 1, 4)))
    instances = draw(st.sampled_from(sizes))
    extent = (1, 2, 4) if exact else (2, 3, 1)
    space = tuple(draw(st.sampled_from(extent)) for _ in range(spatial_axes))
    return (instances, features, *space)


def _column(values: NDArray[np.float64], ndim: int) -> NDArray[np.float64]:
    """Give a per-feature vector axes to broadcast against (N, C, …)."""
    return values.reshape((1, -1) + (1,) * (ndim - 2))


@st.composite
def batches(
    draw: st.DrawFn, *, shape: tuple[int, ...], regime: Regime, single: bool
) -> NDArray[np.float64]:
    """Batches of one regime; with `single`, each value is exact in float32."""
    features, ndim = shape[1], len(shape)
    column = (features,)
    if regime == "large batch":
        start = _drawn_seed(draw)
        return _integers(start, shape, -(2**10), 2**10) / 2**7
    low, high, exponent = (-8, 8, 0) if regime == "exact" else (-99, 99, -4)
    values = _drawn_integers(draw, shape, low, high)
    scale = np.ldexp(1.0, exponent)
    if regime == "exact":
        scale = np.ldexp(1.0, draw(st.sampled_from((0, -2, 3))))
    result: NDArray[np.float64] = values * scale
    if regime == "ordinary":
        result = result + _column(_drawn_integers(draw, column, -3, 3), ndim)
    elif regime == "constant column":
        constant = draw(st.integers(0, features - 1))
        result[:, constant] = draw(st.integers(-3, 3))
    elif regime == "tiny variance":
        result = result * np.ldexp(1.0, -draw(st.sampled_from((10, 14, 20))))
    elif regime == "large offset":
        power = draw(st.sampled_from((5, 7, 9) if single else (8, 12, 16, 20, 26)))
        result = result + np.ldexp(1.0, power) * _column(_drawn_integers(draw, column, -3, 3), ndim)
    elif regime == "scaled":
        powers = (-12, 12, -8, 8) if single else (-30, 30, -12, 12, -60, 60)
        exponents = [draw(st.sampled_from(powers)) for _ in range(features)]
        result = result * _column(np.ldexp(1.0, np.array(exponents)), ndim)
    elif regime == "skewed":
        result[draw(st.integers(0, shape[0] - 1))] *= 64
    elif regime == "duplicated rows":
        result[shape[0] // 2 :] = result[: shape[0] - shape[0] // 2]
    return result


@st.composite
def gradients(draw: st.DrawFn, *, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Upstream gradients: dense, sparse, constant a feature, or one-hot."""
    kind = draw(st.sampled_from(("dense", "dense", "dense", "sparse", "constant", "one-hot")))
    if kind == "constant":
        values = _column(_drawn_integers(draw, (shape[1],), 1, 4), len(shape))
        return np.array(np.broadcast_to(values, shape))
    if kind == "one-hot":
        result = np.zeros(shape)
        result.reshape(-1)[draw(st.integers(0, result.size - 1))] = 1.0
        return result
    low, high = (-9, 9) if kind == "dense" else (-1, 1)
    return _integers(_drawn_seed(draw), shape, low, high)


def cases(*, spatial_axes: int = 0, regime: Regime | None = None) -> st.SearchStrategy[Case]:
    """Whole cases: a batch with all that a layer needs to be asked about it.

    Args:
        spatial_axes: 0 for (N, C), 2 for (N, C, H, W).
        regime: one of `REGIMES`; drawn when None.

    Raises:
        ValueError: `spatial_axes` outside 0 to 3, or an unknown regime.
    """
    if spatial_axes not in range(4):
        raise ValueError(f"spatial_axes is {spatial_axes!r}, but must be 0, 1, 2 or 3")
    if regime not in (None, *REGIMES):
        raise ValueError(f"regime is {regime!r}, but must be one of {', '.join(REGIMES)}")
    return _cases(spatial_axes, regime)


@st.composite
def _cases(draw: st.DrawFn, spatial_axes: int, regime: Regime | None) -> Case:
    kind: Regime = regime if regime is not None else draw(st.sampled_from(REGIMES))
    single = draw(st.sampled_from((False, True, False, False)))
    shape = draw(shapes(spatial_axes=spatial_axes, exact=kind == "exact"))
    if kind == "large batch":
        # Sizes that no small case has: many instances, and more features than a loop is tried on.
        rows = draw(st.sampled_from((32, 257, 50) if not spatial_axes else (8, 12)))
        shape = (rows, draw(st.sampled_from((3, 17, 7))), *shape[2:])
    x = draw(batches(shape=shape, regime=kind, single=single))
    features = shape[1]
    vector = (features,)
    # What only accompanies the batch comes by seed: a draw an element would cost more than all
    # the rest.
    start = _drawn_seed(draw)
    counts = (
        *(draw(st.sampled_from((3, 2, 5))) for _ in range(2)),
        draw(st.sampled_from((2, 3, 1))),
    )
    *more, probe = (
        _integers(start + number, (size, *shape[1:]), -99, 99) / 2**4
        for number, size in enumerate(counts)
    )
    # ε of the order of a variance is where a misplaced ε shows best.
    axes = (0, *range(2, x.ndim))
    variance = float(x.var(axis=axes).max())
    comparable = np.ldexp(1.0, int(np.frexp(variance)[1]) - 1) if variance > 0 else 0.25
    eps = draw(st.sampled_from((None, *EPSILONS)))
    gamma = _drawn_integers(draw, vector, -6, 6) / 2
    if draw(st.sampled_from((True, True, False))):
        gamma[gamma == 0] = 1.5
    gamma = gamma * draw(st.sampled_from((1.0, 1.0, 1.0, 2.0**-20, 2.0**20)))
    if not single:  # a γ that float32 cannot hold shows who squeezes it into one
        gamma = gamma * draw(st.sampled_from((1.0, 1.1)))
    dtype: Any = np.float32 if single else np.float64
    return Case(
        index=0,
        regime=kind,
        x=x.astype(dtype),
        grad=draw(gradients(shape=shape)).astype(dtype),
        gamma=gamma,
        beta=_drawn_integers(draw, vector, -6, 6) / 2,
        eps=float(comparable) if eps is None else eps,
        keep=draw(st.sampled_from(KEEPS)),
        running_mean=_drawn_integers(draw, vector, -8, 8) / 2,
        running_var=_drawn_integers(draw, vector, 1, 24) / 4,
        more=tuple(batch.astype(dtype) for batch in more),
        probe=probe.astype(dtype),
    )


_ATTEMPTS = 32


@lru_cache(maxsize=16)
def draw_cases(start: int, count: int, spatial_axes: int = 0) -> tuple[Case, ...]:
    """Draw `count` different cases from the seed `start`; the same ones every time, everywhere.

    Every regime has its share; the first two, on which most mistakes show, a double one.
    """
    parts = [2 if regime in REGIMES[:2] else 1 for regime in REGIMES]
    quotas = [count * part // sum(parts) for part in parts]
    quotas[0] += count - sum(quotas)
    drawn: dict[bytes, Case] = {}
    for number, (regime, quota) in enumerate(zip(REGIMES, quotas, strict=True)):
        strategy = cases(spatial_axes=spatial_axes, regime=regime)
        found: dict[bytes, Case] = {}
        for attempt in range(_ATTEMPTS):
            # Hypothesis repeats itself now and then; what is missing is drawn from another seed.
            stream = (start * len(REGIMES) + number) * _ATTEMPTS + attempt
            for case in _draw(strategy, stream, quota - len(found) + 2):
                if len(found) < quota and case.training.key not in drawn:
                    found.setdefault(case.training.key, case)
            if len(found) == quota:
                break
        drawn |= found
    return tuple(replace(case, index=index) for index, case in enumerate(drawn.values()))


def _draw(strategy: st.SearchStrategy[Case], stream: int, count: int) -> list[Case]:
    drawn: list[Case] = []

    @seed(stream)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        derandomize=False,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(case: Case) -> None:
        drawn.append(case)

    collect()
    return drawn


def digest(*sets: tuple[Case, ...]) -> str:
    """Return the SHA-256 of sets of cases: every array, ε and momentum in them."""
    sha = hashlib.sha256()
    for case in (case for cases_ in sets for case in cases_):
        sha.update(f"{case.regime} {case.eps!r} {case.keep!r}".encode())
        for array in case.arrays():
            sha.update(f"{array.dtype}{array.shape}".encode())
            sha.update(array.tobytes())
    return sha.hexdigest()
