"""Pieces of HTML to stand in somebody else's page: a notebook's output."""

from __future__ import annotations

import io

from bn_properties.records import Cause, Results, Status, SubmissionResult
from markupsafe import Markup
from rich.console import Console, RenderableType

from bn_reports.terminal.class_report import class_report
from bn_reports.terminal.submission import example_report
from bn_reports.text.equations import mathml
from bn_reports.text.numbers import points
from bn_reports.text.visible import one_line
from bn_reports.text.words import label

# The page around it has its own colours, light or dark: these go with both.
_COLOURS = {"good": "#2a9d4a", "bad": "#e0483e", "warn": "#c98a00", "quiet": "#888888"}
_CARD = Markup('<div style="border-left: 4px solid {}; padding: 0 1em; max-width: 60em">\n{}</div>')
_FORMULA = Markup(
    '<p style="margin: 0.5em 0 0.5em 1em"><span style="opacity: 0.75">{}</span> {}</p>\n'
)
_TEXT = Markup('<pre style="overflow-x: auto; line-height: 1.3">{}</pre>\n')


def submission_fragment(submission: SubmissionResult, width: int) -> str:
    """Return the verdict, the sentence and the cause; and, folded, what a terminal shows."""
    tone = label(submission.status).tone
    parts = [
        Markup("<p><strong>{}</strong> {}/{} points <code>{}</code><br>{}</p>\n").format(
            _badge(submission),
            points(submission.score),
            points(submission.max_score),
            one_line(submission.id),
            one_line(submission.summary),
        ),
        *(_cause(cause) for cause in submission.causes[:1]),
    ]
    if submission.status is not Status.CORRECT and submission.properties:
        text = _printed(example_report(submission, everything=True), width)
        parts.append(
            Markup("<details><summary>{}</summary>\n{}</details>\n").format(
                "The example, and what to do next", _TEXT.format(text)
            )
        )
    return str(_CARD.format(_COLOURS[tone], Markup().join(parts)))


def class_fragment(results: Results, width: int) -> str:
    """Return a line for each submission, and what went wrong."""
    return str(_TEXT.format(_printed(class_report(results), width)))


def _badge(submission: SubmissionResult) -> str:
    shown = label(submission.status)
    return f"{shown.sign} {shown.word}"


def _cause(cause: Cause) -> Markup:
    rows = [
        Markup("<p>{}</p>\n").format(one_line(cause.explanation)),
        _FORMULA.format("It computes", _equation(cause.wrong)),
        _FORMULA.format("It should be", _equation(cause.right)),
        *(
            _FORMULA.format(
                f"Line {line.number}", Markup("<code>{}</code>").format(one_line(line.code))
            )
            for line in cause.lines
        ),
    ]
    return Markup().join(rows)


def _equation(latex: str) -> Markup:
    shown = mathml(latex) or Markup("<code>{}</code>").format(one_line(latex))
    return Markup('<span style="font-size: 1.4em">{}</span>').format(shown)


def _printed(content: RenderableType, width: int) -> str:
    stream = io.StringIO()
    # A console in a notebook would show it at once, and write nothing down.
    Console(file=stream, width=width, color_system=None, force_jupyter=False).print(content)
    return stream.getvalue().strip("\n")
