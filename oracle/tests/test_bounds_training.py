"""The bounds on training hold: right algorithms against 50 digits, searched for the worst case.

The fast slice runs always. The long search is `BNORACLE_SEARCH=1000 pytest -m search -s
oracle/tests` (so many examples for each dtype and N), and prints the largest observed/bound.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from bn_oracle.backward import backward
from bn_oracle.bounds import training
from bn_oracle.bounds.precision import MIXED, PRECISIONS, Precision
from bn_oracle.bounds.training import Algorithm
from bn_oracle.forward import forward
from hypothesis import HealthCheck, assume, given, settings, target
from hypothesis import strategies as st
from numpy.typing import NDArray

mpmath = pytest.importorskip("mpmath")
mp = mpmath.mp.clone()
mp.dps = 50

Vector = NDArray[Any]
Outputs = dict[str, Any]
Ratios = dict[str, float]
QUANTITIES = ("mean", "var", "u", "out", "dz", "dgamma", "dbeta")
SEARCH = int(os.environ.get("BNORACLE_SEARCH", "0"))
SIZES = (1, 2, 3, 4, 5, 7, 8, 16, 33)


class Column(NamedTuple):
    """One feature: z and G in the dtype; γ, β, ε in float64, as a caller gives them."""

    z: Vector
    g: Vector
    gamma: float
    beta: float
    eps: float


SCALES = {
    "float64": (0, 0, 0, -40, 40, -166, 166, -498, 498, -1060),
    "float32": (0, 0, 0, -12, 12, -20, 20, -60, 50, -140),
    "float16": (0, 0, 2, -3, 4, -6, -20),
    "bfloat16": (0, 0, 2, -3, 6, -20, 20),
}
"""Powers of two by which batches are scaled: 498 is 1e150; the last gives subnormals."""
EPSILONS = (1e-5, 1e-3, 1.0, 1e-8, 1e-12, 0.1, 10.0, 1e-30, 0.0)
KINDS = ("random", "integers", "constant", "two values", "one large", "nearly constant")


@st.composite
def columns(draw: st.DrawFn, dtype: str, size: int | None = None) -> Column:
    n = size or draw(st.sampled_from(SIZES))
    random = np.random.default_rng(draw(st.integers(0, 999)))
    kind = draw(st.sampled_from(KINDS))
    z = random.uniform(-1, 1, n)
    if kind == "integers":
        z = random.integers(-9, 10, n).astype(float)
    elif kind == "constant":
        z[:] = z[0]
    elif kind == "two values":
        z = np.where(np.arange(n) == 0, 1.0, -1.0)
    elif kind == "one large":
        z[random.integers(n)] *= 2.0 ** draw(st.sampled_from((6, 20)))
    elif kind == "nearly constant":
        z = 1 + z * 2.0 ** -draw(st.sampled_from((3, 6, 9, 20)))
    # Offsets to 1e12 times the spread.
    z = z + draw(st.sampled_from((0.0, 0.0, 1.0, 1 / 3, 9.7, 1e2, 1e3, 1e5, 1e8, 1e12)))
    z = np.ldexp(z, draw(st.sampled_from(SCALES[dtype])))
    z = _in_dtype(z, dtype)
    assume(np.isfinite(z).all())
    g = {
        "random": random.uniform(-1, 1, n),
        "ones": np.ones(n),
        "one-hot": (np.arange(n) == 0).astype(float),
        "like z": np.sign(z.astype(float) - z.astype(float).mean()),
    }[draw(st.sampled_from(("random", "random", "ones", "one-hot", "like z")))]
    eps = draw(st.sampled_from(EPSILONS))
    wide = dtype == "float64"
    parameters = (1.0, 1 / 3, -1.7, 0.0, 1e-6, 1e6) if dtype != "float16" else (1.0, 1 / 3, -1.7)
    gamma, beta = (draw(st.sampled_from(parameters)) for _ in range(2))
    g = _in_dtype(
        np.ldexp(g, draw(st.sampled_from((0, 0, -30, 30) if wide else (0, 0, -4)))), dtype
    )
    with np.errstate(all="ignore"):
        # Without ε the variance must neither be 0 nor underflow.
        assume(eps > 0 or (z.min() < z.max() and z.astype(float).var() > 0))
    return Column(z, g, gamma, beta, eps)


def _in_dtype(values: Vector, dtype: str) -> Vector:
    """Round to the dtype; NumPy has no bfloat16, so its values are kept in float32."""
    if dtype != "bfloat16":
        with np.errstate(over="ignore"):
            return values.astype(dtype)
    single = values.astype(np.float32)
    mantissa, exponent = np.frexp(single)
    return np.ldexp(np.round(mantissa * 256) / 256, exponent).astype(np.float32)


def exact(column: Column) -> Outputs:
    """The definition and the closed form, in 50 digits."""
    z, g = ([mp.mpf(float(x)) for x in values] for values in (column.z, column.g))
    n, gamma, beta = len(z), mp.mpf(column.gamma), mp.mpf(column.beta)
    mean = mp.fsum(z) / n
    var = mp.fsum((x - mean) ** 2 for x in z) / n
    s = mp.sqrt(var + mp.mpf(column.eps))
    u = [(x - mean) / s for x in z]
    dgamma, dbeta = mp.fsum(a * b for a, b in zip(g, u, strict=True)), mp.fsum(g)
    dz = [gamma / s * (a - dbeta / n - b * dgamma / n) for a, b in zip(g, u, strict=True)]
    out = [gamma * x + beta for x in u]
    return dict(zip(QUANTITIES, ([mean], [var], u, out, dz, [dgamma], [dbeta]), strict=True))


# The algorithms. Each works in the dtype of z; 1-D arrays and scalars of that dtype throughout.


def _typed(column: Column) -> tuple[Vector, Vector, Any, Any, Any, Any]:
    kind = column.z.dtype.type
    numbers = (column.gamma, column.beta, column.eps, column.z.size)
    return (column.z, column.g, *(kind(number) for number in numbers))


def _outputs(*values: Any) -> Outputs:
    return {
        name: [float(x) for x in np.atleast_1d(value)]
        for name, value in zip(QUANTITIES, values, strict=True)
        if value is not None
    }


def handout(column: Column) -> Outputs:
    """Two passes, and the chain of the lecture, with powers of v + ε."""
    z, g, gamma, beta, eps, n = _typed(column)
    mean = np.mean(z)
    var = np.mean((z - mean) ** 2)
    u = (z - mean) / np.sqrt(var + eps)
    du = g * gamma
    dvar = z.dtype.type(-0.5) * np.sum(du * (z - mean) * (var + eps) ** z.dtype.type(-1.5))
    root = (var + eps) ** z.dtype.type(-0.5)
    dmean = -np.sum(du * root) - 2 / n * dvar * np.sum(z - mean)
    dz = du * root + dvar * (2 / n * (z - mean)) + dmean / n
    return _outputs(mean, var, u, gamma * u + beta, dz, np.sum(g * u), np.sum(g))


def closed_form(column: Column) -> Outputs:
    """Two passes with a reciprocal of N and of s, and N inside the bracket."""
    z, g, gamma, beta, eps, n = _typed(column)
    part = 1 / n
    mean = np.sum(z) * part
    centred = z - mean
    var = np.sum(centred * centred) * part
    inverse = 1 / np.sqrt(var + eps)
    u = centred * inverse
    dgamma, dbeta = np.sum(g * centred) * inverse, np.sum(g)
    dz = gamma * inverse * part * (n * g - dbeta - u * dgamma)
    return _outputs(mean, var, u, u * gamma + beta, dz, dgamma, dbeta)


def welford(column: Column) -> Outputs:
    """One element at a time; the output folded into a·z + b, as torch's CPU kernel does."""
    z, g, gamma, beta, eps, n = _typed(column)
    mean = total = z[0] * 0
    for count, x in enumerate(z, 1):
        step = x - mean
        mean = mean + step / z.dtype.type(count)
        total = total + step * (x - mean)
    inverse = 1 / np.sqrt(total / n + eps)
    slope = gamma * inverse
    dot = _loop(g * (z - mean))
    dbeta = _loop(g)
    dz = (g - dbeta / n - (z - mean) * (dot * inverse * inverse / n)) * inverse * gamma
    out = z * slope + (beta - mean * slope)
    return _outputs(mean, total / n, None, out, dz, dot * inverse, dbeta)


