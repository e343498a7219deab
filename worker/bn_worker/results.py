"""What a submission may return: real numbers in a plain NumPy array, or what converts exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_EXACT = (bool, int, float, np.generic, list, tuple)


class UnusableResult(Exception):
    """A result that cannot be graded; the message says what it was."""


class Absent(Exception):
    """A result that is not there: the method returns None, or is missing."""


def plain(name: str, value: Any) -> NDArray[Any]:
    """Return `value` as a plain array of real numbers.

    Raises:
        Absent: it is None.
        UnusableResult: it is anything but real numbers, or an array of a special kind.
    """
    if value is None:
        raise Absent(f"{name} is None")
    if type(value) is not np.ndarray:
        if isinstance(value, np.ndarray):
            raise UnusableResult(
                f"{name} is a {type(value).__name__}, but should be a plain numpy.ndarray"
            )
        if not isinstance(value, _EXACT):
            raise UnusableResult(
                f"{name} is a {type(value).__name__}, but should be a numpy.ndarray"
            )
        try:
            value = np.asarray(value)
        except Exception as error:
            raise UnusableResult(f"{name} does not convert to an array: {error}") from error
    if value.dtype.kind not in "biuf":
        raise UnusableResult(f"{name} has dtype {value.dtype}, but should be real numbers")
    if value.dtype.kind == "f" and value.dtype.itemsize > 8:
        value = value.astype(np.float64)
    if not value.dtype.isnative:
        value = value.astype(value.dtype.newbyteorder("="))
    array: NDArray[Any] = value
    return array
