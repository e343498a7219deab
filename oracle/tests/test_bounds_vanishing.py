"""The bound on the term that vanishes, held against float arithmetic: what is left is the error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bn_oracle.arrays import Array
from bn_oracle.bounds import training, vanishing
from bn_oracle.bounds.precision import FLOAT64, PRECISIONS
from bn_oracle.forward import Forward, forward
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

DTYPES = ("float64", "float32")


@st.composite
def batches(draw: st.DrawFn) -> Array:
    size, features = draw(st.sampled_from((2, 3, 4, 7, 16, 65))), draw(st.sampled_from((1, 2, 5)))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = generator.standard_normal((size, features))
    offsets = generator.choice([0.0, 1.0, -3.0, 1024.0, 1e6], features)
    found: Array = values * generator.choice([1e-3, 1.0, 64.0], features) + offsets
    return found


def passed(batch: Array, dtype: str) -> tuple[Forward, Array]:
    """Return the forward pass of a batch in a dtype, and E_c there."""
    features = batch.shape[1]
    record = forward(batch, np.linspace(0.5, 2, features), np.zeros(features), 1e-5)
    return record, training.forward(record, PRECISIONS[dtype], "stable").mean


def centred(batch: NDArray[Any], dtype: str, order: NDArray[Any]) -> NDArray[Any]:
    z = batch.astype(dtype)[order]
    found: NDArray[Any] = z - z.mean(axis=0, dtype=dtype)
    return found


@pytest.mark.parametrize("dtype", DTYPES)
@given(batch=batches(), seed=st.integers(0, 100))
def test_no_order_of_summation_leaves_more_than_the_bound(
    dtype: str, batch: Array, seed: int
) -> None:
    batch = batch.astype(dtype).astype(np.float64)
    record, centring = passed(batch, dtype)
    left = centred(batch, dtype, np.random.default_rng(seed).permutation(len(batch)))
    room = vanishing.over_all(record, centring, PRECISIONS[dtype])
    assert abs(float(left.sum(dtype=dtype))) <= room
    assert (np.abs(left.sum(axis=0, dtype=dtype)) <= room).all()
    one_by_one = left.dtype.type(0)
    for value in left.T.ravel():
        one_by_one += value
    assert abs(float(one_by_one)) <= room


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    size=st.sampled_from((1, 2, 4, 8, 16)),
    features=st.integers(1, 4),
    scale=st.sampled_from((2.0**-3, 1.0, 2.0**5)),
    seed=st.integers(0, 2**32 - 1),
)
def test_nothing_is_left_of_an_exact_batch_and_nothing_is_granted(
    dtype: str, size: int, features: int, scale: float, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    batch: Array = np.asarray(generator.integers(-8, 9, (size, features)) * scale, np.float64)
    precision = PRECISIONS[dtype]
    assert vanishing.exact(batch, precision).all()
    record, centring = passed(batch, dtype)
    left = centred(batch, dtype, generator.permutation(size))
    assert 0.0 == left.sum(dtype=dtype) == vanishing.over_all(record, centring, precision)
    assert (0.0 == left.sum(axis=0, dtype=dtype)).all()


@pytest.mark.parametrize(
    "batch",
    [
        [[1.0], [2.0], [4.0]],  # a third of 7
        [[0.1], [0.2]],  # 53 bits each
        [[1.0], [2.0**60]],
        [[2.0**-40], [1.0], [2.0], [2.0**20]],
    ],
)
def test_what_rounds_is_not_exact(batch: list[list[float]]) -> None:
    assert not vanishing.exact(np.array(batch), FLOAT64).any()


FORMS: dict[str, Any] = {
    "over all features": lambda d, dvar, s: dvar * d.sum(),
    "without the variance's gradient": lambda d, dvar, s: d.sum(axis=0),
    "another power": lambda d, dvar, s: dvar * s**2 * d.sum(axis=0),
    "without the gradient, over s": lambda d, dvar, s: s**-3.0 * d.sum(axis=0),
    "over v+ε once more": lambda d, dvar, s: len(d) * dvar * d.sum(axis=0) / s**2,
    "the factor inside": lambda d, dvar, s: (dvar * d).sum(),
    "without 1/N": lambda d, dvar, s: len(d) * dvar * d.sum(axis=0),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", DTYPES)
@given(batch=batches(), seed=st.integers(0, 2**32 - 1), small=st.sampled_from((1.0, 1e-12)))
def test_every_form_stays_within_the_residue(
    form: str, dtype: str, batch: Array, seed: int, small: float
) -> None:
    batch = batch.astype(dtype).astype(np.float64)
    record, centring = passed(batch, dtype)
    grad = np.random.default_rng(seed).standard_normal(batch.shape) * small
    grad = grad.astype(dtype).astype(np.float64)
    d = centred(batch, dtype, np.arange(len(batch)))
    s, gamma = (each.astype(dtype) for each in (record.std, record.gamma))
    dvar = -0.5 * (gamma * grad.astype(dtype) * d).sum(axis=0) * s**-3
    left = 2 / len(d) * FORMS[form](d, dvar, s) / len(d)
    room = vanishing.residue(record, grad, centring, PRECISIONS[dtype])
    assert (np.abs(left) <= room).all()


def test_the_bound_is_not_idle() -> None:
    """A batch far from zero comes within two hundred times of it: it is no larger than need be."""
    reached = 0.0
    for seed in range(200):
        batch = np.random.default_rng(seed).standard_normal((3, 2)) + 1e6 + 1 / 3
        record, centring = passed(batch, "float64")
        room = vanishing.over_all(record, centring, FLOAT64)
        left = centred(batch, "float64", np.arange(3))
        reached = max(reached, abs(float(left.sum())) / room)
    assert 1 / 200 < reached <= 1


def test_the_leak_is_the_right_factor_times_what_is_left() -> None:
    batch = np.random.default_rng(1).standard_normal((5, 2)) + np.array([0.0, 1e6])
    grad = np.random.default_rng(2).standard_normal((5, 2))
    record, centring = passed(batch, "float64")
    s, d = np.sqrt(batch.var(axis=0) + 1e-5), batch - batch.mean(axis=0)
    dvar = -0.5 * (np.array([0.5, 2.0]) * grad * d).sum(axis=0) / s**3
    factor = np.abs(dvar) * 2 / 5 / 5
    room = vanishing.over_all(record, centring, FLOAT64)
    found = vanishing.leak(record, grad, centring, FLOAT64)
    np.testing.assert_allclose(found, factor * room, rtol=1e-9)
