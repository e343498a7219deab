"""The pieces that many mistaken formulas are made of."""

from __future__ import annotations

import numpy as np
from bn_oracle.arrays import Array, from_rows

from bn_diagnosis.trace import Trace

Axes = int | tuple[int, ...]


def in_shape(t: Trace, rows: Array) -> Array:
    """Return rows in the shape of the input."""
    return from_rows(rows, t.x.shape)


def spread(t: Trace, z: Array, axes: Axes = 0) -> Array:
    """Return √(σ²+ε) of values over some axes, which are kept."""
    return np.asarray(np.sqrt(z.var(axis=axes, keepdims=True) + t.eps))


def normalised(t: Trace, z: Array, axes: Axes = 0) -> Array:
    """Return values normalised over some axes."""
    return np.asarray((z - z.mean(axis=axes, keepdims=True)) / spread(t, z, axes))


def projected(du: Array, u: Array, axes: Axes = 0) -> Array:
    """Return dz in closed form, but for the division by the root."""
    mean, product = (values.mean(axis=axes, keepdims=True) for values in (du, du * u))
    return np.asarray(du - mean - u * product)


def closed_form(t: Trace) -> Array:
    """Return dz in closed form, out of du, u and s as they are."""
    return projected(t.du, t.u) / t.s


def routes(t: Trace, direct: float = 1.0, variance: float = 1.0, mean: float = 1.0) -> Array:
    """Return dz as the sum of its three routes, each with a weight."""
    by_variance, by_mean = t.dvar * 2 * t.centred / t.n, t.dmean / t.n
    return direct * (t.du / t.s) + variance * by_variance + mean * by_mean


def over(t: Trace, size: float) -> Array:
    """Return dz with another number where B belongs."""
    return t.du / t.s + t.dvar * 2 * t.centred / size + t.dmean / size
