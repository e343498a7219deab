"""Where a submission's page stands: its file, and which pages stand before and after it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

PAGES = "submissions"
"""The folder of the submissions' pages, beside the class page."""


@dataclass(frozen=True)
class Place:
    """A page's neighbours in its class, as file names beside it; None at either end."""

    previous: str | None = None
    next: str | None = None


def places(ids: Iterable[str]) -> dict[str, Place]:
    """Return the place of each submission's page in a class of `ids`, in their order."""
    listed = list(ids)
    names: list[str | None] = [None, *map(page_name, listed), None]
    return {
        id_: Place(before, after)
        for id_, before, after in zip(listed, names, names[2:], strict=False)
    }


def page_path(submission_id: str) -> str:
    """Return where a submission's page is, from the class page."""
    return f"{PAGES}/{page_name(submission_id)}"


def page_name(submission_id: str) -> str:
    """Return the file name of a submission's page: safe anywhere, and the same in every run.

    It is a digest of the id: a page that a student is sent links to its neighbours, and their
    names are nobody else's business.
    """
    return f"{hashlib.sha256(submission_id.encode('utf-8', 'surrogatepass')).hexdigest()[:20]}.html"
