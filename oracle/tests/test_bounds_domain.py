"""Where the rounding bounds judge, where they refuse to, and that a ball agrees with them."""

from __future__ import annotations

import numpy as np
import pytest
from bn_oracle.arrays import Array
from bn_oracle.backward import backward
from bn_oracle.bounds import training
from bn_oracle.bounds.precision import (
    BFLOAT16,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    LIMIT,
    MIXED,
    PRECISIONS,
    Precision,
    binary,
)
from bn_oracle.forward import forward

BATCH = np.array([[1.0, 3.0], [2.0, -1.0], [4.0, 0.5], [-2.0, 7.0]])
GRAD = np.array([[1.0, -1.0], [0.5, 2.0], [-3.0, 1.0], [0.25, 0.0]])


@pytest.mark.parametrize("precision", [FLOAT64, FLOAT32, FLOAT16])
def test_a_precision_is_what_numpy_says_it_is(precision: Precision) -> None:
    info = np.finfo(precision.name)
    assert float(info.eps) / 2 == precision.unit_roundoff
    assert float(info.smallest_subnormal) == precision.subnormal
    assert float(info.max) == precision.largest
    assert float(info.smallest_normal) == precision.smallest_normal


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_a_binary_format_is_made_of_its_digits_and_exponent(dtype: str) -> None:
    info = np.finfo(dtype)
    made = binary(dtype, int(info.nmant) + 1, int(info.maxexp) - 1)
    assert made == PRECISIONS[dtype]
    assert (dtype, None) == (made.name, made.storage)
    kept = binary("float32, stored as float16", 24, 127, storage=FLOAT16)
    assert kept == MIXED["float16"]
    assert FLOAT16 is kept.storage


@pytest.mark.torch
def test_bfloat16_is_what_torch_says_it_is() -> None:
    import torch

    info = torch.finfo(torch.bfloat16)
    assert info.eps / 2 == BFLOAT16.unit_roundoff
    assert info.max == BFLOAT16.largest
    assert info.smallest_normal == BFLOAT16.smallest_normal


def test_counting_more_roundings_than_the_arithmetic_bears_gives_no_bound() -> None:
    assert np.isinf(BFLOAT16.roundings(256))
    assert 0.5 / (1 - 0.5) == BFLOAT16.roundings(128)


@pytest.mark.parametrize("precision", [*PRECISIONS.values(), *MIXED.values()])
def test_the_one_pass_bound_is_never_below_the_stable_one(precision: Precision) -> None:
    random = np.random.default_rng(3)
    for size in (1, 2, 5, 40):
        for offset in (0.0, 1.0, 30.0):
            z = random.normal(size=(size, 8)) + offset
            record = forward(z, np.ones(8), np.ones(8), 1e-3)
            stable = training.forward(record, precision, "stable")
            one_pass = training.forward(record, precision, "one-pass")
            g = random.normal(size=z.shape)
            pairs = zip(
                (stable, training.backward(record, g, stable, precision)),
                (one_pass, training.backward(record, g, one_pass, precision)),
                strict=True,
            )
            for low, high in pairs:
                for name, bound in vars(low).items():
                    assert np.all(bound <= getattr(high, name)), name


def test_a_gamma_of_zero_leaves_only_underflow_to_the_gradient() -> None:
    record = forward(BATCH, [0.0, 0.0], [1.0, 1.0], 1e-3)
    bounds = training.forward(record, FLOAT64, "stable")
    assert np.all(training.backward(record, GRAD, bounds, FLOAT64).dz < 1e-300)


def test_a_batch_of_one_is_judged_absolutely() -> None:
    record = forward([[3.0, -5.0]], [1.0, 1.0], [0.0, 0.0], 1e-5)
    bounds = training.forward(record, FLOAT64, "stable")
    dz = training.backward(record, np.ones((1, 2)), bounds, FLOAT64).dz
    assert np.all((bounds.u > 0) & (bounds.u < 1e-11))
    assert np.all((dz > 0) & (dz < 1e-9))


