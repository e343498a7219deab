"""Arguments made sound: float64 arrays of the right shape, or an error that names the argument.

Batch norm treats each feature alone, so all formulas are written for *rows*: an array of shape
(B, C) whose B rows are all the values that share a feature's statistics. For (N, C) input B = N;
for (N, C, H, W) input B = N·H·W.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

_REAL_KINDS = "biuf"


def real_array(name: str, value: ArrayLike, *, copy: bool = True) -> Array:
    """Return `value` as a float64 array: a new one, or `value` itself if it may be shared.

    Integers, booleans and narrower floats convert exactly; a wider float is rounded.

    Raises:
        TypeError: object, complex, string or other non-numeric content.
        ValueError: NaN or infinite values, or a wider float that overflows.
    """
    if isinstance(value, np.ma.MaskedArray):  # asarray would drop the mask
        raise TypeError(f"{name} is a masked array, but must be a plain array of real numbers")
    array = np.asarray(value)
    if array.dtype.kind not in _REAL_KINDS:
        raise TypeError(f"{name} has dtype {array.dtype}, but must be real numbers")
    with np.errstate(over="ignore"):
        result = np.array(array, dtype=np.float64, subok=False, copy=copy or None)
    if not np.isfinite(result).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(result))[0])
        raise ValueError(f"{name}{list(where)} is {result[where]}, but must be finite")
    return result


def batch(name: str, value: ArrayLike, channel_axis: int) -> Array:
    """Return a batch as float64: at least 2-D, at least one instance and one feature.

    Raises:
        TypeError: see `real_array`.
        ValueError: fewer than two axes, an empty axis, or no such channel axis.
    """
    array = real_array(name, value)
    if array.ndim < 2:
        raise ValueError(f"{name} has shape {array.shape}, but must have at least two axes (N, C)")
    if not -array.ndim <= channel_axis < array.ndim or channel_axis % array.ndim == 0:
        raise ValueError(
            f"channel_axis is {channel_axis}, but must name an axis after the first of {name}, "
            f"which has shape {array.shape}"
        )
    if array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}, but no axis may be empty")
    return array


def same_shape(name: str, value: ArrayLike, shape: tuple[int, ...], *, copy: bool = True) -> Array:
    """Return `value` as float64, or raise ValueError if its shape is not `shape`."""
    array = real_array(name, value, copy=copy)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, but must have shape {shape}")
    return array


def per_feature(name: str, value: ArrayLike, features: int | None = None) -> Array:
    """Return one number a feature, shape (C,); (1, C) and (1, C, 1, 1) are flattened.

    `features` is C; None takes as many as there are.

    Raises:
        TypeError: see `real_array`.
        ValueError: not exactly one number a feature.
    """
    array = real_array(name, value)
    count = array.size if features is None else features
    if array.size != count or max(array.shape, default=1) != count:
        raise ValueError(f"{name} has shape {array.shape}, but must have shape ({count},)")
    return array.reshape(count)


def not_negative(name: str, array: Array) -> Array:
    """Return `array`, or raise ValueError that names its least element if that is negative."""
    where = np.unravel_index(int(np.argmin(array)), array.shape)
    if array[where] < 0:
        index = [int(i) for i in where]
        raise ValueError(f"{name}{index} is {array[where]}, but must not be negative")
    return array


def scalar(name: str, value: Any, low: float, high: float = math.inf) -> float:
    """Return `value` as a float in [low, high].

    Raises:
        TypeError: not a real number.
        ValueError: outside the interval, or NaN.
    """
    array = np.asarray(value)
    if array.ndim != 0 or array.dtype.kind not in _REAL_KINDS:
        raise TypeError(f"{name} is {value!r}, but must be a real number")
    number = float(array)
    if not (low <= number <= high) or math.isinf(number):
        allowed = f"at least {low:g}" if math.isinf(high) else f"between {low:g} and {high:g}"
        raise ValueError(f"{name} is {number!r}, but must be {allowed} and finite")
    return number


def whole_number(name: str, value: int, low: int) -> int:
    """Return `value`, or raise an error that names it unless it is an integer of at least `low`.

    Raises:
        TypeError: not an integer.
        ValueError: below `low`.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} is {value!r}, but must be an integer")
    if value < low:
        raise ValueError(f"{name} is {value}, but must be at least {low}")
    return int(value)


def to_rows(array: Array, channel_axis: int = 1) -> Array:
    """Reshape (N, C, …) to rows (B, C): all values of a feature in one column."""
    if array.ndim == 2:
        return array
    return np.moveaxis(array, channel_axis, -1).reshape(-1, array.shape[channel_axis])


def from_rows(rows: Array, shape: tuple[int, ...], channel_axis: int = 1) -> Array:
    """Undo `to_rows` for an array of shape `shape`."""
    if len(shape) == 2:
        return rows
    axis = channel_axis % len(shape)
    moved = (*shape[:axis], *shape[axis + 1 :], shape[axis])
    return np.moveaxis(rows.reshape(moved), -1, axis)
