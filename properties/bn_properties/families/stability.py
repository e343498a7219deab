"""Numerical stability: the accuracy that an algorithm keeps which centres before it squares.

Failing here alone means unstable, not wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from bn_properties.calls import Train
from bn_properties.cases.case import Case, per_case
from bn_properties.property import Ask, Check, compare, states
from bn_properties.scenario import Scenario

CHAN = "Chan, Golub & LeVeque 1983; bound in docs/derivation.md"

FAR = 140
"""The power of two by which inputs are scaled up and down. Those that are have σ from 2^−24 to 2^10
and s from 2^−14 up: every form by the book, √(σ⁶) and (σ²+ε)^−3 among them, stays normal."""


@states(
    "stability.training_output",
    finding="the training output is less accurate than centring before squaring keeps it",
    equation=r"|\hat z - \hat z_{exact}| \le |\gamma|E_u + 4w(|\gamma u| + |\beta|)",
    source=CHAN,
    presupposes=("training.agreement", "training.uses_eps"),
)
def training_output(case: Case, ask: Ask) -> Iterator[Check]:
    """The training output keeps its accuracy when the mean is large beside the spread."""
    yield from compare(ask, case.training, "out", name="training output", algorithm="stable")


@states(
    "stability.input_gradient",
    finding="the gradient dz is less accurate than centring before squaring keeps it",
    equation=r"|dz - dz_{exact}| \le E_{dz}",
    source=CHAN,
    presupposes=("stability.training_output", "backward.input_gradient", "training.agreement"),
)
def input_gradient(case: Case, ask: Ask) -> Iterator[Check]:
    """The input gradient keeps its accuracy when the mean is large beside the spread."""
    yield from compare(ask, case.training, "dz", algorithm="stable")


@states(
    "stability.running_variance",
    finding="the running variance is less accurate than centring before squaring keeps it",
    equation=r"|V - V_{exact}| \le E_V",
    source=CHAN,
    presupposes=("running.variance_recurrence", "stability.training_output"),
)
def running_variance(case: Case, ask: Ask) -> Iterator[Check]:
    """The running variance keeps its accuracy when the mean is large beside the spread."""
    name = "{} after a step"
    yield from compare(ask, case.training, "running_var", name=name, algorithm="stable")


@per_case
def _scaled(case: Case, power: int) -> Scenario:
    factor = float(np.ldexp(1.0, power))
    setup = replace(case.parameters, eps=case.eps * factor * factor)
    return Scenario(setup, (Train(case.x * factor, case.grad),))


def _at_scale(case: Case, ask: Ask, power: int) -> Iterator[Check]:
    """Compare training at z·2^power with ε·4^power: the same output, dz divided by the scale."""
    if case.x.dtype != np.float64 or case.regime in ("scaled", "large offset"):
        return
    scenario = _scaled(case, power)
    yield from compare(
        ask, scenario, ("out", "dz"), name=f"{{}} at scale 2^{power}", algorithm="stable"
    )


@states(
    "stability.huge_scale",
    finding="for inputs scaled up by 2¹⁴⁰, with ε to match, the training output or dz is off",
    equation=r"\mathrm{BN}_{a^2\epsilon}(az) = \mathrm{BN}_\epsilon(z), \quad a = 2^{140}",
    source="σ⁶ and (σ²+ε)^{±3} are still normal numbers there",
    presupposes=("training.agreement", "training.uses_eps", "backward.input_gradient"),
    stride=5,
)
def huge_scale(case: Case, ask: Ask) -> Iterator[Check]:
    """Inputs of the size of 10⁴² are normalised like any others."""
    yield from _at_scale(case, ask, FAR)


@states(
    "stability.tiny_scale",
    finding="for inputs scaled down by 2¹⁴⁰, with ε to match, the training output or dz is off",
    equation=r"\mathrm{BN}_{a^2\epsilon}(az) = \mathrm{BN}_\epsilon(z), \quad a = 2^{-140}",
    source="σ⁶ and (σ²+ε)^{±3} are still normal numbers there",
    presupposes=("training.agreement", "training.uses_eps", "backward.input_gradient"),
    stride=5,
)
def tiny_scale(case: Case, ask: Ask) -> Iterator[Check]:
    """Inputs of the size of 10⁻⁴², with ε to match, are normalised like any others."""
    yield from _at_scale(case, ask, -FAR)


PROPERTIES = (training_output, input_gradient, running_variance, huge_scale, tiny_scale)
