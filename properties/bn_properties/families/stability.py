"""Numerical stability: the accuracy that an algorithm keeps which centres before it squares.

Failing here alone means unstable, not wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from bn_properties.cases.case import Case
from bn_properties.property import Ask, Check, invariant
from bn_properties.scenario import SYMBOLS, Quantity, Scenario, Train

CHAN = "Chan, Golub & LeVeque 1983; bound in docs/derivation.md"


def _stable(case: Case, ask: Ask, quantity: Quantity, name: str) -> Iterator[Check]:
    got = ask.seen(case.training)[0].array(quantity)
    want = ask.answer(case.training)[0]
    yield Check(name, got, want.expected[quantity], want.bound(quantity, "stable"))


@invariant(
    "stability.training_output",
    equation=r"|\hat z - \hat z_{exact}| \le |\gamma|E_u + 4w(|\gamma u| + |\beta|)",
    source=CHAN,
    presupposes=("training.agreement", "training.uses_eps"),
)
def training_output(case: Case, ask: Ask) -> Iterator[Check]:
    """The training output keeps its accuracy when the mean is large beside the spread."""
    yield from _stable(case, ask, "out", "training output")


@invariant(
    "stability.input_gradient",
    equation=r"|dz - dz_{exact}| \le E_{dz}",
    source=CHAN,
    presupposes=("stability.training_output", "backward.input_gradient", "training.agreement"),
)
def input_gradient(case: Case, ask: Ask) -> Iterator[Check]:
    """The input gradient keeps its accuracy when the mean is large beside the spread."""
    yield from _stable(case, ask, "dz", "dz")


@invariant(
    "stability.running_variance",
    equation=r"|V - V_{exact}| \le E_V",
    source=CHAN,
    presupposes=("running.variance_recurrence", "stability.training_output"),
)
def running_variance(case: Case, ask: Ask) -> Iterator[Check]:
    """The running variance keeps its accuracy when the mean is large beside the spread."""
    want = ask.answer(case.sequence)[0]
    if "running_var" not in want.expected:
        return
    got = ask.seen(case.sequence)[0].array("running_var")
    room = want.bound("running_var", "stable")
    yield Check("running variance after step 1", got, want.expected["running_var"], room)


def _at_scale(case: Case, ask: Ask, power: int, name: str) -> Iterator[Check]:
    """Compare training at z·2^power with ε·4^power: the same output, dz divided by the scale."""
    if case.x.dtype != np.float64 or case.regime in ("scaled", "large offset"):
        return
    factor = float(np.ldexp(1.0, power))
    setup = replace(case.parameters, eps=case.eps * factor * factor)
    scenario = case.once(
        f"scale {power}", lambda: Scenario(setup, (Train(case.x * factor, case.grad),))
    )
    seen, want = ask.seen(scenario)[0], ask.answer(scenario)[0]
    quantities: tuple[Quantity, ...] = ("out", "dz")
    for quantity in quantities:
        yield Check(
            f"{SYMBOLS[quantity]} at scale {name}",
            seen.array(quantity),
            want.expected[quantity],
            want.bound(quantity, "stable"),
        )


@invariant(
    "stability.huge_scale",
    equation=r"\mathrm{BN}_{a^2\epsilon}(az) = \mathrm{BN}_\epsilon(z), \quad a = 2^{200}",
    source="σ² and (σ²+ε)^{3/2} are still normal numbers there, σ⁶ is not",
    presupposes=("training.agreement", "training.uses_eps", "backward.input_gradient"),
    every=5,
)
def huge_scale(case: Case, ask: Ask) -> Iterator[Check]:
    """Inputs of the size of 10⁶⁰ are normalised like any others: no power of the variance overflows that need not."""  # noqa: E501
    yield from _at_scale(case, ask, 200, "2^200")


@invariant(
    "stability.tiny_scale",
    equation=r"\mathrm{BN}_{a^2\epsilon}(az) = \mathrm{BN}_\epsilon(z), \quad a = 2^{-200}",
    source="σ² and (σ²+ε)^{3/2} are still normal numbers there, σ⁶ is not",
    presupposes=("training.agreement", "training.uses_eps", "backward.input_gradient"),
    every=5,
)
def tiny_scale(case: Case, ask: Ask) -> Iterator[Check]:
    """Inputs of the size of 10⁻⁶⁰, with ε to match, are normalised like any others."""
    yield from _at_scale(case, ask, -200, "2^-200")


PROPERTIES = (training_output, input_gradient, running_variance, huge_scale, tiny_scale)
