"""Inference mode."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from bn_oracle.arrays import Array
from bn_oracle.inference import fold

from bn_properties.calls import Infer, Train
from bn_properties.cases.case import Case, per_case, small_integers
from bn_properties.property import (
    Ask,
    Check,
    compare,
    no_edits,
    per_feature,
    roundings,
    states,
    widen,
)
from bn_properties.protocol import GRADIENTS, STATISTICS, SYMBOLS
from bn_properties.scenario import Scenario

IOFFE = "Ioffe & Szegedy 2015, Algorithm 2"


@per_case
def _fold(case: Case) -> tuple[Array, Array]:
    """Return slope and intercept of each feature's line, (C,) each."""
    return fold(case.gamma, case.beta, case.running_mean, case.running_var, case.eps)


@states(
    "inference.affine_fold",
    finding="the inference output is not γ(z − μ)/√(σ² + ε) + β with the running μ and σ²",
    equation=r"\hat z = \frac{\gamma}{\sqrt{\sigma^2+\epsilon}}\,z + "
    r"\left(\beta - \frac{\gamma\mu}{\sqrt{\sigma^2+\epsilon}}\right)",
    source=IOFFE + ", line 11",
)
def affine_fold(case: Case, ask: Ask) -> Iterator[Check]:
    """At inference, each feature is one fixed line a·z + b, made of the running statistics, γ, β
    and ε.
    """
    got = ask.response(case.inference)[0].array("out")
    want = ask.expected(case.inference)[0]
    slope, intercept = _fold(case)
    z = widen(case.probe)
    line = per_feature(slope, z) * z + per_feature(intercept, z)
    # want.bound holds the oracle's own rounding, folded or straight.
    yield Check("inference output", got, line, want.bound("out"))


@per_case
def _rows_alone(case: Case) -> Scenario:
    rows = tuple(Infer(case.probe[row : row + 1]) for row in range(len(case.probe)))
    return Scenario(case.full_setup, rows)


@states(
    "inference.rows_independent",
    finding="an instance's inference output is another one alone than in the batch",
    equation=r"\hat z_i = f(z_i), \text{ whatever else is in the batch}",
    source=IOFFE,
    presupposes=("inference.affine_fold",),
    stride=4,
)
def rows_independent(case: Case, ask: Ask) -> Iterator[Check]:
    """At inference, an instance gives the same output alone as in company."""
    whole = ask.response(case.inference)[0].array("out")
    alone = _rows_alone(case)
    expected = ask.expected(alone)
    for row, response in enumerate(ask.response(alone)):
        got = response.array("out")
        room = 2 * expected[row].bound("out")
        yield Check(f"inference output of row {row} alone", got, widen(whole[row : row + 1]), room)


@states(
    "inference.no_state_change",
    finding="inference changes a running statistic, or what the next training step makes of it",
    equation=r"(\mu, \sigma^2) \text{ after inference} = (\mu, \sigma^2) \text{ before}",
    source=IOFFE,
    stride=2,
)
def no_state_change(case: Case, ask: Ask) -> Iterator[Check]:
    """Inference leaves the running statistics as they were, to the last bit; and the training steps
    behind it go on from them.
    """
    straight, detour = ask.response(case.sequence), ask.response(case.interrupted)
    wanted = ask.expected(case.sequence)
    detour[1].array("out")
    for quantity in STATISTICS:
        name = SYMBOLS[quantity]
        kept = widen(detour[0].array(quantity))
        yield Check(f"{name} after inference", detour[1].array(quantity), kept, None)
        if len(straight) > 1:
            # What an average is kept as may be folded when it is used: another rounding is right.
            got, kept = detour[2].array(quantity), widen(straight[1].array(quantity))
            room = 2 * wanted[1].bound(quantity) if quantity in wanted[1].values else None
            yield Check(f"{name} after train, infer, train", got, kept, room)


