"""`results.csv`: a row a submission, for a spreadsheet; no cell of it can be read as a formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import Final

from bn_properties.records import Results, SubmissionResult

from bn_reports.text.numbers import exact
from bn_reports.text.visible import one_line

CSV: Final = "results.csv"
"""The file beside `results.json`."""
COLUMNS: Final = ("id", "status", "score", "max_score", "finding", "causes", "seconds")
PENDING: Final = "pending"
"""The status of what is not graded yet."""
_FORMULA = re.compile(r"""(^|[;,|"'])(\s*)(?=[=+\-@＝＋－＠])""")
"""Where a formula would begin: in a cell, or where a spreadsheet that expects another separator or
quote would see a cell begin."""


def as_csv(results: Results) -> str:
    """Return a run as CSV, as RFC 4180 has it, in the order of the run; what is pending is last.

    It begins with a byte order mark, by which spreadsheets know UTF-8: read it as `utf-8-sig`.
    Texts have no line breaks and no control characters, and an apostrophe stands before what a
    spreadsheet would compute.
    """
    stream = io.StringIO()
    stream.write("\ufeff")
    csv.writer(stream, lineterminator="\r\n").writerows((COLUMNS, *_rows(results)))
    return stream.getvalue()


def _rows(results: Results) -> Iterator[tuple[str, ...]]:
    for each in results.submissions:
        yield tuple(map(text_cell, (each.id, each.status.value))) + _findings(each)
    for id_ in results.pending:
        yield (text_cell(id_), PENDING, *[""] * (len(COLUMNS) - 2))


def _findings(each: SubmissionResult) -> tuple[str, ...]:
    return (
        exact(each.score),
        exact(each.max_score),
        text_cell(each.summary),
        text_cell(", ".join(cause.fault for cause in each.causes)),
        f"{each.seconds:.3f}",
    )


def text_cell(text: str) -> str:
    """Return `text` in one line, as a cell that no spreadsheet computes."""
    return _FORMULA.sub(r"\1\2'", one_line(text))
