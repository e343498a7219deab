r"""The forward computations once more, for complex numbers: how the gradients are proved.

For an analytic F with real coefficients, F(x + ih) = F(x) + ih F′(x) − h²F″(x)/2 − …, so

    F′(x) = Im F(x + ih)/h + O(h²)

No difference is formed, so h can be 1e−20 and the result is right to rounding. The statistics
and the activations here are the oracle's own functions; on real numbers everything here equals
the public functions bit for bit, and a test says so. The maximum goes by the real part.

Source: Squire & Trapp 1998, "Using complex variables to estimate derivatives of real functions".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bn_oracle.derivations.network import Activation, activate
from bn_oracle.forward import statistics

Numbers = NDArray[Any]
"""float64, or complex128."""


def normalise(rows: Numbers, gamma: Numbers, beta: Numbers, eps: float) -> Numbers:
    """Return ẑ (B, C) of rows (B, C), as `forward` does."""
    _, centred, var = statistics(rows)
    result: Numbers = gamma * (centred / np.sqrt(var + eps)) + beta
    return result


def network_loss(
    weights: tuple[Numbers, ...],
    biases: tuple[Numbers, ...],
    gammas: tuple[Numbers, ...],
    betas: tuple[Numbers, ...],
    x: Numbers,
    labels: NDArray[np.intp],
    activation: Activation,
    eps: float,
) -> Any:
    """Return the divergence of a mini-batch, as `network.training_pass` and `cross_entropy` do."""
    y = x
    for weight, bias, gamma, beta in zip(weights, biases, gammas, betas, strict=False):
        y = activate(activation, normalise(y @ weight.T + bias, gamma, beta, eps))
    logits = y @ weights[-1].T + biases[-1]
    logits = logits - logits.real.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(logits).sum(axis=1))
    return (log_sum - logits[np.arange(len(labels)), labels]).mean()
