"""Which of an equation's symbols a file calls otherwise, and what it calls them."""

from __future__ import annotations

import unicodedata
from typing import Final

from bn_properties.records import Cause, SubmissionResult

from bn_reports.text.equations import plain

_WRITTEN: Final = {"ε": "ϵ", "σ²": "σ", "dγ": "∂γ", "dβ": "∂β", "dz": "∂z"}
"""How an equation has a symbol, where it is not as the legend has it."""


def legend(submission: SubmissionResult, cause: Cause) -> tuple[tuple[str, str], ...]:
    """Return each symbol in the equations of `cause` under which the file has another name."""
    names = next(iter(submission.names.values()), {})
    text = unicodedata.normalize("NFC", f"{plain(cause.wrong)} {plain(cause.right)}")
    return tuple(
        (symbol, name) for symbol, name in names.items() if _WRITTEN.get(symbol, symbol) in text
    )
