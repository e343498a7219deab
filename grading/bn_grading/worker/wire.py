"""Frames between grader and worker: a JSON header, then raw arrays. No pickle, no code.

A frame is two big-endian 32-bit lengths (header, payload), the header in UTF-8, and the arrays'
bytes one after the other in row-major order, as the header's "arrays" lists them.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

_LENGTHS = struct.Struct(">II")
_NAMES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64",
)  # fmt: skip
_DTYPES = {np.dtype(name).str: np.dtype(name) for name in _NAMES}
MAX_HEADER = 1 << 24
"""Bytes: a header carries a submission's source at most."""
MAX_PAYLOAD = 1 << 28
"""Bytes: what one frame's arrays may hold."""


class WireError(Exception):
    """The other side sent something that is not a frame."""


class Reader(Protocol):
    """What frames are read from."""

    def read(self, size: int, /) -> bytes | None:
        """Return `size` bytes, fewer at the end."""
        ...


Frame = tuple[dict[str, Any], dict[str, NDArray[Any]]]


def encode(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> bytes:
    """Return the frame as bytes.

    Raises:
        KeyError: an array's dtype is not one of those that may travel.
    """
    listed = [(name, _DTYPES[array.dtype.str].str, array.shape) for name, array in arrays.items()]
    body = b"".join(array.tobytes() for array in arrays.values())
    text = json.dumps({**header, "arrays": listed}).encode()
    return _LENGTHS.pack(len(text), len(body)) + text + body


def read(stream: Reader, room: Callable[[], int] = lambda: MAX_PAYLOAD) -> Frame:
    """Read one frame; the arrays are fresh and writable.

    `room` says, once a frame has begun, how many bytes its arrays may take.

    Raises:
        EOFError: the stream ended before a whole frame.
        WireError: lengths, header, dtypes or shapes do not fit together.
    """
    header_size, payload_size = _LENGTHS.unpack(_exactly(stream, _LENGTHS.size))
    if header_size > MAX_HEADER or payload_size > room():
        raise WireError(f"a frame of {header_size} + {payload_size} bytes is too large")
    text = _exactly(stream, header_size)
    payload = bytearray(_exactly(stream, payload_size))
    try:
        header = json.loads(text)
        listed = [
            (str(name), _DTYPES[dtype], tuple(int(size) for size in shape))
            for name, dtype, shape in header.pop("arrays")
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WireError(f"the header cannot be read: {error!r}") from error
    arrays: dict[str, NDArray[Any]] = {}
    offset = 0
    for name, dtype, shape in listed:
        count = math.prod(shape)
        end = offset + count * dtype.itemsize
        if min(shape, default=0) < 0 or end > payload_size:
            raise WireError(f"array {name!r} of shape {shape} does not fit its frame")
        arrays[name] = np.frombuffer(payload, dtype, count, offset).reshape(shape)
        offset = end
    if offset != payload_size:
        raise WireError(f"{payload_size - offset} bytes follow the last array")
    return header, arrays


def _exactly(stream: Reader, size: int) -> bytes:
    parts: list[bytes] = []
    missing = size
    while missing:
        part = stream.read(missing)
        if not part:
            raise EOFError("the stream ended inside a frame")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)
