"""The network of the notes' first page, trained on real data, next to the same one in torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from bn_oracle.arrays import Array
from bn_oracle.conventions import CS231N, TORCH
from bn_oracle.derivations.network import (
    Activation,
    Parameters,
    RunningStatistics,
    activate,
    cross_entropy,
    gradients,
    initial_statistics,
    initialise,
    predict,
    sgd_step,
    slope,
    training_pass,
    update_statistics,
)

EPS, RATE, STEPS, BATCH = 1e-5, 0.1, 1000, 64
SIZES = (64, 32, 24, 10)
ACTIVATIONS: tuple[Activation, ...] = ("sigmoid", "tanh", "relu")


@dataclass(frozen=True)
class Digits:
    """1,797 handwritten digits of 8×8, every fourth kept for the test."""

    x: Array
    labels: Any
    test_x: Array
    test_labels: Any


@pytest.fixture(scope="module")
def digits() -> Digits:
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    found = datasets.load_digits()
    x, labels = found.data / 16.0, found.target
    test = np.arange(len(x)) % 4 == 0
    return Digits(x[~test], labels[~test], x[test], labels[test])


def _batches(count: int) -> list[Any]:
    """The instances of each step: shuffled epochs, cut; a ragged last batch is left out."""
    rng = np.random.default_rng(11)
    batches: list[Any] = []
    while len(batches) < STEPS:
        order = rng.permutation(count)
        batches.extend(order[i : i + BATCH] for i in range(0, count - BATCH + 1, BATCH))
    return batches[:STEPS]


def _train(digits: Digits, activation: Activation) -> tuple[Parameters, RunningStatistics]:
    parameters = initialise(SIZES, seed=1)
    statistics = initial_statistics(parameters, TORCH)
    decay = TORCH.decay(TORCH.momentum)
    for chosen in _batches(len(digits.x)):
        seen = training_pass(parameters, digits.x[chosen], activation, EPS)
        slopes = gradients(parameters, seen, digits.labels[chosen], activation)
        parameters = sgd_step(parameters, slopes, RATE)
        statistics = update_statistics(statistics, seen, decay, TORCH)
    return parameters, statistics


def _torch_train(digits: Digits, activation: Activation) -> tuple[Any, list[Any], list[Any]]:
    """Return the torch network after the same steps from the same weights, and its layers."""
    import torch

    # One thread: matrices as small as these only lose time by being shared out.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    plain = initialise(SIZES, seed=1)
    kinds = {"sigmoid": torch.nn.Sigmoid, "tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}
    affine = [torch.nn.Linear(into, out, dtype=torch.float64) for into, out in pairwise(SIZES)]
    norms = [torch.nn.BatchNorm1d(size, dtype=torch.float64) for size in SIZES[1:-1]]
    with torch.no_grad():
        for layer, weight, bias in zip(affine, plain.weights, plain.biases, strict=True):
            layer.weight.copy_(torch.from_numpy(weight))
            layer.bias.copy_(torch.from_numpy(bias))
    pieces: list[Any] = []
    for layer, norm in zip(affine, norms, strict=False):
        pieces += [layer, norm, kinds[activation]()]
    network = torch.nn.Sequential(*pieces, affine[-1])
    optimiser = torch.optim.SGD(network.parameters(), lr=RATE)
    x, labels = torch.from_numpy(digits.x), torch.from_numpy(digits.labels)
    for chosen in _batches(len(digits.x)):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(x[chosen]), labels[chosen]).backward()
        optimiser.step()
    torch.set_num_threads(threads)
    return network.eval(), affine, norms


@pytest.mark.torch
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_thousand_steps_on_digits_follow_torch(digits: Digits, activation: Activation) -> None:
    """From the same weights, over the same mini-batches: weights equal to 1e−10 at the end."""
    import torch

    parameters, statistics = _train(digits, activation)
    network, affine, norms = _torch_train(digits, activation)
    pairs = [
        *zip(parameters.weights, [layer.weight for layer in affine], strict=True),
        *zip(parameters.biases, [layer.bias for layer in affine], strict=True),
        *zip(parameters.gammas, [norm.weight for norm in norms], strict=True),
        *zip(parameters.betas, [norm.bias for norm in norms], strict=True),
        *zip(statistics.means, [norm.running_mean for norm in norms], strict=True),
        *zip(statistics.variances, [norm.running_var for norm in norms], strict=True),
    ]
    for ours, theirs in pairs:
        assert np.abs(ours - theirs.detach().numpy()).max() <= 1e-10

    with torch.no_grad():
        theirs = network(torch.from_numpy(digits.test_x)).numpy().argmax(axis=1)
    ours = predict(parameters, statistics, digits.test_x, activation, EPS).argmax(axis=1)
    accuracy = float((ours == digits.test_labels).mean())
    assert float((theirs == digits.test_labels).mean()) == accuracy
    assert 0.95 < accuracy


def _small() -> tuple[Parameters, Array, Any]:
    """A network whose biases, γ and β are none of them 0 or 1, and a mini-batch of twelve."""
    rng = np.random.default_rng(8)
    plain = initialise((5, 4, 3, 3), seed=3)
    parameters = Parameters(
        plain.weights,
        tuple(rng.normal(size=bias.shape) for bias in plain.biases),
        tuple(rng.uniform(0.5, 2, size=gamma.shape) for gamma in plain.gammas),
        tuple(rng.normal(size=beta.shape) for beta in plain.betas),
    )
    return parameters, rng.normal(size=(12, 5)), rng.integers(0, 3, size=12)


def test_initial_weights_have_the_variance_of_one_over_the_inputs() -> None:
    """(outputs, inputs); √n·w of 10,000 draws has mean 0 and variance 1, to five deviations."""
    parameters = initialise((100, 100, 9, 4), seed=0)
    assert [(100, 100), (9, 100), (4, 9)] == [weight.shape for weight in parameters.weights]
    scaled = parameters.weights[0] * 10.0
    assert abs(scaled.mean()) <= 5 / 100
    assert abs(scaled.var() - 1.0) <= 5 * np.sqrt(2) / 100
    assert abs(parameters.weights[1].var() * 100 - 1.0) <= 5 * np.sqrt(2 / 900)
    assert [(100,), (9,), (4,)] == [bias.shape for bias in parameters.biases]
    assert [[1.0] * 100, [1.0] * 9] == [gamma.tolist() for gamma in parameters.gammas]
    for zeros in (*parameters.biases, *parameters.betas):
        assert not zeros.any()
    assert [(1, 1)] == [weight.shape for weight in initialise((1, 1), seed=0).weights]
    again, other = initialise((100, 100, 9, 4), seed=0), initialise((100, 100, 9, 4), seed=1)
    assert np.array_equal(parameters.weights[2], again.weights[2])
    assert not np.array_equal(parameters.weights[2], other.weights[2])


def test_statistics_start_where_the_convention_says_and_move_layer_by_layer() -> None:
    parameters, x, _ = _small()
    start = initial_statistics(parameters, CS231N)
    assert [[0.0] * 4, [0.0] * 3] == [mean.tolist() for mean in start.means]
    assert [[0.0] * 4, [0.0] * 3] == [var.tolist() for var in start.variances]
    assert [[1.0] * 4, [1.0] * 3] == [
        var.tolist() for var in initial_statistics(parameters, TORCH).variances
    ]
    seen = training_pass(parameters, x, "tanh", EPS)
    moved = update_statistics(start, seen, 0.75, TORCH)
    for layer, record in enumerate(seen.records):
        assert np.array_equal(0.25 * record.mean, moved.means[layer])
        assert np.array_equal(0.25 * (record.var * (12 / 11)), moved.variances[layer])


def test_a_network_by_hand() -> None:
    """Weights that pass on, z = x + 1, ẑ = 2u − 1 with u = ±½, ReLU, and o = 3y + 5."""
    one = np.ones((1, 1))
    parameters = Parameters(
        (one, 3 * one), (np.array([1.0]), np.array([5.0])), (np.array([2.0]),), (np.array([-1.0]),)
    )
    seen = training_pass(parameters, [[-1.0], [1.0], [3.0], [-3.0]], "relu", 4.0)
    u = np.array([-1.0, 1.0, 3.0, -3.0]) / 3.0
    assert [0.0, 2.0, 4.0, -2.0] == seen.records[0].rows[:, 0].tolist()
    assert np.maximum(2 * u - 1, 0) * 3 + 5 == pytest.approx(seen.logits[:, 0], rel=1e-15, abs=0.0)
    assert [[[-1.0], [1.0], [3.0], [-3.0]], [[0.0], [0.0], [1.0], [0.0]]] == [
        array.tolist() for array in seen.inputs
    ]
    statistics = RunningStatistics((np.array([3.0]),), (np.array([5.0]),))
    # z = 6, u = (6−3)/3 = 1, ẑ = 1, o = 8; and z = −1, ẑ < 0, o = 5.
    assert [[8.0], [5.0]] == predict(parameters, statistics, [[5.0], [-2.0]], "relu", 4.0).tolist()
    stepped = sgd_step(parameters, parameters, 0.5)
    assert [[[0.5]], [[1.5]]] == [weight.tolist() for weight in stepped.weights]
    assert ([0.5], [1.0]) == (stepped.biases[0].tolist(), stepped.gammas[0].tolist())
    assert [-0.5] == stepped.betas[0].tolist()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_and_their_slopes(activation: Activation) -> None:
    x = np.array([-800.0, -1.0, 0.0, 1.0, 800.0])
    values, slopes = {
        "sigmoid": ([0.0, 1 / (1 + np.e), 0.5, np.e / (1 + np.e), 1.0], [0.0, 0.25, 0.0]),
        "tanh": ([-1.0, -np.tanh(1.0), 0.0, np.tanh(1.0), 1.0], [0.0, 1.0, 0.0]),
        "relu": ([0.0, 0.0, 0.0, 1.0, 800.0], [0.0, 0.0, 1.0]),
    }[activation]
    assert values == pytest.approx(activate(activation, x).tolist(), rel=1e-15, abs=1e-15)
    assert slopes == slope(activation, x[::2]).tolist()
    assert np.float64 == activate(activation, x).dtype == slope(activation, x).dtype


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_small_step_lowers_the_divergence_by_the_rate_times_the_squared_gradient(
    activation: Activation,
) -> None:
    parameters, x, labels = _small()
    seen = training_pass(parameters, x, activation, EPS)
    slopes = gradients(parameters, seen, labels, activation)
    for name, values in vars(parameters).items():
        assert [v.shape for v in values] == [v.shape for v in getattr(slopes, name)]
    rate = 1e-6
    stepped = training_pass(sgd_step(parameters, slopes, rate), x, activation, EPS)
    fall = cross_entropy(seen.logits, labels) - cross_entropy(stepped.logits, labels)
    everything = (*slopes.weights, *slopes.biases, *slopes.gammas, *slopes.betas)
    squared = sum(float((each**2).sum()) for each in everything)
    # The next term of the series is of relative size rate times a curvature.
    assert fall == pytest.approx(rate * squared, rel=1e-3, abs=0.0)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_one_instance_teaches_the_layers_before_batch_norm_nothing(activation: Activation) -> None:
    """With N = 1, u is 0 whatever the instance: incremental descent moves the output layer."""
    parameters, x, labels = _small()
    seen = training_pass(parameters, x[:1], activation, EPS)
    slopes = gradients(parameters, seen, labels[:1], activation)
    for zero in (*slopes.weights[:-1], *slopes.gammas):
        assert not zero.any()
    assert slopes.biases[-1].any()
    other = training_pass(parameters, x[1:2], activation, EPS)
    assert np.array_equal(seen.logits, other.logits)


def test_a_mini_batchs_gradient_is_no_mean_over_its_parts() -> None:
    """μ_B and σ_B² are arguments of the divergence: the batch cannot be taken apart."""
    parameters, x, labels = _small()

    def first_weight(rows: slice) -> Array:
        seen = training_pass(parameters, x[rows], "tanh", EPS)
        return gradients(parameters, seen, labels[rows], "tanh").weights[0]

    halves = (first_weight(slice(0, 6)) + first_weight(slice(6, 12))) / 2
    assert np.abs(first_weight(slice(0, 12)) - halves).max() > 0.01


def test_inference_with_the_batchs_own_statistics_is_training() -> None:
    parameters, x, _ = _small()
    seen = training_pass(parameters, x, "sigmoid", EPS)
    statistics = RunningStatistics(
        tuple(record.mean for record in seen.records), tuple(record.var for record in seen.records)
    )
    logits = predict(parameters, statistics, x, "sigmoid", EPS)
    assert seen.logits == pytest.approx(logits, rel=1e-13, abs=1e-14)
    alone = np.vstack([predict(parameters, statistics, row[None], "sigmoid", EPS) for row in x])
    assert logits == pytest.approx(alone, rel=1e-13, abs=1e-14)


def test_each_instances_logits_are_shifted_by_their_own_maximum() -> None:
    """One maximum for all would leave log 0 for the second instance."""
    logits, labels = np.array([[1000.0, 999.0], [-1000.0, -1001.0]]), [0, 1]
    rest = np.log1p(np.exp(-1.0))
    assert rest + 0.5 == pytest.approx(cross_entropy(logits, labels), rel=1e-15, abs=0.0)

    parameters = initialise((3, 2, 2), seed=0)
    seen = replace(training_pass(parameters, np.eye(3)[:2], "tanh", EPS), logits=logits)
    odds = 1 / (1 + np.e)
    by_bias = gradients(parameters, seen, labels, "tanh").biases[-1]
    assert [(-odds + 1 - odds) / 2, (odds - 1 + odds) / 2] == pytest.approx(
        by_bias, rel=1e-15, abs=0.0
    )


def test_cross_entropy_survives_large_logits() -> None:
    assert 0.0 == cross_entropy([[1000.0, -1000.0]], [0])
    assert 2000.0 == cross_entropy([[1000.0, -1000.0]], [1])
    assert np.log(2) == pytest.approx(cross_entropy([[3.0, 3.0]], [1]), rel=1e-15, abs=0.0)
