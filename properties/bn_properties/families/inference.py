"""Inference mode."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from bn_oracle.inference import fold

from bn_properties.cases.case import Case, small_integers
from bn_properties.property import Ask, Check, invariant, no_edits, per_feature, widen
from bn_properties.scenario import SYMBOLS, Infer, Quantity, Scenario, Train

IOFFE = "Ioffe & Szegedy 2015, Algorithm 2"
_STATISTICS: tuple[Quantity, ...] = ("running_mean", "running_var")


@invariant(
    "inference.affine_fold",
    equation=r"\hat z = \frac{\gamma}{\sqrt{\sigma^2+\epsilon}}\,z + "
    r"\left(\beta - \frac{\gamma\mu}{\sqrt{\sigma^2+\epsilon}}\right)",
    source=IOFFE + ", line 11",
)
def affine_fold(case: Case, ask: Ask) -> Iterator[Check]:
    """At inference, each feature is one fixed line a·z + b, made of the running statistics, γ, β and ε."""  # noqa: E501
    got = ask.seen(case.inference)[0].array("out")
    want = ask.answer(case.inference)[0]
    slope, intercept = fold(case.gamma, case.beta, case.running_mean, case.running_var, case.eps)
    z = widen(case.probe)
    line = per_feature(slope, z) * z + per_feature(intercept, z)
    # want.bound holds the oracle's own rounding, folded or straight.
    yield Check("inference output", got, line, want.bound("out"))


@invariant(
    "inference.rows_independent",
    equation=r"\hat z_i = f(z_i), \text{ whatever else is in the batch}",
    source=IOFFE,
    presupposes=("inference.affine_fold",),
    every=3,
)
def rows_independent(case: Case, ask: Ask) -> Iterator[Check]:
    """At inference, an instance gives the same output alone as in company."""
    whole = ask.seen(case.inference)[0].array("out")
    rows = tuple(Infer(case.probe[row : row + 1]) for row in range(len(case.probe)))
    alone = case.once("rows alone", lambda: Scenario(case.full_setup, rows))
    answers = ask.answer(alone)
    for row, seen in enumerate(ask.seen(alone)):
        got = seen.array("out")
        room = 2 * answers[row].bound("out")
        yield Check(f"inference output of row {row} alone", got, widen(whole[row : row + 1]), room)


@invariant(
    "inference.no_state_change",
    equation=r"(\mu, \sigma^2) \text{ after inference} = (\mu, \sigma^2) \text{ before}",
    source=IOFFE,
    every=2,
)
def no_state_change(case: Case, ask: Ask) -> Iterator[Check]:
    """Inference leaves the running statistics as they were, to the last bit, also between two training steps."""  # noqa: E501
    straight, detour = ask.seen(case.sequence), ask.seen(case.interrupted)
    detour[1].array("out")
    for quantity in _STATISTICS:
        name = SYMBOLS[quantity]
        kept = widen(detour[0].array(quantity))
        yield Check(f"{name} after inference", detour[1].array(quantity), kept, None)
        if len(straight) > 1:
            got = detour[2].array(quantity)
            kept = widen(straight[1].array(quantity))
            yield Check(f"{name} after train, infer, train", got, kept, None)


@invariant(
    "inference.after_training",
    equation=r"\hat z = \gamma\,\frac{z - M_1}{\sqrt{V_1+\epsilon}} + \beta",
    source=IOFFE,
    presupposes=(
        "inference.affine_fold",
        "running.mean_recurrence",
        "running.variance_recurrence",
    ),
    every=2,
)
def after_training(case: Case, ask: Ask) -> Iterator[Check]:
    """After training, inference uses what the running statistics have become."""
    want = ask.answer(case.interrupted)[1]
    if want.expected.keys() != {"out", *_STATISTICS}:
        return
    got = ask.seen(case.interrupted)[1].array("out")
    yield Check("inference output after training", got, want.expected["out"], want.bound("out"))


@invariant(
    "inference.fresh_layer",
    equation=r"\hat z = \gamma\,\frac{z - M_0}{\sqrt{V_0+\epsilon}} + \beta",
    source="each course's convention for the initial statistics",
    presupposes=("inference.affine_fold",),
    every=10,
)
def fresh_layer(case: Case, ask: Ask) -> Iterator[Check]:
    """A layer that has never trained infers with the initial statistics, and does not fail."""
    scenario = case.once("fresh", lambda: Scenario(case.parameters, (Infer(case.probe),)))
    want = ask.answer(scenario)[0]
    got = ask.seen(scenario)[0].array("out")
    yield Check("inference output, fresh", got, want.expected["out"], want.bound("out"))


@invariant(
    "inference.any_batch_size",
    equation=r"\hat z(z \oplus z \oplus z) = \hat z(z) \oplus \hat z(z) \oplus \hat z(z)",
    source=IOFFE,
    presupposes=("inference.affine_fold",),
    every=5,
)
def any_batch_size(case: Case, ask: Ask) -> Iterator[Check]:
    """Inference takes a batch of any size, larger than the training batch too."""
    many = np.concatenate([case.probe] * (2 + len(case.x)))
    steps = (Train(case.x), Infer(case.probe), Infer(many))
    scenario = case.once("many", lambda: Scenario(case.parameters, steps))
    seen, want = ask.seen(scenario), ask.answer(scenario)
    reference = np.concatenate([widen(seen[1].array("out"))] * (2 + len(case.x)))
    room = np.concatenate([2 * want[1].bound("out")] * (2 + len(case.x)))
    yield Check("inference output of a large batch", seen[2].array("out"), reference, room)


@invariant(
    "inference.folded_linear",
    equation=r"\mathrm{BN}(xW + c) = x\,(W\,\mathrm{diag}(a)) + (a c + b)",
    source="the affine fold, carried into the layer before",
    presupposes=("inference.affine_fold",),
    every=10,
)
def folded_linear(case: Case, ask: Ask) -> Iterator[Check]:
    """At inference, batch norm behind a linear layer is another linear layer."""
    if case.x.ndim > 2:
        return
    inputs, weight = (
        small_integers(case.index, (4, 3)),
        small_integers(case.index + 3, (3, case.features)) / 4,
    )
    offset = small_integers(case.index + 5, (1, case.features)) / 2
    z = (inputs @ weight + offset).astype(case.x.dtype)
    scenario = case.once("behind linear", lambda: Scenario(case.full_setup, (Infer(z),)))
    slope, intercept = fold(case.gamma, case.beta, case.running_mean, case.running_var, case.eps)
    expected = inputs @ (weight * slope) + (slope * offset + intercept)
    # Small integers over powers of two: z is exact, and the folded weights round a few times.
    size = np.abs(inputs) @ np.abs(weight * slope) + np.abs(slope * offset) + np.abs(intercept)
    room = ask.answer(scenario)[0].bound("out") + 16 * 2.0**-53 * (
        size + np.abs(slope * case.running_mean)
    )
    got = ask.seen(scenario)[0].array("out")
    yield Check("inference output of xW + c", got, expected, room)


@invariant(
    "inference.eps_joins_variance",
    equation=r"\hat z(\sigma^2 + \delta,\ \epsilon - \delta) = \hat z(\sigma^2, \epsilon)",
    source="σ² and ε enter as their sum",
    presupposes=("inference.affine_fold",),
    every=5,
)
def eps_joins_variance(case: Case, ask: Ask) -> Iterator[Check]:
    """Moving a part of ε into the running variance leaves the inference output alone: they count as a sum."""  # noqa: E501
    part = case.eps / 2
    setup = replace(case.full_setup, eps=case.eps - part, running_var=case.running_var + part)
    scenario = case.once("moved ε", lambda: Scenario(setup, (Infer(case.probe),)))
    base, moved = ask.answer(case.inference)[0], ask.answer(scenario)[0]
    # σ² + ε/2 rounds when it is formed: at most a unit of s², half a unit of the output's slope.
    slope = np.abs(fold(case.gamma, case.beta, case.running_mean, case.running_var, case.eps)[0])
    around = np.abs(widen(case.probe) - per_feature(case.running_mean, case.probe))
    room = base.bound("out") + moved.bound("out")
    room = room + 2.0**-52 * per_feature(slope, case.probe) * around
    got = ask.seen(scenario)[0].array("out")
    reference = widen(ask.seen(case.inference)[0].array("out"))
    yield Check("inference output with half of ε in σ²", got, reference, room)


@invariant(
    "inference.gradient",
    equation=r"\frac{\partial\mathrm{Div}}{\partial z_i} = \frac{\gamma}{\sqrt{\sigma^2+\epsilon}}"
    r"\,G_i, \quad \frac{\partial\mathrm{Div}}{\partial\gamma} = "
    r"\sum_i G_i\frac{z_i-\mu}{\sqrt{\sigma^2+\epsilon}}, \quad "
    r"\frac{\partial\mathrm{Div}}{\partial\beta} = \sum_i G_i",
    source=IOFFE + ", differentiated with μ and σ² held fixed",
    presupposes=("inference.affine_fold", "inference.after_training"),
    every=5,
    needs="inference_gradient",
)
def gradient(case: Case, ask: Ask) -> Iterator[Check]:
    """At inference, the gradient goes straight through the line a·z + b: the statistics are constants."""  # noqa: E501
    if not case.more:
        return
    other = small_integers(case.index + 1, case.probe.shape).astype(case.probe.dtype)
    steps = (Infer(case.x, case.grad), Train(case.more[0]), Infer(case.probe, other))
    scenario = case.once(
        "inference gradient",
        lambda: Scenario(case.full_setup, (*steps, Infer(case.x, case.grad))),
    )
    seen = ask.seen(scenario)
    quantities: tuple[Quantity, ...] = ("dz", "dgamma", "dbeta", *_STATISTICS)
    for step, got, want in zip(scenario.steps, seen, ask.answer(scenario), strict=True):
        for quantity in quantities if isinstance(step, Infer) else ():
            if quantity in want.expected:
                yield Check(
                    f"{SYMBOLS[quantity]} in inference mode",
                    got.array(quantity),
                    want.expected[quantity],
                    want.bound(quantity),
                )
    yield no_edits(frozenset().union(*(each.edited for each in seen)))


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
