r"""Batch norm that vanishes: into the layer before it, or into the identity.

Inference is affine, ẑ = a z + b with a = γ/√(σ²+ε), b = β − aμ. After an affine layer z = Wx + c
it needs no layer of its own::

    ẑ = (aW) x + (a c + b)

And training-mode batch norm can restore the values that it normalised::

    γ = √(σ_B²+ε), β = μ_B    gives ẑ_i = z_i
    γ = √(σ_B²),   β = μ_B    gives ẑ_i = z_i − (z_i−μ_B) · ε / (s(s+√σ_B²))

The second is what the paper and the notes say; it is exact for ε = 0 only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bn_oracle import arrays
from bn_oracle.arrays import Array
from bn_oracle.forward import Forward
from bn_oracle.inference import denominator


def fold_linear(
    weight: ArrayLike,
    bias: ArrayLike | None,
    gamma: ArrayLike,
    beta: ArrayLike,
    mean: ArrayLike,
    var: ArrayLike,
    eps: float,
) -> tuple[Array, Array]:
    """Return the weight and bias of the one layer that is x ↦ infer(W x + c).

    Args:
        weight: W, (O, I): one row an output.
        bias: c, (O,), or None for zero.
        gamma, beta, mean, var: (O,).
        eps: ε ≥ 0.

    Raises:
        TypeError: an argument is not made of real numbers.
        ValueError: a shape does not fit, or see `infer`.
    """
    matrix = arrays.real_array("weight", weight)
    if matrix.ndim != 2:
        raise ValueError(f"weight has shape {matrix.shape}, but must have shape (O, I)")
    return _folded(matrix, bias, gamma, beta, mean, var, eps)


def fold_convolution(
    weight: ArrayLike,
    bias: ArrayLike | None,
    gamma: ArrayLike,
    beta: ArrayLike,
    mean: ArrayLike,
    var: ArrayLike,
    eps: float,
) -> tuple[Array, Array]:
    """Return the weight and bias of the one convolution that is x ↦ infer(W ∗ x + c).

    Padding does not matter: it is zeros before W, on both sides of the equation.

    Args:
        weight: W, (O, I, kH, kW), or with one or three kernel axes; grouped ones, too.
        bias: c, (O,), or None for zero.
        gamma, beta, mean, var: (O,).
        eps: ε ≥ 0.

    Raises:
        TypeError: an argument is not made of real numbers.
        ValueError: a shape does not fit, or see `infer`.
    """
    kernel = arrays.real_array("weight", weight)
    if kernel.ndim not in (3, 4, 5):
        raise ValueError(f"weight has shape {kernel.shape}, but must have shape (O, I, kH, kW)")
    return _folded(kernel, bias, gamma, beta, mean, var, eps)


def _folded(
    weight: Array,
    bias: ArrayLike | None,
    gamma: ArrayLike,
    beta: ArrayLike,
    mean: ArrayLike,
    var: ArrayLike,
    eps: float,
) -> tuple[Array, Array]:
    outputs = weight.shape[0]
    offset = np.zeros(outputs) if bias is None else arrays.per_feature("bias", bias, outputs)
    centre = arrays.per_feature("mean", mean, outputs)
    shift = arrays.per_feature("beta", beta, outputs)
    slope = arrays.per_feature("gamma", gamma, outputs) / denominator(var, outputs, eps)
    # c − μ before the product with a: folded the other way round, ac and aμ may cancel.
    return weight * slope.reshape(-1, *[1] * (weight.ndim - 1)), slope * (offset - centre) + shift


def recovering_parameters(record: Forward) -> tuple[Array, Array]:
    """Return the γ and β (C,) with which batch norm gives this batch back unchanged."""
    return record.std.copy(), record.mean.copy()


def recovery_error(record: Forward) -> Array:
    """Return ẑ − z for γ = √σ_B² (without ε) and β = μ_B, in the shape of the input.

    (√σ²/s − 1)(z − μ), with the difference of nearly equal numbers written as a quotient:
    −ε (z − μ) / (s (s + √σ²)).
    """
    shrinkage = record.eps / record.std / (record.std + np.sqrt(record.var))
    return arrays.from_rows(-record.centred * shrinkage, record.out.shape, record.channel_axis)
