"""The pieces that many mistaken formulas are made of."""

from __future__ import annotations

from bn_oracle.arrays import Array, from_rows

from bn_diagnosis.formulas import Trace


def bessel(t: Trace) -> float:
    """Return B/(B−1), or 1 for a single value."""
    return t.n / less_one(t)


def less_one(t: Trace) -> int:
    """Return B−1, or 1 for a single value."""
    return max(t.n - 1, 1)


def blend(t: Trace, old: Array, new: Array) -> Array:
    """Return the exponential average of the old value and the new."""
    return t.decay * old + (1 - t.decay) * new


def centred(t: Trace) -> Array:
    """Return z − μ_B."""
    return t.z - t.mean


def closed_form(t: Trace) -> Array:
    """Return dz in closed form, out of du, u and s as they are."""
    direct: Array = t.du - t.du.mean(axis=0) - t.u * (t.du * t.u).mean(axis=0)
    return direct / t.s


def routes(t: Trace, direct: float = 1.0, variance: float = 1.0, mean: float = 1.0) -> Array:
    """Return dz as the sum of its three routes, each with a weight."""
    return (
        direct * (t.du / t.s) + variance * (t.dvar * 2 * centred(t) / t.n) + mean * (t.dmean / t.n)
    )


def over(size: float, t: Trace) -> Array:
    """Return dz with another number where B belongs."""
    return t.du / t.s + t.dvar * 2 * centred(t) / size + t.dmean / size


def dvar_with(t: Trace, upstream: Array, power: Array) -> Array:
    """Return ∂Div/∂σ² from another gradient of u, or another power of σ²+ε."""
    summed: Array = -0.5 * (upstream * centred(t)).sum(axis=0)
    return summed * power


def in_shape(t: Trace, rows: Array) -> Array:
    """Return rows in the shape of the input."""
    return from_rows(rows, t.x.shape)
