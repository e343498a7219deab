"""The right answers, to 40 digits, and the size beside which an error of each counts.

The formulas are those of the definition and of the closed form of the gradient, written out once
more for mpmath: nothing here is shared with the oracle, its bounds or the properties.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np
from bn_properties.cases.case import Case
from bn_properties.cases.draw import draw_cases
from numpy.typing import NDArray

MP: Any = import_module("mpmath").mp.clone()  # it has no types
MP.dps = 40

SEED = 7
DRAWN = 44
SPREAD = 1e-6
"""Cases with a smaller variance, in squares of the mean, are left out: they test accuracy."""
EPSILONS = (1.0, 0.0625, 1e-3)
"""What stands for an ε outside of 1e-3 to 10."""

Array = NDArray[np.float64]
Exact = Any
"""A number of `MP`."""
Columns = list[list[Exact]]


@dataclass(frozen=True)
class Expected:
    """One quantity: what it is, and for each element the size beside which an error counts."""

    value: Array
    size: Array


Expectations = dict[str, Expected]


@dataclass(frozen=True)
class Situation:
    """What a mutant is asked, and the answers."""

    case: str
    setup: dict[str, Any]
    """Everything that the grader can set."""
    x: Array
    grad: Array
    probe: Array
    batches: tuple[Array, ...]
    step: Expectations
    """Of one training step with everything set: out, gradients, running statistics."""
    inference: Expectations
    sequence: tuple[Expectations, ...]
    """From a fresh layer: training on x, inference on the probe, training on each batch."""
    bare: Expectations
    """Of one training step with nothing set: out, gradients, running statistics."""


@dataclass(frozen=True)
class Defaults:
    """What a layer on which nothing was set has, by the course."""

    eps: float
    decay: float
    """The weight of the old running average."""
    var: float
    """The initial running variance."""


@lru_cache(maxsize=8)
def situations(spatial_axes: int, defaults: Defaults) -> tuple[Situation, ...]:
    """Return the situations: well-conditioned cases of a seed that no grading run uses."""
    found = []
    for case in draw_cases(SEED, DRAWN, spatial_axes):
        arrays = [_columns(array) for array in (case.x, *case.more)]
        if all(_well_conditioned(columns) for columns in arrays):
            found.append(_situation(_with_moderate_eps(case), defaults))
    return tuple(found)


def _with_moderate_eps(case: Case) -> Case:
    if 1e-3 <= case.eps <= 10:
        return case
    return replace(case, eps=EPSILONS[case.index % len(EPSILONS)])


def _columns(array: NDArray[Any]) -> Columns:
    """Return the features' values, each a list, in the order of the flattened rows."""
    rows = np.moveaxis(np.asarray(array, np.float64), 1, 0)
    return [[MP.mpf(float(v)) for v in feature.ravel()] for feature in rows]


def _array(columns: Columns, shape: tuple[int, ...]) -> Array:
    moved = (shape[1], shape[0], *shape[2:])
    values = np.array([[float(v) for v in column] for column in columns]).reshape(moved)
    return np.moveaxis(values, 0, 1).copy()


def _moments(column: list[Exact]) -> tuple[Exact, Exact]:
    mean = MP.fsum(column) / len(column)
    return mean, MP.fsum((v - mean) ** 2 for v in column) / len(column)


def _well_conditioned(columns: Columns) -> bool:
    if len(columns[0]) == 1:
        return True
    return all(v > SPREAD * m**2 for m, v in map(_moments, columns))


def _vector(values: list[Exact]) -> Array:
    return np.array([float(v) for v in values])


def _sized(values: list[Exact], sizes: list[Exact]) -> Expected:
    return Expected(_vector(values), _vector(sizes))


def _affine(
    columns: Columns, moments: list[tuple[Exact, Exact]], case: Case, shape: tuple[int, ...]
) -> Expected:
    out, sizes = [], []
    for column, (mean, var), gamma, beta in zip(
        columns, moments, case.gamma, case.beta, strict=True
    ):
        root = MP.sqrt(var + MP.mpf(case.eps))
        terms = [MP.mpf(float(gamma)) * (v - mean) / root for v in column]
        out.append([term + MP.mpf(float(beta)) for term in terms])
        sizes.append([max(map(abs, terms)) + abs(float(beta))] * len(column))
    return Expected(_array(out, shape), _array(sizes, shape))


