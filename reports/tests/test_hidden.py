"""What a course hides is on no submission's own page."""

from __future__ import annotations

from typing import Any

import pytest
from bn_properties.records import SubmissionResult
from bn_reports.html.pages import submission_page
from bn_reports.views.hidden import for_author

SECRET = "running.mean_recurrence"
TOLD = {
    "title": "SECRET sentence",
    "equation": r"SECRET = \\mu",
    "message": "SECRET message",
    "only": "SECRET inputs",
    "blocked_by": "running.SECRET",
}


def hidden(make: Any, status: str = "fail", hint: str = "Think of many batches.") -> Any:
    return make.property(SECRET, status, hidden=True, hint=hint, examples=77, **TOLD)


def submission(make: Any, *properties: Any, **changes: Any) -> SubmissionResult:
    fields = {"summary": "SECRET summary", "output": "SECRET output", "properties": properties}
    found: SubmissionResult = make.submission("ada", **(fields | changes))
    return found


def secrets(text: str) -> bool:
    return "SECRET" in text or "mean_recurrence" in text


@pytest.mark.parametrize("status", ["fail", "blocked", "pass", "not_run"])
def test_of_a_hidden_property_the_family_the_hint_and_the_points_are_told(
    make: Any, status: str
) -> None:
    cause = make.cause("SECRET", "SECRET cause", "SECRET_w", "SECRET_r")
    cause = cause.model_copy(update={"properties": (SECRET,)})
    whole = submission(
        make,
        make.property("training.agreement", "pass"),
        hidden(make, status),
        causes=(cause,) if status == "fail" else (),
        summary="SECRET" if status in ("fail", "blocked") else "All is well.",
    )
    seen = for_author(whole)
    assert not secrets(seen.model_dump_json())
    assert not secrets(submission_page(whole, make.run(whole)))
    row = seen.properties[1]
    assert ("running", "Think of many batches.") == (row.group, row.message)
    assert (row.points, row.max_points, row.status) == (
        whole.properties[1].points,
        whole.properties[1].max_points,
        whole.properties[1].status,
    )


def test_what_another_property_shows_stays(make: Any) -> None:
    cause = make.cause("eps-omitted").model_copy(
        update={"properties": ("training.agreement", SECRET)}
    )
    open_ = make.property(
        "training.agreement", "fail", cause="eps-omitted", charged_to="eps-omitted"
    )
    follows = make.property("training.shift", "blocked", blocked_by=SECRET, charged_to=SECRET)
    whole = submission(make, open_, hidden(make), follows, causes=(cause,), summary="eps is left.")
    seen = for_author(whole)
    assert "eps is left." == seen.summary
    assert ("training.agreement",) == seen.causes[0].properties
    assert open_ == seen.properties[0]
    assert ("hidden.1", "hidden.1") == (
        seen.properties[2].blocked_by,
        seen.properties[2].charged_to,
    )
    assert not secrets(seen.model_dump_json())


def test_a_summary_that_may_tell_of_a_hidden_property_is_replaced(make: Any) -> None:
    first = submission(make, hidden(make), make.property("training.agreement", "fail"))
    assert "A hidden property fails, of running." == for_author(first).summary
    second = submission(make, make.property("training.agreement", "fail"), hidden(make))
    assert "SECRET summary" == for_author(second).summary, "it tells of what is not hidden"


def test_a_record_in_which_nothing_is_hidden_is_shown_as_it_is(make: Any) -> None:
    whole = submission(make, make.property("training.agreement", "fail"))
    assert whole is for_author(whole)
