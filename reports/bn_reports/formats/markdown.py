"""Markdown, as for a pull request's comment: a submission, a class, or what changed in one.

Whatever a student wrote does nothing in it: it makes no markup, link, mention or reference.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from typing import Final

from bn_properties.records import Cause, Outcome, PropertyResult, Results, SubmissionResult

from bn_reports.terminal.changes import counts, following, step
from bn_reports.text.equations import plain
from bn_reports.text.numbers import points
from bn_reports.text.visible import one_line
from bn_reports.text.words import label
from bn_reports.views.cause_groups import cause_groups
from bn_reports.views.changes import Change, Changes
from bn_reports.views.overview import status_counts, worst_first

MOST: Final = 60_000
"""Characters: GitHub takes 65,536 in a comment."""
_MISTAKES = 8
"""How many of a class's mistakes are told."""
_LONGEST = 400
"""Characters of a sentence."""
_MARKUP = re.compile(r"([\\`*_\[\]|~$]|:(?=//)|(?<=www)\.|^[-+=])", re.IGNORECASE)
_NUMBERED = re.compile(r"^(\d+)(?=[.)])")
"""What would begin an item of a list."""
_FOLD, _END = "\n<details><summary>", "\n</details>"
_BACKTICKS = re.compile(r"`+")


def submission_comment(submission: SubmissionResult) -> str:
    """Return the verdict on one submission: what is wrong, the cause, and what fails."""
    return _cut(_submission(submission))


def class_comment(results: Results) -> str:
    """Return a class: its most frequent mistakes, and a row a submission, the worst first."""
    return _cut(_class(results))


def changes_comment(changes: Changes) -> str:
    """Return what got better and what broke."""
    return _cut(_changes(changes))


def text(words: str) -> str:
    """Return `words` in one line of Markdown that reads as they do."""
    said = one_line(words)
    said = said if len(said) <= _LONGEST else f"{said[: _LONGEST - 1]}…"
    said = html.escape(_MARKUP.sub(r"\\\1", said), quote=False)
    said = _NUMBERED.sub(r"\1\\", said)
    # A comment in between: what the platform looks for in the text that is left, is not there.
    return re.sub(r"[@#]", r"\g<0><!-- -->", said)


def code(words: str, *, cell: bool = False) -> str:
    """Return `words` in one line as code; `cell`: of a table, which a bar would end."""
    said = one_line(words)
    if cell:
        said = said.replace("|", "∣")  # no escape of it is read the same by all
    longest = max(map(len, _BACKTICKS.findall(said)), default=0)
    fence, space = "`" * (longest + 1), " " if longest or not said else ""
    return f"{fence}{space}{said}{space}{fence}"


def _cut(lines: Iterator[str]) -> str:
    kept: list[str] = []
    size = 0
    for line in lines:
        size += len(line) + 1
        if size > MOST:
            if sum(each.startswith(_FOLD) for each in kept) > kept.count(_END):
                kept.append(_END)
            kept.append("\nThe rest is left out: it is too long for a comment.")
            break
        kept.append(line)
    return "\n".join(kept) + "\n"


def _submission(submission: SubmissionResult) -> Iterator[str]:
    shown = label(submission.status)
    score = f"{points(submission.score)} of {points(submission.max_score)} points"
    yield f"### {shown.sign} {code(submission.id)}: {shown.word}, {score}"
    yield f"\n{text(submission.summary)}"
    for note in submission.notes:
        yield f"\nNote: it {text(note)}."
    for cause in submission.causes:
        yield from _cause(cause)
    failed = [each for each in submission.properties if each.status is Outcome.FAIL]
    follow = sum(each.status is Outcome.BLOCKED for each in submission.properties)
    if failed:
        more = f", and {follow} more because of that" if follow else ""
        properties = "1 property fails" if len(failed) == 1 else f"{len(failed)} properties fail"
        yield from _table(f"{properties}{more}", ("property", "here"), map(_failure, failed))


def _cause(cause: Cause) -> Iterator[str]:
    yield f"\n**Likely cause:** {text(cause.title)}. {text(cause.explanation)}\n"
    yield f"- It computes {code(plain(cause.wrong))}"
    yield f"- It should be {code(plain(cause.right))}"
    for line in cause.lines:
        yield f"- Line {line.number}: {code(line.code)}"


def _failure(failed: PropertyResult) -> tuple[str, str]:
    return f"{text(failed.title)} {code(failed.id, cell=True)}", text(failed.message)


def _class(results: Results) -> Iterator[str]:
    many = len(results.submissions)
    told = ", ".join(
        f"{count} {label(status).word}" for status, count in status_counts(results).items() if count
    )
    yield f"### {many} submission{'s' if many != 1 else ''}{': ' if told else ''}{told}"
    if results.pending:
        left = len(results.pending)
        yield f"\n{left} {'is' if left == 1 else 'are'} not graded yet."
    groups = cause_groups(results)
    if groups:
        yield "\n**What is wrong most often**\n"
    for group in groups[:_MISTAKES]:
        known = "" if group.named else "no known cause; first fails: "
        yield f"- {len(group.members)}: {known}{text(group.title)}"
    rows = (
        (
            code(each.id, cell=True),
            f"{label(each.status).sign} {label(each.status).word}",
            f"{points(each.score)} / {points(each.max_score)}",
            text(each.summary),
        )
        for each in worst_first(results)
    )
    if results.submissions:
        heads = ("submission", "status", "score", "finding")
        yield from _table("All submissions, worst first", heads, rows)


def _changes(changes: Changes) -> Iterator[str]:
    yield f"### {'✗' if changes.worse else '✓'} {counts(changes)}"
    for each in changes.conditions:
        yield f"\nNot the same in both runs: {text(each)}"
    for heading, found in (("Worse", changes.worse), ("Better", changes.better)):
        if found:
            rows = map(_change, found)
            heads = ("submission", "what became of it", "broke", "mended")
            yield from _table(heading, heads, rows, folded=False)
    if changes.properties:
        by_property = (
            (code(each.id, cell=True), str(len(each.broke)), str(len(each.mended)))
            for each in changes.properties
        )
        yield from _table("By property", ("property", "broke in", "mended in"), by_property)
    for heading, ids in (("New", changes.added), ("Gone", changes.gone)):
        if ids:
            yield f"\n{heading}: {', '.join(map(code, ids))}"


def _change(change: Change) -> tuple[str, str, str, str]:
    became = text(step(change))
    if change.worse:
        became += f"<br>{text(change.after.summary)}"
    broke = _codes(change.broke, change.following)
    return code(change.after.id, cell=True), became, broke, _codes(change.mended, change.freed)


def _codes(ids: Sequence[str], follow: int) -> str:
    more = f" and {len(ids) - 5} more" if len(ids) > 5 else ""
    return ", ".join(code(each, cell=True) for each in ids[:5]) + more + following(ids, follow)


def _table(
    heading: str, heads: Sequence[str], rows: Iterator[Sequence[str]], *, folded: bool = True
) -> Iterator[str]:
    yield f"{_FOLD}{heading}</summary>\n" if folded else f"\n**{heading}**\n"
    yield _row(heads)
    yield _row(["---"] * len(heads))
    yield from map(_row, rows)
    if folded:
        yield _END


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