def _loop(values: Vector) -> Any:
    total = values[0] * 0
    for value in values:
        total = total + value
    return total


def reversed_routes(column: Column) -> Outputs:
    """Loop sums from the end, each term divided first; the three routes of influence."""
    z, g, gamma, beta, eps, n = _typed(column)
    mean = _loop((z / n)[::-1])
    centred = z - mean
    var = _loop((centred**2 / n)[::-1])
    std = np.sqrt(var + eps)
    u = centred / std
    du = gamma * g
    direct = du / std
    through_mean = -_loop(direct[::-1]) / n
    through_variance = -centred / (n * std * std * std) * _loop((du * centred)[::-1])
    dz = direct + through_mean + through_variance
    return _outputs(mean, var, u, gamma * u + beta, dz, _loop((g * u)[::-1]), _loop(g[::-1]))


def pairwise_jacobian(column: Column) -> Outputs:
    """Halves merged by Chan's formula; the gradient by the rows of the Jacobian."""
    z, g, gamma, beta, eps, n = _typed(column)
    kind = z.dtype.type

    def merge(values: Vector) -> tuple[Any, Any]:
        if values.size == 1:
            return values[0], values[0] * 0
        half = values.size // 2
        (mean_a, total_a), (mean_b, total_b) = merge(values[:half]), merge(values[half:])
        size_a, size_b, size = kind(half), kind(values.size - half), kind(values.size)
        delta = mean_b - mean_a
        mean = (size_a * mean_a + size_b * mean_b) / size
        return mean, total_a + total_b + delta**2 * (size_a * size_b / size)

    mean, total = merge(z)
    var = total / n
    std = np.sqrt(var + eps)
    u = (z - mean) / std
    jacobian = gamma / std * (np.eye(z.size, dtype=z.dtype) - 1 / n - np.outer(u, u) / n)
    dz = [_loop(row * g) for row in jacobian]
    return _outputs(mean, var, u, gamma * u + beta, dz, _loop(g * u), _loop(g))


