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
MAX_REPLY_HEADER = 1 << 19
"""Bytes: the header of a reply carries messages and names alone."""
MAX_SCENARIO_HEADER = 1 << 16
"""Bytes: the same for the replies to a scenario, of which there are thousands at once."""
MAX_PAYLOAD = 1 << 28
"""Bytes: what one frame's arrays may hold."""
MAX_AXES = 32
MAX_MESSAGES = 512
"""How many messages a frame may hold: a scenario has dozens at most."""


class WireError(Exception):
    """The other side sent something that is not a frame."""


class TooLarge(WireError):
    """The arrays of a frame are larger than they may be."""

    def __init__(self, size: int, room: int) -> None:
        """Record how large they are, and may be, in bytes."""
        super().__init__(f"arrays of {size} bytes are too large: {room} may come")
        self.size, self.room = size, room


class Reader(Protocol):
    """What frames are read from."""

    def read(self, size: int, /) -> bytes | None:
        """Return `size` bytes, fewer at the end."""
        ...


Message = tuple[dict[str, Any], dict[str, NDArray[Any]]]
Frame = tuple[bytes, bytes]
"""A frame as it came: its header, and its payload."""
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
    """Read one frame and return its messages: `unfold(read_frame(stream, room))`.

    Raises:
        EOFError: the stream ended before a whole frame.
        WireError: lengths, header, dtypes or shapes do not fit together.
    """
    return unfold(read_frame(stream, room))


def read_frame(
    stream: Reader, room: Callable[[], int] = lambda: MAX_PAYLOAD, header_room: int = MAX_HEADER
) -> Frame:
    """Read one frame, and look at nothing in it but the lengths.

    `room` says, once a frame has begun, how many bytes its arrays may take; `header_room`, how many
    its header.

    Raises:
        EOFError: the stream ended before a whole frame.
        TooLarge: its arrays take more.
        WireError: its header takes more.
    """
    header_size, payload_size = _LENGTHS.unpack(_exactly(stream, _LENGTHS.size))
    if header_size > header_room:
        raise WireError(f"a header of {header_size} bytes is too large")
    if payload_size > room():
        raise TooLarge(payload_size, room())
    return _exactly(stream, header_size), _exactly(stream, payload_size)


def headers(text: bytes) -> list[dict[str, Any]]:
    """Return the headers of a frame's messages, each with its "arrays".

    Raises:
        WireError: it is no list of objects that have arrays.
    """
    try:
        found = json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise WireError(f"the header cannot be read: {error!r}") from error
    if not isinstance(found, list) or not found:
        raise WireError("the header is not a list of messages")
    if len(found) > MAX_MESSAGES:
        raise WireError(f"a frame holds {len(found)} messages")
    if not all(isinstance(each, dict) and type(each.get("arrays")) is list for each in found):
        raise WireError("the header cannot be read: a message is no object, or lists no arrays")
    return found


def is_plain(text: bytes) -> bool:
    """Whether a header is written as `frame` writes it: without a space too many, say."""
    return json.dumps(json.loads(text)).encode() == text


def array_of(listed: Any) -> tuple[str, np.dtype[Any], list[int]]:
    """Return an array's name, dtype and shape as a header lists them.

    Raises:
        WireError: one of them is none.
    """
    if type(listed) is not list or len(listed) != 3:
        raise WireError(f"an array is listed as {listed!r:.100}")
    name, dtype, shape = listed
    if type(name) is not str:
        raise WireError(f"an array's name is {name!r:.100}")
    if type(dtype) is not str or dtype not in _DTYPES:
        raise WireError(f"an array's dtype is {dtype!r:.100}")
    if type(shape) is not list or len(shape) > MAX_AXES or not all(map(_is_length, shape)):
        raise WireError(f"an array's shape is {shape!r:.100}")
    return name, _DTYPES[dtype], shape


def _is_length(axis: Any) -> bool:
    return type(axis) is int and 0 <= axis <= MAX_PAYLOAD


def unfold(frame: Frame) -> list[Message]:
    """Return the messages of a frame; the arrays are fresh and writable.

    Raises:
        WireError: header, dtypes or shapes do not fit together.
    """
    payload = bytearray(frame[1])
    messages: list[Message] = []
    offset = 0
    try:
        for header in headers(frame[0]):
            arrays: dict[str, NDArray[Any]] = {}
            for listed in header.pop("arrays"):
                name, dtype, shape = array_of(listed)
                if name in arrays:
                    raise WireError(f"an array's name, {name!r:.100}, comes twice")
                # Refuses a shape that the payload does not hold.
                array: NDArray[Any] = np.ndarray(shape, dtype, payload, offset)
                if dtype.kind == "b" and payload[offset : offset + array.nbytes].strip(b"\0\1"):
                    raise WireError("an array of truth values holds something else")
                arrays[name] = array
                offset += array.nbytes
            messages.append((header, arrays))
    except (ValueError, TypeError) as error:
        raise WireError(f"an array does not fit its frame: {error!r}") from error
    if offset != len(payload):
        raise WireError(f"{len(payload) - offset} bytes follow the last array")
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
