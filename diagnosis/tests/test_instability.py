"""The vanishing term is named where it is what loses the accuracy, and nowhere else."""

from __future__ import annotations

import numpy as np
from bn_diagnosis.diagnosis import Diagnosis
from bn_diagnosis.reference import reference_subject
from bn_diagnosis.trace import Step, Trace
from bn_oracle.arrays import Array
from bn_oracle.conventions import CMU_HW1P1
from bn_properties.calls import Train
from bn_properties.cases.draw import draw_cases
from bn_properties.catalogue import BY_ID
from bn_properties.protocol import Setup
from bn_properties.scenario import Scenario
from bn_properties.transcript import Oracle, Transcript

ORACLE = Oracle(CMU_HW1P1)


def lives() -> list[Scenario]:
    """Return batches of two features, one of which is far from zero."""
    found = []
    for seed in range(8):
        generator = np.random.default_rng(seed)
        x = generator.standard_normal((5, 2)) + np.array([0.1, 3e5])
        setup = Setup(2, 0.1, 0.9, np.array([1.5, -0.5]), np.zeros(2))
        found.append(Scenario(setup, (Train(x, generator.standard_normal((5, 2))),)))
    return found


def named(**steps: Step) -> list[str]:
    subject = reference_subject(steps, CMU_HW1P1)
    seen = Transcript(subject)
    transcript = [(each, seen(each)) for each in lives()]
    found = Diagnosis(CMU_HW1P1, 0, ORACLE).explanations(transcript)
    return [each.cause.fault for each in found]


def direct(t: Trace) -> Array:
    found: Array = -(t.du / t.s).sum(axis=0)
    return found


def test_a_sum_over_all_features_is_named() -> None:
    found = named(dmean=lambda t: direct(t) - 2 / len(t.z) * t.dvar * (t.z - t.mean).sum())
    assert ["vanishing-sum-over-all-features"] == found


def test_a_factor_that_is_missing_is_named() -> None:
    found = named(dmean=lambda t: direct(t) - 1e6 * (t.z - t.mean).sum(axis=0))
    assert ["vanishing-sum-with-another-factor"] == found


def test_a_stable_chain_has_no_cause() -> None:
    assert [] == named()


def test_another_loss_of_accuracy_is_not_the_vanishing_term() -> None:
    def dz(t: Trace) -> Array:
        right: Array = t.du / t.s + t.dvar * 2 / len(t.z) * (t.z - t.mean) + t.dmean / len(t.z)
        return right + np.arange(len(right))[:, None] * 1e-11

    assert [] == named(dz=dz)


def test_it_fails_what_is_about_accuracy_and_nothing_else() -> None:
    steps: dict[str, Step] = {
        "dmean": lambda t: direct(t) - 2 / len(t.z) * t.dvar * (t.z - t.mean).sum()
    }
    seen = Transcript(reference_subject(steps, CMU_HW1P1))
    transcript = [(each, seen(each)) for each in lives()]
    (one,) = Diagnosis(CMU_HW1P1, 0, ORACLE).explanations(transcript)
    case = draw_cases(0, 11)[0]
    assert one.fails(BY_ID["stability.input_gradient"], case, ORACLE)
    assert one.fails(BY_ID["stability.huge_scale"], case, ORACLE)
    assert not one.fails(BY_ID["hygiene.input_unmodified"], case, ORACLE)
