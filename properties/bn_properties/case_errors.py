"""A property's error over bound on every case, in a byte a case.

A byte is 0 where nothing was compared, 1 for no error at all, 255 for one that no bound measures
(NaN, infinity, an exception), and else 128 + 2·log₂(error/bound), rounded and kept within 2 and
254: halves of an octave, 128 where the error reaches the bound. The bytes are compressed (DEFLATE)
and written in base 64.
"""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from collections.abc import Mapping

MOST_CASES = 100_000
"""What a text may hold: more is refused before it is unpacked."""

_NOTHING, _EXACT, _LEAST, _MOST, _UNMEASURED = 0, 1, 2, 254, 255
_AT_BOUND, _STEPS = 128, 2

_RAW = -15
"""No header and no checksum, which would take as much again."""


def packed(errors: Mapping[int, float], cases: int) -> str:
    """Return errors over bounds, by the case's number among so many, as a text."""
    packer = zlib.compressobj(9, wbits=_RAW)
    found = packer.compress(bytes(_byte(errors.get(number)) for number in range(cases)))
    return base64.b64encode(found + packer.flush()).decode()


def unpacked(text: str) -> dict[int, float]:
    """Return errors over bounds by the case's number, to a quarter of an octave.

    Raises:
        ValueError: the text is not what `packed` gives.
    """
    unpacker = zlib.decompressobj(wbits=_RAW)
    try:
        found = unpacker.decompress(base64.b64decode(text, validate=True), MOST_CASES)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"no errors over bounds, case by case: {error}") from error
    if not unpacker.eof:
        raise ValueError(f"no errors over bounds, case by case: more than {MOST_CASES}")
    return {number: _ratio(byte) for number, byte in enumerate(found) if byte != _NOTHING}


def _byte(ratio: float | None) -> int:
    if ratio is None:
        return _NOTHING
    if ratio == 0.0:
        return _EXACT
    if not math.isfinite(ratio):
        return _UNMEASURED
    return min(max(round(_AT_BOUND + _STEPS * math.log2(ratio)), _LEAST), _MOST)


def _ratio(byte: int) -> float:
    if byte == _EXACT:
        return 0.0
    return math.inf if byte == _UNMEASURED else 2.0 ** ((byte - _AT_BOUND) / _STEPS)
