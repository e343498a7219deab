"""Against PyTorch in float64, for everything that PyTorch computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bn_oracle.arrays import Array, to_rows
from bn_oracle.backward import backward
from bn_oracle.conventions import TORCH
from bn_oracle.folding import fold_convolution, fold_linear
from bn_oracle.forward import Forward, forward
from bn_oracle.inference import infer, infer_backward
from bn_oracle.running import cumulative_decay, update

pytestmark = pytest.mark.torch

UNIT = 2.0**-53
SHAPES = ((6, 3), (2, 4), (64, 2), (4, 3, 5), (3, 2, 4, 3), (2, 3, 2, 2, 3))
EPS = 1e-5


def _layer(shape: tuple[int, ...], momentum: float | None = 0.1) -> Any:
    """A torch layer for arrays of `shape`, its parameters and statistics away from 0 and 1."""
    import torch

    kinds = {2: torch.nn.BatchNorm1d, 3: torch.nn.BatchNorm1d, 4: torch.nn.BatchNorm2d}
    kind = kinds.get(len(shape), torch.nn.BatchNorm3d)
    layer = kind(shape[1], eps=EPS, momentum=momentum, dtype=torch.float64)
    rng = np.random.default_rng(shape)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(rng.normal(size=shape[1])))
        layer.bias.copy_(torch.from_numpy(rng.normal(size=shape[1])))
        layer.running_mean.copy_(torch.from_numpy(rng.normal(size=shape[1])))
        layer.running_var.copy_(torch.from_numpy(rng.uniform(1, 2, size=shape[1])))
    return layer


def _numpy(tensor: Any) -> Array:
    return np.asarray(tensor.detach().numpy())


def _errors(record: Forward, grad: Array) -> tuple[Array, Array, Array, Array]:
    """What two stable implementations may differ by: out, dz (B, C), dγ and dβ (C,).

    First order, for B values of size m = max|z|: u is off by (B+4)·w·m/s for the centring, and
    by |u| times the relative error of s, which is the centring's, weighed by 2m√v/s², and a
    few roundings.
    """
    g = np.abs(to_rows(grad, record.channel_axis))
    w, B, m, u = UNIT, len(g), np.abs(record.rows).max(axis=0), np.abs(record.u)
    k = (B + 4) * w * (2 * m * np.sqrt(record.var) / record.std**2 + 1)
    off = (B + 4) * w * m / record.std + u * (k + 4 * w)
    gamma = np.abs(record.gamma)
    out = gamma * off + 4 * w * (gamma * u + np.abs(record.beta))
    dgamma = (g * off).sum(axis=0) + (B + 2) * w * (g * u).sum(axis=0)
    dbeta = (B + 2) * w * g.sum(axis=0)
    size = g + g.mean(axis=0) + u * (g * u).mean(axis=0)
    dz = (
        gamma
        / record.std
        * (
            dbeta / B
            + off * (g * u).mean(axis=0)
            + u * dgamma / B
            + ((B + 8) * w + k + 4 * w) * size
        )
    )
    return 2 * out, 2 * dz, 2 * dgamma, 2 * dbeta


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_training_agrees_with_torch(shape: tuple[int, ...], offset: float) -> None:
    import torch

    layer, rng = _layer(shape), np.random.default_rng(shape)
    z, grad = rng.normal(size=shape) + offset, rng.normal(size=shape)
    given = torch.from_numpy(z.copy()).requires_grad_()
    out = layer(given)
    out.backward(torch.from_numpy(grad))
    record = forward(z, _numpy(layer.weight), _numpy(layer.bias), EPS)
    grads = backward(record, grad)
    by_out, by_z, by_gamma, by_beta = _errors(record, grad)
    assert (np.abs(to_rows(record.out) - to_rows(_numpy(out))) <= by_out).all()
    assert (np.abs(to_rows(grads.dz) - to_rows(_numpy(given.grad))) <= by_z).all()
    assert (np.abs(grads.dgamma - _numpy(layer.weight.grad)) <= by_gamma).all()
    assert (np.abs(grads.dbeta - _numpy(layer.bias.grad)) <= by_beta).all()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("momentum", [0.1, 0.75, 0.0, 1.0, None])
def test_running_statistics_agree_with_torch(
    shape: tuple[int, ...], momentum: float | None
) -> None:
    import torch

    layer, rng = _layer(shape, momentum), np.random.default_rng(shape)
    mean, var = _numpy(layer.running_mean).copy(), _numpy(layer.running_var).copy()
    for seen in range(5):
        z = rng.normal(size=shape)
        layer(torch.from_numpy(z))
        decay = cumulative_decay(seen) if momentum is None else TORCH.decay(momentum)
        record = forward(z, np.ones(shape[1]), np.zeros(shape[1]), EPS)
        mean, var = update(mean, var, record, decay, TORCH)
    # Sums of B values below 5, and a few roundings a step.
    allowed = 2 * (record.batch_size + 20) * UNIT * 5
    assert np.abs(mean - _numpy(layer.running_mean)).max() <= allowed
    assert np.abs(var - _numpy(layer.running_var)).max() <= 5 * allowed


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_inference_and_its_gradients_agree_with_torch(shape: tuple[int, ...]) -> None:
    import torch

    layer, rng = _layer(shape).eval(), np.random.default_rng(shape)
    z, grad = rng.normal(size=shape), rng.normal(size=shape)
    given = torch.from_numpy(z.copy()).requires_grad_()
    out = layer(given)
    out.backward(torch.from_numpy(grad))
    gamma, beta = _numpy(layer.weight), _numpy(layer.bias)
    mean, var = _numpy(layer.running_mean), _numpy(layer.running_var)
    assert infer(z, gamma, beta, mean, var, EPS) == pytest.approx(_numpy(out), rel=1e-13, abs=1e-14)
    grads = infer_backward(z, gamma, mean, var, EPS, grad)
    B = z.size // shape[1]
    assert grads.dz == pytest.approx(_numpy(given.grad), rel=1e-14, abs=0.0)
    for ours, theirs in ((grads.dgamma, layer.weight.grad), (grads.dbeta, layer.bias.grad)):
        assert ours == pytest.approx(_numpy(theirs), abs=20 * (B + 8) * B * UNIT)


def test_gradients_of_the_given_statistics_agree_with_torchs_autograd() -> None:
    """torch's layer treats them as constants; its arithmetic differentiates them."""
    import torch

    rng = np.random.default_rng(0)
    z, grad = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
    gamma, mean, var = rng.normal(size=3), rng.normal(size=3), rng.uniform(1, 2, size=3)
    m, v = (torch.from_numpy(a.copy()).requires_grad_() for a in (mean, var))
    out = torch.from_numpy(gamma) * (torch.from_numpy(z) - m) / torch.sqrt(v + EPS)
    out.backward(torch.from_numpy(grad))
    grads = infer_backward(z, gamma, mean, var, EPS, grad)
    assert grads.dmean == pytest.approx(_numpy(m.grad), rel=1e-13, abs=1e-15)
    assert grads.dvar == pytest.approx(_numpy(v.grad), rel=1e-13, abs=1e-15)