def _gradients(columns: Columns, case: Case) -> Expectations:
    upstream = _columns(case.grad)
    dz: Columns = []
    dz_size: Columns = []
    dgamma: list[Exact] = []
    dgamma_size: list[Exact] = []
    dbeta: list[Exact] = []
    dbeta_size: list[Exact] = []
    for column, g, gamma in zip(columns, upstream, case.gamma, strict=True):
        count = len(column)
        mean, var = _moments(column)
        root = MP.sqrt(var + MP.mpf(case.eps))
        u = [(v - mean) / root for v in column]
        products = [a * b for a, b in zip(g, u, strict=True)]
        dgamma.append(MP.fsum(products))
        dgamma_size.append(MP.fsum(map(abs, products)))
        dbeta.append(MP.fsum(g))
        dbeta_size.append(MP.fsum(map(abs, g)))
        factor = MP.mpf(float(gamma)) / root
        dz.append(
            [
                factor * (a - dbeta[-1] / count - b * dgamma[-1] / count)
                for a, b in zip(g, u, strict=True)
            ]
        )
        dz_size.append([abs(factor) * max(map(abs, g))] * count)
    return {
        "dz": Expected(_array(dz, case.x.shape), _array(dz_size, case.x.shape)),
        "dgamma": _sized(dgamma, dgamma_size),
        "dbeta": _sized(dbeta, dbeta_size),
    }


def _moved(old: list[Exact], batch: list[Exact], decay: float) -> list[Exact]:
    k = MP.mpf(decay)
    return [k * a + (1 - k) * b for a, b in zip(old, batch, strict=True)]


def _bare(case: Case, defaults: Defaults) -> Expectations:
    ones = np.ones(case.features)
    case = replace(case, gamma=ones, beta=0 * ones, eps=defaults.eps)
    columns = _columns(case.x)
    moments = [_moments(column) for column in columns]
    start = [MP.mpf(0)] * case.features, [MP.mpf(defaults.var)] * case.features
    return {
        "out": _affine(columns, moments, case, case.x.shape),
        **_gradients(columns, case),
        **_statistics(*start, moments, defaults.decay, defaults.eps)[0],
    }


def _situation(case: Case, defaults: Defaults) -> Situation:
    columns = _columns(case.x)
    moments = first = [_moments(column) for column in columns]
    given_mean = [MP.mpf(float(v)) for v in case.running_mean]
    given_var = [MP.mpf(float(v)) for v in case.running_var]
    step = {"out": _affine(columns, moments, case, case.x.shape), **_gradients(columns, case)}
    step |= _statistics(given_mean, given_var, moments, case.decay, case.eps)[0]
    given = list(zip(given_mean, given_var, strict=True))
    probe = _affine(_columns(case.probe), given, case, case.probe.shape)
    mean = [MP.mpf(0)] * case.features
    var = [MP.mpf(defaults.var)] * case.features
    sequence: list[Expectations] = []
    for number, batch in enumerate((case.x, *case.more)):
        columns = _columns(batch)
        moments = [_moments(column) for column in columns]
        expected, mean, var = _statistics(mean, var, moments, case.decay, case.eps)
        sequence.append({"out": _affine(columns, moments, case, batch.shape), **expected})
        if number == 0:
            now = list(zip(mean, var, strict=True))
            out = _affine(_columns(case.probe), now, case, case.probe.shape)
            sequence.append({"out": out, **expected})
    setup = {
        "features": case.features,
        "spatial_axes": case.x.ndim - 2,
        "eps": case.eps,
        "momentum": case.decay,
        "gamma": case.gamma,
        "beta": case.beta,
        "running_mean": case.running_mean,
        "running_var": case.running_var,
    }
    return Situation(
        case=f"case {case.index} ({case.regime})",
        setup=setup,
        x=np.asarray(case.x, np.float64),
        grad=np.asarray(case.grad, np.float64),
        probe=np.asarray(case.probe, np.float64),
        batches=tuple(np.asarray(batch, np.float64) for batch in case.more),
        step=step,
        inference={"out": probe},
        sequence=tuple(sequence),
        bare=_bare(case, defaults) if min(var for _, var in first) > 0 else {},
    )


def _statistics(
    mean: list[Exact],
    var: list[Exact],
    moments: list[tuple[Exact, Exact]],
    decay: float,
    eps: float,
) -> tuple[Expectations, list[Exact], list[Exact]]:
    new_mean = _moved(mean, [m for m, _ in moments], decay)
    new_var = _moved(var, [v for _, v in moments], decay)
    sizes = [abs(a) + abs(m) + MP.sqrt(v) for a, (m, v) in zip(mean, moments, strict=True)]
    # Taken back out of the denominator, a variance is off by rounding of itself and ε.
    var_sizes = [abs(a) + v + eps for a, (_, v) in zip(var, moments, strict=True)]
    expected = {
        "running_mean": _sized(new_mean, sizes),
        "running_var": _sized(new_var, var_sizes),
    }
    return expected, new_mean, new_var
