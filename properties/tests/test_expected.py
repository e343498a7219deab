"""The oracle as a layer, beside values worked out by hand; and what each profile refuses.

The batch is z = (1, 3) with ε = 3, so μ = 2, σ² = 1, s = 2 and u = (−½, ½); with γ = 4 and β = 1
the output is (−1, 3).
"""

from __future__ import annotations

import numpy as np
import pytest
from bn_oracle.conventions import CMU_HW1P1, CONVENTIONS, TORCH, Convention
from bn_properties.call import Call
from bn_properties.calls import (
    Backward,
    Infer,
    LookAgain,
    OtherLayer,
    Population,
    SetParameters,
    Train,
)
from bn_properties.expectation import Expected
from bn_properties.expected import OracleLayer, expected
from bn_properties.protocol import FORWARD, GRADIENTS, AnyArray, Quantity, Setup
from bn_properties.scenario import Scenario
from bn_properties.transcript import Oracle


def column(*values: float) -> AnyArray:
    return np.array(values, float).reshape(-1, 1)


Z, G = column(1, 3), column(1, 0)
GAMMA, BETA, MEAN, VAR = (np.array([value]) for value in (4.0, 1.0, 10.0, 1.0))
SETUP = Setup(1, 3.0, 0.75, GAMMA, BETA, MEAN, VAR)


def told(
    *calls: Call, convention: Convention = CMU_HW1P1, setup: Setup = SETUP
) -> tuple[Expected, ...]:
    return expected(Scenario(setup, calls), convention)


def values(each: Expected, *quantities: Quantity) -> list[list[float]]:
    return [each.values[quantity].ravel().tolist() for quantity in quantities]


def test_training_and_its_gradients() -> None:
    (only,) = told(Train(Z, G))
    assert [[-1.0, 3.0]] == values(only, "out")
    # dβ = Σg; dγ = Σg·u; dz = γ/(sB)·(B·g − dβ − u·dγ), with γ/(sB) = 1.
    assert [[0.75, -0.75], [-0.5], [1.0]] == values(only, "dz", "dgamma", "dbeta")
    # ¾·10 + ¼·2 and ¾·1 + ¼·1
    assert [[8.0], [1.0]] == values(only, "running_mean", "running_var")


def test_the_running_variance_is_unbiased_where_the_convention_says_so() -> None:
    (only,) = told(Train(Z), convention=TORCH)
    assert [[8.0], [1.25]] == values(only, "running_mean", "running_var")


def test_inference_uses_the_running_statistics_and_leaves_them_alone() -> None:
    (only,) = told(Infer(Z, G))
    # s = √(1+3) = 2: (z − 10)/2·4 + 1
    assert [[-17.0, -13.0]] == values(only, "out")
    assert [[10.0], [1.0]] == values(only, "running_mean", "running_var")
    # dz = γ/s·g; dγ = Σg·(z − 10)/2; dβ = Σg
    assert [[2.0, 0.0], [-4.5], [1.0]] == values(only, "dz", "dgamma", "dbeta")


def test_each_step_starts_from_the_statistics_that_the_last_one_left() -> None:
    first, second, last = told(Train(Z), Train(column(6, 8)), Infer(column(7.75)))
    assert [[8.0], [1.0]] == values(first, "running_mean", "running_var")
    assert [[7.75], [1.0]] == values(second, "running_mean", "running_var")
    assert [[1.0], [7.75]] == values(last, "out", "running_mean")


def test_a_backward_belongs_to_the_latest_training_forward() -> None:
    *_, last = told(Train(column(0, 0)), Train(Z), Infer(column(5)), Backward(G))
    assert [[0.75, -0.75], [-0.5], [1.0]] == values(last, "dz", "dgamma", "dbeta")


def test_other_parameters_count_from_when_they_are_set() -> None:
    parameters = SetParameters(np.array([2.0]), np.array([5.0]))
    first, _, second, last = told(Train(Z), parameters, Train(Z, G), Infer(column(9.5)))
    assert [[-1.0, 3.0]] == values(first, "out")
    assert [[4.0, 6.0], [0.375, -0.375]] == values(second, "out", "dz")
    # The mean went 10 → 8 → 6.5: (9.5 − 6.5)/2·2 + 5
    assert [[8.0]] == values(last, "out")


