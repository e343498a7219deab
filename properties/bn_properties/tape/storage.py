"""Tapes and cases as bytes: an index, and arrays that can stay where they are.

The bytes begin with a magic line, the SHA-256 of all that follows, and the length of the index,
which is JSON. Each array begins at a multiple of 8. No code is in them, and reading runs none.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bn_properties import calls
from bn_properties.call import Call
from bn_properties.cases.case import Case
from bn_properties.protocol import Setup
from bn_properties.scenario import Scenario
from bn_properties.tape import traced
from bn_properties.tape.program import Program
from bn_properties.tape.tape import Entry, Form, Slot, Tape

MAGIC = b"bnoracle tape 1\n"
_HEAD = struct.Struct(f"<{len(MAGIC)}s32sQ")
_ALIGNED = 8

_NODES = (traced.Applied, traced.Constant, traced.Observed, traced.Summed, traced.Taken)
_CALLS = (
    each
    for each in vars(calls).values()
    if isinstance(each, type) and issubclass(each, Call) and each is not Call
)
_OBJECTS: Mapping[str, Any] = {
    each.__name__: each
    for each in (*_NODES, *_CALLS, Case, Entry, Form, Program, Scenario, Setup, Slot, Tape)
}
"""What may be stored: dataclasses of arrays, numbers, texts, bytes, tuples and one another."""


class NotStored(Exception):
    """The bytes are not what was written: damaged, cut short, or another program's."""


def write(content: object) -> bytes:
    """Return `content` as bytes.

    Raises:
        TypeError: there is something in it that may not be stored.
    """
    writer = _Writer()
    index = json.dumps(writer.plain(content), separators=(",", ":")).encode()
    index += b" " * (-len(index) % _ALIGNED)
    body = b"".join([struct.pack("<Q", len(index)), index, *writer.parts])
    return MAGIC + hashlib.sha256(body).digest() + body


def read(stored: bytes) -> Any:
    """Return what was written; its arrays are parts of `stored`, and read-only.

    Raises:
        NotStored: the bytes are not what was written.
    """
    view = memoryview(stored)
    if len(view) < _HEAD.size:
        raise NotStored("it is too short")
    magic, digest, length = _HEAD.unpack(view[: _HEAD.size])
    if magic != MAGIC:
        raise NotStored("it is no tape, or another version's")
    if hashlib.sha256(view[len(MAGIC) + len(digest) :]).digest() != digest:
        raise NotStored("it is damaged")
    index, arrays = view[_HEAD.size : _HEAD.size + length], view[_HEAD.size + length :]
    return _Reader(arrays).object(json.loads(bytes(index)))


class _Writer:
    """Takes objects apart; an array that comes twice is written once."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self._size = 0
        self._places: dict[int, list[Any]] = {}
        self._kept: list[Any] = []

    def plain(self, value: object) -> Any:
        """Return a value as JSON can hold it."""
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, np.ndarray):
            return {"a": self._place(value)}
        if isinstance(value, bytes):
            return {"b": [self._add(value), len(value)]}
        if isinstance(value, tuple):
            return [self.plain(each) for each in value]
        if is_dataclass(value) and type(value).__name__ in _OBJECTS:
            held = [self.plain(getattr(value, each.name)) for each in fields(value)]
            return {"o": [type(value).__name__, *held]}
        raise TypeError(f"a {type(value).__name__} may not be stored")

    def _place(self, array: NDArray[Any]) -> list[Any]:
        """Return an array's place, dtype and shape."""
        if id(array) not in self._places:
            if array.dtype.kind not in "biuf":
                raise TypeError(f"an array of {array.dtype} may not be stored")
            content = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
            dtype = array.dtype.str.lstrip("<>=|")
            self._places[id(array)] = [self._add(content), dtype, *array.shape]
            self._kept.append(array)  # so that nothing else gets its id
        return self._places[id(array)]

    def _add(self, content: bytes) -> int:
        """Return the place of some bytes."""
        place, rest = self._size, -len(content) % _ALIGNED
        self.parts += [content, b"\0" * rest]
        self._size += len(content) + rest
        return place


class _Reader:
    """Puts them together again."""

    def __init__(self, arrays: memoryview) -> None:
        self._arrays = arrays
        self._made: dict[tuple[Any, ...], NDArray[Any]] = {}

    def object(self, plain: Any) -> Any:
        """Return what a plain value stands for."""
        if isinstance(plain, list):
            return tuple([self.object(each) for each in plain])
        if not isinstance(plain, dict):
            return plain
        if "a" in plain:
            return self._array(*plain["a"])
        if "b" in plain:
            place, size = plain["b"]
            return bytes(self._arrays[place : place + size])
        name, *held = plain["o"]
        return _OBJECTS[name](*[self.object(each) for each in held])

    def _array(self, place: int, dtype: str, *shape: int) -> NDArray[Any]:
        key = (place, dtype, shape)
        if key not in self._made:
            kind = np.dtype(dtype).newbyteorder("<")
            array: NDArray[Any] = np.ndarray(shape, kind, self._arrays, place)
            array.flags.writeable = False
            self._made[key] = array
        return self._made[key]
