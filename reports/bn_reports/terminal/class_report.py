"""A class in the terminal: a line a submission, the worst last, and below it what went wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bn_properties.records import Results, SubmissionResult
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from bn_reports.terminal.layout import Hanging, OneLine, cut, shortened
from bn_reports.terminal.styles import STYLES, heading
from bn_reports.text.numbers import points
from bn_reports.text.visible import one_line
from bn_reports.text.words import label
from bn_reports.views import overview
from bn_reports.views.cause_groups import CauseGroup, cause_groups
from bn_reports.views.incidents import incidents

_GAP = 2
_NARROW = 60
"""Columns below which a status is its sign alone."""
_FINDING = 24
"""Columns that a finding has at least, before ids are shortened for it."""
_GROUPS = 10
"""How many causes are told one by one."""


def class_report(results: Results) -> RenderableType:
    """Return a line for each submission, the worst last, and a summary of the class."""
    worst_last = tuple(reversed(overview.worst_first(results)))
    return Group(_Rows(worst_last), *_summary(results))


@dataclass(frozen=True)
class _Rows:
    """Submissions, each in one line of the width there is."""

    submissions: Sequence[SubmissionResult]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines."""
        shown = [(one_line(each.id), _score(each), each) for each in self.submissions]
        narrow = options.max_width < _NARROW
        signs = [_sign(each, narrow) for *_, each in shown]
        sign = max(map(cell_len, signs), default=0)
        score = max((len(text) for _, text, _ in shown), default=0)
        left = options.max_width - sign - score - 2 * _GAP
        longest = max((cell_len(id_) for id_, *_ in shown), default=0)
        least = min(_FINDING, left // 2)
        name = max(1, min(longest, left - least - _GAP))
        for (id_, text, each), word in zip(shown, signs, strict=True):
            style = STYLES[label(each.status).tone]
            line = Text(no_wrap=True, overflow="crop")
            line.append(_padded(shortened(id_, name), name + _GAP))
            line.append(_padded(word, sign + _GAP), style)
            line.append(text.rjust(score) + " " * _GAP)
            line.append(cut(one_line(each.summary), left - name - _GAP))
            line.rstrip()
            yield line


def _summary(results: Results) -> Iterator[RenderableType]:
    groups = cause_groups(results)
    if groups:
        yield heading("What went wrong")
        told = [group for group in groups if len(group.members) > 1][:_GROUPS] or groups[:_GROUPS]
        width = len(str(len(told[0].members)))
        yield from (_Group(group, width) for group in told)
        rest = groups[len(told) :]
        if rest:
            yield Hanging(Text(), _others(len(rest), sum(len(group.members) for group in rest)))
        yield Text()
    for each in incidents(results):
        yield Hanging(Text(), Text(f"{each.kind.title}: {len(each.found)}"))
    counts = ", ".join(
        f"{count} {label(status).word}"
        for status, count in overview.status_counts(results).items()
        if count
    )
    yield Hanging(Text(), Text(counts or "no submissions"))
    if results.pending:
        yield Text(f"{len(results.pending)} not graded yet", style=STYLES["warn"])
    for ids in results.similar:
        yield Hanging(Text(), Text(f"similar: {one_line(', '.join(ids))}", style="dim"))


@dataclass(frozen=True)
class _Group:
    """A cause and how many have it; what has no name is a property's sentence, and is cut."""

    group: CauseGroup
    digits: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines."""
        count = len(self.group.members)
        unit = (
            ""
            if options.max_width < _NARROW
            else " submission: "
            if count == 1
            else " submissions:"
        )
        before = f"{count:>{self.digits}}{unit} "
        title = one_line(self.group.title)
        if self.group.named:
            yield Hanging(Text(before), Text(title))
        else:
            yield OneLine(f"{before}fails first: ", title)


def _others(groups: int, members: int) -> Text:
    what = "1 other reason" if groups == 1 else f"{groups} other reasons"
    of = "1 submission" if members == 1 else f"{members} submissions"
    return Text(f"and {what}, in {of}", style="dim")


def _score(submission: SubmissionResult) -> str:
    return f"{points(submission.score)}/{points(submission.max_score)}"


def _sign(submission: SubmissionResult, narrow: bool) -> str:
    shown = label(submission.status)
    return shown.sign if narrow else f"{shown.sign} {shown.word}"


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))
