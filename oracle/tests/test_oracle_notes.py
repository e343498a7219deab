"""The seventeen open points of the lecture notes, each settled on the smallest batch that shows it.

Numbers are small integers and ε is chosen so that √(σ²+ε) is rational: a reader can follow every
assertion with a pencil. The batch z = (−1, 1) with ε = 3 has μ = 0, σ² = 1, s = 2, u = (−½, ½);
γ = 2, β = 1 and the upstream gradient G = (1, 3) go with it.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
from bn_oracle.arrays import Array
from bn_oracle.backward import backward
from bn_oracle.derivations.chains import lecture_chain, paper_chain
from bn_oracle.derivations.gradient_paths import three_routes
from bn_oracle.derivations.jacobian import jacobian, times_jacobian
from bn_oracle.derivations.network import (
    cross_entropy,
    gradients,
    initialise,
    sgd_step,
    slope,
    training_pass,
)
from bn_oracle.folding import fold_linear, recovering_parameters, recovery_error
from bn_oracle.forward import Forward, forward
from bn_oracle.inference import fold, infer
from bn_oracle.population import (
    mean_of_means,
    merge,
    moments,
    ragged_error,
    unbiased_variance,
)
from bn_oracle.running import after, cumulative_decay, weights


def _column(*values: float) -> Array:
    return np.array(values, dtype=np.float64)[:, None]


def _list(array: Array) -> list[Any]:
    return np.asarray(array).ravel().tolist()


def _example() -> tuple[Forward, Array]:
    return forward(_column(-1, 1), [2.0], [1.0], 3.0), _column(1, 3)


def test_note_01_the_notes_parameter_gradients_are_terms_and_the_papers_are_sums() -> None:
    """Both are right about different things. At B = 1 they are one number, at B = 2 no longer."""
    record, grad = _example()
    lecture = lecture_chain(record, grad)
    paper = paper_chain(record, grad)
    assert [-0.5, 1.5] == _list(lecture.d_gamma_terms)
    assert [1.0] == _list(lecture.d_gamma) == _list(paper.d_gamma)
    assert [1.0, 3.0] == _list(lecture.d_beta_terms)
    assert [4.0] == _list(lecture.d_beta) == _list(paper.d_beta)

    single = lecture_chain(forward([[5.0]], [2.0], [1.0], 3.0), [[7.0]])
    assert [7.0] == _list(single.d_beta_terms) == _list(single.d_beta)
    assert [0.0] == _list(single.d_gamma_terms) == _list(single.d_gamma)


def test_note_02_the_second_term_of_the_mean_gradient_is_zero_exactly_but_not_in_floats() -> None:
    """Exactly Σ(z−μ) = 0. With a rounded μ it is not, from B = 3 on: z = (0, 0, 1)."""
    z = [Fraction(0), Fraction(0), Fraction(1)]
    mean = sum(z, Fraction(0)) / 3
    assert 0 == sum(value - mean for value in z)

    rounded = Fraction(1 / 3)
    residue = sum((value - rounded for value in z), Fraction(0))
    assert Fraction(1, 2**54) == residue
    # Each z−μ of a rounded mean is off by the same error of μ, (B+1)·w·max|z| at most.
    assert abs(residue) <= 3 * 4 * Fraction(1, 2**53)

    record = forward(_column(0, 0, 1), [1.0], [0.0], 0.0)
    chain = paper_chain(record, _column(1, 2, 3))
    at_most = (2 * 3 + 3) * 2.0**-53 * np.abs(record.u).max()
    assert abs(chain.d_mean_vanishing[0]) <= at_most * (np.abs(record.u[:, 0]) @ [1, 2, 3]) * (
        1 / record.std[0]
    )
    for B in (1, 2):  # the mean of two integers is a float: nothing to see
        exact = paper_chain(forward(_column(*range(B)), [1.0], [0.0], 1.0), _column(*range(B)))
        assert [0.0] == _list(np.abs(exact.d_mean_vanishing))


def test_note_03_the_sum_over_all_j_holds_the_instances_own_term_once() -> None:
    """Adding it again gives dz = (−7/8, 3/8) in place of (−3/4, 3/4)."""
    record, grad = _example()
    lecture = lecture_chain(record, grad)
    assert [-0.25] == _list(lecture.d_var)
    each = -0.5 * lecture.d_u * record.centred / record.std**3
    assert [0.125, -0.375] == _list(each)
    assert _list(lecture.d_var) == _list(each.sum(axis=0))

    route = 2 * record.centred / 2
    twice = lecture.d_u / record.std + (lecture.d_var + each) * route + lecture.d_mean / 2
    assert [-0.75, 0.75] == _list(lecture.d_z)
    assert [-0.875, 0.375] == _list(twice)
    assert 0.0 == lecture.d_z.sum()
    assert -0.5 == twice.sum(), "and the batch's gradients no longer sum to zero"


def test_note_04_from_u_to_zhat_the_factor_is_gamma_and_not_the_activations_slope() -> None:
    """∂Div/∂u = (2, 6); with f′ of the sigmoid at ẑ = (0, 2) it would be (0.25, 0.315)."""
    record, grad = _example()
    lecture = lecture_chain(record, grad)
    assert [0.0, 2.0] == _list(record.out)
    assert [2.0, 6.0] == _list(lecture.d_u)
    with_slope = slope("sigmoid", record.out) * grad
    assert [0.25, 0.3149808] == pytest.approx(_list(with_slope), rel=1e-6, abs=0.0)
    # It is a derivative of ẑ = γu + β by u: β does not matter, the activation comes later.
    h = 2.0**-20
    assert 2.0 == ((2.0 * (0.5 + h) + 1.0) - (2.0 * 0.5 + 1.0)) / h


def test_note_05_each_of_the_three_routes_and_their_sum() -> None:
    record, grad = _example()
    routes = three_routes(record, grad)
    assert [1.0, 3.0] == _list(routes.direct)
    assert [0.25, -0.25] == _list(routes.by_variance)
    assert [-2.0, -2.0] == _list(routes.by_mean)
    assert [-0.75, 0.75] == _list(routes.total) == _list(backward(record, grad).dz)


def test_note_06_the_papers_chain_with_its_missing_line_is_the_lectures() -> None:
    """With ∂ℓ/∂σ² as the copy heads it, −4, dz is (3, −3) in place of (−3/4, 3/4)."""
    record, grad = _example()
    paper, lecture = paper_chain(record, grad), lecture_chain(record, grad)
    assert [-0.25] == _list(paper.d_var) == _list(lecture.d_var)
    assert [-4.0] == _list(paper.d_mean) == _list(lecture.d_mean)
    assert [0.0] == _list(np.abs(paper.d_mean_vanishing))
    assert (
        [-0.75, 0.75] == _list(paper.d_x) == _list(lecture.d_z) == _list(backward(record, grad).dz)
    )

    # What is headed ∂l/∂σ_B² is the paper's ∂ℓ/∂μ_B: −4 in place of −1/4. Its last term has
    # itself on both sides, times Σ(x−μ) = 0.
    headed_var = (paper.d_xhat * (-1 / record.std)).sum(axis=0)
    assert [-4.0] == _list(headed_var)
    # A student who takes that for the variance's gradient, and keeps the mean's right:
    with_label = paper.d_xhat / record.std + headed_var * record.centred + paper.d_mean / 2
    assert [3.0, -3.0] == _list(with_label)
    # What is headed ∂L/∂μ_B is one number an instance: no gradient of the one μ_B.
    assert (2, 1) == (paper.d_xhat / record.std).shape


def test_note_07_unbiased_variance_by_enumeration() -> None:
    """Population {0, 3, 6}, σ² = 6, every one of the 9 samples of two with replacement.

    B/(B−1)·E[σ_B²] = 6. The other page's 1/(B−1)·E[σ_B²] is 3: B times too small, from B = 2.
    Batches that partition {0, 3, 6, 9}, σ² = 45/4, without replacement give 4/3·45/4 = 15.
    """

    def variance(values: tuple[int, ...]) -> Fraction:
        mean = Fraction(sum(values), len(values))
        return sum(((v - mean) ** 2 for v in values), Fraction(0)) / len(values)

    samples = list(product((0, 3, 6), repeat=2))
    mean_biased = sum(variance(sample) for sample in samples) / Fraction(9)
    assert 9 == len(samples)
    assert 6 == variance((0, 3, 6)) == Fraction(2, 1) * mean_biased
    assert 3 == Fraction(1, 2 - 1) * mean_biased
    table = [[float(variance(sample))] for sample in samples]
    assert [6.0] == _list(unbiased_variance(table, 2))

    epoch = (0, 3, 6, 9)
    estimates = []
    for pair in combinations(epoch, 2):
        rest = tuple(v for v in epoch if v not in pair)
        estimates.append(2 * (variance(pair) + variance(rest)) / 2)
    assert Fraction(45, 4) == variance(epoch)
    assert 15 == sum(estimates) / len(estimates) == Fraction(4, 3) * variance(epoch)


def test_note_08_the_mean_of_means_is_the_mean_for_equal_sizes_only() -> None:
    """Batches (0, 2) and (5): 3 in place of 7/3. The error is (1/K − r/N)(L − F) = 2/3."""
    assert [2.5] == _list(mean_of_means([[1.0], [4.0]])) == [np.mean([0.0, 2.0, 3.0, 5.0])]
    assert [3.0] == _list(mean_of_means([[1.0], [5.0]]))
    pooled = merge(moments([[0.0], [2.0]]), moments([[5.0]]))
    assert [7 / 3] == pytest.approx(_list(pooled.mean), rel=1e-15, abs=0.0)
    assert [38 / 3] == pytest.approx(_list(pooled.m2), rel=1e-15, abs=0.0)
    assert [2 / 3] == pytest.approx(
        _list(ragged_error([1.0], [5.0], (2, 2, 1))), rel=1e-15, abs=0.0
    )


def test_note_09_the_running_average_keeps_some_of_its_start_and_favours_late_batches() -> None:
    """k = 0.9 and batches of mean 1, from 0: 0.651 after ten of them, 1 − 2.7e−5 after a hundred.

    And when batches differ, it is as noisy as the mean of (1+k)/(1−k) = 19 of them, however many
    there were. The cumulative average is the mean of means.
    """
    ones = np.ones((10, 1))
    assert [1 - 0.9**10] == pytest.approx(_list(after([0.0], ones, 0.9)), rel=1e-14, abs=0.0)
    assert 0.651 == pytest.approx(1 - 0.9**10, abs=5e-4)
    assert 2.656e-5 == pytest.approx(weights(100, 0.9)[0], rel=1e-3, abs=0.0)
    noise = (weights(1000, 0.9)[1:] ** 2).sum()
    assert 1 / 19 == pytest.approx(noise, rel=1e-12, abs=0.0)
    # Two batches are enough for it to be another number than the mean of means, 2.
    two = _list(after([0.0], [[1.0], [3.0]], 0.9))
    assert [0.9 * 0.1 * 1 + 0.1 * 3] == pytest.approx(two, rel=1e-15, abs=0.0)
    assert [0.0, 0.5, 2 / 3] == [cumulative_decay(seen) for seen in range(3)]


def test_note_10_inference_is_affine_and_folds_into_the_layer_before() -> None:
    """γ = 4, β = 1, μ = 5, σ² = 3, ε = 1: a = 2, b = −9. After z = x₁ + 2x₂ + 3: 2x₁ + 4x₂ − 3."""
    statistics = ([4.0], [1.0], [5.0], [3.0], 1.0)
    a, b = fold(*statistics)
    assert ([2.0], [-9.0]) == (_list(a), _list(b))
    assert [2 * 7.0 - 9] == _list(infer([[7.0]], *statistics))
    weight, bias = fold_linear([[1.0, 2.0]], [3.0], *statistics)
    assert ([2.0, 4.0], [-3.0]) == (_list(weight), _list(bias))
    x = np.array([[1.0, -1.0]])
    assert _list(infer(x @ [[1.0], [2.0]] + 3.0, *statistics)) == _list(x @ weight.T + bias)


def test_note_11_the_jacobian_is_dense_over_the_batch_and_zero_across_features() -> None:
    """B = 2: ∂ẑ₁/∂z₂ = −3/8. Taken instance by instance it would be the diagonal, 3/8, alone."""
    record, _ = _example()
    assert [0.375, -0.375, -0.375, 0.375] == _list(jacobian(record))

    two = np.array([[-1.0, 5.0], [1.0, 9.0]])
    moved = two + np.array([[0.0, 1.0], [0.0, 0.0]])
    before, after_ = (forward(z, [2.0, 2.0], [1.0, 1.0], 3.0).out for z in (two, moved))
    assert _list(before[:, 0]) == _list(after_[:, 0]), "another feature's inputs"
    assert before[1, 1] != after_[1, 1], "another instance's input"


def test_note_12_every_sum_of_the_chain_is_a_dot_product_with_ones_or_with_u() -> None:
    record, grad = _example()
    ones, u, G = np.ones(2), record.u[:, 0], grad[:, 0]
    assert [float(ones @ G)] == _list(lecture_chain(record, grad).d_beta) == [4.0]
    assert [float(u @ G)] == _list(lecture_chain(record, grad).d_gamma) == [1.0]
    assert [-0.75, 0.75] == _list(times_jacobian(record, grad))
    assert [-0.75, 0.75] == _list(2.0 / 2.0 * (G - ones @ G / 2 * ones - u @ G / 2 * u))


def test_note_13_the_identity_needs_epsilon_under_the_root() -> None:
    """z = (−1, 1), ε = 3: γ = √Var = 1 gives (−½, ½); γ = √(Var+ε) = 2 gives z back."""
    record, _ = _example()
    gamma, beta = recovering_parameters(record)
    assert ([2.0], [0.0]) == (_list(gamma), _list(beta))
    assert [-1.0, 1.0] == _list(forward(_column(-1, 1), gamma, beta, 3.0).out)
    notes = forward(_column(-1, 1), np.sqrt(record.var), record.mean, 3.0).out
    assert [-0.5, 0.5] == _list(notes)
    assert [0.5, -0.5] == _list(recovery_error(record)) == _list(notes - record.rows)
    exact = forward(_column(-1, 1), [1.0], [0.0], 0.0)
    assert [0.0, 0.0] == _list(np.abs(recovery_error(exact)))


def test_note_14_scaled_weights_change_nothing_if_epsilon_scales_too() -> None:
    """a = −2, ε = 3 → 12: u = (½, −½), and ∂/∂(aw) = −½·∂/∂w with
    sign(a) carried by G. With ε = 3 kept: u = ±2/√7.

    For a fixed ε, BN_ε(az) = sign(a)·BN_{ε/a²}(z): off by √((σ²+ε)/(σ²+ε/a²)).
    """
    a, x, w = -2.0, np.array([[-1.0, 0.5], [1.0, 2.0]]), np.array([1.0, 0.0])
    G = _column(1, 3)
    plain = forward(x @ w[:, None], [2.0], [1.0], 3.0)
    flipped = forward(x @ (a * w)[:, None], [2.0], [1.0], a * a * 3.0)
    assert _list(plain.u) == [-0.5, 0.5] == _list(-flipped.u)
    # sign(a)·G upstream, so that both see the same divergence of sign(a)·u.
    d_plain = backward(plain, G).dz
    d_flipped = backward(flipped, np.sign(a) * G).dz
    by_w, by_aw = x.T @ d_plain, x.T @ d_flipped
    by_x, by_ax = d_plain * w, d_flipped * (a * w)
    assert _list(by_w / abs(a)) == _list(np.sign(a) * by_aw)
    assert _list(by_x) == _list(by_ax)

    kept = forward(a * plain.rows, [2.0], [1.0], 3.0)
    assert [2 / np.sqrt(7), -2 / np.sqrt(7)] == pytest.approx(_list(kept.u), rel=1e-15, abs=0.0)
    ratio = np.sqrt((1 + 3) / (1 + 3 / a**2))
    assert _list(-ratio * plain.u) == pytest.approx(_list(kept.u), rel=1e-15, abs=0.0)
    smaller = forward(plain.rows, [2.0], [1.0], 3 / a**2)
    assert _list(-smaller.u) == pytest.approx(_list(kept.u), rel=1e-15, abs=0.0)


def test_note_15_a_normalised_value_is_bounded_by_the_root_of_b_minus_one() -> None:
    """Reached by one outlier: 2 at B = 5, √127 ≈ 11.27 at B = 128, where a sigmoid is saturated.

    Chebyshev: at most B/k² values reach k. Two of eight reach 2 in (−4, 4, 0, 0, 0, 0, 0, 0).
    Before γ and β only: γ = 10 saturates any value.
    """
    five = forward(_column(5, 0, 0, 0, 0), [1.0], [0.0], 0.0)
    assert [2.0, -0.5, -0.5, -0.5, -0.5] == pytest.approx(_list(five.u), rel=1e-15, abs=0.0)
    z = np.zeros((128, 1))
    z[0] = 1.0
    many = forward(z, [1.0], [0.0], 0.0)
    assert 11.269 == pytest.approx(np.abs(many.u).max(), abs=1e-3)
    assert np.sqrt(127) == pytest.approx(np.abs(many.u).max(), rel=1e-14, abs=0.0)
    assert 1.3e-5 > slope("sigmoid", many.u)[0, 0] > 1.2e-5
    eight = forward(_column(-4, 4, 0, 0, 0, 0, 0, 0), [1.0], [0.0], 0.0)
    assert [-2.0, 2.0] == _list(eight.u[:2])
    assert 8 / 2**2 == (np.abs(eight.u) >= 2.0).sum()
    assert slope("sigmoid", 10 * five.u)[0, 0] < 2.1e-9


def test_note_16_the_network_of_the_first_page_by_mini_batches_and_by_single_instances() -> None:
    """Whole-network gradients against differences along every weight; then the three descents.

    A batch of one teaches the first layers nothing, and the mini-batch's divergence is no sum
    over instances. The label is an argument that nothing is differentiated by.
    """
    rng = np.random.default_rng(0)
    parameters = initialise((3, 4, 3, 2), seed=0)
    x, labels = rng.normal(size=(6, 3)), np.array([0, 1, 1, 0, 1, 0])
    seen = training_pass(parameters, x, "tanh", 0.1)
    slopes = gradients(parameters, seen, labels, "tanh")
    h = 1e-5
    for layer, weight in enumerate(parameters.weights):
        for index in np.ndindex(weight.shape):
            ends = []
            for sign in (1, -1):
                weight[index] += sign * h
                moved = training_pass(parameters, x, "tanh", 0.1)
                ends.append(cross_entropy(moved.logits, labels))
                weight[index] -= sign * h
            difference = (ends[0] - ends[1]) / (2 * h)
            assert difference == pytest.approx(slopes.weights[layer][index], abs=1e-8)

    stepped = sgd_step(parameters, slopes, 0.1)
    after_step = training_pass(stepped, x, "tanh", 0.1)
    assert cross_entropy(after_step.logits, labels) < cross_entropy(seen.logits, labels)

    singles = [training_pass(parameters, x[t : t + 1], "tanh", 0.1) for t in range(6)]
    for t, single in enumerate(singles):
        alone = gradients(parameters, single, labels[t : t + 1], "tanh")
        assert not alone.weights[0].any()
        assert not alone.weights[1].any()
    assert 0.02 < np.abs(slopes.weights[0]).max()


def test_note_17_the_bias_before_batch_norm_is_taken_away_and_its_gradient_is_zero() -> None:
    """z = (−1, 1) and z + 64 normalise to the same; ∂Div/∂b = Σ dz = 0; β moves the output."""
    record, grad = _example()
    shifted = forward(_column(63, 65), [2.0], [1.0], 3.0)
    assert _list(record.out) == [0.0, 2.0] == _list(shifted.out)
    assert 0.0 == backward(record, grad).dz.sum() == backward(shifted, grad).dz.sum()
    assert [4.0] == _list(backward(record, grad).dbeta)
    # A left-out mean route leaves Σ dz = 4: the gradient that a bias has without batch norm.
    routes = three_routes(record, grad)
    assert 4.0 == (routes.direct + routes.by_variance).sum()
