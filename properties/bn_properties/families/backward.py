"""The gradients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from bn_oracle.arrays import Array, from_rows

from bn_properties.cases.case import Case, splitmix
from bn_properties.property import Ask, Check, feature_sum, invariant, per_feature, spread, widen
from bn_properties.scenario import Scenario, Train

IOFFE = "Ioffe & Szegedy 2015, §3"
FORWARD = ("training.agreement", "training.uses_eps", "training.duplicated_batch")


@invariant(
    "backward.gamma_gradient",
    equation=r"\frac{\partial\mathrm{Div}}{\partial\gamma} = \sum_i G_i\,u_i",
    source=IOFFE,
    presupposes=FORWARD,
)
def gamma_gradient(case: Case, ask: Ask) -> Iterator[Check]:
    """The gradient of γ is the upstream gradient times the normalised values, summed over the batch."""  # noqa: E501
    got = ask.seen(case.training)[0].array("dgamma")
    want = ask.answer(case.training)[0]
    yield Check("dγ", got, want.expected["dgamma"], want.bound("dgamma"))


@invariant(
    "backward.beta_gradient",
    equation=r"\frac{\partial\mathrm{Div}}{\partial\beta} = \sum_i G_i",
    source=IOFFE,
)
def beta_gradient(case: Case, ask: Ask) -> Iterator[Check]:
    """The gradient of β is the upstream gradient, summed over the batch."""
    got = ask.seen(case.training)[0].array("dbeta")
    want = ask.answer(case.training)[0]
    yield Check("dβ", got, want.expected["dbeta"], want.bound("dbeta"))


@invariant(
    "backward.input_gradient",
    equation=r"\frac{\partial\mathrm{Div}}{\partial z_i} = \frac{\gamma}{s}\left(G_i - "
    r"\overline{G} - u_i\,\overline{G u}\right)",
    source=IOFFE + ", the six equations gathered",
    presupposes=FORWARD,
)
def input_gradient(case: Case, ask: Ask) -> Iterator[Check]:
    """The gradient of the input takes all three routes: directly, through the variance and through the mean."""  # noqa: E501
    got = ask.seen(case.training)[0].array("dz")
    want = ask.answer(case.training)[0]
    yield Check("dz", got, want.expected["dz"], want.bound("dz"))


@invariant(
    "backward.zero_gradient_sum",
    equation=r"\sum_i \frac{\partial\mathrm{Div}}{\partial z_i} = 0",
    source="the output does not change when a constant is added to the batch",
    presupposes=(*FORWARD, "backward.input_gradient"),
)
def zero_gradient_sum(case: Case, ask: Ask) -> Iterator[Check]:
    """The gradients of a feature's inputs sum to zero over the batch."""
    got = widen(ask.seen(case.training)[0].array("dz"))
    want = ask.answer(case.training)[0]
    # The property's own sum of B terms rounds in float64; a right term is within its bound.
    size = np.abs(want.expected["dz"]) + want.bound("dz")
    room = feature_sum(want.bound("dz") + case.batch_size * 2.0**-53 * size)
    yield Check("Σ dz", feature_sum(got), np.zeros(case.features), room)


@invariant(
    "backward.normalised_identity",
    equation=r"\sum_i \frac{\partial\mathrm{Div}}{\partial z_i}u_i = "
    r"\frac{\gamma}{s}\,\frac{\epsilon}{\sigma_B^2+\epsilon}\sum_i G_i u_i",
    source="the closed form, multiplied by u and summed: Σu² = B·σ²/(σ²+ε)",
    presupposes=(*FORWARD, "backward.input_gradient"),
)
def normalised_identity(case: Case, ask: Ask) -> Iterator[Check]:
    """Along the normalised values themselves, the gradient shrinks by ε/(σ²+ε)."""
    got = widen(ask.seen(case.training)[0].array("dz"))
    want = ask.answer(case.training)[0]
    record = want.record
    assert record is not None
    u = from_rows(record.u, case.x.shape)
    product = feature_sum(got * u)
    square = record.var + record.eps
    expected = record.gamma / record.std * (record.eps / square) * want.expected["dgamma"]
    # dz by its bound, u by the oracle's own (which its dγ bound holds too), the sum by B roundings.
    size = np.abs(want.expected["dz"]) + want.bound("dz")
    room = (
        feature_sum(spread(want.bound("dz"), u))
        + feature_sum(size) * 2.0**-50 * (1 + np.abs(record.rows).max(axis=0) / record.std)
        + (case.batch_size + 2) * 2.0**-53 * feature_sum(spread(size, u))
        + spread(want.bound("dgamma"), record.gamma / record.std)
        + 8 * 2.0**-53 * np.abs(expected)
    )
    yield Check("Σ dz·u", product, expected, room)


