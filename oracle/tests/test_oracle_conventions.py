"""The profiles: what each implementation documents, as data."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from bn_oracle.conventions import CONVENTIONS, Convention
from bn_oracle.forward import forward
from bn_oracle.running import batch_variance, update

# name: (momentum weighs, variance, ε, momentum, initial variance, B = 1)
DOCUMENTED = {
    "lecture": ("old", "unbiased", 1e-8, 0.9, 1.0, "refuses"),
    "cmu-hw1p1": ("old", "biased", 1e-8, 0.9, 1.0, "normalises"),
    "cs231n": ("old", "biased", 1e-5, 0.9, 0.0, "normalises"),
    "torch": ("new", "unbiased", 1e-5, 0.1, 1.0, "refuses"),
    "keras": ("old", "biased", 1e-3, 0.99, 1.0, "normalises"),
    "flax": ("old", "biased", 1e-5, 0.99, 1.0, "normalises"),
    "onnx-15": ("old", "biased", 1e-5, 0.9, 1.0, "normalises"),
    "tensorflow-fused": ("old", "unbiased", 1e-3, 0.99, 1.0, "normalises"),
    "cudnn": ("new", "unbiased", 1e-5, 0.1, 0.0, "refuses"),
    "ioffe-szegedy": ("old", "unbiased", 1e-5, 0.9, 1.0, "refuses"),
}


def test_the_profiles_are_the_documented_ones() -> None:
    assert DOCUMENTED == {
        name: (
            profile.momentum_weighs,
            profile.running_variance,
            profile.eps,
            profile.momentum,
            profile.initial_var,
            profile.single_value,
        )
        for name, profile in CONVENTIONS.items()
    }
    assert {0.0} == {profile.initial_mean for profile in CONVENTIONS.values()}


@pytest.mark.parametrize("profile", CONVENTIONS.values(), ids=lambda p: p.name)
def test_every_profile_has_a_source_and_names_what_the_source_leaves_open(
    profile: Convention,
) -> None:
    assert profile.source
    assert set(profile.unspecified) <= {field.name for field in fields(Convention)}
    assert profile is CONVENTIONS[profile.name]


@pytest.mark.parametrize("profile", CONVENTIONS.values(), ids=lambda p: p.name)
def test_the_two_meanings_of_momentum_translate_into_each_other(profile: Convention) -> None:
    for momentum in (0.0, 0.25, 0.5, 1.0):
        assert momentum == profile.momentum_for(profile.decay(momentum))
    assert (0.25 if profile.momentum_weighs == "old" else 0.75) == profile.decay(0.25)


@pytest.mark.parametrize("profile", CONVENTIONS.values(), ids=lambda p: p.name)
def test_one_step_by_hand_under_every_profile(profile: Convention) -> None:
    """Batch (0, 2), momentum ¼, from mean 4 and variance 8: σ_B² is 1, unbiased 2."""
    record = forward([[0.0], [2.0]], [1.0], [0.0], 1e-5)
    mean, var = update([4.0], [8.0], record, profile.decay(0.25), profile)
    decay = 0.25 if profile.momentum_weighs == "old" else 0.75
    batch = 1.0 if profile.running_variance == "biased" else 2.0
    assert [decay * 4 + (1 - decay)] == mean.tolist()
    assert [decay * 8 + (1 - decay) * batch] == var.tolist()


@pytest.mark.parametrize("profile", CONVENTIONS.values(), ids=lambda p: p.name)
def test_a_single_value_is_averaged_or_refused_as_the_profile_says(profile: Convention) -> None:
    record = forward(np.array([[3.0]]), [1.0], [0.0], 1e-5)
    if profile.single_value == "refuses":
        with pytest.raises(ValueError, match="B is 1"):
            batch_variance(record, profile)
    else:
        assert [0.0] == batch_variance(record, profile).tolist()
