"""Judging, reducing and writing down."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bn_diagnosis.reference import reference_subject
from bn_oracle.conventions import CMU_HW1P1, TORCH
from bn_properties.cases.case import Case
from bn_properties.cases.draw import draw_cases
from bn_properties.cases.pinned import pinned_cases
from bn_properties.catalogue import BY_ID, PROPERTIES
from bn_properties.checking import allowed, judge, scan
from bn_properties.counterexample import write
from bn_properties.property import Check
from bn_properties.record_types import ArrayRecord
from bn_properties.records import Outcome
from bn_properties.reducing import minimise, reduce
from bn_properties.transcript import Oracle, Transcript
from numpy.typing import NDArray


def check(got: object, expected: object, bound: object) -> Check:
    return Check(
        "q",
        np.asarray(got, float),
        np.asarray(expected, float),
        None if bound is None else np.asarray(bound, float),
    )


@pytest.mark.parametrize(
    ("got", "bound", "ratio"),
    [
        ([1.0, 2.5], [0.5, 0.5], 1.0),
        ([1.0, 3.0], [0.5, 0.5], 2.0),
        ([1.0, 2.0], [0.0, 0.0], 0.0),
        ([1.0, 2.1], [0.0, 0.0], np.inf),
        ([1.0, np.nan], [0.5, 0.5], np.inf),
        ([1.0, np.inf], [0.5, 0.5], np.inf),
        ([1.0, np.nan], [0.5, np.inf], 0.0),
        ([1.0, 2.0], None, 0.0),
        ([1.0, np.nextafter(2.0, 3.0)], None, np.inf),
    ],
)
def test_a_comparison_is_measured_in_units_of_its_bound(
    got: list[float], bound: list[float] | None, ratio: float
) -> None:
    measured = judge(check(got, [1.0, 2.0], bound))
    assert ratio == measured.ratio
    assert (ratio > 1.0) == measured.failed
    assert ((1,) if ratio > 1.0 else None) == measured.index


def test_nothing_to_compare_holds() -> None:
    measured = judge(check([], [], []))
    assert (0.0, None, 0.0, 0.0) == (
        measured.ratio,
        measured.index,
        measured.absolute,
        measured.relative,
    )
    assert not measured.failed


@pytest.mark.parametrize(
    ("got", "expected", "bound", "index", "absolute", "relative"),
    [
        # The worst is what is farthest beyond its bound, not what is farthest off.
        ([[9.0, 2.0], [4.0, 1.0]], [[1, 2], [2, 1]], [[4, 1], [0.5, 1]], (1, 0), 2.0, 1.0),
        ([3.0, 9.0], [-1.0, 9.0], [1.0, 1.0], (0,), 4.0, 4.0),
        ([3.0], [0.0], [1.0], (0,), 3.0, np.inf),
        ([3.0, np.nan], [1.0, 1.0], [1.0, 1.0], (1,), np.inf, np.inf),
        # The first of several that are alike; one bound for all.
        ([5.0, 5.0], [1.0, 1.0], 2.0, (0,), 4.0, 4.0),
        ([1.0, 1.5], [1.0, 1.0], None, (1,), 0.5, 0.5),
        # What may not be judged is not the worst.
        ([9.0, 4.0], [1.0, 1.0], [np.inf, 1.0], (1,), 3.0, 3.0),
        ([np.inf, 4.0], [1.0, 1.0], [np.inf, 1.0], (1,), 3.0, 3.0),
    ],
)
def test_a_failure_says_where_and_by_how_much(
    got: object, expected: object, bound: object, index: object, absolute: float, relative: float
) -> None:
    measured = judge(check(got, expected, bound))
    assert measured.failed
    assert index == measured.index
    assert absolute == measured.absolute
    assert relative == measured.relative


@pytest.mark.parametrize(
    ("got", "expected", "bound", "ratio"),
    [
        (3.0, 1.0, 4.0, 0.5),
        ([1.0, 1.0], [1.0, 1.0], None, 0.0),
        ([[np.inf]], [[1.0]], [[np.inf]], 0.0),
        ([2.0, np.nan], [1.0, 1.0], [2.0, np.inf], 0.5),
        ([3.0, np.nan], [1.0, 1.0], [2.0, np.inf], 1.0),
        ([2.0, np.inf], [1.0, np.inf], [2.0, np.inf], 0.5),
        ([2.0, 1e300], [1.0, 1.0], [2.0, np.inf], 0.5),
    ],
)
def test_a_comparison_that_holds_has_its_ratio_and_no_place(
    got: object, expected: object, bound: object, ratio: float
) -> None:
    measured = judge(check(got, expected, bound))
    assert ratio == measured.ratio
    assert (None, 0.0, 0.0) == (measured.index, measured.absolute, measured.relative)


def test_infinities_that_are_alike_are_wrong_where_something_is_judged() -> None:
    assert np.inf == judge(check([np.inf], [np.inf], [1.0])).ratio


def test_single_precision_is_measured_as_what_it_is_in_double() -> None:
    third = Check("q", np.array([1 / 3], np.float32), np.array([1 / 3]), np.array([1.0]))
    assert 0.0 < judge(third).ratio < 2.0**-24


def test_a_bound_that_is_nan_is_the_graders_error_not_a_pass() -> None:
    with pytest.raises(ArithmeticError, match="q: the bound is NaN"):
        judge(check([1.0], [2.0], [np.nan]))


@pytest.mark.parametrize("spatial_axes", [0, 2])
@pytest.mark.parametrize("convention", [CMU_HW1P1, TORCH], ids=lambda c: c.name)
def test_the_lectures_chain_holds_every_property(convention: object, spatial_axes: int) -> None:
    """A second implementation, by the notes' chain and not the closed form, fails nothing."""
    assert convention in (CMU_HW1P1, TORCH)
    known = CMU_HW1P1 if convention is CMU_HW1P1 else TORCH
    seen = Transcript(reference_subject({}, known, spatial_axes))
    answers = Oracle(known)
    cases = (*draw_cases(3, 60, spatial_axes), *pinned_cases(spatial_axes))
    for prop in PROPERTIES:
        found = scan(prop, cases, seen, answers)
        if spatial_axes and prop.id in ("backward.in_network", "inference.folded_linear"):
            assert Outcome.NOT_APPLICABLE == found.outcome
            continue
        assert Outcome.PASS == found.outcome, (prop.id, found.message)
        assert found.worst is not None
        assert found.worst <= 1.0


