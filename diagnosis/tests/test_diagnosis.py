"""A diagnosis names the mistake that was made, or none: it never guesses."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from bn_diagnosis.diagnosis import Diagnosis
from bn_diagnosis.faults import BY_ID, FAULTS, Fault
from bn_diagnosis.reference import reference_subject
from bn_diagnosis.trace import Step, Trace
from bn_oracle.conventions import CMU_HW1P1, CS231N, TORCH, Convention
from bn_properties.calls import Infer, Train
from bn_properties.cases.draw import draw_cases
from bn_properties.catalogue import PROPERTIES
from bn_properties.checking import allowed, scan
from bn_properties.expected import expected as expects
from bn_properties.protocol import Quantity, Setup
from bn_properties.records import Cause
from bn_properties.scenario import Scenario, Subject
from bn_properties.transcript import Oracle, Transcript
from numpy.typing import NDArray

EXAMPLES = 33


@lru_cache(maxsize=8)
def diagnosis(convention: Convention, spatial_axes: int) -> Diagnosis:
    further = [case.training for case in draw_cases(1, 22, spatial_axes)]
    return Diagnosis(convention, spatial_axes, expected(convention), further)


@lru_cache(maxsize=8)
def expected(convention: Convention) -> Oracle:
    return Oracle(convention)


def causes(subject: Subject, convention: Convention, spatial_axes: int = 0) -> tuple[Cause, ...]:
    seen = Transcript(subject)
    for case in draw_cases(0, EXAMPLES, spatial_axes):
        if not allowed(case, convention):
            continue
        for scenario in (case.training, case.inference, case.sequence, case.interrupted):
            seen(scenario)
    for prop in PROPERTIES:
        if prop.needs is not None:  # what an interface may offer beyond the common calls
            scan(prop, draw_cases(0, EXAMPLES, spatial_axes), seen, expected(convention))
    return diagnosis(convention, spatial_axes).causes(seen.observed, seen)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_every_fault_is_told_apart_from_every_other(fault: Fault) -> None:
    """The catalogue's own layer is named, and nothing else; others' code is tried beside."""
    for convention, spatial_axes in ((CMU_HW1P1, 0), (CMU_HW1P1, 2), (TORCH, 0)):
        subject = reference_subject(fault.replaces, convention, spatial_axes)
        found = causes(subject, convention, spatial_axes)
        if found:
            assert [fault.id] == [cause.fault for cause in found]
            assert found[0].explained == found[0].observed > 100
            return
    raise AssertionError("it differs from batch norm in no setting")


@pytest.mark.parametrize("convention", [CMU_HW1P1, CS231N, TORCH], ids=lambda c: c.name)
@pytest.mark.parametrize("spatial_axes", [0, 2])
def test_a_right_implementation_has_no_cause(convention: Convention, spatial_axes: int) -> None:
    assert () == causes(reference_subject({}, convention, spatial_axes), convention, spatial_axes)


@pytest.mark.parametrize(
    "pair",
    [
        ("gamma-gradient-averaged", "root-plus-eps-at-inference"),
        ("running-std", "swapped-parameter-gradients"),
        ("statistics-constant", "inference-without-affine"),
        ("beta-gradient-not-summed", "running-history-ignored"),
    ],
)
def test_two_mistakes_together_are_named_together(pair: tuple[str, str]) -> None:
    replaced = {**BY_ID[pair[0]].replaces, **BY_ID[pair[1]].replaces}
    found = causes(reference_subject(replaced, CMU_HW1P1), CMU_HW1P1)
    assert set(pair) in [set(cause.fault.split(" + ")) for cause in found]
    assert all(len(cause.fault.split(" + ")) == 2 for cause in found)


@pytest.mark.once
@pytest.mark.parametrize(
    "step",
    [
        {"y": lambda t: t.gamma * t.u * 1.01 + t.beta},
        {"dz": lambda t: t.du / t.s * 0.3},
        {"next_var": lambda t: t.running_var * t.decay + 0.123},
    ],
    ids=["out", "dz", "variance"],
)
def test_an_unknown_mistake_is_not_guessed(step: dict[str, Step]) -> None:
    assert () == causes(reference_subject(step, CMU_HW1P1), CMU_HW1P1)


def test_a_convention_followed_consistently_is_named() -> None:
    (found,) = causes(
        reference_subject(BY_ID["running-variance-unbiased"].replaces, CS231N), CS231N
    )
    assert "unbiased" in found.title
    (found,) = causes(reference_subject(BY_ID["running-variance-biased"].replaces, TORCH), TORCH)
    assert "biased" in found.title


def test_rounding_does_not_hide_a_mistake() -> None:
    """A float32 layer with a known mistake is diagnosed as the float64 one is."""

    def single(t: Trace) -> NDArray[np.float32]:
        averaged: NDArray[np.float32] = (t.g.astype(np.float32) * t.u.astype(np.float32)).mean(
            axis=0
        )
        return averaged

    subject = reference_subject({"dgamma": single}, CMU_HW1P1)
    seen = Transcript(subject)
    for case in draw_cases(0, EXAMPLES):
        if case.x.dtype == np.float32:
            seen(case.training)
    found = diagnosis(CMU_HW1P1, 0).causes(seen.observed, seen)
    assert ["gamma-gradient-averaged"] == [cause.fault for cause in found]


def test_a_mistake_in_the_layout_is_named_though_its_rounding_is_that_of_other_features() -> None:
    def closed_form(t: Trace) -> NDArray[np.float64]:
        mean_gu = (t.g * t.u).mean(axis=0)
        return np.asarray(t.gamma / t.s * (t.g - t.g.mean(axis=0) - t.u * mean_gu))

    reshaped = BY_ID["reshape-without-moving-channels"].replaces
    found = causes(reference_subject({**reshaped, "dz": closed_form}, CS231N, 2), CS231N, 2)
    assert ["reshape-without-moving-channels"] == [cause.fault for cause in found]


def test_normalised_statistics_may_be_off_by_a_batchs_rounding_after_inference_too() -> None:
    batch = np.array([[0.0], [2e-4], [1e-4]])
    steps = (Train(batch), Infer(batch), Train(batch[:2]), Infer(batch))
    given, *after = expects(Scenario(Setup(1), (Infer(batch), *steps)), CMU_HW1P1)
    statistics: tuple[Quantity, ...] = ("running_mean", "running_var")
    for quantity in statistics:
        assert (given[quantity].generous == given.bound(quantity)).all()
        for each in after:
            room = each[quantity].generous - each.bound(quantity)
            assert np.allclose(room, (3 + 4) * 2.0**-53, rtol=0.01, atol=0.0)
