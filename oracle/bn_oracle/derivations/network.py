r"""The network of the notes' first page: two hidden layers, with batch norm inside.

Each hidden layer is an affine map, batch norm, an activation, in that order; the last layer is
affine, and the divergence is the softmax cross-entropy, averaged over the mini-batch::

    z = W x + b,   ẑ = BN(z),   y = f(ẑ)          twice
    o = W y + b,   Div = (1/N) Σ_t −log softmax(o_t)[d_t]

A mini-batch step is  W ← W − η ∂Div/∂W.  The whole batch in one step is batch gradient descent.
One instance a step is incremental descent, and batch norm has none: with N = 1 every u is 0, and
no gradient passes. Because μ_B and σ_B² belong to the mini-batch, each term of Div is a function
of the whole mini-batch; the label d_t is data, and nothing is differentiated by it.

The bias before batch norm is kept, as the notes have it. The mean takes it away, so its gradient
is zero and β does its work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bn_oracle import arrays, running
from bn_oracle.arrays import Array
from bn_oracle.backward import backward
from bn_oracle.conventions import Convention
from bn_oracle.forward import Forward, forward
from bn_oracle.inference import infer

Activation = Literal["sigmoid", "tanh", "relu"]
Labels = NDArray[np.intp]


@dataclass(frozen=True)
class Parameters:
    """All that is learned; or, for each of it, the gradient of the divergence.

    Of L hidden layers and an output layer there are L+1 weights (outputs, inputs) and biases
    (outputs,), and L scales and shifts.
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    gammas: tuple[Array, ...]
    betas: tuple[Array, ...]


@dataclass(frozen=True)
class RunningStatistics:
    """What inference normalises by: one mean and one variance (C,) a hidden layer."""

    means: tuple[Array, ...]
    variances: tuple[Array, ...]


@dataclass(frozen=True)
class Pass:
    """A training-mode pass."""

    inputs: tuple[Array, ...]
    """What enters each affine map, (N, ·): the instances first, then each activation's output."""
    records: tuple[Forward, ...]
    """Each batch norm's forward pass."""
    logits: Array
    """o, (N, K)."""


def initialise(sizes: Sequence[int], seed: int) -> Parameters:
    """Return weights of variance 1/inputs, γ = 1, biases and β = 0.

    Args:
        sizes: the width of the input, of each hidden layer, and of the output.
        seed: of the weights.
    """
    for index, size in enumerate(sizes):
        arrays.whole_number(f"sizes[{index}]", size, 1)
    rng = np.random.default_rng(seed)
    pairs = list(pairwise(sizes))
    return Parameters(
        weights=tuple(rng.normal(size=(out, into)) / np.sqrt(into) for into, out in pairs),
        biases=tuple(np.zeros(out) for _, out in pairs),
        gammas=tuple(np.ones(out) for _, out in pairs[:-1]),
        betas=tuple(np.zeros(out) for _, out in pairs[:-1]),
    )


def initial_statistics(parameters: Parameters, convention: Convention) -> RunningStatistics:
    """Return the statistics that `convention` starts from."""
    return RunningStatistics(
        means=tuple(np.full(g.shape, convention.initial_mean) for g in parameters.gammas),
        variances=tuple(np.full(g.shape, convention.initial_var) for g in parameters.gammas),
    )


def activate(activation: Activation, x: Array) -> Array:
    """Return f(x); the sigmoid by tanh, which does not overflow. ReLU goes by the real part.

    Raises:
        ValueError: no such activation.
    """
    if activation == "sigmoid":
        return np.asarray(0.5 + 0.5 * np.tanh(0.5 * x))
    if activation == "tanh":
        return np.tanh(x)
    if activation == "relu":
        return np.where(x.real > 0.0, x, 0.0)
    raise ValueError(f"activation is {activation!r}, but must be sigmoid, tanh or relu")


def slope(activation: Activation, x: Array) -> Array:
    """Return f′(x); for ReLU at 0 it is 0.

    Raises:
        ValueError: no such activation.
    """
    y = activate(activation, x)
    if activation == "sigmoid":
        return y * (1.0 - y)
    if activation == "tanh":
        return 1.0 - y * y
    return np.asarray(x > 0.0, dtype=np.float64)


def training_pass(parameters: Parameters, x: ArrayLike, activation: Activation, eps: float) -> Pass:
    """Run a mini-batch x (N, D) through the network, normalising by its own statistics.

    Raises:
        TypeError: `x` is not made of real numbers.
        ValueError: a shape does not fit, no such activation, or see `forward`.
    """
    y = _instances(parameters, x)
    inputs, records = [y], []
    for layer, (gamma, beta) in enumerate(zip(parameters.gammas, parameters.betas, strict=True)):
        z = y @ parameters.weights[layer].T + parameters.biases[layer]
        records.append(forward(z, gamma, beta, eps))
        y = activate(activation, records[-1].out)
        inputs.append(y)
    logits = y @ parameters.weights[-1].T + parameters.biases[-1]
    return Pass(tuple(inputs), tuple(records), logits)