@states(
    "inference.after_training",
    finding="after training, the inference output is not what the new running statistics give",
    equation=r"\hat z = \gamma\,\frac{z - M_1}{\sqrt{V_1+\epsilon}} + \beta",
    source=IOFFE,
    presupposes=(
        "inference.affine_fold",
        "running.mean_recurrence",
        "running.variance_recurrence",
    ),
    stride=2,
)
def after_training(case: Case, ask: Ask) -> Iterator[Check]:
    """After training, inference uses what the running statistics have become."""
    if "running_mean" in ask.expected(case.interrupted)[0].values:
        name = "inference output after training"
        yield from compare(ask, case.interrupted, "out", call=1, name=name)


@per_case
def fresh(case: Case) -> Scenario:
    """Return inference by a layer that has never trained."""
    return Scenario(case.parameters, (Infer(case.probe),))


@states(
    "inference.fresh_layer",
    finding="before any training, the inference output is not what the initial statistics give",
    equation=r"\hat z = \gamma\,\frac{z - M_0}{\sqrt{V_0+\epsilon}} + \beta",
    source="each course's convention for the initial statistics",
    presupposes=("inference.affine_fold",),
    stride=20,
)
def fresh_layer(case: Case, ask: Ask) -> Iterator[Check]:
    """A layer that has never trained infers with the initial statistics, and does not fail."""
    yield from compare(ask, fresh(case), "out", name="inference output, fresh")


@states(
    "inference.any_batch_size",
    finding="an instance's inference output is another one in a large batch than in a small one",
    equation=r"\hat z(z \oplus z \oplus z) = \hat z(z) \oplus \hat z(z) \oplus \hat z(z)",
    source=IOFFE,
    presupposes=("inference.affine_fold",),
    stride=8,
)
def any_batch_size(case: Case, ask: Ask) -> Iterator[Check]:
    """Inference takes a batch of any size, larger than the training batch too."""
    scenario, times = _many(case), 2 + len(case.x)
    response, want = ask.response(scenario), ask.expected(scenario)
    reference = np.concatenate([widen(response[1].array("out"))] * times)
    room = np.concatenate([2 * want[1].bound("out")] * times)
    yield Check("inference output of a large batch", response[2].array("out"), reference, room)


@per_case
def _many(case: Case) -> Scenario:
    many = np.concatenate([case.probe] * (2 + len(case.x)))
    return Scenario(case.parameters, (Train(case.x), Infer(case.probe), Infer(many)))


@states(
    "inference.folded_linear",
    finding="behind a linear layer, the inference output is not that of the one linear layer both "
    "fold into",
    equation=r"\mathrm{BN}(xW + c) = x\,(W\,\mathrm{diag}(a)) + (a c + b)",
    source="the affine fold, carried into the layer before",
    presupposes=("inference.affine_fold",),
    stride=10,
)
def folded_linear(case: Case, ask: Ask) -> Iterator[Check]:
    """At inference, batch norm behind a linear layer is another linear layer."""
    if case.x.ndim > 2:
        return
    inputs, weight, offset, scenario = _behind_linear(case)
    slope, intercept = _fold(case)
    expected = inputs @ (weight * slope) + (slope * offset + intercept)
    # z is exact. The slope rounds three times, its product with a mean once, with a weight or the
    # offset once, with the three inputs once; then there are two sums over these, the intercept's
    # difference, its sum and the last one: no term is in more than nine.
    size = np.abs(inputs) @ np.abs(weight * slope) + np.abs(slope * offset)
    size = size + np.abs(slope * case.running_mean) + np.abs(case.beta)
    room = ask.expected(scenario)[0].bound("out") + roundings(9) * size
    got = ask.response(scenario)[0].array("out")
    yield Check("inference output of xW + c", got, expected, room)


