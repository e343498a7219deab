"""The Jacobian of a failing case: what was asked row by row is d out/d z."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bn_oracle.conventions import CMU_HW1P1
from bn_properties.calls import Infer, Train
from bn_properties.cases.case import Case
from bn_properties.cases.pinned import pinned_cases
from bn_properties.checking import Failing, Judgement
from bn_properties.jacobian import jacobian
from bn_properties.protocol import SubjectError
from bn_properties.scenario import Response, Scenario
from bn_properties.transcript import Oracle, Transcript

X = np.array([[1.0, 5.0], [3.0, 5.5], [2.0, -4.0]])
CASE = replace(
    pinned_cases(0)[0],
    x=X, grad=np.ones_like(X), gamma=np.array([2.0, -3.0]), beta=np.zeros(2), eps=0.5,
    running_mean=np.zeros(2), running_var=np.ones(2),
)  # fmt: skip


def failing(case: Case, *calls: Train | Infer, index: tuple[int, ...] | None = (0, 1)) -> Failing:
    judgement = None if index is None else Judgement(2.0, index, 1.0, 1.0)
    asked = Scenario(case.full_setup, calls or (Train(case.x, case.grad),))
    return Failing(case, None, judgement, None, (asked,))


class Gives:
    """A subject that gives what the oracle expects, its input gradient changed by a function."""

    def __init__(self, change: object) -> None:
        self.convention, self.spatial_axes, self.fixed_eps = CMU_HW1P1, 0, False
        self.offers = self.may_refuse = frozenset[object]()
        self._change = change

    def observe(self, scenario: Scenario) -> tuple[Response[object], ...]:
        values = dict(Oracle(CMU_HW1P1)(scenario)[0].values)
        values["dz"] = self._change(values["dz"])  # type: ignore[operator]
        return (Response(values),)


def transcript(change: object = lambda dz: dz) -> Transcript:
    return Transcript(Gives(change))  # type: ignore[arg-type]


@pytest.mark.parametrize("feature", [0, 1])
def test_it_is_the_matrix_of_the_closed_form(feature: int) -> None:
    found = jacobian(failing(CASE, index=(2, feature)), transcript(), Oracle(CMU_HW1P1))
    assert found is not None
    z = X[:, feature]
    s = np.sqrt(z.var() + 0.5)
    u = (z - z.mean()) / s
    closed = CASE.gamma[feature] / s * (np.eye(3) - 1 / 3 - np.outer(u, u) / 3)
    for shown in (found.got, found.expected):
        np.testing.assert_allclose(shown.array(), closed, rtol=1e-12)
    assert feature == found.feature
    assert (found.bound.array() > 0).all()


def test_for_one_instance_three_are_taken() -> None:
    one = replace(CASE, x=X[:1], grad=X[:1])
    found = jacobian(failing(one), transcript(), Oracle(CMU_HW1P1))
    assert found is not None
    assert (3, 3) == found.got.shape == found.expected.shape
    assert [-1.0, 0.0, 2.0] == found.z.array().tolist()


def test_what_is_wrong_shows_where_it_is() -> None:
    found = jacobian(failing(CASE), transcript(lambda dz: dz + 1), Oracle(CMU_HW1P1))
    assert found is not None
    np.testing.assert_allclose(found.got.array() - found.expected.array(), 1.0)


@pytest.mark.parametrize(
    "case",
    [
        replace(CASE, x=np.arange(14.0).reshape(7, 2), grad=np.ones((7, 2))),
        replace(CASE, x=X[..., None], grad=X[..., None]),
    ],
)
def test_it_is_asked_of_few_instances_without_more_axes(case: Case) -> None:
    assert jacobian(failing(case), transcript(), Oracle(CMU_HW1P1)) is None


@pytest.mark.parametrize(
    "change", [lambda dz: SubjectError("raised", "no"), lambda dz: dz[:1], lambda dz: None]
)
def test_where_a_row_is_not_given_there_is_none(change: object) -> None:
    assert jacobian(failing(CASE), transcript(change), Oracle(CMU_HW1P1)) is None


def test_without_an_upstream_gradient_there_is_none() -> None:
    for calls in ((Train(X),), (Infer(X),)):
        assert jacobian(failing(CASE, *calls), transcript(), Oracle(CMU_HW1P1)) is None


def test_without_a_place_it_is_that_of_the_first_feature() -> None:
    found = jacobian(failing(CASE, index=None), transcript(), Oracle(CMU_HW1P1))
    assert found is not None
    assert 0 == found.feature