def test_the_plain_average_of_all_batches() -> None:
    setup = Setup(1, eps=3.0, cumulative=True, running_mean=np.array([10.0]))
    first, second, third = told(Train(Z), Train(column(4, 8)), Train(column(1, 1)), setup=setup)
    assert [[2.0], [1.0]] == values(first, "running_mean", "running_var")
    assert [[4.0], [2.5]] == values(second, "running_mean", "running_var")
    np.testing.assert_allclose(third.values["running_mean"], [3.0], rtol=1e-15)
    np.testing.assert_allclose(third.values["running_var"], [5.0 / 3.0], rtol=1e-15)


def test_what_is_looked_at_again_is_what_the_first_call_gave() -> None:
    calls: list[Call] = [Train(Z, G), Infer(Z), Train(column(6, 8), column(5, 7))]
    calls += [LookAgain("train", "out"), LookAgain("infer", "out")]
    calls += [LookAgain("backward", q) for q in ("dz", "dgamma", "dbeta")]
    train, inferred, _, *again = told(*calls)
    found = [each.values for each in again]
    assert [-1.0, 3.0] == found[0]["out"].ravel().tolist()
    assert inferred.values["out"].tolist() == found[1]["out"].tolist()
    assert train.values["dz"].tolist() == found[2]["dz"].tolist()
    assert [-0.5] == found[3]["dgamma"].tolist()
    assert [1.0] == found[4]["dbeta"].tolist()
    assert all(each.record is None for each in again)


def test_another_layer_changes_nothing() -> None:
    plain = told(Train(Z), Infer(Z))
    first, _, last = told(Train(Z), OtherLayer(column(50, 90), G, Z), Infer(Z))
    assert plain[0].values["out"].tolist() == first.values["out"].tolist()
    assert plain[1].values["out"].tolist() == last.values["out"].tolist()


@pytest.mark.parametrize("convention", CONVENTIONS.values(), ids=lambda c: c.name)
def test_what_a_setup_leaves_open_is_the_conventions_default(convention: Convention) -> None:
    first, second = told(
        Infer(column(2)), Train(column(0, 2)), convention=convention, setup=Setup(1)
    )
    mean, var, eps = convention.initial_mean, convention.initial_var, convention.eps
    assert [[mean], [var]] == values(first, "running_mean", "running_var")
    np.testing.assert_allclose(first.values["out"], [[(2 - mean) / np.sqrt(var + eps)]], rtol=1e-14)
    keep = convention.momentum
    if convention.momentum_weighs == "new":
        keep = 1.0 - keep
    batch = 2.0 if convention.running_variance == "unbiased" else 1.0
    np.testing.assert_allclose(second.values["running_mean"], [1.0 - keep], rtol=1e-14)
    np.testing.assert_allclose(
        second.values["running_var"], [keep * var + (1.0 - keep) * batch], rtol=1e-14
    )
    np.testing.assert_allclose(
        second.values["out"], [[-1 / np.sqrt(1 + eps)], [1 / np.sqrt(1 + eps)]], rtol=1e-14
    )


REFUSING = {"lecture", "torch", "cudnn", "ioffe-szegedy"}


@pytest.mark.parametrize("convention", CONVENTIONS.values(), ids=lambda c: c.name)
def test_a_single_value_has_running_statistics_but_where_the_convention_refuses(
    convention: Convention,
) -> None:
    one, infer, more = told(Train(column(5)), Infer(Z), Train(Z), convention=convention)
    assert [[1.0]] == values(one, "out"), "β, since z − μ is zero"
    if convention.name in REFUSING:
        assert {"out"} == one.values.keys()
        with pytest.raises(KeyError):
            one["running_mean"]
        # The refused batch has left no trace, and what follows is asked about again.
        assert [[10.0], [1.0]] == values(infer, "running_mean", "running_var")
        assert [[8.0]] == values(more, "running_mean")
        assert [[1.25]] == values(more, "running_var")
    else:
        # ¾·10 + ¼·5 and ¾·1 + ¼·0; then ¾·8.75 + ¼·2
        assert [[8.75], [0.75]] == values(one, "running_mean", "running_var")
        assert [[8.75], [0.75]] == values(infer, "running_mean", "running_var")
        assert [[7.0625]] == values(more, "running_mean")


def test_a_single_value_in_space_is_not_a_single_value() -> None:
    (only,) = told(Train(np.array([[[1.0, 3.0]]])), convention=TORCH)
    assert [[8.0], [1.25]] == values(only, "running_mean", "running_var")


def test_the_populations_mean_and_unbiased_variance() -> None:
    # Means 2 and 6, variances 1 and 4: the mean is 4, the variance 2/(2−1)·(1 + 4)/2 = 5.
    (only,) = told(Population((column(1, 3), column(4, 8))))
    assert [[4.0], [5.0]] == values(only, "population_mean", "population_var")


