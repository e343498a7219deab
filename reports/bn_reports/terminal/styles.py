"""How statuses and headings look in the terminal: a sign and a word first, a colour beside them."""

from __future__ import annotations

from typing import Final

from bn_properties.records import Outcome, Status
from rich.text import Text

from bn_reports.text.words import label

STYLES: Final = {"good": "green", "bad": "bold red", "warn": "yellow", "quiet": "dim"}


def badge(status: Status | Outcome) -> Text:
    """Return the sign and the word of a status."""
    shown = label(status)
    return Text(f"{shown.sign} {shown.word}", style=STYLES[shown.tone])


def heading(words: str) -> Text:
    """Return a heading below an empty line."""
    return Text(f"\n{words}", style="bold underline")
