"""A submission's page: the verdict first, each reason once, and nobody's words as markup."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bn_oracle.forward import forward
from bn_properties.case_errors import packed
from bn_properties.record_types import ArrayRecord
from bn_properties.records import (
    Call,
    Calling,
    Cause,
    Counterexample,
    Environment,
    Jacobian,
    Outcome,
    PropertyResult,
    Results,
    SourceLine,
    Status,
    SubmissionResult,
    Tool,
)
from bn_reports.html.pages import page_name, places, submission_page
from bn_reports.views import meter
from bn_reports.views.losses import losses
from bn_reports.views.outcomes import outcomes
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

NAMES = {"z": "Z", "ẑ": "BZ", "γ": "BW", "β": "Bb"}
HOW = Calling(
    file="my_bn.py", kind="class", make="BatchNorm1d", arguments=("features", "momentum"),
    mode="eval", train=False, infer=True, output="BZ", held={"eps": "eps", "gamma": "BW"},
)  # fmt: skip


def of(array: Any) -> ArrayRecord:
    return ArrayRecord.of(np.asarray(array, np.float64))


def cause(*steps: str) -> Cause:
    return Cause(
        fault="f", title="a mistake", wrong="a", right="b", explanation="", explained=1,
        observed=1, steps=steps, points=4.0, lines=(SourceLine(number=7, code="u = 1"),),
    )  # fmt: skip


def wrong_root(names: dict[str, str]) -> Counterexample:
    """A training output whose ε stands outside the root."""
    z, gamma, beta = np.array([[1.0], [3.0], [8.0]]), np.array([2.0]), np.array([1.0])
    record = forward(z, gamma, beta, 0.5)
    got = record.gamma * record.centred / (np.sqrt(record.var) + 0.5) + record.beta
    inputs = {"features": 1, "eps": 0.5, "momentum": 0.5}
    made = Call(
        call="construct", inputs={**inputs, names["γ"]: of(gamma), names["β"]: of(beta)},
        got={}, expected={}, bound={}, intermediates={},
    )  # fmt: skip
    out = names["ẑ"]
    trained = Call(
        call="train", inputs={names["z"]: of(z)}, got={out: of(got)},
        expected={out: of(record.out)}, bound={out: of(np.full(z.shape, 1e-12))},
        intermediates={"mean": of(record.mean)},
    )  # fmt: skip
    return Counterexample(seed=3, case=14, regime="plain", calls=(made, trained), comparison=None)


def prop(id_: str, status: Outcome, **changes: Any) -> PropertyResult:
    fields: dict[str, Any] = {
        "id": id_, "part": "layer", "title": f"On {id_}.",
        "equation": "a", "status": status, "points": 0.0, "max_points": 0.0, "examples": 1,
        "message": "",
    }  # fmt: skip
    return PropertyResult(**(fields | changes))


def submission(*properties: PropertyResult, **changes: Any) -> SubmissionResult:
    fields: dict[str, Any] = {
        "id": "ada", "path": "ada.py", "sha256": "0" * 64, "course": "demo",
        "status": Status.INCORRECT, "score": 5.0, "max_score": 10.0, "seconds": 1.0,
        "summary": "It is wrong.", "properties": properties, "names": {"layer": NAMES},
    }  # fmt: skip
    return SubmissionResult(**(fields | changes))


def run(*submissions: SubmissionResult) -> Results:
    return Results(
        tool=Tool(version="1"), seed=1, examples=11, isolation="full", submissions=submissions,
        environment=Environment(python="3", numpy="2", hypothesis="6", platform="x"),
    )  # fmt: skip


def test_a_score_is_told_by_who_took_the_points() -> None:
    found = submission(
        prop("training.agreement", Outcome.FAIL, max_points=4.0, charged_to="f"),
        prop("training.uses_eps", Outcome.BLOCKED, max_points=1.0, points=1.0),
        prop("hygiene.repeatable", Outcome.FAIL, penalty=0.5, charged_to="hygiene.repeatable"),
        prop("backward.gradient", Outcome.NOT_RUN, max_points=0.5, message="no backward"),
        causes=(cause("s"),),
    )
    told = [(each.title, each.points, len(each.properties)) for each in losses(found)]
    assert ("a mistake", 4.0, 1) == told[0]
    assert {("On hygiene.repeatable.", 0.5, 1), ("Not run: no backward", 0.5, 1)} == set(told[1:])
    assert found.max_score - found.score == sum(points for _, points, _ in told)


def test_what_was_not_asked_is_told_once_for_each_reason() -> None:
    lacks = "the interface has no population statistics"
    rows = [prop(f"population.{n}", Outcome.NOT_APPLICABLE, message=lacks) for n in range(40)]
    found = submission(*rows, prop("a.b", Outcome.PASS, error_over_bound=3.95e-323))
    assert [(("population statistics", 40))] == [(e.text, e.count) for e in outcomes(found).lacking]
    source = submission_page(found, run(found))
    assert 1 == source.count("population statistics")
    assert "exact" in source
    assert "e-323" not in source


@pytest.mark.parametrize(
    ("wide", "narrow", "zone"),
    [(1e-9, 0.04, "stable"), (0.2, 3e4, "one-pass"), (7.0, 1e9, "wrong"), (np.inf, 1.0, "wrong"),
     (0.0, 0.0, "stable"), (np.nan, np.nan, "wrong")],
)  # fmt: skip
def test_a_quantity_stands_between_the_two_bounds(wide: float, narrow: float, zone: str) -> None:
    rows = [
        prop("p/training.agreement", Outcome.PASS, error_over_bound=wide),
        prop("p/stability.training_output", Outcome.PASS, error_over_bound=narrow),
    ]
    (reading,) = meter.readings(rows, "p/")
    assert zone == reading.zone
    assert 0 <= reading.place <= 1
    assert () == meter.readings(rows, "")


def test_all_cases_are_plotted_and_those_beyond_the_bound_marked() -> None:
    errors = packed({0: 0.0, 3: 0.5, 7: 40.0, 8: np.inf}, 9)
    found = meter.points(prop("a.b", Outcome.FAIL, case_errors=errors))
    assert [(0, False), (3, False), (7, True), (8, True)] == [(e.case, e.failed) for e in found]
    assert [True, False, False, False] == [each.exact for each in found]
    assert all(meter.LEAST <= each.level <= meter.MOST for each in found)


WORDS = (
    "</pre></script><script>alert(1)</script><svg onload=alert(1)>{{71*3001}}{%x%}\x1b[31m\u202e"
)


def test_a_submission_whose_every_string_is_an_injection_stays_text() -> None:
    """Names, messages, code, output, file and quantities: nothing of it becomes markup."""
    evil = {"z": WORDS, "ẑ": WORDS + "2", "γ": WORDS + "3", "β": WORDS + "4"}
    how = HOW.model_copy(update={"file": "x'\n" + WORDS.replace("/", "")})
    shown = wrong_root(evil).model_copy(update={"regime": WORDS})
    failed = prop(
        "training.agreement", Outcome.FAIL, message=WORDS, title=WORDS, equation=WORDS,
        only=WORDS, counterexample=shown, max_points=4.0, charged_to="f",
    )  # fmt: skip
    code = cause("s").model_copy(
        update={
            "title": WORDS, "wrong": WORDS, "right": WORDS, "explanation": WORDS,
            "lines": (SourceLine(number=1, code=WORDS),),
        }
    )  # fmt: skip
    found = submission(
        failed,
        prop("a.b", Outcome.ERROR, message=WORDS, title=WORDS),
        prop("a.c", Outcome.NOT_RUN, message=WORDS),
        id=WORDS, summary=WORDS, course=WORDS, output=WORDS, notes=(WORDS,), causes=(code,),
        names={"layer": evil}, calling={"layer": how},
    )  # fmt: skip
    source = submission_page(found, run(found))
    assert "By hand" in source
    assert "import runpy" in source
    assert 1 == source.count("<script>")
    assert "<svg onload" not in source
    assert "213071" not in source
    assert not {"\x1b", "\u202e"} & set(source)


NUMBERS = st.floats(width=64) | st.sampled_from([0.0, 5e-324, 1e308, -1e308, 1.0, 2.0])
ARRAYS = arrays(np.float64, st.sampled_from([(1, 1), (3, 1), (2, 2), (9, 2)]), elements=NUMBERS)
FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(data=st.data(), z=ARRAYS, eps=FINITE, parameter=FINITE, steps=st.sampled_from(
    ["s", "u", "y", "du", "dvar", "dz", "infer", "infer_s", "next_mean"]))  # fmt: skip
@settings(deadline=None, max_examples=300)
def test_a_page_is_made_of_whatever_numbers_there_are(
    data: st.DataObject, z: Any, eps: float, parameter: float, steps: str
) -> None:
    """Infinite, not a number, huge, tiny: nothing raises, and nothing warns."""

    def some() -> ArrayRecord:
        shape = data.draw(st.sampled_from([z.shape, z.shape[1:], (1,)]), label="shape")
        return of(data.draw(arrays(np.float64, shape, elements=NUMBERS)))

    def per_feature() -> ArrayRecord:
        return of(data.draw(arrays(np.float64, z.shape[1:], elements=NUMBERS)))

    def step(name: str, what: str, gives: tuple[str, ...]) -> Call:
        right = {each: of(data.draw(arrays(np.float64, z.shape if each in ("out", "dz")
                 else z.shape[1:], elements=NUMBERS))) for each in gives}  # fmt: skip
        return Call(
            call=name, inputs={what: of(z)}, got={each: some() for each in gives},
            expected=right, bound={each: of(abs(right[each].array())) for each in gives},
            intermediates={"mean": per_feature()} if name == "train" else {},
        )  # fmt: skip

    statistics = ("running_mean", "running_var")
    given_there = {each: per_feature() for each in ("gamma", "beta", *statistics)}
    made = Call(
        call="construct", got={}, expected={}, bound={}, intermediates={},
        inputs={"features": z.shape[1], "eps": eps, "momentum": parameter, **given_there},
    )  # fmt: skip
    calls = [step("train", "z", ("out", *statistics))]
    kind = data.draw(st.sampled_from(["train", "backward", "infer"]))
    if kind == "backward":
        calls.append(step("backward", "G", ("dz", "dgamma", "dbeta")))
    elif kind == "infer":
        calls.append(step("infer", "z", ("out", *statistics)))
    shown = Counterexample(seed=0, case=0, regime="", calls=(made, *calls), comparison=None)
    failed = prop("training.agreement", Outcome.FAIL, counterexample=shown)
    found = submission(failed, causes=(cause(steps),), names={}, calling={"layer": HOW})
    assert "The smallest example found" in submission_page(found, run(found))


def test_a_submission_page_says_nothing_of_others() -> None:
    found, other = submission(id="ada"), submission(id="bob")
    source = submission_page(found, run(found, other), places(["ada", "bob"])["ada"])
    assert "bob" not in source
    assert 'rel="next" href="' + page_name("bob") in source
    assert 'rel="prev"' not in source


def test_a_page_says_what_a_class_asks_first() -> None:
    failed = prop(
        "training.agreement", Outcome.FAIL, max_points=4.0, charged_to="f",
        counterexample=wrong_root(NAMES),
    )  # fmt: skip
    found = submission(failed, causes=(cause("s"),), score=6.0, calling={"layer": HOW})
    source = submission_page(found, run(found))
    where = [source.index(each) for each in (
        "incorrect</span>", 'class="score">6 of 10 points', "It is wrong.",
        "seed 1; isolation full",
        "line 7", "Taken by", "−4", "The smallest example found", "difference over allowed error",
        "By hand", "The first step that your results contradict", "Reproduce it",
    )]  # fmt: skip
    assert where == sorted(where)


@pytest.mark.parametrize(
    ("path", "seed", "said"),
    [
        ("/class/ada.py", 0, "<code>bnoracle check ada.py --case 3</code>"),
        ("a b.py", 5, "--case 3 --seed 5</code>"),
    ],
)
def test_what_asks_about_the_case_alone_and_when_it_was_graded_are_told(
    path: str, seed: int, said: str
) -> None:
    example = wrong_root(NAMES).model_copy(update={"seed": seed, "case": 3})
    wrong = prop("training.agreement", Outcome.FAIL, counterexample=example)
    found = submission(wrong, path=path, graded="2026-01-02T03:04Z")
    source = submission_page(found, run(found))
    assert said in source
    assert "graded 2026-01-02 03:04 UTC in" in source


def test_cases_stand_at_their_condition_numbers_where_those_are_known() -> None:
    errors = packed({0: 0.5, 1: 1e3}, 2)
    hard = packed({0: 1.0, 1: 1e5}, 2)
    found = meter.points(prop("a.b", Outcome.FAIL, case_errors=errors), hard)
    assert [0.0, 5.0] == pytest.approx([each.condition for each in found], abs=0.1)
    failed = prop(
        "training.agreement", Outcome.FAIL, case_errors=errors, counterexample=wrong_root(NAMES)
    )
    for conditions, label in (({"layer": hard}, "condition number 10⁵"), ({}, ">case 1<")):
        whole = submission(failed, conditions=conditions)
        assert label in submission_page(whole, run(whole))


def test_a_jacobian_is_shown_beside_what_it_should_be() -> None:
    right = np.array([[0.5, -0.5], [-0.5, 0.5]])
    found = Jacobian(
        feature=1, z=of([1, 2]), got=of(right + 1), expected=of(right), bound=of(right * 0 + 1e-9)
    )
    example = wrong_root(NAMES).model_copy(update={"jacobian": found})
    whole = submission(prop("backward.input_gradient", Outcome.FAIL, counterexample=example))
    source = submission_page(whole, run(whole))
    assert "The Jacobian" in source
    assert "The Jacobian: feature 1, z = (1.0, 2.0)" in source
    assert 1 < source[source.index("The Jacobian") :].count("1.5")
