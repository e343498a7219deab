"""The gradients: how they transform, and what they are blind to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from bn_oracle.arrays import Array

from bn_properties.cases.case import Case, small_integers
from bn_properties.property import (
    Ask,
    Check,
    feature_sum,
    invariant,
    spread,
    widen,
)
from bn_properties.scenario import SYMBOLS, Quantity, Scenario, Train

BACKWARD = (
    "training.agreement",
    "training.uses_eps",
    "training.duplicated_batch",
    "backward.input_gradient",
    "backward.gamma_gradient",
    "backward.beta_gradient",
)
UNIT = 2.0**-53
GRADIENTS: tuple[Quantity, ...] = ("dz", "dgamma", "dbeta")


def _second(case: Case) -> Array:
    """Return another upstream gradient, of small integers."""
    return small_integers(case.index + 1, case.x.shape)


def _other_gradients(case: Case) -> tuple[Scenario, Scenario]:
    """Return the case's training with the upstream gradient H, and with 2G + H."""
    other = _second(case)
    upstreams = (other, 2 * widen(case.grad) + other)
    first, second = (
        Scenario(case.full_setup, (Train(case.x, grad.astype(case.x.dtype)),)) for grad in upstreams
    )
    return first, second


@invariant(
    "backward.linear_in_upstream",
    equation=r"\mathrm{backward}(2G + H) = 2\,\mathrm{backward}(G) + \mathrm{backward}(H)",
    source="a derivative is linear in what it is applied to",
    presupposes=BACKWARD,
    every=10,
)
def linear_in_upstream(case: Case, ask: Ask) -> Iterator[Check]:
    """All three gradients are linear in the upstream gradient."""
    alone, both = case.once("other gradients", lambda: _other_gradients(case))
    base, first, second = (ask.answer(s)[0] for s in (case.training, alone, both))
    seen = [ask.seen(s)[0] for s in (case.training, alone, both)]
    for quantity in GRADIENTS:
        reference = 2 * widen(seen[0].array(quantity)) + widen(seen[1].array(quantity))
        room = 2 * base.bound(quantity) + first.bound(quantity) + second.bound(quantity)
        size = 2 * np.abs(base.expected[quantity]) + np.abs(first.expected[quantity]) + room
        yield Check(
            f"{SYMBOLS[quantity]} of 2G + H",
            seen[2].array(quantity),
            reference,
            room + 4 * UNIT * size,
        )


@invariant(
    "backward.constant_upstream",
    equation=r"G_i = c \Rightarrow \frac{\partial\mathrm{Div}}{\partial z_i} = 0",
    source="Σẑ = Bβ whatever the batch is",
    presupposes=BACKWARD,
    every=5,
)
def constant_upstream(case: Case, ask: Ask) -> Iterator[Check]:
    """An upstream gradient that is the same for the whole batch moves no input: the mean takes it away."""  # noqa: E501
    scenario = case.once(
        "constant gradient",
        lambda: Scenario(case.full_setup, (Train(case.x, np.full_like(case.x, 3)),)),
    )
    got = ask.seen(scenario)[0].array("dz")
    room = ask.answer(scenario)[0].bound("dz")
    yield Check("dz for constant G", got, np.zeros(case.x.shape), room)


@invariant(
    "backward.self_adjoint",
    equation=r"\langle v, J w \rangle = \langle J v, w \rangle",
    source="J = (γ/s)(I − 11ᵀ/B − uuᵀ/B) is symmetric",
    presupposes=BACKWARD,
    every=5,
)
def self_adjoint(case: Case, ask: Ask) -> Iterator[Check]:
    """The influence of instance i on instance j equals that of j on i."""
    alone, _ = case.once("other gradients", lambda: _other_gradients(case))
    grad, other = widen(case.grad), _second(case)
    base, first = ask.answer(case.training)[0], ask.answer(alone)[0]
    left = feature_sum(other * widen(ask.seen(case.training)[0].array("dz")))
    right = feature_sum(grad * widen(ask.seen(alone)[0].array("dz")))
    room = feature_sum(
        spread(base.bound("dz") * (1 + case.batch_size * UNIT), other)
        + spread(first.bound("dz") * (1 + case.batch_size * UNIT), grad)
        + case.batch_size * 2 * UNIT * np.abs(other * base.expected["dz"])
        + case.batch_size * 2 * UNIT * np.abs(grad * first.expected["dz"])
    )
    yield Check("⟨H, dz(G)⟩", left, right, room)


@invariant(
    "backward.row_permutation",
    equation=r"\mathrm{backward}(PG; Pz) = P\,\mathrm{backward}(G; z)",
    source="the batch has no order",
    presupposes=BACKWARD,
    every=5,
)
def row_permutation(case: Case, ask: Ask) -> Iterator[Check]:
    """Reversing the order of the batch reverses dz, and leaves dγ and dβ alone."""
    scenario = case.once(
        "reversed", lambda: Scenario(case.full_setup, (Train(case.x[::-1], case.grad[::-1]),))
    )
    base, seen = ask.seen(case.training)[0], ask.seen(scenario)[0]
    want = ask.answer(case.training)[0]
    for quantity in GRADIENTS:
        got = seen.array(quantity)
        yield Check(
            f"{SYMBOLS[quantity]} of the reversed batch",
            got[::-1] if quantity == "dz" else got,
            widen(base.array(quantity)),
            2 * want.bound(quantity),
        )


