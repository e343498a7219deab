"""Characters spelled out for a terminal or a file whose encoding does not have them."""

from __future__ import annotations

import codecs
import unicodedata
from itertools import groupby
from typing import Final

ERRORS: Final = "bnoracle.spelled"
"""The name under which `register` makes this known to codecs."""

_SPELLED: Final = {
    "✗": "x", "✓": "+", "≈": "~", "⚠": "!", "⊘": "#", "◐": "-", "↳": ">", "○": "o", "–": "-",
    "≠": "!=", "≤": "<=", "≥": ">=", "−": "-", "·": "*", "×": "x", "⊕": "(+)", "√": "sqrt",
    "∑": "sum", "∏": "prod", "Σ": "Sum", "∂": "d", "ε": "eps", "ϵ": "eps", "←": "<-", "→": "->",
    "⇒": "=>", "⟨": "<", "⟩": ">", "⟦": "[[", "⟧": "]]", "…": "...", "′": "'", "─": "-", "━": "-",
}  # fmt: skip
_ACCENTS: Final = {"\u0302": "_hat", "\u0304": "_bar", "\u0303": "_tilde"}
_RAISED: Final = {"<super>": "^", "<sub>": "_"}


def register() -> None:
    """Let streams be opened with `errors=ERRORS`."""
    codecs.register_error(ERRORS, _replace)


def spelled(text: str) -> str:
    """Return `text` in ASCII: γ as gamma, ẑᵢ as z_hat_i, σ⁻¹ as sigma^-1; else a question mark."""
    runs = groupby(text, key=_mark)
    return "".join(mark + "".join(map(_one, run)) for mark, run in runs)


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return spelled(error.object[error.start : error.end]), error.end


def _mark(character: str) -> str:
    """Return what raises or lowers a character: `^`, `_` or nothing."""
    return _RAISED.get(unicodedata.decomposition(character).partition(" ")[0], "")


def _one(character: str) -> str:
    if character.isascii():
        return character
    if character in _SPELLED:
        return _SPELLED[character]
    parts = unicodedata.normalize("NFKD", character)
    if parts != character:
        return "".join(_ACCENTS.get(part) or _one(part) for part in parts)
    name = unicodedata.name(character, "")
    if name.startswith("GREEK SMALL LETTER "):
        return name.split()[3].lower()
    if name.startswith("GREEK CAPITAL LETTER "):
        return name.split()[3].capitalize()
    return "" if unicodedata.combining(character) else "?"
