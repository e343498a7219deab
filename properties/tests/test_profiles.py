"""A right layer passes every property under every shipped profile, single values included."""

from __future__ import annotations

from functools import lru_cache

import pytest
from bn_diagnosis.reference import reference_subject
from bn_oracle.conventions import CONVENTIONS, Convention
from bn_properties.cases.case import Case
from bn_properties.cases.draw import draw_cases
from bn_properties.cases.pinned import pinned_cases
from bn_properties.catalogue import PROPERTIES
from bn_properties.checking import scan
from bn_properties.records import Outcome
from bn_properties.transcript import Oracle, Transcript


@lru_cache(maxsize=2)
def cases(spatial_axes: int) -> tuple[Case, ...]:
    return (*pinned_cases(spatial_axes), *draw_cases(3, 55, spatial_axes))


def test_the_cases_hold_a_batch_of_one() -> None:
    assert any(case.batch_size == 1 for case in cases(0))
    assert any(case.batch_size == 1 for case in cases(2))


@pytest.mark.once
@pytest.mark.parametrize("spatial_axes", [0, 2])
@pytest.mark.parametrize("convention", CONVENTIONS.values(), ids=lambda profile: profile.name)
def test_a_right_layer_passes_under_every_profile(
    convention: Convention, spatial_axes: int
) -> None:
    transcript = Transcript(reference_subject({}, convention, spatial_axes))
    oracle = Oracle(convention)
    findings = [scan(each, cases(spatial_axes), transcript, oracle) for each in PROPERTIES]
    wrong = [(f.property.id, f.message) for f in findings if f.outcome is Outcome.FAIL]
    assert [] == wrong
    # The one property that is about a linear layer, and the one about a network, are for (N, C).
    skipped = {f.property.id for f in findings if f.outcome is not Outcome.PASS}
    expected = {"inference.folded_linear", "backward.in_network"} if spatial_axes else set()
    assert expected == skipped