def one_pass(column: Column) -> Outputs:
    """E[z²] − E[z]², and Σ Gz − μ Σ G: right, and unstable."""
    z, g, gamma, beta, eps, n = _typed(column)
    mean = _loop(z) / n
    var = _loop(z * z) / n - mean * mean
    std = np.sqrt(var + eps)
    u = (z - mean) / std
    dgamma, dbeta = (_loop(g * z) - mean * _loop(g)) / std, _loop(g)
    dz = gamma / std * (g - dbeta / n - u * dgamma / n)
    return _outputs(mean, var, u, gamma * u + beta, dz, dgamma, dbeta)


def oracle(column: Column) -> Outputs:
    """The project's own, in float64."""
    record = forward(column.z[:, None], [column.gamma], [column.beta], column.eps)
    own = backward(record, column.g[:, None])
    rows = record.u[:, 0], record.out[:, 0], own.dz[:, 0]
    return _outputs(record.mean, record.var, *rows, own.dgamma, own.dbeta)


def torch_kernel(column: Column) -> Outputs:
    """Torch's CPU kernel; half-precision inputs with float32 parameters."""
    import torch

    assume(column.z.size > 1 and column.eps > 0)  # torch refuses the others
    z, g = (torch.from_numpy(x.copy())[:, None] for x in (column.z, column.g))
    kept = torch.promote_types(z.dtype, torch.float32)
    weight, bias = (torch.tensor([x], dtype=kept) for x in (column.gamma, column.beta))
    tensors = [tensor.requires_grad_() for tensor in (z, weight, bias)]
    out = torch.nn.functional.batch_norm(z, None, None, weight, bias, True, 0.1, column.eps)
    own = [tensor.double().ravel().numpy() for tensor in torch.autograd.grad(out, tensors, g)]
    return _outputs(None, None, None, out.detach().double()[:, 0].numpy(), *own)


def limits(column: Column, precision: Precision, algorithm: Algorithm, power: int) -> Outputs:
    z = column.z.astype(np.float64)[:, None]
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        record = forward(z, [column.gamma], [column.beta], column.eps)
        bounds = training.forward(record, precision, algorithm)
        g = column.g.astype(np.float64)[:, None]
        backward_bounds = training.backward(record, g, bounds, precision, power=power)
    both = vars(bounds) | vars(backward_bounds)
    return {name: both[name].ravel() for name in QUANTITIES}


