"""Why a right formula loses accuracy: the term that vanishes, told by what it leaves behind.

Whatever stands around Σ(z−μ) = 0 is exact algebra, and its rounding is the same for every instance
of a feature (`bn_oracle.bounds.vanishing`). So it is named where every gradient that is off is off
by one number a feature.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from bn_oracle.arrays import Array
from bn_oracle.backward import upstream_rows
from bn_oracle.bounds.vanishing import leak
from bn_properties.expectation import Expected
from bn_properties.protocol import AnyArray, SubjectError
from bn_properties.records import Cause

from bn_diagnosis.matching import Observation

_RIGHT = (
    r"\frac{\partial Div}{\partial\mu_B} = -\sum_{i=1}^B\frac{\partial Div}{\partial u_i}"
    r"\frac{1}{\sqrt{\sigma_B^2+\epsilon}}"
)


class _Offset(NamedTuple):
    """One feature's input gradient, off by more than a stable computation can be."""

    constant: bool
    """Whether by the same number for every instance, but for rounding."""
    leaked: bool
    """Whether the right factor times the rounding of all features' sums explains it."""


def causes(observed: Sequence[Observation]) -> tuple[Cause, ...]:
    """Return why accuracy is lost, if it is the vanishing term; for what is right but for rounding.

    It must explain every input gradient that is off.
    """
    found = [each for one in observed for each in _offsets(one)]
    if not found or not all(each.constant for each in found):
        return ()
    make = _across if all(each.leaked for each in found) else _factor
    return (make(len(found)),)


def _offsets(one: Observation) -> Iterator[_Offset]:
    for step, quantity in one.places:
        expected = one.yardstick.measure.expected[step]
        got = one.responses[step].values[quantity]
        if quantity != "dz" or isinstance(got, SubjectError) or expected.record is None:
            continue
        operations = one.scenario.operations[step]
        grad = next(each.arrays["grad"] for each in operations if each.name == "backward")
        yield from _off(np.asarray(got, np.float64), expected, grad)


def _off(got: Array, expected: Expected, grad: AnyArray) -> Iterator[_Offset]:
    of_pass, want = expected.trained, expected.values["dz"]
    rows, room, right = (
        np.moveaxis(array, 1, -1).reshape(-1, want.shape[1])
        for array in (got.reshape(want.shape), expected.bound("dz", "stable"), want)
    )
    error, record, precision = rows - right, of_pass.record, of_pass.precision
    leaking = 2 * leak(
        record, upstream_rows(record, grad), of_pass.theirs["stable"].mean, precision
    )
    for feature in range(want.shape[1]):
        off, allowed = error[:, feature], room[:, feature]
        if not np.isfinite(allowed).all() or (np.abs(off) <= allowed).all():
            continue
        middle = off.mean()
        # Adding the constant to each of the three routes' sums rounds a few times more.
        rounding = precision.roundings(8) * (np.abs(right[:, feature]) + abs(middle))
        constant = bool((np.abs(off - middle) <= 2 * allowed + rounding).all())
        leaked = bool(abs(middle) <= allowed.max() + leaking[feature])
        yield _Offset(constant, leaked)


def _across(explained: int) -> Cause:
    return Cause(
        fault="vanishing-sum-over-all-features",
        title="the sum Σ(z−μ), which is zero, runs over all features",
        wrong=_RIGHT + r" - \frac{2}{B}\frac{\partial Div}{\partial\sigma_B^2}"
        r"\sum_{c}\sum_{i=1}^B(z_{i,c}-\mu_c)",
        right=_RIGHT,
        explanation="The sum is zero, so the formula is right. What is left of it is rounding, and "
        "that of a feature with large numbers leaks into the gradient of every other one. Sum over "
        "the batch alone (axis=0), or leave the term out.",
        explained=explained,
        observed=explained,
        properties=("stability.input_gradient",),
    )


def _factor(explained: int) -> Cause:
    return Cause(
        fault="vanishing-sum-with-another-factor",
        title="the sum Σ(z−μ), which is zero, is multiplied by another factor than −(2/B)·∂Div/∂σ²",
        wrong=_RIGHT + r" + (\dots)\sum_{i=1}^B(z_i-\mu_B)",
        right=_RIGHT,
        explanation="The sum is zero, so the formula is right. What is left of it is rounding, "
        "which this factor makes larger than the gradient's own. Leave the term out.",
        explained=explained,
        observed=explained,
        properties=("stability.input_gradient",),
    )
