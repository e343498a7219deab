"""Training mode, forward."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from bn_properties.cases.case import Case
from bn_properties.property import Ask, Check, invariant, per_feature, widen
from bn_properties.scenario import Scenario, Train

IOFFE = "Ioffe & Szegedy 2015, Algorithm 1"


@invariant(
    "training.agreement",
    equation=r"\hat z_i = \gamma\,\frac{z_i-\mu_B}{\sqrt{\sigma_B^2+\epsilon}} + \beta",
    source=IOFFE,
)
def agreement(case: Case, ask: Ask) -> Iterator[Check]:
    """In training, each feature is normalised by its own batch mean and biased batch variance, then scaled by γ and shifted by β."""  # noqa: E501
    got = ask.seen(case.training)[0].array("out")
    want = ask.answer(case.training)[0]
    yield Check("training output", got, want.expected["out"], want.bound("out"))


@invariant(
    "training.uses_eps",
    equation=r"\epsilon_1 \ne \epsilon_2 \Rightarrow \hat z(\epsilon_1) \ne \hat z(\epsilon_2)",
    source="each course's interface: ε is an attribute or an argument",
    every=4,
)
def uses_eps(case: Case, ask: Ask) -> Iterator[Check]:
    """The ε that is set on the layer is the ε in the formula: with another ε, the output changes."""  # noqa: E501
    variance = float(widen(case.x).var(axis=(0, *range(2, case.x.ndim))).max())
    other = float(np.ldexp(1.0, int(np.frexp(max(case.eps, variance))[1]) + 2))
    if other == 0.0 or not np.isfinite(other):
        return
    setup = replace(case.full_setup, eps=other)
    changed = case.once("other ε", lambda: Scenario(setup, (Train(case.x),)))
    base, moved = ask.answer(case.training)[0], ask.answer(changed)[0]
    room = base.bound("out") + moved.bound("out")
    visible = np.abs(base.expected["out"] - moved.expected["out"]) > 4 * room
    if not visible.any():
        return
    first = ask.seen(case.training)[0].array("out")
    second = ask.seen(changed)[0].array("out")
    if np.array_equal(first, second):
        # The outputs are the same to the last bit, so ε went nowhere.
        yield Check(f"output with ε = {other:g}", second, moved.expected["out"], room)
    else:
        yield Check("change of the output", np.zeros(()), np.zeros(()), np.ones(()))


@invariant(
    "training.shift_invariance",
    equation=r"\mathrm{BN}(z + c) = \mathrm{BN}(z)",
    source="Ioffe & Szegedy 2015, §3.2: the mean takes a bias away",
    presupposes=("training.agreement",),
    every=3,
)
def shift_invariance(case: Case, ask: Ask) -> Iterator[Check]:
    """Adding a constant to a feature leaves its training output alone."""
    spread = float(np.abs(case.x).max())
    step = np.ldexp(1.0, int(np.frexp(spread)[1])) if spread > 0 else 1.0
    shifted = case.x + case.x.dtype.type(step)
    if not np.array_equal(shifted - case.x.dtype.type(step), case.x):
        return  # the shift rounded: these are other numbers, not shifted ones
    moved = case.once("shifted", lambda: Scenario(case.full_setup, (Train(shifted),)))
    room = ask.answer(case.training)[0].bound("out") + ask.answer(moved)[0].bound("out")
    got = ask.seen(moved)[0].array("out")
    reference = ask.seen(case.training)[0].array("out")
    yield Check(f"training output of z + {step:g}", got, widen(reference), room)


@invariant(
    "training.scale_relation",
    equation=r"\mathrm{BN}_{a^2\epsilon}(a z) = \mathrm{sign}(a)\,\gamma u + \beta",
    source="Ioffe & Szegedy 2015, §3.3, with ε scaled along",
    presupposes=("training.agreement", "training.uses_eps"),
    every=3,
)
def scale_relation(case: Case, ask: Ask) -> Iterator[Check]:
    """Scaling a feature by a, and ε by a², leaves the normalised values alone but for the sign of a."""  # noqa: E501
    factor = -4.0
    setup = replace(case.full_setup, eps=case.eps * factor * factor)
    x = case.x * case.x.dtype.type(factor)
    scaled = case.once("scaled", lambda: Scenario(setup, (Train(x),)))
    want = ask.answer(case.training)[0]
    room = want.bound("out") + ask.answer(scaled)[0].bound("out")
    got = ask.seen(scaled)[0].array("out")
    reference = widen(ask.seen(case.training)[0].array("out"))
    beta = per_feature(case.beta, case.x)
    # 2β − ẑ rounds twice, in float64.
    room = room + 2.0**-52 * (2 * np.abs(beta) + np.abs(want.expected["out"]) + room)
    yield Check("training output of −4z with 16ε", got, 2 * beta - reference, room)


@invariant(
    "training.duplicated_batch",
    equation=r"\mathrm{BN}(z \oplus z) = \mathrm{BN}(z) \oplus \mathrm{BN}(z)",
    source="the mean and the biased variance of a batch are those of the batch taken twice",
    presupposes=(),
    every=3,
)
def duplicated_batch(case: Case, ask: Ask) -> Iterator[Check]:
    """Feeding every instance twice leaves each output alone: the batch variance divides by B, not by B−1."""  # noqa: E501
    twice = np.concatenate([case.x, case.x])
    scenario = case.once("doubled", lambda: Scenario(case.full_setup, (Train(twice),)))
    room = ask.answer(case.training)[0].bound("out")
    room = np.concatenate([room, room]) + ask.answer(scenario)[0].bound("out")
    got = ask.seen(scenario)[0].array("out")
    reference = widen(ask.seen(case.training)[0].array("out"))
    yield Check(
        "training output of the doubled batch", got, np.concatenate([reference, reference]), room
    )


PROPERTIES = (agreement, uses_eps, duplicated_batch, shift_invariance, scale_relation)
