"""What a result of another shape is laid out as, and back."""

from __future__ import annotations

import numpy as np
import pytest
from bn_diagnosis.recovery.shapes import axes, laid, unlaid

BATCHES = [(7, 5), (5, 7, 6), (5, 7, 2, 3)]
"""Shapes (N, C, …); no two lengths of one are the same."""


def counted(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(1.0, 1.0 + np.prod(shape)).reshape(shape)


@pytest.mark.parametrize("batch", BATCHES)
def test_a_result_of_the_batchs_shape_is_laid_out_a_feature_a_column(
    batch: tuple[int, ...],
) -> None:
    found = laid(counted(batch), batch)
    assert found is not None
    assert found.shape == (np.prod(batch) // batch[1], batch[1])
    np.testing.assert_array_equal(found[:, 0], counted(batch)[:, 0].reshape(-1))


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("kept", [False, True])
def test_numbers_a_feature_are_a_row_and_numbers_an_instance_a_column(
    batch: tuple[int, ...], kept: bool
) -> None:
    features, instances = batch[1], int(np.prod(batch)) // batch[1]
    row = laid(counted((1, features) if kept else (features,)), batch)
    column = laid(counted((instances, 1) if kept else (instances,)), batch)
    assert row is not None
    assert column is not None
    assert (row.shape, column.shape) == ((1, features), (instances, 1))


def test_one_number_is_one_number() -> None:
    for shape in ((), (1,), (1, 1)):
        found = laid(counted(shape), (7, 5))
        assert found is not None
        assert found.shape == (1, 1)


@pytest.mark.parametrize("shape", [(5, 7), (4,), (7, 5, 2), (5, 5)])
def test_what_is_none_of_these_is_not_laid_out(shape: tuple[int, ...]) -> None:
    assert laid(counted(shape), (7, 5)) is None


@pytest.mark.parametrize("batch", BATCHES)
def test_what_is_laid_out_comes_back_in_the_axes_of_another_batch(batch: tuple[int, ...]) -> None:
    larger = tuple(2 * length + 9 for length in batch)
    instances = int(np.prod(batch)) // batch[1]
    for shape in ((), (1, 1), (batch[1],), (1, batch[1]), (instances,), (1, instances), batch):
        named = axes(shape, batch)
        assert named is not None
        lengths = dict(zip(named, shape, strict=True))
        again = {"N": larger[0], "C": larger[1], "B": int(np.prod(larger)) // larger[1], "one": 1}
        again |= {f"space{n}": length for n, length in enumerate(larger[2:])}
        theirs = counted(tuple(again[name] for name in lengths))
        if len(lengths) == len(shape):
            found = laid(theirs, larger)
            assert found is not None
            np.testing.assert_array_equal(unlaid(found, named, larger), theirs)


def test_an_axis_that_the_batch_has_not_has_no_name() -> None:
    assert axes((4,), (7, 5)) is None
