"""In exact rational arithmetic: what is claimed to be equal is equal, not nearly so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations, product
from math import isqrt

import numpy as np
import pytest
from bn_oracle.arrays import Array
from bn_oracle.backward import backward
from bn_oracle.derivations.chains import lecture_chain, paper_chain
from bn_oracle.derivations.gradient_paths import three_routes
from bn_oracle.derivations.jacobian import jacobian
from bn_oracle.forward import forward
from bn_oracle.population import (
    Moments,
    mean_of_means,
    merge,
    moments,
    ragged_error,
    unbiased_variance,
)
from bn_oracle.running import weights

POPULATIONS = ([0, 3, 6], [1, 1, 2, 7], [-5, 0, 0, 4, 11])


def _mean(values: Sequence[Fraction]) -> Fraction:
    return sum(values, Fraction(0)) / len(values)


def _variance(values: Sequence[Fraction]) -> Fraction:
    mean = _mean(values)
    return _mean([(value - mean) ** 2 for value in values])


def _fractions(values: Sequence[int]) -> list[Fraction]:
    return [Fraction(value) for value in values]


def _root(value: Fraction) -> Fraction:
    root = Fraction(isqrt(value.numerator), isqrt(value.denominator))
    assert value == root * root, "the example needs a rational root"
    return root


# A batch, ε, γ, β and G: σ²+ε is a square, so that the whole of batch norm is rational.
RATIONAL = {
    "B = 2": ([-1, 1], Fraction(3), Fraction(2), Fraction(1), [1, 3]),
    "B = 2, ε = 0": ([0, 2], Fraction(0), Fraction(3), Fraction(-1), [1, 3]),
    "B = 3, ε = 1/4": ([0, 0, 3], Fraction(1, 4), Fraction(-2), Fraction(1, 2), [4, -1, 2]),
    "B = 4, ε = 0": ([1, 1, 5, 5], Fraction(0), Fraction(7), Fraction(2), [1, 0, -2, 5]),
    "B = 8, ε = 0": ([0, 0, 0, 0, 0, 0, -6, 6], Fraction(0), Fraction(1), Fraction(0), [*range(8)]),
    "B = 1": ([5], Fraction(4), Fraction(3), Fraction(1), [2]),
}


@pytest.mark.parametrize("name", RATIONAL)
def test_forward_and_all_four_backward_ways_equal_the_rational_ones(name: str) -> None:
    integers, eps, gamma, beta, upstream = RATIONAL[name]
    z, G = _fractions(integers), _fractions(upstream)
    B, mean, s = len(z), _mean(z), _root(_variance(z) + eps)
    u = [(value - mean) / s for value in z]
    d_var = -Fraction(1, 2) * sum(gamma * g * (a - mean) for g, a in zip(G, z, strict=True)) / s**3
    d_mean = -sum(gamma * g for g in G) / s
    dz = [
        gamma * g / s + d_var * 2 * (a - mean) / B + d_mean / B for g, a in zip(G, z, strict=True)
    ]
    along_u = _mean([g * a for g, a in zip(G, u, strict=True)])
    assert dz == [gamma / s * (g - _mean(G) - a * along_u) for g, a in zip(G, u, strict=True)]

    record = forward(np.array([integers]).T, [float(gamma)], [float(beta)], float(eps))
    grad = np.array([upstream], dtype=float).T
    close = 1e-15 * (1 + max(abs(float(x)) for x in (*z, *G)))  # a few roundings of these sizes

    def expect(fractions: Sequence[Fraction], computed: Array) -> None:
        assert [float(f) for f in fractions] == pytest.approx(
            list(computed.ravel()), rel=1e-14, abs=20 * close
        )

    expect([mean], record.mean)
    expect([_variance(z)], record.var)
    expect([s], record.std)
    expect(u, record.u)
    expect([gamma * a + beta for a in u], record.out)
    for computed in (
        backward(record, grad).dz,
        lecture_chain(record, grad).d_z,
        paper_chain(record, grad).d_x,
        three_routes(record, grad).total,
        jacobian(record)[0] @ grad,
    ):
        expect(dz, computed)
    expect([d_var], lecture_chain(record, grad).d_var)
    expect([d_var], paper_chain(record, grad).d_var)
    expect([d_mean], lecture_chain(record, grad).d_mean)


@pytest.mark.parametrize("population", POPULATIONS)
@pytest.mark.parametrize("size", [2, 3, 4])
def test_every_sample_with_replacement_averages_to_the_variance(
    population: list[int], size: int
) -> None:
    """E[B/(B−1)·σ_B²] = σ², E[μ_B] = μ and Var[μ_B] = σ²/B: all M^B samples, in fractions."""
    values = _fractions(population)
    samples = list(product(values, repeat=size))
    expected_biased = _mean([_variance(sample) for sample in samples])
    assert _variance(values) == Fraction(size, size - 1) * expected_biased
    means = [_mean(sample) for sample in samples]
    assert _mean(values) == _mean(means)
    assert _variance(values) / size == _variance(means)

    table = np.array([[float(_variance(sample))] for sample in samples])
    assert float(_variance(values)) == pytest.approx(
        unbiased_variance(table, size)[0], rel=1e-13, abs=0.0
    )


def _partitions(items: tuple[int, ...], size: int) -> Iterator[list[tuple[int, ...]]]:
    """Every way to cut `items` into sets of `size`."""
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for others in combinations(rest, size - 1):
        left = tuple(item for item in rest if item not in others)
        for more in _partitions(left, size):
            yield [(first, *others), *more]


@pytest.mark.parametrize(
    ("population", "size"),
    [
        ([0, 3, 6, 8], 2),
        ([1, 1, 2, 7, 9, 20], 2),
        ([1, 1, 2, 7, 9, 20], 3),
        ([0, 1, 4, 4, 10, 12, 3, 3], 2),
        ([0, 1, 4, 4, 10, 12, 3, 3], 4),
    ],
)
def test_partitions_of_an_epoch_average_to_m_over_m_minus_one_times_the_variance(
    population: list[int], size: int
) -> None:
    """Without replacement: over every partition of M instances into batches of B."""
    count = len(population)
    values = _fractions(population)
    estimates, means = [], []
    for partition in _partitions(tuple(range(count)), size):
        batches = [[values[index] for index in batch] for batch in partition]
        biased = _mean([_variance(batch) for batch in batches])
        estimates.append(Fraction(size, size - 1) * biased)
        means.append(_mean([_mean(batch) for batch in batches]))
    assert Fraction(count, count - 1) * _variance(values) == _mean(estimates)
    assert {_mean(values)} == set(means), "the mean of means is exact in each partition"


@pytest.mark.parametrize(("count", "full", "ragged"), [(2, 2, 1), (3, 4, 1), (5, 3, 2), (4, 5, 5)])
def test_the_ragged_batchs_error_has_the_stated_closed_form(
    count: int, full: int, ragged: int
) -> None:
    rng = np.random.default_rng((count, full, ragged))
    batches = [_fractions(rng.integers(-9, 10, size=full).tolist()) for _ in range(count - 1)]
    batches.append(_fractions(rng.integers(-9, 10, size=ragged).tolist()))
    naive = _mean([_mean(batch) for batch in batches])
    everything = [value for batch in batches for value in batch]
    F = _mean([value for batch in batches[:-1] for value in batch])
    L = _mean(batches[-1])
    error = (Fraction(1, count) - Fraction(ragged, len(everything))) * (L - F)
    assert naive - _mean(everything) == error
    if full == ragged:
        assert error == 0

    computed = ragged_error([float(F)], [float(L)], (count, full, ragged))
    assert float(error) == pytest.approx(computed[0], rel=1e-14, abs=1e-15)
    means = np.array([[float(_mean(batch))] for batch in batches])
    assert float(naive) == pytest.approx(mean_of_means(means)[0], rel=1e-14, abs=1e-15)
    parts = [moments(np.array([[float(v)] for v in batch])) for batch in batches]
    pooled = merge(*parts)
    assert len(everything) == pooled.count
    assert float(_mean(everything)) == pytest.approx(pooled.mean[0], rel=1e-14, abs=1e-14)
    assert float(_variance(everything)) == pytest.approx(
        pooled.biased_variance[0], rel=1e-14, abs=0.0
    )


def test_chans_merge_is_exact_on_every_split_of_a_set() -> None:
    """In fractions: M2 of the whole is M2_a + M2_b + δ²·n_a·n_b/n."""
    values = _fractions([0, 1, 5, 5, 9, -4])
    for size in range(1, len(values)):
        for chosen in combinations(range(len(values)), size):
            a = [values[i] for i in chosen]
            b = [values[i] for i in range(len(values)) if i not in chosen]
            delta, n = _mean(b) - _mean(a), len(values)
            m2 = [len(part) * _variance(part) for part in (a, b, values)]
            assert m2[2] == m2[0] + m2[1] + delta**2 * len(a) * len(b) / n
            assert _mean(values) == _mean(a) + delta * len(b) / n
            merged = merge(
                *(
                    Moments(len(part), np.array([float(_mean(part))]), np.array([float(square)]))
                    for part, square in ((a, m2[0]), (b, m2[1]))
                )
            )
            assert float(m2[2]) == pytest.approx(merged.m2[0], rel=1e-14, abs=0.0)


@pytest.mark.parametrize("decay", [Fraction(0), Fraction(9, 10), Fraction(1, 3), Fraction(1)])
def test_the_running_average_unrolled_is_the_recurrence(decay: Fraction) -> None:
    """In fractions, for ten batches: k^K·start + Σ (1−k)·k^(K−b)·batch_b."""
    batches = _fractions([3, 1, 4, 1, 5, 9, 2, 6, 5, 3])
    running = Fraction(7)
    for batch in batches:
        running = decay * running + (1 - decay) * batch
    K = len(batches)
    exact = [decay**K, *((1 - decay) * decay ** (K - b) for b in range(1, K + 1))]
    assert 1 == sum(exact)
    assert running == sum(w * v for w, v in zip(exact, [Fraction(7), *batches], strict=True))
    assert [float(w) for w in exact] == pytest.approx(
        list(weights(K, float(decay))), rel=1e-14, abs=0.0
    )