@per_case
def _behind_linear(case: Case) -> tuple[Array, Array, Array, Scenario]:
    """Return x (4, 3), W (3, C), c (1, C) and inference on xW + c: small integers over powers of
    two.
    """
    inputs = small_integers(case.index, (4, 3))
    weight = small_integers(case.index + 3, (3, case.features)) / 4
    offset = small_integers(case.index + 5, (1, case.features)) / 2
    z = (inputs @ weight + offset).astype(case.x.dtype)
    return inputs, weight, offset, Scenario(case.full_setup, (Infer(z),))


@per_case
def _moved_eps(case: Case) -> Scenario:
    """Return inference with half of ε moved into the running variance."""
    part = case.eps / 2
    setup = replace(case.full_setup, eps=case.eps - part, running_var=case.running_var + part)
    return Scenario(setup, (Infer(case.probe),))


@states(
    "inference.eps_joins_variance",
    finding="the inference output changes when half of ε is moved into the running σ²",
    equation=r"\hat z(\sigma^2 + \delta,\ \epsilon - \delta) = \hat z(\sigma^2, \epsilon)",
    source="σ² and ε enter as their sum",
    presupposes=("inference.affine_fold",),
    stride=10,
)
def eps_joins_variance(case: Case, ask: Ask) -> Iterator[Check]:
    """Moving a part of ε into the running variance leaves the inference output alone: they count
    as a sum.
    """
    scenario = _moved_eps(case)
    base, moved = ask.expected(case.inference)[0], ask.expected(scenario)[0]
    # σ² + ε/2 rounds once when it is formed: by a w-th part of s², half of one of the slope.
    slope = np.abs(_fold(case)[0])
    around = np.abs(widen(case.probe) - per_feature(case.running_mean, case.probe))
    room = base.bound("out") + moved.bound("out")
    room = room + roundings(1) * per_feature(slope, case.probe) * around
    got = ask.response(scenario)[0].array("out")
    reference = widen(ask.response(case.inference)[0].array("out"))
    yield Check("inference output with half of ε in σ²", got, reference, room)


@states(
    "inference.gradient",
    finding="in inference mode, a gradient or a running statistic is wrong, or an array is edited",
    equation=r"\frac{\partial\mathrm{Div}}{\partial z_i} = \frac{\gamma}{\sqrt{\sigma^2+\epsilon}}"
    r"\,G_i, \quad \frac{\partial\mathrm{Div}}{\partial\gamma} = "
    r"\sum_i G_i\frac{z_i-\mu}{\sqrt{\sigma^2+\epsilon}}, \quad "
    r"\frac{\partial\mathrm{Div}}{\partial\beta} = \sum_i G_i",
    source=IOFFE + ", differentiated with μ and σ² held fixed",
    presupposes=("inference.affine_fold", "inference.after_training", "hygiene.input_unmodified"),
    stride=25,
    needs="inference_gradient",
)
def gradient(case: Case, ask: Ask) -> Iterator[Check]:
    """At inference, the gradient goes straight through the line a·z + b: the statistics are
    constants.
    """
    if not case.more:
        return
    scenario = _differentiated(case)
    quantities, name = (*GRADIENTS, *STATISTICS), "{} in inference mode"
    for number, call in enumerate(scenario.calls):
        if isinstance(call, Infer):
            yield from compare(ask, scenario, quantities, call=number, name=name)
    yield no_edits(frozenset().union(*(each.edited for each in ask.response(scenario))))


@per_case
def _differentiated(case: Case) -> Scenario:
    """Return inference with its backward, training, and both inferences with theirs."""
    other = small_integers(case.index + 1, case.probe.shape).astype(case.probe.dtype)
    first = Infer(case.x, case.grad)
    calls = (first, Train(case.more[0]), Infer(case.probe, other), first)
    return Scenario(case.full_setup, calls)


PROPERTIES = (
    affine_fold,
    rows_independent,
    no_state_change,
    after_training,
    fresh_layer,
    any_batch_size,
    folded_linear,
    eps_joins_variance,
    gradient,
)
