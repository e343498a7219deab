"""Counterexamples of real arithmetic: trimmed, traced step by step, and repeated by a script."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bn_oracle.backward import backward
from bn_oracle.forward import forward
from bn_properties.record_types import ArrayRecord
from bn_properties.records import Call, Calling, Cause, Comparison, Counterexample
from bn_reports.views import routes
from bn_reports.views.counterexamples import calls
from bn_reports.views.quantities import Named
from bn_reports.views.reproduce import script
from bn_reports.views.trace import Trace, trace
from bn_reports.views.trimmed import trimmed
from hypothesis import given, settings
from hypothesis import strategies as st

Array = np.ndarray[Any, Any]
NAMES = Named({"z": "Z", "ẑ": "BZ", "γ": "BW", "β": "Bb", "M": "running_M", "V": "running_V"})
EPS, GAMMA, BETA = 0.5, np.array([2.0, 3.0]), np.array([1.0, -1.0])


def of(array: Any) -> ArrayRecord:
    return ArrayRecord.of(np.asarray(array, np.float64))


def call(name: str, inputs: dict[str, Any], results: dict[str, tuple[Any, Any]]) -> Call:
    """A call whose results are pairs of what was got and what was expected."""
    return Call(
        call=name,
        inputs={k: v if isinstance(v, int | float) else of(v) for k, v in inputs.items()},
        got={name: of(got) for name, (got, _) in results.items()},
        expected={name: of(right) for name, (_, right) in results.items()},
        bound={name: of(1e-12 + 0 * np.asarray(right)) for name, (_, right) in results.items()},
        intermediates={"mean": of([0.0])} if name == "train" else {},
    )


def construct() -> Call:
    given = {"features": 2, "eps": EPS, "momentum": 0.5, "BW": GAMMA, "Bb": BETA}
    statistics = {"running_M": np.zeros(2), "running_V": np.ones(2)}
    return call("construct", given | statistics, {})


def example(*calls: Call) -> Counterexample:
    return Counterexample(seed=3, case=14, regime="plain", calls=calls, comparison=None)


Z = np.array([[1.0, 4.0], [3.0, 5.0], [8.0, -3.0]])
G = np.array([[1.0, 0.5], [-2.0, 3.0], [4.0, 1.0]])
RECORD = forward(Z, GAMMA, BETA, EPS)


def running(mean: Array, var: Array) -> dict[str, tuple[Array, Array]]:
    """The running statistics after one step from 0 and 1, and as they should be."""
    right = 0.5 * RECORD.mean, 0.5 + 0.5 * RECORD.var
    return {"running_M": (mean, right[0]), "running_V": (var, right[1])}


RIGHT_STATISTICS = running(0.5 * RECORD.mean, 0.5 + 0.5 * RECORD.var)


def trained(out: Array, statistics: dict[str, tuple[Array, Array]] = RIGHT_STATISTICS) -> Call:
    return call("train", {"Z": Z}, {"BZ": (out, RECORD.out), **statistics})


def cause(*steps: str) -> Cause:
    return Cause(
        fault="f", title="a mistake", wrong="a", right="b", explanation="", explained=1,
        observed=1, steps=steps,
    )  # fmt: skip


def traced(*calls: Call, steps: tuple[str, ...] = ()) -> Trace:
    found = trace(example(construct(), *calls), NAMES, [cause(*steps)])
    assert found is not None
    return found


def output(mean: Array | None = None, std: Array | None = None) -> Array:
    centre = RECORD.mean if mean is None else mean
    root = RECORD.std if std is None else std
    return np.asarray(GAMMA * (Z - centre) / root + BETA)


WRONG_ROOT = np.sqrt(RECORD.var) + EPS


def test_a_root_that_is_wrong_is_found_by_the_output_alone() -> None:
    found = traced(trained(output(std=WRONG_ROOT)))
    assert ["agrees", "agrees", "differs"] == [each.verdict for each in found.steps[:3]]
    assert "s" == found.first.symbol
    assert WRONG_ROOT[found.feature] == pytest.approx(float(found.first.yours), rel=1e-5)
    assert frozenset({"var-u"}) == routes.broken(found)


def test_a_mean_that_is_wrong_is_found_where_the_running_mean_does_not_vouch_for_it() -> None:
    shifted = output(mean=RECORD.mean + 1.0)
    unsure = running(np.full(2, 9.0), 0.5 + 0.5 * RECORD.var)
    found = traced(trained(shifted, unsure))
    assert "μ" == found.first.symbol
    assert RECORD.mean[found.feature] + 1 == pytest.approx(float(found.first.yours))
    assert "u" == traced(trained(shifted)).first.symbol


def test_parameters_that_are_left_out_are_found_in_the_last_step() -> None:
    assert "ẑ" == traced(trained(RECORD.u)).first.symbol
    assert "ẑ" == traced(trained(GAMMA * RECORD.u)).first.symbol


def test_a_cause_says_which_of_several_steps_it_is() -> None:
    assert "ẑ" == traced(trained(output(std=WRONG_ROOT)), steps=("y",)).first.symbol


def test_inference_is_traced_by_the_running_statistics() -> None:
    z = np.array([[2.0, 1.0]])
    right = GAMMA * z / np.sqrt(1 + EPS) + BETA
    wrong = GAMMA * z / (1 + EPS) + BETA
    asked = call("infer", {"Z": z}, {"BZ": (wrong, right)})
    found = traced(asked, steps=("infer_s",))
    assert ("infer", "s", "1.5") == (found.kind, found.first.symbol, found.first.yours)


def test_a_running_average_is_told_by_the_weights_that_give_what_is_expected() -> None:
    late = call("train", {"Z": Z}, {"BZ": (RECORD.out, RECORD.out), **running(
        RECORD.mean, 0.5 + 0.5 * RECORD.var)})  # fmt: skip
    found = traced(late)
    assert ("running", "M′") == (found.kind, found.first.symbol)
    assert "0.5 · 0.0 + 0.5 · 4.0" == found.first.worked
    assert "4.0" == found.first.yours


RIGHT = backward(RECORD, G)
DU = GAMMA * G
ROUTES: dict[str, Array] = {
    "direct": DU / RECORD.std,
    "variance": -RECORD.u * (DU * RECORD.u).mean(axis=0) / RECORD.std,
    "mean": np.broadcast_to(-DU.mean(axis=0) / RECORD.std, Z.shape),
}


def differentiated(dz: Array, dgamma: Array = RIGHT.dgamma, dbeta: Array = RIGHT.dbeta) -> Call:
    results = {
        "dz": (dz, RIGHT.dz), "dgamma": (dgamma, RIGHT.dgamma), "dbeta": (dbeta, RIGHT.dbeta),
    }  # fmt: skip
    return call("backward", {"G": G}, results)


@pytest.mark.parametrize(
    ("missing", "symbol", "edges"),
    [
        ("mean", "dμ", {"z-mu", "mu-u"}),
        ("variance", "dσ²", {"z-var", "var-u"}),
        ("direct", "dz", {"z-u"}),
    ],
)
def test_a_route_that_is_left_out_is_the_one_that_is_broken(
    missing: str, symbol: str, edges: set[str]
) -> None:
    dz = np.asarray(sum(route for name, route in ROUTES.items() if name != missing))
    found = traced(trained(RECORD.out), differentiated(dz))
    assert symbol == found.first.symbol
    assert edges == routes.broken(found)
    if missing != "direct":
        assert abs(float(found.first.yours)) < 1e-12


@given(factor=st.floats(-4, 4), route=st.sampled_from(["mean", "variance"]))
@settings(deadline=None)
def test_what_a_gradient_says_of_a_route_is_what_made_it(factor: float, route: str) -> None:
    """A route with any other factor than one gives that many times its own intermediate."""
    parts = ROUTES | {route: factor * ROUTES[route]}
    off = np.abs((factor - 1) * ROUTES[route])
    if off.max() < 1e-10:
        return
    found = traced(trained(RECORD.out), differentiated(np.asarray(sum(parts.values()))))
    first = found.first
    assert ("dμ" if route == "mean" else "dσ²") == first.symbol
    assert factor * first.number == pytest.approx(float(first.yours), rel=1e-4, abs=1e-9)


def test_every_step_is_what_the_oracle_has() -> None:
    found = traced(trained(RECORD.out), differentiated(RIGHT.dz + 1))
    numbers = {each.symbol: each.number for each in found.steps}
    j, i = found.feature, found.row
    assert RECORD.mean[j] == pytest.approx(numbers["μ"])
    assert RECORD.std[j] == pytest.approx(numbers["s"])
    assert RIGHT.dgamma[j] == pytest.approx(numbers["dγ"])
    assert RIGHT.dbeta[j] == pytest.approx(numbers["dβ"])
    assert RIGHT.dz[i, j] == pytest.approx(numbers["dz"])
    for each in found.steps:
        worked = each.worked.replace("·", "*").replace("−", "-").replace("²", "**2")
        worked = worked.replace("³", "**3").replace("√", "np.sqrt")
        assert each.number == pytest.approx(eval(worked, {"np": np}), rel=1e-4), each.worked


def test_nothing_is_traced_of_a_layer_that_is_not_known() -> None:
    again = call("load the state", {}, {})
    wrong = trained(output(std=WRONG_ROOT))
    assert trace(example(construct(), again, wrong), NAMES, []) is None


def test_an_example_is_trimmed_to_the_layer_and_the_call_that_was_compared() -> None:
    wrong = trained(output(std=WRONG_ROOT))
    later = differentiated(RIGHT.dz + 1)
    compared = Comparison(
        quantity="training output", got=wrong.got["BZ"], expected=wrong.expected["BZ"],
        bound=wrong.bound["BZ"], worst_index=(0, 0), absolute_error=1, relative_error=1,
        error_over_bound=2,
    )  # fmt: skip
    whole = example(construct(), trained(RECORD.out), construct(), wrong, later)
    shown = calls(trimmed(whole.model_copy(update={"comparison": compared})))
    assert ["1. construct", "2. train"] == [each.title for each in shown]
    assert ["BZ"] == [each.name for each in shown[-1].outputs]


def test_an_example_is_held_to_the_bound_that_it_was_compared_by() -> None:
    got = RECORD.out + 1e-6
    loose = trained(got).model_copy(update={"bound": {"BZ": of(np.full(Z.shape, 1.0))}})
    strict = Comparison(
        quantity="training output", got=of(got), expected=of(RECORD.out),
        bound=of(np.full(Z.shape, 1e-9)), worst_index=(0, 0), absolute_error=1e-6,
        relative_error=1, error_over_bound=1e3,
    )  # fmt: skip
    found = example(construct(), loose).model_copy(update={"comparison": strict})
    assert calls(trimmed(found))[-1].wrong
    assert not calls(trimmed(example(construct(), loose)))[-1].wrong


CLASS = """
import numpy as np

