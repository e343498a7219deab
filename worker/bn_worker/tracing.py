"""What a submission computes, line by line: each array that a line gives a name to, as it was.

It is asked only when the verdict stands, on a batch of a few numbers, to say in which line a
formula goes wrong.
"""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST = 600
"""Arrays that are kept of one trace."""
LARGEST = 1024
"""Numbers in an array that is kept."""
_RETURNED = "return"


class Assigned(NamedTuple):
    """A value that a line gave a name to."""

    frame: int
    """Which call of which function: a number for each."""
    line: int
    """The line that was carried out; 0 where the value was handed to the function."""
    name: str
    """`x`, `self.x`, `cache['x']`, `cache[0]`, or `return` with the number of the value."""
    value: NDArray[np.float64]


class Tracer:
    """Follows the functions of one file, by `sys.settrace`."""

    def __init__(self, filename: str) -> None:
        """Prepare for the functions whose code was compiled under that name."""
        self.assigned: list[Assigned] = []
        self._filename = filename
        self._frames: dict[types.FrameType, int] = {}
        self._line: dict[types.FrameType, int] = {}
        self._seen: dict[tuple[int, str], bytes] = {}

    def __enter__(self) -> Tracer:
        """Begin to follow."""
        sys.settrace(self._called)
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop."""
        sys.settrace(None)

    def _called(self, frame: types.FrameType, event: str, arg: object) -> Any:
        if frame.f_code.co_filename != self._filename or len(self.assigned) >= MOST:
            return None
        self._frames[frame] = len(self._frames)
        self._line[frame] = 0
        self._look(frame)
        return self._followed

    def _followed(self, frame: types.FrameType, event: str, arg: object) -> Any:
        if len(self.assigned) >= MOST:
            return None
        self._look(frame)
        if event == "return":
            with contextlib.suppress(Exception):
                for name, value in _named(_RETURNED, arg):
                    self._note(frame, (self._frames[frame], name), name, value)
        self._line[frame] = frame.f_lineno
        return self._followed

    def _look(self, frame: types.FrameType) -> None:
        """Note what has changed of all that the function knows."""
        for local, value in list(frame.f_locals.items()):
            with contextlib.suppress(
                Exception
            ):  # an object of the submission's own may do anything
                for name, array in _named(local, value):
                    # What belongs to an object is the same in every function.
                    within = name.removeprefix(local)
                    owner = id(value) if within else self._frames[frame]
                    self._note(frame, (owner, within or name), name, array)

    def _note(
        self, frame: types.FrameType, key: tuple[int, str], name: str, value: NDArray[Any]
    ) -> None:
        content = value.tobytes()
        if self._seen.get(key) != content and len(self.assigned) < MOST:
            self._seen[key] = content
            kept = np.array(value, np.float64)
            self.assigned.append(Assigned(self._frames[frame], self._line[frame], name, kept))


def _named(name: str, value: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the arrays that a value is or holds, each with its name."""
    array = _array(value)
    if array is not None:
        yield name, array
        return
    within: Iterator[tuple[str, Any]] = iter(())
    if type(value) is dict:
        within = ((f"{name}[{key!r}]", each) for key, each in list(value.items()))
    elif isinstance(value, tuple | list):
        within = ((f"{name}[{number}]", each) for number, each in enumerate(value[:32]))
    elif not isinstance(value, type | types.ModuleType | types.FunctionType):
        held = _held(value)
        for kind in ("_parameters", "_buffers"):  # of a PyTorch module
            held |= held[kind] if isinstance(held.get(kind), dict) else {}
        within = ((f"{name}.{key}", each) for key, each in held.items())
    for inner, each in within:
        array = _array(each)
        if array is not None and len(inner) <= 80:
            yield inner, array


def _held(value: Any) -> dict[str, Any]:
    """Return what an object holds, in its dictionary and in its slots."""
    held: dict[str, Any] = {}
    for kind in type(value).__mro__:
        for name, slot in vars(kind).items():
            if type(slot) is types.MemberDescriptorType:
                with contextlib.suppress(AttributeError):  # nothing is in it yet
                    held[name] = slot.__get__(value)
    inner = getattr(value, "__dict__", None)
    return held | dict(inner) if isinstance(inner, dict) else held


def _array(value: Any) -> NDArray[Any] | None:
    """Return a value as an array where it is one, or a number, and small."""
    if type(value).__name__ in ("Tensor", "Parameter") and hasattr(value, "detach"):
        value = value.detach().numpy()
    if isinstance(value, bool) or not isinstance(value, np.ndarray | np.generic | float | int):
        return None
    try:
        array = np.asarray(value)
    except Exception:  # a number past every type
        return None
    real = array.dtype.kind in "iuf" and 0 < array.size <= LARGEST
    return array if real else None
