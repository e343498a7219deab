"""Population statistics, running averages and folding, in floating point."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bn_oracle.arrays import Array
from bn_oracle.conventions import CMU_HW1P1, TENSORFLOW_FUSED, TORCH, Convention
from bn_oracle.folding import (
    fold_convolution,
    fold_linear,
    recovering_parameters,
    recovery_error,
)
from bn_oracle.forward import forward
from bn_oracle.inference import fold, infer, infer_backward
from bn_oracle.population import Moments, merge, moments
from bn_oracle.running import after, batch_variance, cumulative_decay, update, weights

UNIT = 2.0**-53


@pytest.mark.parametrize("offset", [0.0, 1e6, 1e12])
@pytest.mark.parametrize("cuts", [(), (4,), (1, 2, 9), (3, 6)])
def test_a_batch_split_over_devices_merges_to_the_whole_batchs_statistics(
    cuts: tuple[int, ...], offset: float
) -> None:
    """What synchronised batch norm computes: each device sends its count, mean and M2."""
    z = np.random.default_rng(3).normal(size=(10, 4, 3)) + offset
    whole = forward(z, np.ones(4), np.zeros(4), 1e-5)
    merged = merge(*(moments(part) for part in np.split(z, cuts)))
    assert whole.batch_size == merged.count
    # Each mean rounds by w·max|z|, and a difference of means carries that into M2 squared.
    rounding = 8 * UNIT * np.abs(z).max()
    assert np.abs(whole.mean - merged.mean).max() <= rounding
    allowed = 100 * UNIT + 2 * rounding / np.sqrt(whole.var.min())
    assert whole.var == pytest.approx(merged.biased_variance, rel=allowed, abs=0.0)


def test_moments_know_both_variances() -> None:
    one = moments([[0.0], [2.0], [4.0]])
    assert 3 == one.count
    assert [8.0] == one.m2.tolist()
    assert [8 / 3] == one.biased_variance.tolist()
    assert [4.0] == one.unbiased_variance.tolist()
    assert [[2.0, 3.0], [0.0, 0.0]] == [
        array.tolist() for array in (moments([[2.0, 3.0]]).mean, moments([[2.0, 3.0]]).m2)
    ]


def test_moments_are_kept_as_an_integer_and_float64_arrays() -> None:
    one = Moments(np.int64(3), [[1, 2]], [[3, 4]])  # type: ignore[arg-type]
    assert (3, int) == (one.count, type(one.count))
    assert ([1.0, 2.0], [3.0, 4.0]) == (one.mean.tolist(), one.m2.tolist())
    assert np.float64 == one.mean.dtype == one.m2.dtype


def test_channels_last_moments_are_those_of_channels_first() -> None:
    z = np.random.default_rng(0).normal(size=(3, 4, 5))
    first, last = moments(z), moments(np.moveaxis(z, 1, -1), channel_axis=-1)
    assert np.array_equal(first.mean, last.mean)
    assert np.array_equal(first.m2, last.m2)


@pytest.mark.parametrize("convention", [CMU_HW1P1, TORCH], ids=lambda c: c.name)
@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9, 1.0])
def test_the_running_average_has_a_closed_form(convention: Convention, decay: float) -> None:
    rng = np.random.default_rng(2)
    mean, var = rng.normal(size=3), rng.uniform(1, 2, size=3)
    start = mean, var
    records = [forward(rng.normal(size=(5, 3)), np.ones(3), np.zeros(3), 1e-5) for _ in range(12)]
    for record in records:
        mean, var = update(mean, var, record, decay, convention)
    means = np.array([record.mean for record in records])
    variances = np.array([batch_variance(record, convention) for record in records])
    assert mean == pytest.approx(after(start[0], means, decay), rel=1e-14, abs=1e-15)
    assert var == pytest.approx(after(start[1], variances, decay), rel=1e-14, abs=0.0)


def test_the_cumulative_average_is_the_mean_of_means_and_forgets_the_start() -> None:
    rng = np.random.default_rng(4)
    records = [forward(rng.normal(size=(5, 3)), np.ones(3), np.zeros(3), 1e-5) for _ in range(9)]
    mean, var = np.full(3, 1e3), np.full(3, 1e3)
    for seen, record in enumerate(records):
        mean, var = update(mean, var, record, cumulative_decay(seen), TORCH)
    expected = np.mean([record.mean for record in records], axis=0)
    assert expected == pytest.approx(mean, rel=1e-13, abs=1e-15)
    assert np.mean([r.var * 5 / 4 for r in records], axis=0) == pytest.approx(
        var, rel=1e-14, abs=0.0
    )


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.9, 0.99, 1.0])
def test_the_running_averages_weights_sum_to_one(decay: float) -> None:
    assert 1.0 == pytest.approx(weights(50, decay).sum(), rel=1e-14, abs=0.0)
    assert [1.0] == weights(0, decay).tolist()


def test_a_single_value_enters_where_the_convention_takes_it() -> None:
    record = forward([[3.0]], [1.0], [0.0], 1e-5)
    assert [0.0] == batch_variance(record, CMU_HW1P1).tolist()
    assert [0.0] == batch_variance(record, TENSORFLOW_FUSED).tolist()
    with pytest.raises(ValueError, match="at least two values"):
        batch_variance(record, TORCH)


def _layer(outputs: int) -> dict[str, Any]:
    rng = np.random.default_rng(outputs)
    gamma, beta, mean = rng.normal(size=(3, outputs))
    var = rng.uniform(0.5, 2, size=outputs)
    return {"gamma": gamma, "beta": beta, "mean": mean, "var": var, "eps": 1e-3}


@pytest.mark.parametrize("with_bias", [True, False])
def test_batch_norm_folds_into_the_linear_layer_before_it(with_bias: bool) -> None:
    rng = np.random.default_rng(1)
    weight, x = rng.normal(size=(4, 3)), rng.normal(size=(6, 3))
    bias = rng.normal(size=4) if with_bias else None
    expected = infer(x @ weight.T + (0 if bias is None else bias), **_layer(4))
    folded, shift = fold_linear(weight, bias, **_layer(4))
    assert weight.shape == folded.shape
    assert expected == pytest.approx(x @ folded.T + shift, rel=1e-13, abs=1e-14)


@pytest.mark.parametrize("kernel", [(3,), (3, 2), (1, 3, 2)])
def test_a_folded_kernel_is_scaled_output_by_output(kernel: tuple[int, ...]) -> None:
    """Of one to three axes; a convolution with a kernel of size one a window is linear."""
    weight = np.random.default_rng(5).normal(size=(4, 2, *kernel))
    folded, shift = fold_convolution(weight, None, **_layer(4))
    flat, same = fold_linear(weight.reshape(4, -1), None, **_layer(4))
    assert np.array_equal(flat, folded.reshape(4, -1))
    assert np.array_equal(same, shift)


def test_batch_norm_folds_into_the_convolution_before_it() -> None:
    """A valid convolution, written as a sum over windows."""
    rng = np.random.default_rng(2)
    weight, bias = rng.normal(size=(4, 2, 3, 2)), rng.normal(size=4)
    x = rng.normal(size=(3, 2, 6, 5))
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 2), axis=(2, 3))

    def convolve(w: Array, b: Array) -> Array:
        return np.asarray(np.einsum("nihwkl,oikl->nohw", windows, w) + b[:, None, None])

    expected = infer(convolve(weight, bias), **_layer(4))
    folded, shift = fold_convolution(weight, bias, **_layer(4))
    assert weight.shape == folded.shape
    assert expected == pytest.approx(convolve(folded, shift), rel=1e-12, abs=1e-13)


def test_inference_is_its_affine_fold() -> None:
    z = np.random.default_rng(0).normal(size=(4, 3, 2))
    slope, intercept = fold(**_layer(3))
    expected = slope[:, None] * z + intercept[:, None]
    assert expected == pytest.approx(infer(z, **_layer(3)), rel=1e-13, abs=1e-14)


def test_inference_gradients_are_central_differences() -> None:
    """Along every argument; quadratics are differentiated exactly, √ to h²."""
    layer, rng = _layer(2), np.random.default_rng(0)
    z, g, h = rng.normal(size=(4, 5, 2)), rng.normal(size=(4, 5, 2)), 1e-5
    without_beta = {name: value for name, value in layer.items() if name != "beta"}
    grads = infer_backward(z, grad=g, **without_beta, channel_axis=-1)
    arguments = {"z": z, **layer}
    for name in ("z", "gamma", "beta", "mean", "var"):
        for index in np.ndindex(arguments[name].shape):
            divs = []
            for sign in (1, -1):
                moved = arguments[name].copy()
                moved[index] += sign * h
                divs.append((g * infer(**{**arguments, name: moved}, channel_axis=-1)).sum())
            difference = (divs[0] - divs[1]) / (2 * h)
            assert difference == pytest.approx(getattr(grads, f"d{name}")[index], abs=1e-8), name


@pytest.mark.parametrize("eps", [0.0, 1e-8, 1e-3, 10.0])
def test_the_recovering_parameters_give_the_batch_back(eps: float) -> None:
    z = np.random.default_rng(6).normal(size=(5, 3, 4)) + 3
    record = forward(z, np.ones(3), np.zeros(3), eps)
    again = forward(z, *recovering_parameters(record), eps)
    assert z == pytest.approx(again.out, rel=8 * UNIT, abs=16 * UNIT)
    short = forward(z, np.sqrt(record.var), record.mean, eps)
    # The difference of two numbers of size |z| ≤ 8.
    assert recovery_error(record) == pytest.approx(short.out - z, rel=1e-13, abs=64 * UNIT)
    last = forward(np.moveaxis(z, 1, -1), np.ones(3), np.zeros(3), eps, channel_axis=-1)
    assert np.array_equal(np.moveaxis(recovery_error(record), 1, -1), recovery_error(last))
