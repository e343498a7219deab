"""Numbers as people read them: exact where they are to be typed, short where they are weighed."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

Value = float | np.number[Any] | np.bool_
"""A Python or NumPy scalar: bool, integer or floating."""

_BOOLEAN = bool | np.bool_
_BRIEF: Final = 6
_MOST: Final = 17
"""Seventeen significant digits tell any two doubles apart."""


def exact(value: Value) -> str:
    """Return the shortest text that reads back as `value` in its own precision."""
    return _word(value) or str(value)


def brief(value: Value, digits: int = _BRIEF) -> str:
    """Return `value` to `digits` significant digits, or exactly where that is as short."""
    word = _word(value)
    if word:
        return word
    text = str(value)
    if len(text) <= digits + 2 or not isinstance(value, float | np.floating):
        return text
    return f"{float(value):.{digits}g}"


def apart(first: Value, second: Value) -> tuple[str, str]:
    """Return both values with the fewest digits, six at least, that show their difference truly.

    Fewer would show two different numbers as one, or a difference that rounding has made.
    """
    difference = float(first) - float(second)
    if not math.isfinite(difference) or isinstance(first, _BOOLEAN) or isinstance(second, _BOOLEAN):
        return brief(first), brief(second)
    for digits in range(_BRIEF, _MOST + 1):
        texts = brief(first, digits), brief(second, digits)
        shown = float(texts[0]) - float(texts[1])
        if shown and abs(shown - difference) <= 0.1 * abs(difference):
            return texts
    if texts[0] == texts[1]:  # shortest texts of two precisions
        return f"{float(first):.{_MOST}g}", f"{float(second):.{_MOST}g}"
    return texts


def ratio(value: float) -> str:
    """Return an error over its bound: three digits, `exact` for none, and none below a thousandth.

    What is left of an error by underflow alone counts as none.
    """
    if value < 1e-300:
        return "exact"
    return "below 0.001" if value < 1e-3 else brief(float(f"{value:.3g}"), 3)


def points(value: float) -> str:
    """Return a score with at most two decimals, and none that are zero."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if math.isfinite(value) else exact(value)


def _word(value: Value) -> str:
    """Name a NaN or an infinity; every other number has no word."""
    number = float(value)
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "infinity" if number > 0 else "-infinity"
    return ""


def raised(number: int) -> str:
    """Return an exponent in raised digits."""
    return str(number).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
