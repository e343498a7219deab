"""A record as its submission's author may see it: of hidden properties, the family and a hint."""

from __future__ import annotations

from collections.abc import Mapping

from bn_properties.records import Cause, Outcome, PropertyResult, SubmissionResult

_WRONG = (Outcome.FAIL, Outcome.BLOCKED)


def for_author(submission: SubmissionResult) -> SubmissionResult:
    """Return a record from which nothing of a hidden property can be told but what came of it.

    Its id, sentence, equation, message and example go, and so does what would give them away: a
    cause that no other property shows, a summary that may tell of one, and what was printed.
    """
    hidden = [each for each in submission.properties if each.hidden]
    if not hidden:
        return submission
    shown = {each.id for each in submission.properties if not each.hidden}
    causes = tuple(
        each.model_copy(
            update={"properties": tuple(id_ for id_ in each.properties if id_ in shown)}
        )
        for each in submission.causes
        if _is_seen(each, submission)
    )
    gone = {each.fault for each in submission.causes} - {each.fault for each in causes}
    names = {each.id: f"hidden.{number}" for number, each in enumerate(hidden, 1)}
    names |= dict.fromkeys(gone, "hidden")
    failing = [each for each in hidden if each.status in _WRONG]
    visible = any(each.id in shown for each in submission.properties if each.status in _WRONG)
    told = submission.summary
    if failing and (gone or not visible or _is_first(submission)):
        told = _summary(failing)
    return submission.model_copy(
        update={
            "summary": told,
            "causes": causes,
            "properties": tuple(_without(each, names) for each in submission.properties),
            "output": "",
        }
    )


def _is_seen(cause: Cause, submission: SubmissionResult) -> bool:
    """Whether a property that is not hidden fails by a cause."""
    return any(
        each.status in _WRONG and not each.hidden
        for each in submission.properties
        if each.id in cause.properties or each.cause == cause.fault
    )


def _is_first(submission: SubmissionResult) -> bool:
    """Whether what a summary tells of first is hidden."""
    first = next((each for each in submission.properties if each.status is Outcome.FAIL), None)
    return first is not None and first.hidden and not submission.causes


def _summary(failing: list[PropertyResult]) -> str:
    families = sorted({each.group for each in failing})
    of = f"of {families[0]}" if len(families) == 1 else "of several families"
    what = "A hidden property fails" if len(failing) == 1 else "Hidden properties fail"
    return f"{what}, {of}."


def _without(each: PropertyResult, names: Mapping[str, str]) -> PropertyResult:
    told = {"blocked_by": each.blocked_by, "charged_to": each.charged_to, "cause": each.cause}
    changed: dict[str, object] = {
        name: names.get(value, value) for name, value in told.items() if value is not None
    }
    if each.hidden:
        changed = {
            "id": f"{each.group}.{names[each.id]}",
            "title": f"A hidden property of {each.group}.",
            "equation": "",
            "message": each.hint,
            "examples": 0,
            "blocked_by": None,
            "error_over_bound": None,
            "case_errors": "",
            "cause": None,
            "failure": None,
            "only": "",
            "charged_to": None,
            "counterexample": None,
        }
    return each.model_copy(update=changed)