class BatchNorm1d:
    def __init__(self, n, alpha):
        self.eps = 1e-8
        self.BW, self.Bb = np.ones((1, n)), np.zeros((1, n))
        self.running_M, self.running_V = np.zeros((1, n)), np.ones((1, n))
    def forward(self, Z, eval=False):
        self.BZ = self.BW * (Z - Z.mean(axis=0)) / (np.sqrt(Z.var(axis=0)) + self.eps) + self.Bb
"""
FUNCTIONS = """
import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    assert bn_param["mode"] == "train"
    root = np.sqrt(x.var(axis=0)) + bn_param["eps"]
    return gamma * (x - x.mean(axis=0)) / root + beta, None
"""
HELD = {"eps": "eps", "gamma": "BW", "beta": "Bb", "running_mean": "running_M"}
BY_CLASS = Calling(
    file="my bn.py", kind="class", make="BatchNorm1d", arguments=("features", "momentum"),
    mode="eval", train=False, infer=True, output="BZ", held=HELD,
)  # fmt: skip
BY_FUNCTIONS = Calling(
    file="my bn.py", kind="functions", make="batchnorm_forward", backward="batchnorm_backward",
    mode="mode", train="train", infer="test", held={"eps": "eps", "momentum": "momentum"},
)  # fmt: skip


@pytest.mark.parametrize(("source", "how"), [(CLASS, BY_CLASS), (FUNCTIONS, BY_FUNCTIONS)])
def test_the_script_gives_what_the_example_says(
    source: str, how: Calling, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = output(std=WRONG_ROOT)
    text = script(example(construct(), trained(wrong)), NAMES, how)
    assert text is not None
    (tmp_path / "my bn.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), np.printoptions():
        exec(text, {})
    first, second = printed.getvalue().split("BZ, expected:")
    read: Callable[[str], Array] = lambda part: np.array(  # noqa: E731
        part.replace("[", " ").replace("]", " ").split(), np.float64
    ).reshape(Z.shape)
    np.testing.assert_allclose(read(first.removeprefix("BZ, got:")), wrong, rtol=1e-14)
    np.testing.assert_array_equal(read(second), RECORD.out)


def test_no_script_is_made_of_what_takes_more_than_plain_calls() -> None:
    wrong = trained(output(std=WRONG_ROOT))
    special = wrong.model_copy(update={"call": "train (fortran in memory)"})
    assert script(example(construct(), special), NAMES, BY_CLASS) is None
    assert script(example(construct(), trained(RECORD.out)), NAMES, BY_CLASS) is None
    assert script(example(construct(), wrong), NAMES, None) is None
