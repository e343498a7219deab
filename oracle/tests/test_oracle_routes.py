"""Four ways to the gradients that share no code: they agree to what rounding can explain."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from bn_oracle import arrays
from bn_oracle.arrays import Array, to_rows
from bn_oracle.backward import backward, upstream_rows
from bn_oracle.derivations.chains import lecture_chain, paper_chain
from bn_oracle.derivations.gradient_paths import three_routes
from bn_oracle.derivations.jacobian import jacobian, times_jacobian
from bn_oracle.forward import Forward, forward

UNIT = 2.0**-53
GIVEN = np.ones((7, 3))
HUGE_VARIANCE_GRADIENT = "a scale of 1e-150, γ = 1e150"


@dataclass(frozen=True)
class Batch:
    record: Forward
    grad: Array


def _batch(
    shape: tuple[int, ...],
    *,
    seed: int = 0,
    channel_axis: int = 1,
    eps: float = 1e-5,
    scale: float = 1.0,
    offset: float = 0.0,
    gamma: float | None = None,
) -> Batch:
    rng = np.random.default_rng((seed, *shape))
    z = scale * (rng.normal(size=shape) + offset)
    features = shape[channel_axis]
    scales = rng.normal(size=features) if gamma is None else np.full(features, gamma)
    record = forward(z, scales, rng.normal(size=features), eps, channel_axis=channel_axis)
    return Batch(record, rng.normal(size=shape))


def _constant_column() -> Batch:
    z = np.array([[1.0, 3.0], [1.0, 4.0], [1.0, 8.0]])
    return Batch(forward(z, [2.0, 3.0], [0.0, 0.0], 1e-5), np.array([[1.0, -2], [5, 4], [3, 0]]))


BATCHES = {
    "2-D": _batch((7, 3)),
    "two instances": _batch((2, 4)),
    "one instance": _batch((1, 3)),
    "many instances": _batch((257, 2)),
    "3-D": _batch((4, 3, 5)),
    "4-D": _batch((3, 2, 4, 3)),
    "5-D": _batch((2, 3, 2, 2, 3)),
    "channels last, 3-D": _batch((4, 5, 3), channel_axis=-1),
    "channels last, 4-D": _batch((3, 4, 3, 2), channel_axis=3),
    "channels last, 5-D": _batch((2, 2, 2, 3, 2), channel_axis=-1),
    "ε = 0": _batch((6, 3), eps=0.0),
    "ε of the variance's size": _batch((6, 3), eps=1.0),
    "ε far above the variance": _batch((6, 3), eps=1e6),
    "γ = 0": _batch((5, 2), gamma=0.0),
    "a constant column": _constant_column(),
    "an offset of 1e8 spreads": _batch((9, 2), offset=1e8),
    "a scale of 1e150": _batch((6, 2), scale=1e150),
    "a scale of 1e-150": _batch((6, 2), scale=1e-150, eps=0.0),
    HUGE_VARIANCE_GRADIENT: _batch((6, 2), scale=1e-150, eps=0.0, gamma=1e150),
}


def _allowed(batch: Batch) -> Array:
    """Twice the error of one way: sums of B terms, at most a dozen roundings in each term.

    The magnitudes are those of the three routes. The largest |u| stands for each because of the
    paper's vanishing term, which is (γ/s)·mean(Gu)·mean(z−μ)/s.
    """
    record, g = batch.record, np.abs(to_rows(batch.grad, batch.record.channel_axis))
    u = np.abs(record.u)
    size = g + g.mean(axis=0) + u.max(axis=0) * (g * u).mean(axis=0)
    bound: Array = 2 * (len(g) + 16) * UNIT * np.abs(record.gamma) / record.std * size
    return bound


def _rows(batch: Batch, array: Array) -> Array:
    return to_rows(array, batch.record.channel_axis)


def _ways(batch: Batch) -> dict[str, Array]:
    record, grad = batch.record, batch.grad
    g = to_rows(grad, record.channel_axis)
    return {
        "lecture": _rows(batch, lecture_chain(record, grad).d_z),
        "paper": _rows(batch, paper_chain(record, grad).d_x),
        "routes": _rows(batch, three_routes(record, grad).total),
        "Jacobian": np.einsum("cij,jc->ic", jacobian(record), g),
        "dot products": _rows(batch, times_jacobian(record, grad)),
    }


@pytest.mark.parametrize("name", BATCHES)
def test_all_ways_agree_on_the_input_gradient(name: str) -> None:
    batch = BATCHES[name]
    closed = _rows(batch, backward(batch.record, batch.grad).dz)
    for way, dz in _ways(batch).items():
        assert closed.shape == dz.shape, way
        assert (np.abs(closed - dz) <= _allowed(batch)).all(), way


@pytest.mark.parametrize("seed", range(40))
def test_all_ways_agree_on_random_batches(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 33)), int(rng.integers(1, 5)))
    batch = _batch(
        shape,
        seed=seed,
        eps=float(10.0 ** rng.integers(-12, 3)),
        scale=float(10.0 ** rng.integers(-6, 7)),
        offset=float(10.0 ** rng.integers(-2, 6)),
    )
    closed = backward(batch.record, batch.grad).dz
    for way, dz in _ways(batch).items():
        assert (np.abs(closed - dz) <= _allowed(batch)).all(), way


@pytest.mark.parametrize("name", BATCHES)
def test_all_ways_agree_on_the_parameters(name: str) -> None:
    batch = BATCHES[name]
    g, u = np.abs(_rows(batch, batch.grad)), np.abs(batch.record.u)
    closed = backward(batch.record, batch.grad)
    for chain in (lecture_chain(batch.record, batch.grad), paper_chain(batch.record, batch.grad)):
        allowed = 2 * (len(g) + 4) * UNIT
        assert (np.abs(closed.dgamma - chain.d_gamma) <= allowed * (g * u).sum(axis=0)).all()
        assert (np.abs(closed.dbeta - chain.d_beta) <= allowed * g.sum(axis=0)).all()


@pytest.mark.parametrize("name", [name for name in BATCHES if name != HUGE_VARIANCE_GRADIENT])
def test_the_chains_agree_on_every_partial_they_share(name: str) -> None:
    batch = BATCHES[name]
    record = batch.record
    lecture, paper = lecture_chain(record, batch.grad), paper_chain(record, batch.grad)
    g, u = np.abs(_rows(batch, batch.grad)), np.abs(record.u)
    allowed = 2 * (len(g) + 16) * UNIT
    for_var = 0.5 * (np.abs(record.gamma) * (g * u)).sum(axis=0) / record.std / record.std
    for_mean = np.abs(record.gamma) * g.sum(axis=0) / record.std
    assert np.array_equal(lecture.d_u, paper.d_xhat)
    assert (np.abs(lecture.d_var - paper.d_var) <= allowed * for_var).all()
    assert (np.abs(lecture.d_mean - paper.d_mean_direct) <= allowed * for_mean).all()
    assert np.array_equal(paper.d_mean, paper.d_mean_direct + paper.d_mean_vanishing)


@pytest.mark.parametrize("name", BATCHES)
def test_the_mean_of_the_centred_values_is_zero_to_rounding(name: str) -> None:
    """|mean(z−μ)| ≤ (B+3)·w·max|z−μ| of the values stored; their mean is taken in fractions."""
    centred = BATCHES[name].record.centred
    for column in centred.T.tolist():
        exact = sum(map(Fraction, column), Fraction(0)) / len(column)
        allowed = Fraction(len(column) + 3, 2**53) * Fraction(max(map(abs, column)))
        assert abs(exact) <= allowed


@pytest.mark.parametrize("name", BATCHES)
def test_the_papers_extra_term_is_zero_to_rounding(name: str) -> None:
    """As computed: (2B+3)·w·max|u| · (|γ|/s)·Σ|G·u|; docs/derivation.md derives it in item 2."""
    batch = BATCHES[name]
    record, g = batch.record, np.abs(_rows(batch, batch.grad))
    u = np.abs(record.u)
    allowed = (2 * len(g) + 3) * UNIT * u.max(axis=0)
    size = np.abs(record.gamma) / record.std * (g * u).sum(axis=0)
    vanishing = paper_chain(record, batch.grad).d_mean_vanishing
    assert (np.abs(vanishing) <= allowed * size).all()


def test_a_gradient_of_the_variance_that_overflows_does_not_spoil_the_chains() -> None:
    """∂Div/∂σ² is γΣGu/2s²: at s = 1e−150 and γ = 1e150 it is 1e450, and ∂Div/∂z 1e300."""
    batch = BATCHES[HUGE_VARIANCE_GRADIENT]
    lecture, paper = lecture_chain(batch.record, batch.grad), paper_chain(batch.record, batch.grad)
    assert np.isinf(lecture.d_var).all()
    assert np.array_equal(lecture.d_var, paper.d_var)
    assert np.isfinite(lecture.d_z).all()
    assert np.isfinite(paper.d_x).all()


def test_the_papers_extra_term_is_what_the_paper_says_and_not_just_small() -> None:
    """∂ℓ/∂σ² · Σ −2(x−μ)/m, whose last factor a rounded mean leaves at some units of 1e−17.

    ε makes s² exactly 4, so that (x−μ)/s is exact and no other rounding is in the sum.
    """
    seen = 0
    for seed in range(20):
        column = np.random.default_rng(seed).uniform(0.0, 1.0, size=(5, 1))
        z = np.hstack([column, -column])
        var = forward(z, [1.0, 1.0], [0.0, 0.0], 1.0).var
        record = forward(z, [3.0, 1.0], [0.0, 0.0], float(4.0 - var[0]))
        residue = record.centred.sum(axis=0)
        if record.std[0] != 2.0 or not residue.any():
            continue
        seen += 1
        chain = paper_chain(record, np.arange(10.0).reshape(5, 2))
        expected = chain.d_var * (-2.0 * residue / 5)
        np.testing.assert_allclose(chain.d_mean_vanishing, expected, rtol=1e-14)
    assert seen, "the example shows nothing"


def test_the_upstream_gradient_is_read_and_neither_kept_nor_changed() -> None:
    batch = _batch((4, 3, 5))
    before = batch.grad.copy()
    rows = upstream_rows(batch.record, batch.grad)
    assert not np.shares_memory(upstream_rows(_batch((7, 3)).record, GIVEN), GIVEN)
    assert np.shares_memory(upstream_rows(_batch((7, 3)).record, GIVEN, copy=False), GIVEN)
    assert np.array_equal(to_rows(before), rows)
    assert np.array_equal(rows, lecture_chain(batch.record, batch.grad).d_zhat)
    backward(batch.record, batch.grad)
    assert np.array_equal(before, batch.grad)


def test_arguments_are_copied_unless_they_may_be_shared() -> None:
    for copied in (arrays.real_array("x", GIVEN), arrays.same_shape("x", GIVEN, GIVEN.shape)):
        assert not np.shares_memory(copied, GIVEN)
    assert GIVEN is arrays.real_array("x", GIVEN, copy=False)
    assert GIVEN is arrays.same_shape("x", GIVEN, GIVEN.shape, copy=False)


def test_the_routes_have_the_shape_of_the_input_and_add_up() -> None:
    batch = BATCHES["channels last, 4-D"]
    routes = three_routes(batch.record, batch.grad)
    for route in (routes.direct, routes.by_variance, routes.by_mean, routes.total):
        assert batch.grad.shape == route.shape
    assert np.array_equal(routes.direct + routes.by_variance + routes.by_mean, routes.total)
