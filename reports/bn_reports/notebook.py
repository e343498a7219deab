"""Records that a notebook shows as a page would, not as their fields.

They are records in all else: what compares, writes or reads those takes these. A subclass is what
shows itself in every front end that asks an object for `_repr_html_`, and the records' own room
knows nothing of it.
"""

from __future__ import annotations

from bn_properties.record_types import Record
from bn_properties.records import Results, SubmissionResult

_WIDTH = 88
"""Columns of what is shown as text."""


class ShownSubmission(SubmissionResult):
    """A submission's record that shows itself."""

    def _repr_html_(self) -> str:
        # What draws is imported by those who look.
        from bn_reports.html.fragments import submission_fragment  # noqa: PLC0415

        return submission_fragment(self, _WIDTH)

    def __eq__(self, other: object) -> bool:
        """Whether the records are the same, shown or not."""
        return isinstance(other, SubmissionResult) and dict(self) == dict(other)

    __hash__ = Record.__hash__


class ShownResults(Results):
    """A class's records that show themselves, together or each."""

    def _repr_html_(self) -> str:
        from bn_reports.html.fragments import class_fragment  # noqa: PLC0415

        return class_fragment(self, _WIDTH)

    def __eq__(self, other: object) -> bool:
        """Whether the records are the same, shown or not."""
        return isinstance(other, Results) and dict(self) == dict(other)

    __hash__ = Record.__hash__


def shown(submission: SubmissionResult) -> ShownSubmission:
    """Return the same record as one that shows itself."""
    return ShownSubmission.model_construct(**dict(submission))


def shown_results(results: Results) -> ShownResults:
    """Return the same records as ones that show themselves."""
    fields = dict(results) | {"submissions": tuple(map(shown, results.submissions))}
    return ShownResults.model_construct(**fields)
