"""The gradients: what they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from bn_oracle.arrays import Array, from_rows
from bn_oracle.bounds.precision import LIMIT

from bn_properties.calls import Train
from bn_properties.cases.case import Case, per_case, splitmix
from bn_properties.families.backward_relations import (
    IOFFE,
    OUTPUT_HOLDS,
    constant_upstream,
    duplicated_batch,
    in_network,
    inverse_scale,
    linear_in_upstream,
    parameter_gradients_apart,
    row_permutation,
    self_adjoint,
)
from bn_properties.property import (
    Ask,
    Check,
    compare,
    dot_room,
    feature_sum,
    per_feature,
    roundings,
    states,
    times,
    widen,
)
from bn_properties.scenario import Scenario
from bn_properties.transcript import Oracle


@states(
    "backward.gamma_gradient",
    finding="dγ is not the upstream gradient times the normalised values, summed over the batch",
    equation=r"\frac{\partial\mathrm{Div}}{\partial\gamma} = \sum_i G_i\,u_i",
    source=IOFFE,
    presupposes=OUTPUT_HOLDS,
)
def gamma_gradient(case: Case, ask: Ask) -> Iterator[Check]:
    """The gradient of γ is the upstream gradient times the normalised values, summed over the
    batch.
    """
    yield from compare(ask, case.training, "dgamma")


@states(
    "backward.beta_gradient",
    finding="dβ is not the upstream gradient summed over the batch",
    equation=r"\frac{\partial\mathrm{Div}}{\partial\beta} = \sum_i G_i",
    source=IOFFE,
)
def beta_gradient(case: Case, ask: Ask) -> Iterator[Check]:
    """The gradient of β is the upstream gradient, summed over the batch."""
    yield from compare(ask, case.training, "dbeta")


@states(
    "backward.input_gradient",
    finding="the gradient dz is not the sum of its direct route and those through σ² and through μ",
    equation=r"\frac{\partial\mathrm{Div}}{\partial z_i} = \frac{\gamma}{s}\left(G_i - "
    r"\overline{G} - u_i\,\overline{G u}\right)",
    source=IOFFE + ", the six equations gathered",
    presupposes=OUTPUT_HOLDS,
)
def input_gradient(case: Case, ask: Ask) -> Iterator[Check]:
    """The gradient of the input takes all three routes: directly, through the variance and through
    the mean.
    """
    yield from compare(ask, case.training, "dz")


@states(
    "backward.zero_gradient_sum",
    finding="the gradients dz of a feature do not sum to zero over the batch",
    equation=r"\sum_i \frac{\partial\mathrm{Div}}{\partial z_i} = 0",
    source="the output does not change when a constant is added to the batch",
    presupposes=(*OUTPUT_HOLDS, "backward.input_gradient"),
)
def zero_gradient_sum(case: Case, ask: Ask) -> Iterator[Check]:
    """The gradients of a feature's inputs sum to zero over the batch."""
    got = widen(ask.response(case.training)[0].array("dz"))
    want = ask.expected(case.training)[0]
    room = dot_room(want.values["dz"], want.bound("dz"), np.ones(case.x.shape))
    yield Check("Σ dz", feature_sum(got), np.zeros(case.features), room)


