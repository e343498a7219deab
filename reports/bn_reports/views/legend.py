"""Which names of the student's stand for the symbols of a cause's equations."""

from __future__ import annotations

import re

from bn_properties.records import Cause, SubmissionResult

from bn_reports.text.equations import plain


def legend(cause: Cause, submission: SubmissionResult) -> tuple[tuple[str, str], ...]:
    """Return each symbol in the equations of `cause` that the student's file calls otherwise.

    A gradient is told as the equations write it: `∂Div/∂γ`, of which the name may be `dgamma`.
    The names are those of the part in which the cause was found.
    """
    text = f"{plain(cause.wrong)} {plain(cause.right)}"
    found = []
    names = _names(cause, submission)
    for symbol, name in names.items():
        gradient = symbol.removeprefix("d") if len(symbol) > 1 and symbol[0] == "d" else ""
        said = f"∂Div/∂{gradient}" if gradient else symbol
        if _stands(said, text, alone=f"d{symbol}" in names):
            found.append((said, name))
    return tuple(found)


def _names(cause: Cause, submission: SubmissionResult) -> dict[str, str]:
    parts = [each.part for each in submission.properties if each.cause == cause.fault]
    for part in parts:
        if part in submission.names:
            return submission.names[part]
    return next(iter(submission.names.values()), {})


def _stands(said: str, text: str, *, alone: bool) -> bool:
    """Whether a symbol stands in a text: `μ` does in μ_B, and `G` in Gᵢuᵢ.

    `alone`: not where only its gradient stands, which has a name of its own.
    """
    if said.startswith("∂"):
        return said in text
    within = re.sub(r"∂?Div|diag|mean\(|[_^]\(?\w+\)?", " ", text)
    before = "(?<!∂)" if alone else ""
    return re.search(before + re.escape(said.removesuffix("²")), within) is not None
