"""Strings that a student may have written, made safe to show: no hidden or control characters."""

from __future__ import annotations

import unicodedata

_REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LAYOUT = frozenset("\n\t")


def visible(text: str) -> str:
    """Return `text` with control, surrogate and reordering characters written as escapes.

    An ANSI escape, a NUL or a right-to-left override neither acts nor disappears: it is read as
    `\\x1b`, `\\x00` or `\\u202e`. Line breaks and tabs stay; `\\r\\n` counts as a line break.
    """
    return "".join(map(_shown, text.replace("\r\n", "\n")))


def one_line(text: str) -> str:
    """Return `visible(text)` with every run of white space, line breaks included, as one space."""
    return " ".join(visible(text).split())


def _shown(character: str) -> str:
    if character in _LAYOUT:
        return character
    if character in _REORDERING or unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}:
        return character.encode("unicode_escape").decode("ascii")
    return character
