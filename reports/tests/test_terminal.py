"""What a student sees of a submission on one screen, and staff of a class."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from bn_properties.record_types import ArrayRecord
from bn_properties.records import (
    Call,
    Cause,
    Comparison,
    Counterexample,
    Environment,
    Outcome,
    PropertyResult,
    Results,
    SourceLine,
    Status,
    SubmissionResult,
    Tool,
)
from bn_reports.terminal.class_report import class_report
from bn_reports.terminal.layout import broken, cut, shortened
from bn_reports.terminal.submission import submission_report
from bn_reports.views.legend import legend
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console, RenderableType


def printed(content: RenderableType, width: int = 80) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, color_system=None).print(content)
    return stream.getvalue()


def prop(name: str, status: Outcome, **changes: Any) -> PropertyResult:
    fields: dict[str, Any] = {
        "id": name,
        "part": "main",
        "title": f"The statement of {name.rpartition('/')[2]} holds.",
        "equation": r"\sum_i z_i = 0",
        "status": status,
        "points": 0.0,
        "max_points": 2.0,
        "examples": 100,
        "message": "",
    }
    return PropertyResult(**(fields | changes))


def submission(name: str, status: Status, **changes: Any) -> SubmissionResult:
    fields: dict[str, Any] = {
        "id": name,
        "path": f"{name}.py",
        "sha256": "0" * 64,
        "course": "demo",
        "status": status,
        "score": 4.0,
        "max_score": 10.0,
        "seconds": 1.5,
        "summary": f"The finding on {name}.",
    }
    return SubmissionResult(**(fields | changes))


def run(*submissions: SubmissionResult) -> Results:
    where = Environment(python="3.12", numpy="2.2", hypothesis="6.130", platform="Linux")
    return Results(
        tool=Tool(version="0.1.0"),
        environment=where,
        seed=7,
        examples=100,
        isolation="process",
        submissions=submissions,
    )


def record(values: Any) -> ArrayRecord:
    return ArrayRecord.of(np.array(values, np.float64))


def example() -> Counterexample:
    got, expected = record([[0.5, -1.0], [0.5, 1.0]]), record([[0.0, -1.0], [1e-9, 1.0]])
    bound = record(np.full((2, 2), 1e-12))
    train = Call(
        call="train",
        inputs={"z": record([[1.0, 2.0], [3.0, -0.1]]), "eps": 1e-5},
        got={"out": expected},
        expected={"out": expected},
        bound={},
        intermediates={"mean": record([2.0, 0.95])},
    )
    backward = Call(
        call="backward",
        inputs={"G": record([[1, 0], [0, 1]])},
        got={"dz": got, "dgamma": record([0.1, 0.2, 0.3])},
        expected={"dz": expected, "dgamma": record([0.1, 0.2])},
        bound={"dz": bound},
        intermediates={},
    )
    comparison = Comparison(
        quantity="dz",
        got=got,
        expected=expected,
        bound=bound,
        worst_index=(0, 0),
        absolute_error=0.5,
        relative_error=np.inf,
        error_over_bound=5e11,
    )
    calls = (train, backward, train)
    return Counterexample(seed=7, case=3, regime="plain", calls=calls, comparison=comparison)


BOB = submission(
    "bob",
    Status.INCORRECT,
    summary="The forward pass is right; the backward pass is wrong.",
    causes=(
        Cause(
            fault="no_mean_path",
            title="The gradient through the mean is missing",
            wrong=r"dz = \frac{\gamma}{s}\,dy",
            right=r"dz = \frac{\gamma}{N s}\left(N\,dy - \sum_i dy_i\right)",
            explanation="The mean depends on every row.",
            explained=118,
            observed=118,
        ),
    ),
    properties=(
        prop("forward.mean", Outcome.PASS),
        prop("forward.variance", Outcome.PASS),
        prop(
            "backward.sum",
            Outcome.FAIL,
            message="dz[0, 0] = 0.5, but should be 0.0",
            counterexample=example(),
        ),
        prop("backward.jacobian", Outcome.BLOCKED, blocked_by="backward.sum"),
        prop("backward.chain", Outcome.BLOCKED, blocked_by="backward.jacobian"),
        prop("inference.shape", Outcome.FAIL),
        prop("inference.fold", Outcome.ERROR, message="the oracle met a bug"),
        prop("conv/inference.nchw", Outcome.NOT_RUN, message="the file does not define it"),
        prop("stability.large", Outcome.NOT_APPLICABLE),
    ),
)


def told(each: SubmissionResult, width: int = 80, *, everything: bool = False) -> str:
    return printed(submission_report(each, everything=everything), width)


def cause(title: str = "eps is left out", **changes: Any) -> Cause:
    fields: dict[str, Any] = {
        "fault": "eps-omitted",
        "title": title,
        "wrong": r"s = \sqrt{\sigma_B^2}",
        "right": r"s = \sqrt{\sigma_B^2 + \epsilon}",
        "explanation": "Nothing then keeps a constant feature from a division by zero.",
        "explained": 8,
        "observed": 8,
    }
    return Cause.model_validate(fields | changes)


def test_the_order_is_verdict_cause_example_and_what_to_do() -> None:
    text = told(BOB)
    parts = (
        "✗ incorrect  4/10 points  bob",
        "The forward pass is right; the backward pass is wrong.",
        "Likely cause",
        "It should be  dz = γ/(Ns) · (N dy − ∑ᵢ dyᵢ)",
        "Explains 118 of 118 observed outputs.",
        "The smallest example found",
        "dz[0, 0] = 0.5, but should be 0.0",
        "  [≠0.5  -1.0]   [  0.0  -1.0]   [1e-12  1e-12]",
        "seed 7, case 3",
        "What to do next",
        "Mend that formula, and check again: what follows from it should then hold.",
        "Properties: 2 hold, 2 fail, 2 follow, 1 not judged, 1 not run, 1 does not apply;",
    )
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert len(text.splitlines()) < 60
    assert "The statement of forward.mean holds." not in text


def test_right_results_are_not_shown() -> None:
    text = told(BOB)
    assert "dbeta" not in text
    assert "got shape (3,), expected shape (2,)" in text


def test_all_lists_each_property_once_and_no_blocked_one_repeats_its_blocker() -> None:
    text = " ".join(told(BOB, everything=True).split())
    for each in BOB.properties:
        named = each.id if each.status in ("not_run", "not_applicable") else each.title
        assert 1 == text.count(named), each.id
    fails = text.index("What fails, and what follows from it")
    assert (
        fails
        < text.index("✗ failed The statement of backward.sum")
        < text.index("↳ blocked The statement")
    )
    assert text.index("⚠ grader error The statement of inference.fold") > fails
    assert "; --all" not in text


def test_what_the_sentence_says_is_not_said_again() -> None:
    said = "The training output is wrong. Here out[0] = 1, but should be 2."
    wrong = prop("a.b", Outcome.FAIL, message="out[0] = 1, but should be 2")
    text = told(submission("s", Status.INCORRECT, summary=said, properties=(wrong,)))
    assert 1 == text.count("out[0] = 1")
    title = submission("s", Status.INCORRECT, summary="eps is left out.", causes=(cause(),))
    assert 1 == told(title).casefold().count("eps is left out")


def test_the_line_to_change_and_its_price_are_told() -> None:
    lines = (SourceLine(number=9, code="s = np.sqrt(var)"),)
    found = cause(lines=lines, points=1.0)
    wrong = prop("a.b", Outcome.FAIL, cause="eps-omitted")
    other = prop("a.c", Outcome.FAIL)
    text = told(submission("s", Status.INCORRECT, causes=(found,), properties=(wrong, other)))
    assert "  Line 9        s = np.sqrt(var)\n" in text
    assert "Explains 8 of 8 observed outputs; it costs 1 point.\n" in text
    assert (
        "Change line 9, and check again.\n1 more fails of itself:\n  ✗ The statement of a.c" in text
    )


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (Status.UNUSABLE, "Nothing of it could be checked yet"),
        (Status.INCOMPLETE, "Write what is missing"),
        (Status.UNGRADED, "the grader failed here"),
        (Status.CORRECT, ""),
    ],
)
def test_what_to_do_where_nothing_fails(status: Status, advice: str) -> None:
    properties = () if status is Status.UNUSABLE else (prop("a.b", Outcome.NOT_RUN),)
    text = told(submission("s", status, properties=properties))
    assert advice in text
    assert ("What to do next" in text) == bool(advice)


def test_equations_beside_each_other_are_lines_and_the_changed_place_is_told() -> None:
    two = cause(wrong=r"M = \boxed{0} \qquad V = 1", right=r"M = 1")
    text = told(submission("s", Status.INCORRECT, causes=(two,)))
    assert "  It computes   M = ⟦0⟧\n                V = 1\n  It should be  M = 1\n" in text
    assert "⟦ ⟧ marks the place that differs." in text


def test_the_legend_has_the_names_of_the_symbols_that_are_there() -> None:
    names = {"main": {"ε": "eps", "σ²": "var", "z": "x", "dγ": "dgamma", "G": "dout", "γ": "g"}}
    one = submission("s", Status.INCORRECT, names=names)
    assert (("ε", "eps"), ("σ²", "var")) == legend(cause(), one)
    gradient = cause(wrong=r"\frac{\partial Div}{\partial\gamma} = G_i", right="0 = 0")
    assert (("∂Div/∂γ", "dgamma"), ("G", "dout")) == legend(gradient, one)


def test_panels_that_do_not_fit_are_stacked() -> None:
    text = told(BOB, width=40)
    assert "  dz got\n  [≠0.5  -1.0]\n  [≠0.5   1.0]\n  dz expected\n" in text


def test_a_class_is_one_line_a_submission_at_any_width_the_worst_last() -> None:
    ids = ["a", "name_that_is_much_too_long_for_a_narrow_terminal", "x" * 200]
    summary = "A sentence that is much too long to stand beside a name. " * 3
    graded = [submission(f"{id_}-{s}", s, summary=summary) for id_ in ids for s in Status]
    for width in (30, 40, 80, 120, 400):
        lines = printed(class_report(run(*graded)), width).split("\n\n")[0].splitlines()
        assert len(graded) == len([line for line in lines if "4/10" in line])
        assert all(cell_len(line) <= width for line in lines)
    lines = printed(class_report(run(*graded)), 120).splitlines()
    words = [line.partition("4/10")[0].split()[-1] for line in lines if "4/10" in line]
    order = [word for word in dict.fromkeys(words)]
    assert ["correct", "unstable", "incomplete", "incorrect", "unusable", "graded"] == order
    assert "name_that_is_much_too_long_for_a_narrow_terminal-correct " in printed(
        class_report(run(*graded[:-6])), 120
    ), "an id is whole where there is room"


def test_causes_are_counted_at_the_end() -> None:
    wrong = [
        submission(f"s{n}", Status.INCORRECT, causes=(cause(f"{name} is left out"),))
        for n, name in enumerate(["eps", "eps", "ε"])
    ]
    unknown = [
        submission(f"u{n}", Status.INCORRECT, properties=(prop("a.b", Outcome.FAIL),))
        for n in range(2)
    ]
    raising = prop("a.b", Outcome.FAIL, failure="raised", message="Train raises: KeyError.")
    raises = submission("raises", Status.INCORRECT, properties=(raising,))
    lone = submission("lone", Status.INCORRECT, causes=(cause("beta is left out", fault="beta"),))
    alone = submission("alone", Status.INCOMPLETE, summary="Not implemented: infer.")
    right = submission("right", Status.CORRECT)
    results = run(*wrong, *unknown, raises, lone, alone, right)
    text = printed(class_report(results))
    assert (
        "What went wrong\n"
        "3 submissions: eps is left out\n"
        "2 submissions: fails first: The statement of a.b holds\n"
        "and 1 other reason, in 1 submission\n"
        "\n"
        "Exceptions: 1\n"
        "7 incorrect, 1 incomplete, 1 correct\n"
    ) in text
    assert text.index("right") < text.index("alone") < text.index("What went wrong")


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Mn"])), st.integers(1, 60))
def test_what_is_cut_or_shortened_fits_and_keeps_its_ends(text: str, width: int) -> None:
    for fitted in (cut(text, width), shortened(text, width)):
        assert cell_len(fitted) <= width
        assert (fitted == text) == (cell_len(text) <= width)
    start, ellipsis, end = shortened(text, width).partition("…")
    if ellipsis and "…" not in text:
        assert text.startswith(start)
        assert text.endswith(end)


@pytest.mark.parametrize("width", [12, 30, 60, 200])
def test_an_equation_is_broken_before_its_signs(width: int) -> None:
    text = "∂Div/∂z = 1/√(σ² + ε) · ∂Div/∂u + 2(z − μ)/B · ∂Div/∂σ² + 1/B · ∂Div/∂μ"
    lines = broken(text, width)
    assert text == " ".join(lines)
    assert all(len(line) <= width for line in lines)
    if width >= 30:
        assert all(line.startswith(("+", "=")) for line in lines[1:])
