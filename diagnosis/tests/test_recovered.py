"""What no known mistake explains alone is explained formula by formula, and held to everything."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import pytest
from bn_diagnosis.diagnosis import Diagnosis, Explanation
from bn_diagnosis.faults import BY_ID
from bn_diagnosis.reference import reference_subject
from bn_diagnosis.trace import Step, StepName, Trace
from bn_oracle.conventions import CMU_HW1P1, Convention
from bn_properties.cases.draw import draw_cases
from bn_properties.catalogue import BY_ID as PROPERTIES
from bn_properties.records import Cause
from bn_properties.scenario import Subject
from bn_properties.transcript import Oracle, Transcript

EXAMPLES = 33


@lru_cache(maxsize=4)
def diagnosis(spatial_axes: int) -> Diagnosis:
    return Diagnosis(CMU_HW1P1, spatial_axes, oracle(CMU_HW1P1))


@lru_cache(maxsize=4)
def oracle(convention: Convention) -> Oracle:
    return Oracle(convention)


def explained(subject: Subject, spatial_axes: int = 0) -> tuple[Explanation, ...]:
    seen = Transcript(subject)
    for case in draw_cases(0, EXAMPLES, spatial_axes):
        for scenario in (case.training, case.inference, case.sequence):
            seen(scenario)
    return diagnosis(spatial_axes).explanations(seen.observed, seen)


def of_steps(steps: Mapping[StepName, Step], spatial_axes: int = 0) -> Cause:
    (found,) = explained(reference_subject(steps, CMU_HW1P1, spatial_axes), spatial_axes)
    return found.cause


def of_faults(*ids: str) -> Mapping[StepName, Step]:
    return {name: step for id_ in ids for name, step in BY_ID[id_].replaces.items()}


def test_three_known_mistakes_are_named_each() -> None:
    ids = ("gamma-gradient-averaged", "root-plus-eps-at-inference", "running-std")
    cause = of_steps(of_faults(*ids))
    assert set(ids) == set(cause.fault.split(" + "))
    assert cause.explained == cause.observed > 100


def test_a_slip_that_is_no_known_mistake_is_told_as_a_formula() -> None:
    def dvar(t: Trace) -> object:
        return -0.25 * (t.du * t.centred).sum(axis=0) / (t.var + t.eps) ** 3

    cause = of_steps({"dvar": dvar})
    assert cause.fault == "dz-precedence"
    assert r"\boxed" in cause.wrong
    assert r"\boxed" in cause.right
    assert cause.wrong != cause.right
    assert cause.properties == ("backward.input_gradient",)
    assert cause.explained == cause.observed


def test_a_known_mistake_and_a_formula_stand_side_by_side() -> None:
    steps = of_faults("running-std", "root-plus-eps-at-inference")

    def dgamma(t: Trace) -> object:
        return (t.g * t.u).sum(axis=0) / t.s

    cause = of_steps({**steps, "dgamma": dgamma})
    assert {"running-std", "root-plus-eps-at-inference"} < set(cause.fault.split(" + "))
    assert "dgamma" in cause.fault


@pytest.mark.once
def test_what_follows_from_a_slip_is_no_cause_of_its_own() -> None:
    """A mean over all numbers in the forward: the gradients are right for what it keeps."""

    def var(t: Trace) -> object:
        return np.full(t.z.shape[1], (t.centred**2).mean()) * 1.5

    cause = of_steps({"var": var, "dbeta": lambda t: 2 * t.g.sum(axis=0)})
    assert cause.explained < cause.observed or "dbeta" in cause.fault
    assert "dgamma" not in cause.fault


def test_what_it_would_fail_is_known_of_a_recovered_formula() -> None:
    def dgamma(t: Trace) -> object:
        return (t.g * t.u).sum(axis=0) / t.s

    (found,) = explained(reference_subject({"dgamma": dgamma}, CMU_HW1P1))
    case = draw_cases(0, EXAMPLES)[5]
    known = oracle(CMU_HW1P1)
    assert found.fails(PROPERTIES["backward.gamma_gradient"], case, known)
    assert not found.fails(PROPERTIES["backward.beta_gradient"], case, known)


def test_what_no_formula_gives_has_no_cause() -> None:
    steps: Mapping[StepName, Step] = {"dgamma": lambda t: np.sin((t.g * t.u).sum(axis=0))}
    assert explained(reference_subject(steps, CMU_HW1P1)) == ()


def test_a_formula_that_holds_for_well_conditioned_numbers_alone_is_not_told() -> None:
    """Where it clips, most of what was observed is something else."""

    def dgamma(t: Trace) -> object:
        return np.where(t.n == 7, 2.0, 3.0) * (t.g * t.u).sum(axis=0)

    assert explained(reference_subject({"dgamma": dgamma}, CMU_HW1P1)) == ()


@pytest.mark.parametrize("axes", [1, 2])
def test_a_count_of_images_for_values_is_recovered(axes: int) -> None:
    def dz(t: Trace) -> object:
        images = t.x.shape[0]
        return t.du / t.s + t.dvar * 2 * t.centred / images + t.dmean / images

    cause = of_steps({"dz": dz}, axes)
    assert "images" in cause.title or cause.fault in BY_ID


@pytest.mark.parametrize(
    ("dgamma", "told"),
    [
        (lambda t: (t.g * t.u).sum(axis=1), "dγ is summed over another axis"),
        (lambda t: (t.g * t.u).sum(axis=1, keepdims=True), "dγ is summed over another axis"),
        (lambda t: t.z, "dγ is z"),
        (lambda t: t.s[np.newaxis, np.newaxis] * 0, "dγ is zero, whatever the batch"),
        (lambda t: 0.0 * t.gamma, "dγ is zero, whatever the batch"),
    ],
)
def test_a_result_of_another_shape_is_recovered(dgamma: Step, told: str) -> None:
    cause = of_steps({"dgamma": dgamma})
    assert cause.title == told
    assert cause.explained == cause.observed


def test_where_a_formula_is_rounding_itself_it_need_not_be_reproduced() -> None:
    """∂Div/∂μ vanishes on some batches; what is divided by it is rounding."""

    def dz(t: Trace) -> object:
        return t.du / t.s + t.dvar * 2 * t.centred / t.n + t.n / t.dmean

    cause = of_steps({"dz": dz})
    assert cause.fault == "dz-upside-down"
    assert cause.explained <= cause.observed


@pytest.mark.parametrize(
    ("step", "taken", "told"),
    [
        (
            "next_mean",
            lambda t: t.running_mean + (1 - t.decay) * (t.mean + t.running_mean),
            "a term of the running mean has the wrong sign",
        ),
        (
            "y",
            lambda t: t.gamma * (t.z + t.mean) / t.s + t.beta,
            "a term of the normalised values has the wrong sign",
        ),
        (
            "dz",
            lambda t: (
                t.gamma
                / np.sqrt(t.var - t.eps)
                * (t.g - t.g.mean(axis=0) - t.u * (t.g * t.u).mean(axis=0))
            ),
            "in the backward pass, a term of the denominator √(σ²+ε) has the wrong sign",
        ),
        ("dbeta", lambda t: t.s, "dβ is the denominator √(σ²+ε)"),
    ],
)
def test_other_ways_of_computing_it_have_slips_of_their_own(
    step: StepName, taken: Step, told: str
) -> None:
    found = explained(reference_subject({step: taken}, CMU_HW1P1))
    assert [each.cause.title for each in found] == [told]
