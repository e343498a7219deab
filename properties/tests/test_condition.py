"""The condition number of a batch says by how much rounding grows in its variance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bn_properties.cases.condition import condition
from bn_properties.cases.pinned import pinned_cases

CASE = pinned_cases(0)[0]


@pytest.mark.parametrize(
    ("values", "eps", "expected"),
    [
        ([[-1.0], [1.0]], 1e-9, 1.0),
        ([[2.0], [4.0]], 0.0, np.sqrt(10.0)),
        ([[1e6 - 1], [1e6 + 1]], 0.0, 1e6),
        ([[3.0], [3.0]], 1.0, np.sqrt(10.0)),
        ([[-1.0, 7.0], [1.0, 9.0]], 0.0, np.sqrt(65.0)),
    ],
)
def test_a_mean_far_off_and_a_small_spread_make_a_batch_hard(
    values: list[list[float]], eps: float, expected: float
) -> None:
    x = np.array(values)
    assert condition(replace(CASE, x=x, grad=x, eps=eps)) == pytest.approx(expected, rel=1e-9)


def test_errors_of_the_batch_grow_by_about_as_much_in_its_variance() -> None:
    x = np.random.default_rng(5).normal(1e3, 1.0, (64, 1))
    by = 1e-9
    moved = x * (1 + by * np.sign(x - x.mean()))
    grown = abs(moved.var() - x.var()) / x.var() / (2 * by)
    found = condition(replace(CASE, x=x, grad=x, eps=0.0))
    assert found / 4 < grown <= found


@pytest.mark.parametrize("case", [*pinned_cases(0), *pinned_cases(2)])
def test_every_case_has_one(case: object) -> None:
    assert 1.0 <= condition(case) < np.inf  # type: ignore[arg-type]