def test_nothing_is_judged_where_the_variance_drowns_in_rounding() -> None:
    record = forward(BATCH + 1e12, np.ones(2), np.zeros(2), 1e-5)
    assert np.isfinite(training.forward(record, FLOAT64, "stable").out).all()
    bounds = training.forward(record, FLOAT64, "one-pass")
    assert np.all(bounds.relative_variance > LIMIT)
    assert np.isinf(bounds.out).all()
    assert np.isinf(training.backward(record, GRAD, bounds, FLOAT64).dz).all()


def test_the_gradient_by_powers_is_judged_in_a_smaller_range_than_the_closed_form() -> None:
    record = forward(BATCH * 1e-150, np.ones(2), np.zeros(2), 0.0)
    bounds = training.forward(record, FLOAT64, "stable")
    assert np.isinf(training.backward(record, GRAD, bounds, FLOAT64).dz).all()
    assert np.isfinite(training.backward(record, GRAD, bounds, FLOAT64, power=1).dz).all()


def test_nothing_is_judged_where_a_square_may_overflow() -> None:
    record = forward(BATCH * 1e19, np.ones(2), np.zeros(2), 1e-5)
    assert np.isfinite(training.forward(record, FLOAT64, "stable").out).all()
    assert np.isinf(training.forward(record, FLOAT32, "stable").out).all()
    assert np.isinf(training.forward(record, FLOAT32, "stable").var).all()


def test_storing_in_half_precision_costs_its_rounding_and_nothing_else() -> None:
    record = forward(BATCH, [1.0, 2.0], [0.0, 1.0], 1e-3)
    mixed = training.forward(record, MIXED["float16"], "stable")
    single = training.forward(record, FLOAT32, "stable")
    extra = FLOAT16.unit_roundoff * (np.abs(record.out) + single.out) + FLOAT16.subnormal / 2
    np.testing.assert_allclose(single.out + extra, mixed.out, rtol=1e-12)


def test_balls_of_300_bits_enclose_answers_within_the_bound() -> None:
    """A rigorous enclosure (python-flint's arb), independent of mpmath."""
    flint = pytest.importorskip("flint")
    arb = flint.arb

    def within(got: Array, balls: list[object], bound: Array) -> None:
        for value, ball, limit in zip(got, balls, bound, strict=True):
            if np.isfinite(limit):
                assert float(abs(arb(float(value)) - ball).upper()) <= float(limit)

    random = np.random.default_rng(5)
    precision, flint.ctx.prec = flint.ctx.prec, 300
    try:
        for _ in range(60):
            n, offset = int(random.integers(1, 9)), 10.0 ** random.integers(0, 13)
            z = random.normal(size=n) * 10.0 ** random.integers(-150, 100) * (1 + offset)
            g, eps = random.normal(size=n), 10.0 ** -random.integers(0, 12)
            record = forward(z[:, None], [1 / 3], [0.7], eps)
            bounds = training.forward(record, FLOAT64, "stable")
            own = backward(record, g[:, None])
            limits = training.backward(record, g[:, None], bounds, FLOAT64, power=1)
            x, a = [arb(v) for v in z.tolist()], [arb(v) for v in g.tolist()]
            mean = sum(x, arb(0)) / n
            root = (sum(((v - mean) ** 2 for v in x), arb(0)) / n + arb(eps)).sqrt()
            u = [(v - mean) / root for v in x]
            dgamma = sum((b * v for b, v in zip(a, u, strict=True)), arb(0))
            mean_g = sum(a, arb(0)) / n
            slope = arb(1 / 3) / root
            within(record.out[:, 0], [arb(1 / 3) * v + arb(0.7) for v in u], bounds.out[:, 0])
            within(own.dgamma, [dgamma], limits.dgamma)
            dz = [slope * (b - mean_g - v * dgamma / n) for b, v in zip(a, u, strict=True)]
            within(own.dz[:, 0], dz, limits.dz[:, 0])
    finally:
        flint.ctx.prec = precision