def cross_entropy(logits: ArrayLike, labels: ArrayLike) -> float:
    """Return the mean of −log softmax(o)[d] over the instances.

    Raises:
        TypeError: `logits` are not real numbers, or `labels` no integers.
        ValueError: a shape does not fit, or a label is no class.
    """
    o, d = _judged(logits, labels)
    o = o - o.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(o).sum(axis=1))
    return float((log_sum - o[np.arange(len(d)), d]).mean())


def gradients(
    parameters: Parameters, seen: Pass, labels: ArrayLike, activation: Activation
) -> Parameters:
    """Return ∂Div/∂ of every parameter, through the whole network and the batch's statistics.

    Raises:
        TypeError: `labels` are no integers.
        ValueError: `labels` do not fit the batch, a label is no class, or no such activation.
    """
    o, d = _judged(seen.logits, labels)
    odds = np.exp(o - o.max(axis=1, keepdims=True))
    d_out = odds / odds.sum(axis=1, keepdims=True)
    d_out[np.arange(len(d)), d] -= 1.0
    d_out /= len(d)

    weights, biases = [d_out.T @ seen.inputs[-1]], [d_out.sum(axis=0)]
    gammas: list[Array] = []
    betas: list[Array] = []
    d_y = d_out @ parameters.weights[-1]
    for layer in reversed(range(len(seen.records))):
        record = seen.records[layer]
        grads = backward(record, d_y * slope(activation, record.out))
        gammas.append(grads.dgamma)
        betas.append(grads.dbeta)
        weights.append(grads.dz.T @ seen.inputs[layer])
        biases.append(grads.dz.sum(axis=0))
        d_y = grads.dz @ parameters.weights[layer]
    return Parameters(*(tuple(reversed(found)) for found in (weights, biases, gammas, betas)))


def sgd_step(parameters: Parameters, slopes: Parameters, rate: float) -> Parameters:
    """Return the parameters after one step θ ← θ − η ∂Div/∂θ.

    Raises:
        TypeError: η is not a real number.
        ValueError: η is negative.
    """
    eta = arrays.scalar("rate", rate, 0.0)

    def moved(old: tuple[Array, ...], by: tuple[Array, ...]) -> tuple[Array, ...]:
        return tuple(a - eta * b for a, b in zip(old, by, strict=True))

    return Parameters(
        moved(parameters.weights, slopes.weights),
        moved(parameters.biases, slopes.biases),
        moved(parameters.gammas, slopes.gammas),
        moved(parameters.betas, slopes.betas),
    )


def update_statistics(
    statistics: RunningStatistics, seen: Pass, decay: float, convention: Convention
) -> RunningStatistics:
    """Return the running statistics of every layer after one more training batch.

    Raises:
        TypeError, ValueError: as `running.update`.
    """
    pairs = [
        running.update(mean, var, record, decay, convention)
        for mean, var, record in zip(
            statistics.means, statistics.variances, seen.records, strict=True
        )
    ]
    return RunningStatistics(tuple(mean for mean, _ in pairs), tuple(var for _, var in pairs))


def predict(
    parameters: Parameters,
    statistics: RunningStatistics,
    x: ArrayLike,
    activation: Activation,
    eps: float,
) -> Array:
    """Return the logits (N, K) in inference mode: each instance by itself.

    Raises:
        TypeError: `x` is not made of real numbers.
        ValueError: a shape does not fit, no such activation, or see `infer`.
    """
    y = _instances(parameters, x)
    for layer, (mean, var) in enumerate(zip(statistics.means, statistics.variances, strict=True)):
        z = y @ parameters.weights[layer].T + parameters.biases[layer]
        gamma, beta = parameters.gammas[layer], parameters.betas[layer]
        y = activate(activation, infer(z, gamma, beta, mean, var, eps))
    return np.asarray(y @ parameters.weights[-1].T + parameters.biases[-1])


def _instances(parameters: Parameters, x: ArrayLike) -> Array:
    batch = arrays.batch("x", x, 1)
    width = parameters.weights[0].shape[1]
    if batch.shape[1:] != (width,):
        raise ValueError(f"x has shape {batch.shape}, but must have shape (N, {width})")
    return batch


def _judged(logits: ArrayLike, labels: ArrayLike) -> tuple[Array, Labels]:
    o = arrays.batch("logits", logits, 1)
    d = np.asarray(labels)
    if d.dtype.kind not in "iu":
        raise TypeError(f"labels has dtype {d.dtype}, but must be integers")
    if d.shape != (len(o),):
        raise ValueError(f"labels has shape {d.shape}, but must have shape ({len(o)},)")
    if d.min() < 0 or d.max() >= o.shape[1]:
        raise ValueError(
            f"labels go from {d.min()} to {d.max()}, but must be from 0 to {o.shape[1] - 1}"
        )
    return o, d.astype(np.intp)
