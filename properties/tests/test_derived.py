"""Derived cases: all different, in their regime, and as good as drawn ones."""

from __future__ import annotations

import numpy as np
import pytest
from bn_diagnosis.reference import reference_subject
from bn_oracle.conventions import CMU_HW1P1
from bn_properties.cases.draw import draw_cases
from bn_properties.cases.transform import enlarge
from bn_properties.catalogue import PROPERTIES
from bn_properties.checking import scan
from bn_properties.records import Outcome
from bn_properties.transcript import Oracle, Transcript


@pytest.mark.parametrize("spatial_axes", [0, 2])
def test_no_two_are_the_same(spatial_axes: int) -> None:
    drawn = draw_cases(3, 22, spatial_axes)
    found = enlarge(drawn, 150)
    assert drawn == found[:22]
    assert list(range(150)) == [case.index for case in found]
    assert 150 == len({case.training.key for case in found})


def test_fewer_than_drawn_are_the_first() -> None:
    drawn = draw_cases(3, 22)
    assert drawn[:5] == enlarge(drawn, 5)


def test_an_exact_batch_stays_exact_and_single_precision_stays() -> None:
    for case in enlarge(draw_cases(3, 44), 300)[44:]:
        assert {case.x.dtype} == {array.dtype for array in (case.grad, case.probe, *case.more)}
        if case.regime == "exact":
            fraction = np.asarray(case.x, np.float64) * 2**12
            assert (fraction == np.rint(fraction)).all()


def test_the_oracle_passes_every_property_on_them() -> None:
    seen, answers = Transcript(reference_subject({}, CMU_HW1P1)), Oracle(CMU_HW1P1)
    cases = enlarge(draw_cases(3, 33), 200)[33:]
    for prop in PROPERTIES:
        finding = scan(prop, cases, seen, answers)
        assert Outcome.FAIL is not finding.outcome, (prop.id, finding.message)


def test_there_must_be_something_to_derive_from() -> None:
    with pytest.raises(ValueError, match="drawn is empty"):
        enlarge((), 3)
