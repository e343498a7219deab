"""A course's own names in messages, and our symbols beside them once."""

from __future__ import annotations

import numpy as np
import pytest
from bn_properties.naming import (
    SAID,
    Names,
    Role,
    legend,
    named,
    named_cause,
    named_counterexample,
)
from bn_properties.record_types import ArrayRecord
from bn_properties.records import Call, Cause, Comparison, Counterexample

CS231N: Names = {"z": "x", "dz": "dx", "gamma": "gamma", "dgamma": "dgamma", "running_mean": "M_r"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dz[0, 1] = 2, but should be 3", "dx[0, 1] = 2, but should be 3"),
        ("dγ is weighted with the input z", "dgamma is weighted with the input x"),
        ("γ(z − μ)/√(σ² + ε)", "gamma(x − μ)/√(σ² + ε)"),
        ("running mean after step 2", "M_r after step 2"),
        ("∂Div/∂γ and γ² stay", "∂Div/∂γ and γ² stay"),
        ("the size of frozen dz's", "the size of frozen dx's"),
    ],
)
def test_symbols_are_said_by_the_courses_names(text: str, said: str) -> None:
    assert said == named(text, CS231N)


def test_without_names_nothing_changes() -> None:
    assert named("dz is wrong", {}) == "dz is wrong"


@pytest.mark.parametrize("role", SAID)
def test_every_role_can_be_said(role: Role) -> None:
    assert named(f"here {SAID[role]} is wrong", {role: "it"}) == "here it is wrong"


def test_the_legend_has_what_differs() -> None:
    assert legend({"z": "z", "G": "dout", "running_mean": "m"}) == (("G", "dout"), ("M", "m"))


def test_a_causes_words_are_said_anew_and_its_equations_stay() -> None:
    cause = Cause(
        fault="f",
        title="dγ is averaged",
        wrong=r"\gamma",
        right=r"\gamma",
        explanation="dγ is a sum.",
        explained=1,
        observed=1,
    )
    told = named_cause(cause, CS231N)
    assert (told.title, told.explanation) == ("dgamma is averaged", "dgamma is a sum.")
    assert (told.wrong, told.right) == (cause.wrong, cause.right)


def test_a_counterexamples_quantities_are_said_anew() -> None:
    one = ArrayRecord.of(np.ones(2))
    call = Call(
        call="train",
        inputs={"z": one, "eps": 1.0},
        got={"dz": one},
        expected={"dz": one},
        bound={"dz": one},
        intermediates={"mean": one},
    )
    comparison = Comparison(
        quantity="dz of the latest batch",
        got=one,
        expected=one,
        bound=one,
        worst_index=(0,),
        absolute_error=1.0,
        relative_error=1.0,
        error_over_bound=2.0,
    )
    example = Counterexample(seed=0, case=1, regime="", calls=(call,), comparison=comparison)
    told = named_counterexample(example, CS231N)
    assert told.comparison is not None
    assert told.comparison.quantity == "dx of the latest batch"
    (said,) = told.calls
    assert list(said.inputs) == ["x", "eps"]
    assert list(said.got) == list(said.expected) == list(said.bound) == ["dx"]
    assert example.calls[0].inputs["z"] == one
