"""The cases: batches, parameters and upstream gradients, drawn by Hypothesis in known regimes.

Every draw is an integer of small range or an element of a fixed list, and floats are built from
them by exact scaling. So the cases are the same whatever is imported (Hypothesis mixes constants
found in imported modules into float and text draws) and on every Python; `digest` proves it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bn_properties.cases.case import REGIMES, Case, Regime, integers

EPSILONS = (1.0, 10.0, 1e-12, 1e-8, 0.0625, 1e-5, 1e-3, 1e-1)
DECAYS = (0.5, 0.75, 0.875, 0.25, 0.0, 1.0)
"""Weights of the old average; binary fractions, so that 1 − k is exact in every arithmetic."""


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
        return integers(start, shape, -(2**10), 2**10) / 2**7
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
    return integers(_drawn_seed(draw), shape, low, high)


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
        integers(start + number, (size, *shape[1:]), -99, 99) / 2**4
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
        decay=draw(st.sampled_from(DECAYS)),
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
