"""Frames between grader and worker: a JSON header, then raw arrays. No pickle, no code.

A frame holds one message or more: two big-endian 32-bit lengths (header, payload), the header in
UTF-8, and the bytes of all arrays one after the other in row-major order. The header is a list
with an object for each message, whose "arrays" lists that message's arrays.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable
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


Message = tuple[dict[str, Any], dict[str, NDArray[Any]]]
Packed = tuple[dict[str, Any], bytes]
"""A message whose arrays are bytes already: what happens to the arrays later does not show."""


def pack(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Packed:
    """Return a message as it is now.

    Raises:
        KeyError: an array's dtype is not one of those that may travel.
    """
    listed = [(name, _DTYPES[array.dtype.str].str, array.shape) for name, array in arrays.items()]
    return {**header, "arrays": listed}, b"".join([array.tobytes() for array in arrays.values()])


def frame(messages: Iterable[Packed]) -> bytes:
    """Return one frame that holds `messages`."""
    headers, bodies = zip(*messages, strict=True)
    text, body = json.dumps(headers).encode(), b"".join(bodies)
    return _LENGTHS.pack(len(text), len(body)) + text + body


def encode(*messages: Message) -> bytes:
    """Return one frame that holds `messages`.

    Raises:
        KeyError: an array's dtype is not one of those that may travel.
    """
    return frame(pack(*message) for message in messages)


def read(stream: Reader, room: Callable[[], int] = lambda: MAX_PAYLOAD) -> list[Message]:
    """Read one frame and return its messages; the arrays are fresh and writable.

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
        headers = json.loads(text.decode())
        if not isinstance(headers, list) or not headers:
            raise WireError("the header is not a list of messages")
        listed = [header.pop("arrays") for header in headers]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WireError(f"the header cannot be read: {error!r}") from error
    messages: list[Message] = []
    offset = 0
    try:
        for header, wanted in zip(headers, listed, strict=True):
            arrays: dict[str, NDArray[Any]] = {}
            for name, dtype, shape in wanted:
                if type(name) is not str or name in arrays:
                    raise WireError(f"an array's name is {name!r:.100}, or comes twice")
                if type(shape) is not list or not all(type(n) is int and n >= 0 for n in shape):
                    raise WireError(f"an array's shape is {shape!r:.100}")
                # Refuses a shape that is none, and one that the payload does not hold.
                array: NDArray[Any] = np.ndarray(shape, _DTYPES[dtype], payload, offset)
                arrays[name] = array
                offset += array.nbytes
            messages.append((header, arrays))
    except (ValueError, KeyError, TypeError) as error:
        raise WireError(f"an array does not fit its frame: {error!r}") from error
    if offset != payload_size:
        raise WireError(f"{payload_size - offset} bytes follow the last array")
    return messages


def _exactly(stream: Reader, size: int) -> bytes:
    part = stream.read(size) if size else b""
    if part and len(part) == size:
        return part
    parts = [part or b""]
    missing = size - len(parts[0])
    while missing:
        part = stream.read(missing)
        if not part:
            raise EOFError("the stream ended inside a frame")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)