@invariant(
    "backward.finite_differences",
    equation=r"\frac{\mathrm{Div}(z+hd)-\mathrm{Div}(z-hd)}{2h} \to "
    r"\sum_i \frac{\partial\mathrm{Div}}{\partial z_i} d_i",
    source="central differences with one Richardson step, in a direction of random signs",
    presupposes=(*FORWARD, "backward.input_gradient"),
    every=8,
)
def finite_differences(case: Case, ask: Ask) -> Iterator[Check]:
    """The input gradient predicts how the submission's own training output moves."""
    plan = case.once("differences", lambda: _differences(case, ask))
    if plan is None:
        return
    observed = np.zeros(case.features)
    for weight, scenario in plan.points:
        seen = plan.grad * widen(ask.seen(scenario)[0].array("out"))
        observed = observed + weight * feature_sum(seen)
    got = feature_sum(widen(ask.seen(case.training)[0].array("dz")) * plan.direction)
    # Both sides are the submission's; what is bounded is how far they may lie apart.
    yield Check("Σ dz·hd", got, observed, plan.room)


@dataclass(frozen=True)
class _Plan:
    """Where to take differences, and how far they may be off."""

    points: tuple[tuple[float, Scenario], ...]
    """Weights and the batches at z ± hd and z ± hd/2."""
    direction: Array
    grad: Array
    room: Array


def _differences(case: Case, ask: Ask) -> _Plan | None:
    """Plan a central difference with one Richardson step; None where z ± hd would be rounded."""
    want = ask.answer(case.training)[0]
    record = want.record
    assert record is not None
    signs = splitmix(case.index, case.x.size).astype(np.int64).reshape(case.x.shape) % 2 * 2 - 1
    # A step of a fixed fraction of s, rounded to a power of two so that z ± h is nearly exact.
    fraction = -12 if case.x.dtype == np.float64 else -5
    step = np.ldexp(1.0, np.frexp(record.std)[1] + fraction)
    direction = signs * per_feature(step, case.x)
    points = []
    for multiple, weight in ((1.0, -1 / 6), (-1.0, 1 / 6), (0.5, 4 / 3), (-0.5, -4 / 3)):
        moved = (case.x + multiple * direction).astype(case.x.dtype)
        if not np.array_equal(widen(moved) - case.x, multiple * direction):
            return None
        points.append((weight, Scenario(case.full_setup, (Train(moved),))))
    grad = widen(case.grad)
    reference, room = np.zeros(case.features), np.zeros(case.features)
    for weight, scenario in points:
        answer = ask.answer(scenario)[0]
        expected = answer.expected["out"]
        reference = reference + weight * feature_sum(grad * expected)
        # Each output by its bound; the property's sums of B products round in float64.
        error = answer.bound("out")
        error = error + case.batch_size * 2.0**-52 * (np.abs(expected) + error)
        room = room + abs(weight) * feature_sum(spread(error, grad))
    # Truncation is measured, not estimated: what the same differences of the oracle miss by.
    exact = feature_sum(want.expected["dz"] * direction)
    room = room + np.abs(reference - exact) + room
    error = want.bound("dz")
    error = error + case.batch_size * 2.0**-52 * (np.abs(want.expected["dz"]) + error)
    room = room + feature_sum(spread(error, direction))
    return _Plan(tuple(points), direction, grad, room)


PROPERTIES = (
    beta_gradient,
    gamma_gradient,
    input_gradient,
    zero_gradient_sum,
    normalised_identity,
    finite_differences,
)
