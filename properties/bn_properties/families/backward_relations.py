"""The gradients: how they transform, and what they are blind to."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from bn_oracle.arrays import Array

from bn_properties.calls import Train
from bn_properties.cases.case import Case, per_case, small_integers
from bn_properties.families.training_relations import (
    FACTOR,
    RARELY,
    doubled,
    reversed_rows,
    scaled,
)
from bn_properties.property import (
    Ask,
    Check,
    dot_room,
    feature_sum,
    roundings,
    states,
    widen,
)
from bn_properties.protocol import GRADIENTS, SYMBOLS
from bn_properties.scenario import Scenario
from bn_properties.transcript import Oracle

IOFFE = "Ioffe & Szegedy 2015, §3"
OUTPUT_HOLDS = ("training.agreement", "training.uses_eps", "training.duplicated_batch")
BACKWARD = (
    *OUTPUT_HOLDS,
    "backward.input_gradient",
    "backward.gamma_gradient",
    "backward.beta_gradient",
)


@per_case
def _second(case: Case) -> Array:
    """Return another upstream gradient, of small integers."""
    return small_integers(case.index + 1, case.x.shape)


@per_case
def _with_upstream(case: Case, times_first: int) -> Scenario:
    """Return the case's training with a multiple of G, plus H, as the upstream gradient.

    Drawn ones are integers, or exact multiples of one power of two, so that the sum is exact.
    """
    grad = times_first * widen(case.grad) + _second(case)
    return Scenario(case.full_setup, (Train(case.x, grad.astype(case.x.dtype)),))


@states(
    "backward.linear_in_upstream",
    finding="a gradient for the upstream gradient 2G + H is not twice that for G plus that for H",
    equation=r"\mathrm{backward}(2G + H) = 2\,\mathrm{backward}(G) + \mathrm{backward}(H)",
    source="a derivative is linear in what it is applied to",
    presupposes=BACKWARD,
    stride=10,
)
def linear_in_upstream(case: Case, ask: Ask) -> Iterator[Check]:
    """All three gradients are linear in the upstream gradient."""
    alone, both = _with_upstream(case, 0), _with_upstream(case, 2)
    wanted = [ask.expected(scenario)[0] for scenario in (case.training, alone, both)]
    shown = [ask.response(scenario)[0] for scenario in (case.training, alone, both)]
    for quantity in GRADIENTS:
        base, first, second = (each.bound(quantity) for each in wanted)
        reference = 2 * widen(shown[0].array(quantity)) + widen(shown[1].array(quantity))
        size = 2 * (np.abs(wanted[0].values[quantity]) + base)
        size = size + np.abs(wanted[1].values[quantity]) + first
        # The sum rounds once; doubling is exact.
        room = 2 * base + first + second + roundings(1) * size
        yield Check(f"{SYMBOLS[quantity]} of 2G + H", shown[2].array(quantity), reference, room)


@per_case
def _constant_gradient(case: Case) -> Scenario:
    return Scenario(case.full_setup, (Train(case.x, np.full_like(case.x, 3)),))


@states(
    "backward.constant_upstream",
    finding="the gradient dz is not zero where the upstream gradient is the same for the whole "
    "batch",
    equation=r"G_i = c \Rightarrow \frac{\partial\mathrm{Div}}{\partial z_i} = 0",
    source="Σẑ = Bβ whatever the batch is",
    presupposes=BACKWARD,
    stride=5,
)
def constant_upstream(case: Case, ask: Ask) -> Iterator[Check]:
    """An upstream gradient that is the same for the whole batch moves no input: the mean takes it
    away.
    """
    scenario = _constant_gradient(case)
    got = ask.response(scenario)[0].array("dz")
    room = ask.expected(scenario)[0].bound("dz")
    yield Check("dz for constant G", got, np.zeros(case.x.shape), room)


@states(
    "backward.self_adjoint",
    finding="for upstream gradients G and H, the sum of H times dz(G) is not that of G times dz(H)",
    equation=r"\langle v, J w \rangle = \langle J v, w \rangle",
    source="J = (γ/s)(I − 11ᵀ/B − uuᵀ/B) is symmetric",
    presupposes=BACKWARD,
    stride=5,
)
def self_adjoint(case: Case, ask: Ask) -> Iterator[Check]:
    """The influence of instance i on instance j equals that of j on i."""
    alone = _with_upstream(case, 0)
    grad, other = widen(case.grad), _second(case)
    base, first = ask.expected(case.training)[0], ask.expected(alone)[0]
    left = feature_sum(other * widen(ask.response(case.training)[0].array("dz")))
    right = feature_sum(grad * widen(ask.response(alone)[0].array("dz")))
    room = dot_room(base.values["dz"], base.bound("dz"), other)
    room = room + dot_room(first.values["dz"], first.bound("dz"), grad)
    yield Check("⟨H, dz(G)⟩", left, right, room)


@states(
    "backward.row_permutation",
    finding="when the batch is reversed, dz is not simply reversed, or dγ or dβ changes",
    equation=r"\mathrm{backward}(PG; Pz) = P\,\mathrm{backward}(G; z)",
    source="the batch has no order",
    presupposes=BACKWARD,
    stride=5,
)
def row_permutation(case: Case, ask: Ask) -> Iterator[Check]:
    """Reversing the order of the batch reverses dz, and leaves dγ and dβ alone."""
    base = ask.response(case.training)[0]
    turned = ask.response(reversed_rows(case))[0]
    want = ask.expected(case.training)[0]
    for quantity in GRADIENTS:
        got = turned.array(quantity)
        yield Check(
            f"{SYMBOLS[quantity]} of the reversed batch",
            got[::-1] if quantity == "dz" else got,
            widen(base.array(quantity)),
            2 * want.bound(quantity),
        )


@states(
    "backward.duplicated_batch",
    finding="when the whole batch is fed twice over, dz changes, or dγ or dβ does not double",
    equation=r"\mathrm{backward}(G \oplus G; z \oplus z) = (dz \oplus dz,\ 2\,d\gamma,\ 2\,d\beta)",
    source="the means over the batch stay, the sums double",
    presupposes=BACKWARD,
    stride=RARELY,
)
def duplicated_batch(case: Case, ask: Ask) -> Iterator[Check]:
    """Feeding every instance twice doubles dγ and dβ and leaves each dz alone: the first two are
    sums, not means.
    """
    scenario = doubled(case)
    base, want = ask.expected(case.training)[0], ask.expected(scenario)[0]
    twice, first = ask.response(scenario)[0], ask.response(case.training)[0]
    for quantity in GRADIENTS:
        reference, room = widen(first.array(quantity)), base.bound(quantity)
        if quantity == "dz":
            reference, room = (np.concatenate([each, each]) for each in (reference, room))
        else:
            reference, room = 2 * reference, 2 * room
        yield Check(
            f"{SYMBOLS[quantity]} of the doubled batch",
            twice.array(quantity),
            reference,
            room + want.bound(quantity),
        )


@states(
    "backward.inverse_scale",
    finding="the gradient dz for −4z with 16ε is not a quarter of that for z",
    equation=r"\frac{\partial\mathrm{Div}}{\partial(az)} = \frac{1}{|a|}"
    r"\frac{\partial\mathrm{Div}}{\partial z} \quad\text{with } a^2\epsilon",
    source="Ioffe & Szegedy 2015, §3.3, with ε scaled along",
    presupposes=BACKWARD,
    stride=RARELY,
)
def inverse_scale(case: Case, ask: Ask) -> Iterator[Check]:
    """Scaling the input by a, and ε by a², divides the input gradient by |a|: large weights get
    small steps.
    """
    scenario = scaled(case)
    base, want = ask.expected(case.training)[0], ask.expected(scenario)[0]
    got = ask.response(scenario)[0].array("dz")
    reference = widen(ask.response(case.training)[0].array("dz")) / abs(FACTOR)
    room = base.bound("dz") / abs(FACTOR) + want.bound("dz")
    yield Check("dz of −4z with 16ε", got, reference, room)


@states(
    "backward.parameter_gradients_apart",
    finding="dγ is what dβ should be, and dβ is what dγ should be",
    equation=r"d\gamma = \sum_i G_i u_i \quad\text{and not}\quad \sum_i G_i = d\beta",
    source="the most frequent mistake in one course's submissions",
    presupposes=("backward.gamma_gradient", "backward.beta_gradient"),
)
def parameter_gradients_apart(case: Case, ask: Ask) -> Iterator[Check]:
    """dγ is not dβ: neither stands where the other belongs."""
    want = ask.expected(case.training)[0]
    gamma, beta = want.values["dgamma"], want.values["dbeta"]
    room = want.bound("dgamma") + want.bound("dbeta")
    # What lies within room of β's gradient is then further than that from γ's.
    apart = np.abs(gamma - beta) > 2 * room
    if not apart.any():
        return
    shown = ask.response(case.training)[0]
    got_gamma, got_beta = widen(shown.array("dgamma")), widen(shown.array("dbeta"))
    # Where each equals the other's right value, they are exchanged.
    exchanged = apart & (np.abs(got_gamma - beta) <= room) & (np.abs(got_beta - gamma) <= room)
    instead = np.where(exchanged, got_gamma, gamma)
    yield Check("dγ, where it is what dβ should be", instead, gamma, room)


@states(
    "backward.in_network",
    finding="behind a linear layer, dz gives the weights a wrong gradient, or their bias one that "
    "is not zero",
    equation=r"\frac{\partial\mathrm{Div}}{\partial W} = x^\top"
    r"\frac{\partial\mathrm{Div}}{\partial z}, \quad z = xW + b, \quad"
    r"\frac{\partial\mathrm{Div}}{\partial b} = 0",
    source="the lecture's two-hidden-layer network: BN between the affine map and the activation",
    presupposes=BACKWARD,
    stride=10,
)
def in_network(case: Case, ask: Ask) -> Iterator[Check]:
    """In a network, the gradient reaches the weights before batch norm, and their bias
    gets none.
    """
    if case.x.ndim > 2:
        return
    inputs, scenario = _network(case, ask.oracle)
    rows = len(inputs)
    want = ask.expected(scenario)[0]
    got = widen(ask.response(scenario)[0].array("dz"))
    dz, bound = want.values["dz"], want.bound("dz")
    # Each product of x and dz, and the sum over the rows, rounds; on either side.
    judged = np.isfinite(bound).all(axis=0)
    error = np.where(np.isinf(bound), 0.0, bound)
    room = np.abs(inputs).T @ (error + 2 * roundings(rows) * (np.abs(dz) + error))
    room = np.where(judged, room, np.inf)
    yield Check("∂Div/∂W", inputs.T @ got, inputs.T @ dz, room)
    room = dot_room(dz, bound, np.ones(dz.shape))
    yield Check("∂Div/∂b", feature_sum(got), np.zeros(case.features), room)


@per_case
def _network(case: Case, oracle: Oracle) -> tuple[Array, Scenario]:
    """Return inputs x of a linear layer (N, 3), and training on xW with a network's gradient.

    Behind it tanh and a mean square: the upstream gradient is that of a real network.
    """
    rows = max(2, len(case.x) % 8)
    inputs = small_integers(case.index, (rows, 3))
    z = (inputs @ small_integers(case.index + 7, (3, case.features)) / 4).astype(case.x.dtype)
    out = oracle(Scenario(case.full_setup, (Train(z),)))[0].values["out"]
    hidden = np.tanh(out)
    grad = (2 * (hidden - 0.5) * (1 - hidden**2) / hidden.size).astype(case.x.dtype)
    return inputs, Scenario(case.full_setup, (Train(z, grad),))