@invariant(
    "backward.duplicated_batch",
    equation=r"\mathrm{backward}(G \oplus G; z \oplus z) = (dz \oplus dz,\ 2\,d\gamma,\ 2\,d\beta)",
    source="the means over the batch stay, the sums double",
    presupposes=BACKWARD,
    every=5,
)
def duplicated_batch(case: Case, ask: Ask) -> Iterator[Check]:
    """Feeding every instance twice doubles dγ and dβ and leaves each dz alone: the first two are sums, not means."""  # noqa: E501
    step = Train(np.concatenate([case.x, case.x]), np.concatenate([case.grad, case.grad]))
    scenario = case.once("doubled with gradient", lambda: Scenario(case.full_setup, (step,)))
    base, want = ask.answer(case.training)[0], ask.answer(scenario)[0]
    seen, first = ask.seen(scenario)[0], ask.seen(case.training)[0]
    for quantity in GRADIENTS:
        reference, room = widen(first.array(quantity)), base.bound(quantity)
        if quantity == "dz":
            reference, room = (np.concatenate([each, each]) for each in (reference, room))
        else:
            reference, room = 2 * reference, 2 * room
        yield Check(
            f"{SYMBOLS[quantity]} of the doubled batch",
            seen.array(quantity),
            reference,
            room + want.bound(quantity),
        )


@invariant(
    "backward.inverse_scale",
    equation=r"\frac{\partial\mathrm{Div}}{\partial(az)} = \frac{1}{|a|}"
    r"\frac{\partial\mathrm{Div}}{\partial z} \quad\text{with } a^2\epsilon",
    source="Ioffe & Szegedy 2015, §3.3, with ε scaled along",
    presupposes=BACKWARD,
    every=5,
)
def inverse_scale(case: Case, ask: Ask) -> Iterator[Check]:
    """Scaling the input by a, and ε by a², divides the input gradient by |a|: large weights get small steps."""  # noqa: E501
    factor = -4.0
    setup = replace(case.full_setup, eps=case.eps * factor * factor)
    step = Train(case.x * case.x.dtype.type(factor), case.grad)
    scenario = case.once("scaled with gradient", lambda: Scenario(setup, (step,)))
    base, want = ask.answer(case.training)[0], ask.answer(scenario)[0]
    got = ask.seen(scenario)[0].array("dz")
    reference = widen(ask.seen(case.training)[0].array("dz")) / abs(factor)
    room = base.bound("dz") / abs(factor) + want.bound("dz")
    yield Check("dz of −4z with 16ε", got, reference, room)


@invariant(
    "backward.parameter_gradients_apart",
    equation=r"d\gamma = \sum_i G_i u_i \quad\text{and not}\quad \sum_i G_i = d\beta",
    source="the most frequent mistake in one course's submissions",
    presupposes=("backward.gamma_gradient", "backward.beta_gradient"),
)
def parameter_gradients_apart(case: Case, ask: Ask) -> Iterator[Check]:
    """dγ is not dβ: neither stands where the other belongs."""
    want = ask.answer(case.training)[0]
    gamma, beta = want.expected["dgamma"], want.expected["dbeta"]
    room = want.bound("dgamma") + want.bound("dbeta")
    apart = np.abs(gamma - beta) > 4 * room
    if not apart.any():
        return
    seen = ask.seen(case.training)[0]
    got_gamma, got_beta = widen(seen.array("dgamma")), widen(seen.array("dbeta"))
    # Where each equals the other's right value, they are exchanged.
    exchanged = apart & (np.abs(got_gamma - beta) <= room) & (np.abs(got_beta - gamma) <= room)
    shown = np.where(exchanged, got_gamma, gamma)
    yield Check("dγ, where it is what dβ should be", shown, gamma, room)


@invariant(
    "backward.in_network",
    equation=r"\frac{\partial\mathrm{Div}}{\partial W} = x^\top"
    r"\frac{\partial\mathrm{Div}}{\partial z}, \quad z = xW + b, \quad"
    r"\frac{\partial\mathrm{Div}}{\partial b} = 0",
    source="the lecture's two-hidden-layer network: BN between the affine map and the activation",
    presupposes=BACKWARD,
    every=10,
)
def in_network(case: Case, ask: Ask) -> Iterator[Check]:
    """In a network, the gradient reaches the weights before batch norm, and their bias gets none."""  # noqa: E501
    if case.x.ndim > 2:
        return
    rows = max(2, len(case.x) % 8)
    inputs = small_integers(case.index, (rows, 3))
    z = (inputs @ small_integers(case.index + 7, (3, case.features)) / 4).astype(case.x.dtype)
    plain = Scenario(case.full_setup, (Train(z),))
    out = case.once("network", lambda: plain)
    # Behind it tanh and a mean square: the upstream gradient is that of a real network.
    hidden = np.tanh(ask.answer(out)[0].expected["out"])
    grad = (2 * (hidden - 0.5) * (1 - hidden**2) / hidden.size).astype(case.x.dtype)
    scenario = case.once(
        "network with gradient", lambda: Scenario(case.full_setup, (Train(z, grad),))
    )
    want = ask.answer(scenario)[0]
    got = widen(ask.seen(scenario)[0].array("dz"))
    weights = inputs.T @ got
    room = np.abs(inputs).T @ np.where(np.isinf(want.bound("dz")), 0.0, want.bound("dz"))
    size = np.abs(inputs).T @ np.abs(want.expected["dz"])
    room = np.where(np.isinf(want.bound("dz")).any(axis=0), np.inf, room + 2 * rows * UNIT * size)
    yield Check("∂Div/∂W", weights, inputs.T @ want.expected["dz"], room)
    total = feature_sum(want.bound("dz") + rows * UNIT * np.abs(want.expected["dz"]))
    yield Check("∂Div/∂b", feature_sum(got), np.zeros(case.features), total)


PROPERTIES = (
    parameter_gradients_apart,
    linear_in_upstream,
    constant_upstream,
    self_adjoint,
    row_permutation,
    duplicated_batch,
    inverse_scale,
    in_network,
)
