"""A submission's page in Chromium: no violation of axe's rules, nothing asked of a network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bn_properties.case_errors import packed
from bn_properties.record_types import ArrayRecord
from bn_properties.records import (
    Call,
    Calling,
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
from bn_reports.html.pages import submission_page
from bn_reports.html.places import Place

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here"),
]


def of(array: Any) -> ArrayRecord:
    return ArrayRecord.of(np.asarray(array, np.float64))


def example() -> Counterexample:
    """A spatial batch, far too wide for a phone, of which the output is wrong in a far corner."""
    z = np.round(np.random.default_rng(1).normal(size=(1, 3, 2, 12)), 3)
    out = z.copy()
    out[0, 2, 1, 7:] += [0.5, -3e3, np.nan, np.inf, 1e9]
    bound = of(np.full(z.shape, 1e-12))
    vectors = {name: of(np.ones(3)) for name in ("gamma", "beta", "running_mean", "running_var")}
    made = Call(
        call="construct", inputs={"features": 3, "eps": 0.1, "momentum": 0.5, **vectors},
        got={}, expected={}, bound={}, intermediates={},
    )  # fmt: skip
    trained = Call(
        call="train", inputs={"z": of(z)}, got={"out": of(out)}, expected={"out": of(z)},
        bound={"out": bound}, intermediates={"mean": of(np.zeros(3))},
    )  # fmt: skip
    comparison = Comparison(
        quantity="training output", got=of(out), expected=of(z), bound=bound,
        worst_index=(0, 2, 1, 9), absolute_error=np.inf, relative_error=np.inf,
        error_over_bound=np.inf,
    )  # fmt: skip
    return Counterexample(
        seed=0, case=3, regime="plain", calls=(made, trained), comparison=comparison
    )


def prop(id_: str, status: Outcome, **changes: Any) -> PropertyResult:
    fields: dict[str, Any] = {
        "id": id_, "part": "layer",
        "title": f"The statement of {id_} holds whatever the batch.",
        "equation": r"\hat z_i = \gamma\,\frac{z_i-\mu_B}{\sqrt{\sigma_B^2+\epsilon}} + \beta",
        "status": status, "points": 0.0, "max_points": 2.0, "examples": 9,
        "message": "the results differ", "error_over_bound": 0.25,
    }  # fmt: skip
    return PropertyResult(**(fields | changes))


def page() -> str:
    errors = packed({number: float(number % 7) for number in range(60)}, 60)
    rows = (
        prop("training.agreement", Outcome.FAIL, counterexample=example(), case_errors=errors,
             charged_to="f", error_over_bound=np.inf),
        prop("training.other", Outcome.BLOCKED, blocked_by="training.agreement"),
        prop("stability.training_output", Outcome.BLOCKED, blocked_by="training.agreement"),
        prop("hygiene.repeatable", Outcome.FAIL, counterexample=example()),
        prop("backward.sum", Outcome.PASS, points=2.0),
        prop("inference.sum", Outcome.ERROR),
        prop("running.sum", Outcome.NOT_RUN),
    )  # fmt: skip
    cause = Cause(
        fault="f", title="the root is taken of the variance alone", explanation="It is not.",
        wrong=r"u_i = \frac{z_i-\mu_B}{\boxed{\sqrt{\sigma_B^2}+\epsilon}} + \sum_{i=1}^B z_i",
        right=r"u_i = \frac{z_i-\mu_B}{\sqrt{\sigma_B^2+\epsilon}}", explained=3, observed=3,
        steps=("s",), lines=(SourceLine(number=3, code="u = " + "very_long_name" * 9),),
    )  # fmt: skip
    submission = SubmissionResult(
        id="somebody_with_a_very_long_identifier@students.example.org", path="a.py",
        sha256="0" * 64, course="demo", status=Status.INCORRECT, score=2.0, max_score=10.0,
        seconds=1.0, summary="It is wrong.", causes=(cause,), properties=rows,
        output="printed\n" * 40,
        calling={"layer": Calling(file="a.py", kind="class", make="A", mode="eval")},
    )  # fmt: skip
    results = Results(
        tool=Tool(version="1"), seed=1, examples=11, isolation="full", submissions=(submission,),
        environment=Environment(python="3", numpy="2", hypothesis="6", platform="x"),
    )  # fmt: skip
    return submission_page(submission, results, Place("before.html", "after.html"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1600])
@pytest.mark.parametrize("script", [True, False])
def test_a_page_is_accessible_and_asks_for_nothing(
    browser: Any, tmp_path: Path, width: int, scheme: str, script: bool
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    path = tmp_path / "page.html"
    path.write_text(page(), "utf-8")
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=script
    )
    tab, said = context.new_page(), []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda asked: said.append(asked.url) if asked.url != path.as_uri() else None)
    tab.goto(path.as_uri())
    assert script is tab.get_by_role("button", name="Copy").first.is_visible()
    if script:
        for opened in ("false", "true"):
            tab.evaluate(f"document.querySelectorAll('details').forEach(d => d.open = {opened})")
            found = axe.run(tab).response["violations"]
            assert [] == [(each["id"], each["nodes"][0]["html"]) for each in found]
            assert width == tab.evaluate("document.documentElement.scrollWidth")
    assert [] == said
    context.close()


def test_the_script_is_copied_by_the_button(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(page(), "utf-8")
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    tab = context.new_page()
    tab.goto(path.as_uri())
    tab.get_by_role("button", name="Copy").first.click()
    tab.get_by_text("Copied").wait_for()
    assert "import runpy" in tab.evaluate("navigator.clipboard.readText()")
    context.close()
