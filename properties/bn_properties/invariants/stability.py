"""Numerical stability: the accuracy that an algorithm keeps which centres before it squares.

Failing here alone means unstable, not wrong.
"""

from __future__ import annotations

from collections.abc import Iterator

from bn_properties.cases import Case
from bn_properties.invariant import Ask, Check, invariant
from bn_properties.scenario import Quantity

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


PROPERTIES = (training_output, input_gradient)