@states(
    "backward.normalised_identity",
    finding="the sum of dz times the normalised values is not γ·ε·dγ/(σ² + ε)^(3/2)",
    equation=r"\sum_i \frac{\partial\mathrm{Div}}{\partial z_i}u_i = "
    r"\frac{\gamma}{s}\,\frac{\epsilon}{\sigma_B^2+\epsilon}\sum_i G_i u_i",
    source="the closed form, multiplied by u and summed: Σu² = B·σ²/(σ²+ε)",
    presupposes=(*OUTPUT_HOLDS, "backward.input_gradient"),
)
def normalised_identity(case: Case, ask: Ask) -> Iterator[Check]:
    """Along the normalised values themselves, the gradient shrinks by ε/(σ²+ε)."""
    got = widen(ask.response(case.training)[0].array("dz"))
    want = ask.expected(case.training)[0]
    record, own = want.trained.record, want.trained.own
    u = from_rows(record.u, case.x.shape)
    product = feature_sum(got * u)
    expected = record.gamma / record.std * (record.eps / (record.var + record.eps))
    expected = expected * want.values["dgamma"]
    # dz by its bound, and u by the oracle's own, on values of dz that are within theirs.
    size = np.abs(want.values["dz"]) + want.bound("dz")
    room = dot_room(want.values["dz"], want.bound("dz"), u)
    room = room + feature_sum(times(size, from_rows(own.u, case.x.shape)))
    # The expected value: dγ by its bound; 1/s³ by (1−k)^(−3/2), s² being off by k; and two
    # quotients, a sum and two products round.
    factor = record.gamma / record.std
    k = np.minimum(own.relative_variance, LIMIT)
    off = (1 - k) ** -1.5 - 1 + roundings(5)
    room = room + times(want.bound("dgamma"), factor) + off * np.abs(expected)
    room = np.where(own.relative_variance <= LIMIT, room, np.inf)
    yield Check("Σ dz·u", product, expected, room)


@states(
    "backward.finite_differences",
    finding="the gradient dz does not predict what small steps of z do to the training output",
    equation=r"\frac{\mathrm{Div}(z+hd)-\mathrm{Div}(z-hd)}{2h} \to "
    r"\sum_i \frac{\partial\mathrm{Div}}{\partial z_i} d_i",
    source="central differences with one Richardson step, in a direction of random signs",
    presupposes=(*OUTPUT_HOLDS, "backward.input_gradient"),
    stride=12,
)
def finite_differences(case: Case, ask: Ask) -> Iterator[Check]:
    """The input gradient predicts how the submission's own training output moves."""
    plan = _differences(case, ask.oracle)
    if plan is None:
        return
    observed = np.zeros(case.features)
    for weight, scenario in plan.points:
        output = widen(ask.response(scenario)[0].array("out"))
        observed = observed + weight * feature_sum(plan.grad * output)
    got = feature_sum(widen(ask.response(case.training)[0].array("dz")) * plan.direction)
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


@per_case
def _differences(case: Case, oracle: Oracle) -> _Plan | None:
    """Plan a central difference with one Richardson step; None where z ± hd would be rounded."""
    want = oracle(case.training)[0]
    signs = splitmix(case.index, case.x.size).astype(np.int64).reshape(case.x.shape) % 2 * 2 - 1
    # A step of a fixed fraction of s, rounded to a power of two so that z ± h is exact.
    fraction = -12 if case.x.dtype == np.float64 else -5
    step = np.ldexp(1.0, np.frexp(want.trained.record.std)[1] + fraction)
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
        want_there = oracle(scenario)[0]
        out, bound = want_there.values["out"], want_there.bound("out")
        reference = reference + weight * feature_sum(grad * out)
        # Each sum by its terms; the weight is rounded, and its product and the four sums round.
        room = room + abs(weight) * dot_room(out, bound, grad)
        room = room + roundings(6) * abs(weight) * feature_sum(times(np.abs(out) + bound, grad))
    # Truncation is measured, not estimated: what the same differences of the oracle miss by,
    # which rounds as the submission's may: the room counts twice.
    exact = feature_sum(want.values["dz"] * direction)
    room = 2 * room + np.abs(reference - exact)
    room = room + 2 * dot_room(want.values["dz"], want.bound("dz"), direction)
    return _Plan(tuple(points), direction, grad, room)


PROPERTIES = (
    beta_gradient,
    gamma_gradient,
    input_gradient,
    zero_gradient_sum,
    normalised_identity,
    finite_differences,
    parameter_gradients_apart,
    linear_in_upstream,
    constant_upstream,
    self_adjoint,
    row_permutation,
    duplicated_batch,
    inverse_scale,
    in_network,
)
