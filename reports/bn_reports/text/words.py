"""Statuses and outcomes as people read them: always a sign and a word, never colour alone."""

from __future__ import annotations

from typing import Final, NamedTuple

from bn_properties.records import Outcome, Status


class Label(NamedTuple):
    """How a status or an outcome is shown."""

    sign: str
    word: str
    tone: str
    """`good`, `bad`, `warn` or `quiet`: which colour supports the sign and the word."""


STATUSES: Final = {
    Status.UNGRADED: Label("⚠", "not graded", "warn"),
    Status.UNUSABLE: Label("⊘", "unusable", "bad"),
    Status.INCORRECT: Label("✗", "incorrect", "bad"),
    Status.INCOMPLETE: Label("◐", "incomplete", "warn"),
    Status.UNSTABLE: Label("≈", "unstable", "warn"),
    Status.CORRECT: Label("✓", "correct", "good"),
}

OUTCOMES: Final = {
    Outcome.PASS: Label("✓", "passed", "good"),
    Outcome.FAIL: Label("✗", "failed", "bad"),
    Outcome.ERROR: Label("⚠", "grader error", "warn"),
    Outcome.BLOCKED: Label("↳", "blocked", "quiet"),
    Outcome.NOT_RUN: Label("○", "not run", "quiet"),
    Outcome.NOT_APPLICABLE: Label("–", "not applicable", "quiet"),
}

MEANINGS: Final = {
    Status.UNGRADED: "The grader itself failed here. That is not the student's doing.",
    Status.UNUSABLE: "The submission could not be loaded or constructed.",
    Status.INCORRECT: "A property that counts does not hold.",
    Status.INCOMPLETE: "Something required is missing or out of time; all that was shown is right.",
    Status.UNSTABLE: "Right in exact arithmetic; rounding or overflow spoils it in floating point.",
    Status.CORRECT: "Everything that was checked holds.",
}

LEGEND: Final = {
    Outcome.PASS: "passes",
    Outcome.FAIL: "fails of itself",
    Outcome.BLOCKED: "fails because another one does",
    Outcome.ERROR: "the grader failed",
    Outcome.NOT_RUN: "could not be judged: not written, or out of time",
    Outcome.NOT_APPLICABLE: "does not apply",
}

WRONG_SIGN: Final = "≠"
"""Stands before each value that is further off than rounding can explain."""


def label(status: Status | Outcome) -> Label:
    """Return how `status` is shown."""
    return STATUSES[status] if isinstance(status, Status) else OUTCOMES[status]
