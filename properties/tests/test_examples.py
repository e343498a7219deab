"""The chosen cases: a right layer passes on each, and each shows what it was chosen for."""

from __future__ import annotations

import numpy as np
import pytest
from bn_diagnosis.reference import reference_subject
from bn_diagnosis.trace import Step
from bn_oracle.conventions import CMU_HW1P1, CS231N, TORCH, Convention
from bn_properties.cases.pinned import PINNED, pinned_cases
from bn_properties.catalogue import BY_ID, PROPERTIES
from bn_properties.checking import allowed, asked_about, describe, try_case
from bn_properties.transcript import Oracle, Transcript

NAMES = list(PINNED)


@pytest.mark.parametrize("convention", [CMU_HW1P1, CS231N, TORCH], ids=lambda c: c.name)
@pytest.mark.parametrize(
    "spatial_axes", [0, *(pytest.param(axes, marks=pytest.mark.once) for axes in (1, 2, 3))]
)
def test_the_oracle_passes_every_property_on_every_example(
    convention: Convention, spatial_axes: int
) -> None:
    seen = Transcript(reference_subject({}, convention, spatial_axes))
    answers = Oracle(convention)
    for case in pinned_cases(spatial_axes):
        for prop in PROPERTIES if allowed(case, convention) else ():
            if case.asked_by is not None and prop.id not in case.asked_by:
                continue
            failing, _ = try_case(prop, case, seen, answers)
            assert failing is None, (prop.id, describe(failing))


def test_the_examples_are_put_to_every_property_that_is_asked_often() -> None:
    cases = pinned_cases(0)
    for prop in PROPERTIES:
        asked = list(asked_about(prop, cases, CMU_HW1P1))
        often = 0 < prop.stride <= 2
        chosen = [
            case for case in cases if (often if case.asked_by is None else prop.id in case.asked_by)
        ]
        assert chosen == asked, prop.id
    assert {id_ for case in cases for id_ in case.asked_by or ()} <= BY_ID.keys()
    quantities = ("training", "backward", "inference", "running")
    families = {prop.family for prop in PROPERTIES if 0 < prop.stride <= 2}
    assert families.issuperset(quantities)


WRONG: dict[int, tuple[dict[str, Step], str]] = {
    0: ({"u": lambda t: np.clip((t.z - t.mean) / t.s, -30, 30)}, "training.agreement"),
    1: (
        {"dbeta": lambda t: t.g.sum(axis=0)[np.arange(t.g.shape[1]) % 32]},
        "backward.beta_gradient",
    ),
    2: (
        {"var": lambda t: np.maximum((t.z**2).mean(axis=0) - t.mean**2, 0)},
        "stability.training_output",
    ),
    3: ({"mean": lambda t: t.z.mean(axis=1)}, "training.agreement"),
    4: ({"var": lambda t: t.z.var(axis=0, ddof=1)}, "training.agreement"),
    5: ({"next_mean": lambda t: t.running_mean}, "running.mean_recurrence"),
    6: ({"y": lambda t: np.float32(t.gamma) * t.u + t.beta}, "training.agreement"),
    7: ({"dbeta": lambda t: np.clip(t.g, -100, 100).sum(axis=0)}, "backward.beta_gradient"),
    11: (
        {"dbeta": lambda t: np.where(np.arange(t.g.shape[1]) < 512, 1, 0) * t.g.sum(axis=0)},
        "backward.beta_gradient",
    ),
    12: ({"mean": lambda t: t.z[:1024].mean(axis=0)}, "training.agreement"),
    13: ({"dbeta": lambda t: t.g[: len(t.g) // 64 * 64].sum(axis=0)}, "backward.beta_gradient"),
    15: ({"y": lambda t: t.u + t.beta}, "hygiene.current_parameters"),
    17: (
        {"next_mean": lambda t: np.round(t.decay * t.running_mean + (1 - t.decay) * t.mean, 3)},
        "running.thousand_steps",
    ),
    8: ({"dgamma": lambda t: np.round((t.g * t.u).sum(axis=0), 9)}, "backward.gamma_gradient"),
}
"""For examples by number: what would pass on easier cases, and who must reject it."""


@pytest.mark.parametrize("number", WRONG)
def test_an_example_rejects_what_it_was_chosen_for(number: int) -> None:
    replaces, id_ = WRONG[number]
    seen = Transcript(reference_subject(replaces, CMU_HW1P1))
    failing, _ = try_case(BY_ID[id_], pinned_cases(0)[number], seen, Oracle(CMU_HW1P1))
    assert failing is not None, NAMES[number]


RIGHT: dict[int, tuple[dict[str, Step], str]] = {
    9: (
        {
            "next_mean": lambda t: (
                np.float32(t.running_mean)
                + np.float32(1 - t.decay) * (np.float32(t.mean) - np.float32(t.running_mean))
            )
        },
        "running.mean_recurrence",
    ),
    10: (
        {
            "y": lambda t: (
                np.float32(t.z) * np.float32(t.gamma / t.s)
                + np.float32(t.beta - t.mean * t.gamma / t.s)
            )
        },
        "training.agreement",
    ),
}
"""For examples by number: a right way to compute it, in float32, that was once accused."""


@pytest.mark.parametrize("number", RIGHT)
def test_an_example_accuses_nobody_wrongly(number: int) -> None:
    replaces, id_ = RIGHT[number]
    seen = Transcript(reference_subject(replaces, CMU_HW1P1))
    failing, ratio = try_case(BY_ID[id_], pinned_cases(0)[number], seen, Oracle(CMU_HW1P1))
    assert failing is None, NAMES[number]
    assert ratio is not None
    assert 0.0 < ratio <= 1.0, "the example does round"
