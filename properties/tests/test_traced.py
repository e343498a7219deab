"""What is written down of a computation gives what NumPy gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from bn_properties.property import feature_sum, per_feature, widen
from bn_properties.tape.program import Comparison, programs, run
from bn_properties.tape.traced import Untraceable, observed, traced
from hypothesis import given
from hypothesis import strategies as st

COMPUTATIONS: dict[str, Callable[[Any], Any]] = {
    "itself": lambda x: x,
    "widened": widen,
    "arithmetic": lambda x: 2 * (x - 1.5) + x / 4 - (3 - x) ** 2,
    "a constant array": lambda x: np.arange(4.0) + x - np.ones((3, 1)),
    "rows reversed": lambda x: x[::-1],
    "features reversed": lambda x: x[:, ::-1] - x,
    "some features": lambda x: x[:, np.array([True, False, True, False])],
    "a row": lambda x: x[1] * x[1:2],
    "the sum of each feature": feature_sum,
    "a sum of sums": lambda x: feature_sum(x * per_feature(np.arange(4.0), x)).sum(),
    "all at once": lambda x: x.sum(),
    "the last axis": lambda x: x.sum(axis=-1),
    "twice the rows": lambda x: np.concatenate([x, x]),
    "comparisons": lambda x: np.where((np.abs(x) <= 2) & ~np.isnan(x) | (x == 3), x, -x),
    "the larger": lambda x: np.maximum(np.sqrt(np.abs(x)), 1.0),
    "whether all are": lambda x: np.where(np.isfinite(x).all(), x, 0.0),
    "whether not all are": lambda x: np.where((x > 0).all(), x, 7.0),
    "how many are": lambda x: (x > 0).sum(),
    "a product": lambda x: np.arange(6.0).reshape(2, 3) @ x,
    "a product with itself": lambda x: x.reshape(4, 3) @ x,
    "another shape": lambda x: x.reshape((2, 6))[1],
    "nothing of it": lambda x: np.ones(3),
}


@pytest.mark.parametrize("name", COMPUTATIONS)
def test_a_computation_gives_what_numpy_gives(name: str) -> None:
    x = np.arange(12.0).reshape(3, 4) ** 2 / 7 - 4
    values = np.concatenate([[np.nan] * 5, x.reshape(-1)])
    places = np.arange(12).reshape(3, 4) + 5
    expected = np.asarray(COMPUTATIONS[name](x))
    found = traced(COMPUTATIONS[name](observed(places)))
    assert expected.shape == found.shape
    assert (expected.ndim, expected.size) == (found.ndim, found.size)
    np.testing.assert_allclose(run(found.flat(), values), expected.reshape(-1), rtol=1e-14)


@pytest.mark.parametrize(
    "step",
    [
        bool,
        lambda x: x if np.isfinite(x).all() else -x,
        lambda x: (x > 1).any(),
        lambda x: float(x[0, 0]),
        np.asarray,
        lambda x: np.array_equal(x, x),
        lambda x: x[x > 1],
        lambda x: x[:0].sum(),
        lambda x: np.add(x, 1, out=np.zeros((2, 2))),
        np.add.reduce,
        np.sin,
        lambda x: np.concatenate([x, np.zeros((1, 2))]),
        lambda x: np.concatenate([x, x], axis=1),
        lambda x: np.arange(2.0) @ x,
    ],
)
def test_what_needs_the_numbers_is_refused(step: Callable[[Any], Any]) -> None:
    with pytest.raises(Untraceable):
        step(observed(np.arange(4).reshape(2, 2)))


SIZES = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3)), min_size=1, max_size=6)


@given(SIZES, st.integers(0, 10**6))
def test_comparisons_of_many_cases_are_judged_as_one_by_one(
    sizes: list[tuple[int, int]], start: int
) -> None:
    """Each of several computations, on batches of many shapes, in one buffer."""
    rng = np.random.default_rng(start)
    arrays = [rng.normal(size=shape).round(2) for shape in sizes]
    values = np.concatenate([array.reshape(-1) for array in arrays])
    comparisons, expected, place = list[Comparison](), list[float](), 0
    for array in arrays:
        spot = observed(np.arange(array.size).reshape(array.shape) + place)
        place += array.size
        for compute in (feature_sum, lambda x: x[::-1] - x, lambda x: x, lambda x: 2 * x[:1] - x):
            want, bound = np.asarray(compute(array)) + 0.25, rng.choice([0.125, 0.25, 0.5, np.inf])
            got = traced(compute(spot))
            room = np.full(want.size, bound)
            comparisons.append(Comparison(len(comparisons), got.flat(), traced(want).flat(), room))
            expected.append(0.25 / bound)
    found = np.full(len(comparisons), np.nan)
    compiled = programs(comparisons)
    for program in compiled:
        assert np.isnan(found[program.entries]).all()
        found[program.entries] = program.worst(values)
    assert len(compiled) == 4
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_equality_is_asked_to_the_last_bit_and_nan_is_never_right() -> None:
    values = np.array([1.0, np.nextafter(1.0, 2.0), np.nan, np.inf])
    spots = [traced(observed(np.array([place]))).flat() for place in range(4)]
    one = traced(np.ones(1)).flat()
    exact, open_ = np.zeros(1), np.full(1, np.inf)
    rooms = [*((spot, exact) for spot in spots), *((spot, open_) for spot in spots)]
    (program,) = programs([Comparison(n, spot, one, room) for n, (spot, room) in enumerate(rooms)])
    with np.errstate(all="ignore"):
        found = program.worst(values)
    unknown = np.full(1, np.nan)  # the grader's own fault: a closer look says so
    (doubtful,) = programs([Comparison(0, spots[0], one, unknown)])
    assert np.isnan(doubtful.worst(values)).all()
    # What an infinite bound leaves open is for a closer look to say where it is no number.
    assert [0.0, np.inf] == found[:2].tolist()
    assert not (found[[2, 3, 6, 7]] <= 1.0).any()
    assert [0.0, 0.0] == found[4:6].tolist()