def test_the_reducer_ends_where_nothing_can_be_dropped() -> None:
    """`fails` wants two rows, a 3 and an ε above 1: exactly that is left."""

    def fails(case: Case) -> bool:
        return len(case.x) >= 2 and bool((case.x == 3).any()) and case.eps >= 1.0

    start = next(
        case
        for case in draw_cases(0, 100)
        if len(case.x) > 3 and case.features > 2 and case.x.dtype == np.float64
    )
    x = start.x.copy()
    x[2, 1] = 3.0
    case = Case(
        **{**{f: getattr(start, f) for f in start.__dataclass_fields__}, "x": x, "eps": 7.3}
    )
    small = reduce(case, fails)
    assert (2, 1) == small.x.shape
    assert [0.0, 3.0] == sorted(small.x.ravel())
    assert 1.0 == small.eps
    assert not small.grad.any()
    assert (0, 1) == (len(small.more), len(small.probe))
    assert small.x.tobytes() == reduce(case, fails).x.tobytes()


def test_a_wrong_variance_is_brought_to_two_rows_of_one_feature() -> None:
    wrong = reference_subject({"s": lambda t: np.sqrt(t.var) + t.eps}, CMU_HW1P1)
    seen, answers = Transcript(wrong), Oracle(CMU_HW1P1)
    found = scan(BY_ID["training.agreement"], draw_cases(0, 100), seen, answers)
    assert Outcome.FAIL == found.outcome
    assert found.failing is not None
    small = minimise(found.failing, found.property, seen)
    assert small.case.x.shape in ((2, 1), (1, 1))
    record = write(small, 0, seen, answers)
    assert ["construct", "train", "backward"] == [call.call for call in record.calls]
    assert record.comparison is not None
    assert record.comparison.error_over_bound > 1
    got = record.calls[1].got["out"].array()
    assert got.tobytes() == seen(small.case.training)[0].array("out").tobytes()


def test_a_batch_of_one_is_left_out_where_the_convention_refuses_it() -> None:
    one = next(case for case in draw_cases(0, 100) if case.batch_size == 1)
    assert allowed(one, CMU_HW1P1)
    assert not allowed(one, TORCH)


@pytest.mark.parametrize(
    "array",
    [
        np.array([1.5, np.nan, np.inf, -np.inf, -0.0, 5e-324, 0.1]),
        np.array([[1, 2], [3, 2**63 - 1]]),
        np.array([True, False]),
        np.array([0.1, np.nan], np.float32),
        np.array([-np.nan]),
        np.zeros((0, 2)),
        np.array(2.0),
    ],
)
def test_an_array_reads_back_bit_for_bit(array: NDArray[Any]) -> None:
    text = ArrayRecord.of(array).model_dump_json()
    assert ":NaN" not in text
    assert ",Infinity" not in text
    back = ArrayRecord.model_validate_json(text).array()
    assert (array.dtype, array.shape) == (back.dtype, back.shape)
    assert array.tobytes() == back.tobytes()