@pytest.mark.parametrize(
    ("batches", "mean"),
    [((column(1, 3), column(4, 6, 8)), 4.4), ((column(1), column(3)), 2.0)],
)
def test_batches_that_leave_the_variance_open(batches: tuple[AnyArray, ...], mean: float) -> None:
    (only,) = told(Population(batches))
    assert {"population_mean"} == only.values.keys()
    np.testing.assert_allclose(only.values["population_mean"], [mean], rtol=1e-15)


QUANTITIES = (*FORWARD, *GRADIENTS)


@pytest.mark.parametrize("make", [Train, Infer])
def test_bounds_are_of_the_order_of_a_few_roundings_of_the_inputs_dtype(
    make: type[Train] | type[Infer],
) -> None:
    """The numbers are of the order of 1 to 20; a few dozen roundings cannot reach 1e4 units."""
    for dtype, unit in (("float64", 2.0**-53), ("float32", 2.0**-24)):
        (only,) = told(make(Z.astype(dtype), G.astype(dtype)))
        for quantity in QUANTITIES:
            stable, one_pass = only.bound(quantity, "stable"), only.bound(quantity, "one-pass")
            assert only.values[quantity].shape == stable.shape == one_pass.shape
            assert (stable <= one_pass).all(), quantity
            assert (one_pass <= 1e4 * unit).all(), (quantity, one_pass)
            assert only.bound(quantity) is one_pass
        room = only.bound("out", "stable")
        assert (unit / 2 <= room).all(), "nothing rounds better than once"


def test_the_bound_on_statistics_grows_with_the_steps_that_they_went_through() -> None:
    first, *_, last = told(Train(Z), Train(Z), Train(Z), Infer(Z))
    for quantity in ("running_mean", "running_var"):
        assert (0 < first.bound(quantity)).all()
    assert (first.bound("running_var") < last.bound("running_var")).all()


def test_statistics_that_were_set_come_back_as_they_are_but_for_one_rounding() -> None:
    for dtype, unit in (("float64", 2.0**-53), ("float32", 2.0**-24)):
        (only,) = told(Infer(Z.astype(dtype)))
        assert [10.0 * unit] == only.bound("running_mean").tolist()
        assert [unit] == only.bound("running_var").tolist()


def test_what_a_mistake_may_need_is_never_less_than_what_a_right_layer_may() -> None:
    for each in told(Train(Z, G), Infer(Z, G)):
        for quantity in QUANTITIES:
            assert (each[quantity].one_pass <= each[quantity].generous).all(), quantity
    (train,) = told(Train(Z, G))
    assert (train["out"].one_pass < train["out"].generous).all()


def test_the_intermediates_are_those_of_the_training_forward() -> None:
    train, infer = told(Train(Z, G), Infer(Z))
    assert train.record is not None
    assert [2.0] == train.record.mean.tolist()
    assert [1.0] == train.record.var.tolist()
    assert [2.0] == train.record.std.tolist()
    assert [-0.5, 0.5] == train.record.u.ravel().tolist()
    assert train.trained.record is train.record
    assert infer.record is None
    with pytest.raises(AssertionError, match="trains nothing"):
        _ = infer.trained


def test_a_backward_of_its_own_shows_the_forward_that_it_belongs_to() -> None:
    train, backward = told(Train(Z), Backward(G))
    assert backward.record is not None
    assert train.record is backward.record


def test_the_oracle_edits_nothing_and_keeps_no_array_of_the_callers() -> None:
    gamma = np.array([4.0])
    layer = OracleLayer(CMU_HW1P1, Setup(1, 3.0, 0.75, gamma))
    before = Z.copy()
    layer.train(Z)
    assert before.tobytes() == Z.tobytes()
    assert frozenset() == layer.edited()
    assert [4.0] == gamma.tolist()


def test_parameters_may_be_given_as_rows() -> None:
    row = Setup(2, eps=3.0, gamma=np.array([[4.0, 2.0]]), beta=np.array([[1.0, 5.0]]))
    (only,) = told(Train(np.array([[1.0, 1.0], [3.0, 3.0]])), setup=row)
    assert [[-1.0, 4.0], [3.0, 6.0]] == only.values["out"].tolist()


def test_the_oracle_computes_each_scenario_once() -> None:
    oracle = Oracle(CMU_HW1P1)
    first = oracle(Scenario(SETUP, (Train(Z),)))
    assert first is oracle(Scenario(SETUP, (Train(Z.copy()),)))
    assert first is not oracle(Scenario(SETUP, (Train(Z + 1),)))
    assert CMU_HW1P1 is oracle.convention