def test_torchs_convention_is_torchs() -> None:
    import torch

    layer = torch.nn.BatchNorm1d(1)
    assert TORCH.eps == layer.eps
    assert TORCH.momentum == layer.momentum
    assert [TORCH.initial_mean] == layer.running_mean.tolist()
    assert [TORCH.initial_var] == layer.running_var.tolist()
    with pytest.raises(ValueError, match="more than 1 value"):
        layer(torch.zeros(1, 1))


def test_folding_agrees_with_torchs_own() -> None:
    import torch
    from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

    with torch.no_grad():
        for before, shape, fuse, fold in (
            (torch.nn.Linear(4, 3, dtype=torch.float64), (2, 3), fuse_linear_bn_eval, fold_linear),
            (
                torch.nn.Conv2d(4, 3, (3, 2), dtype=torch.float64),
                (2, 3, 1, 1),
                fuse_conv_bn_eval,
                fold_convolution,
            ),
        ):
            layer = _layer(shape).eval()
            fused = fuse(before.eval(), layer)
            weight, bias = fold(
                _numpy(before.weight),
                _numpy(before.bias),
                _numpy(layer.weight),
                _numpy(layer.bias),
                _numpy(layer.running_mean),
                _numpy(layer.running_var),
                EPS,
            )
            assert weight == pytest.approx(_numpy(fused.weight), rel=1e-14, abs=0.0)
            assert bias == pytest.approx(_numpy(fused.bias), rel=1e-13, abs=1e-15)