def worst(got: Outputs, expected: Outputs, bounds: Outputs) -> Ratios:
    """The largest observed/bound of each quantity, where the bound is finite."""
    ratios: Ratios = {}
    for name, values in got.items():
        for value, right, bound in zip(values, expected[name], bounds[name], strict=True):
            if np.isinf(bound):
                continue
            assert np.isfinite(value), f"{name} is {value}, but the bound judges"
            assert bound >= 0, f"the bound on {name} is {bound}"
            error = abs(mp.mpf(value) - right)
            ratio = 0.0 if error == 0 else float(error / mp.mpf(bound)) if bound else np.inf
            ratios[name] = max(ratios.get(name, 0.0), ratio)
    return ratios


Run = tuple[Callable[[Column], Outputs], Algorithm, int]
RUNS: tuple[Run, ...] = (
    (handout, "stable", 3),
    (closed_form, "stable", 1),
    (welford, "stable", 3),
    (reversed_routes, "stable", 3),
    (pairwise_jacobian, "stable", 1),
    (one_pass, "one-pass", 1),
)


def measure(column: Column, precision: Precision, runs: tuple[Run, ...] = RUNS) -> Ratios:
    """Run the algorithms on a column; the worst ratios of all, one-pass apart."""
    expected = exact(column)
    total: Ratios = {}
    if runs is RUNS and precision.name == "float64":
        runs = (*runs, (oracle, "stable", 1))
    for run, algorithm, power in runs:
        bounds = limits(column, precision, algorithm, power)
        with np.errstate(all="ignore"):
            got = run(column)
            if precision.storage:  # of what is a result, and u is none
                for name in set(QUANTITIES) & set(got) - {"u"}:
                    kept = _in_dtype(np.array(got[name]), precision.storage.name)
                    got[name] = [float(x) for x in kept]
        for name, ratio in worst(got, expected, bounds).items():
            assert ratio <= 1.0, f"{run.__name__}: {name} is {ratio:.3g} times its bound: {column}"
            label = f"{name} (one-pass)" if algorithm == "one-pass" else name
            total[label] = max(total.get(label, 0.0), ratio)
    return total


def search(
    strategy: st.SearchStrategy[Column],
    precision: Precision,
    examples: int,
    runs: tuple[Run, ...] = RUNS,
) -> Ratios:
    """Let Hypothesis drive observed/bound up; return the largest seen for each quantity."""
    largest: Ratios = {}

    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def attempt(column: Column) -> None:
        for name, ratio in measure(column, precision, runs).items():
            largest[name] = max(largest.get(name, 0.0), ratio)
            target(ratio, label=name)

    attempt()
    return largest


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_every_right_algorithm_stays_within_the_bounds(dtype: str) -> None:
    largest = search(columns(dtype), PRECISIONS[dtype], 150)
    assert {*QUANTITIES, *(f"{name} (one-pass)" for name in QUANTITIES)} == set(largest)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_storage_around_single_arithmetic_stays_within_its_bounds(dtype: str) -> None:
    """z and G are stored in half precision; γ and β, as a layer stores them, in float32."""

    def widened(column: Column) -> Column:
        z, g = column.z.astype(np.float32), column.g.astype(np.float32)
        gamma, beta = (float(np.float32(x)) for x in (column.gamma, column.beta))
        return Column(z, g, gamma, beta, column.eps)

    assert search(columns(dtype).map(widened), MIXED[dtype], 40)


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_the_torch_kernel_stays_within_the_bounds(dtype: str) -> None:
    precision = MIXED[dtype] if dtype == "float16" else PRECISIONS[dtype]
    largest = search(columns(dtype), precision, 50, ((torch_kernel, "stable", 3),))
    assert {"out", "dz", "dgamma", "dbeta"} == set(largest)


@pytest.mark.search
@pytest.mark.skipif(not SEARCH, reason="the long search: set BNORACLE_SEARCH")
@pytest.mark.parametrize("size", [1, 2, 3, 4, 8, 33, 128])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_a_long_search_finds_no_right_algorithm_past_a_bound(dtype: str, size: int) -> None:
    largest = search(columns(dtype, size), PRECISIONS[dtype], SEARCH)
    print(f"\n| {dtype} | {size} |", end="")
    for name in (*QUANTITIES, *(f"{name} (one-pass)" for name in QUANTITIES)):
        print(f" {largest.get(name, 0.0):.2g} |", end="")
    assert max(largest.values()) <= 1.0
