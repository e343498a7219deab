"""Training mode, forward: how the output changes with the batch, and how it does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from bn_properties.calls import Train
from bn_properties.cases.case import Case, per_case
from bn_properties.property import Ask, Check, per_feature, roundings, states, widen
from bn_properties.protocol import AnyArray
from bn_properties.scenario import Scenario

IOFFE = "Ioffe & Szegedy 2015, Algorithm 1"
AGREES = ("training.agreement", "training.uses_eps")


def output(ask: Ask, scenario: Scenario) -> AnyArray:
    """Return the training output of a scenario's first call."""
    return ask.response(scenario)[0].array("out")


@per_case
def _shifted(case: Case) -> tuple[Scenario, float] | None:
    """Return training on z + c, and c; None where the sum rounds: those would be other numbers."""
    largest = float(np.abs(case.x).max())
    step = float(np.ldexp(1.0, int(np.frexp(largest)[1]))) if largest > 0 else 1.0
    shifted = case.x + case.x.dtype.type(step)
    if not np.array_equal(shifted - case.x.dtype.type(step), case.x):
        return None
    return Scenario(case.full_setup, (Train(shifted),)), step


@states(
    "training.shift_invariance",
    finding="the training output changes when a constant is added to the whole batch",
    equation=r"\mathrm{BN}(z + c) = \mathrm{BN}(z)",
    source="Ioffe & Szegedy 2015, §3.2: the mean takes a bias away",
    presupposes=("training.agreement",),
    stride=3,
)
def shift_invariance(case: Case, ask: Ask) -> Iterator[Check]:
    """Adding a constant to a feature leaves its training output alone."""
    found = _shifted(case)
    if found is None:
        return
    moved, step = found
    room = ask.expected(case.training)[0].bound("out") + ask.expected(moved)[0].bound("out")
    got, reference = output(ask, moved), output(ask, case.training)
    yield Check(f"training output of z + {step:g}", got, widen(reference), room)


RARELY = 5
"""The stride of most relations of the gradients: theirs is every so-manieth case."""


def _differentiated(case: Case) -> bool:
    """Whether relations of the gradients are asked of a case: one scenario then serves both."""
    return case.pinned or case.index % RARELY == 0


FACTOR = -4.0
"""What inputs are scaled by, exactly, where ε is scaled along."""


@per_case
def scaled(case: Case) -> Scenario:
    """Return training on −4z with 16ε, and where gradients are asked, too, its backward pass."""
    setup = replace(case.full_setup, eps=case.eps * FACTOR * FACTOR)
    x = case.x * case.x.dtype.type(FACTOR)
    return Scenario(setup, (Train(x, case.grad if _differentiated(case) else None),))


@states(
    "training.scale_relation",
    finding="the training output of −4z with 16ε is not that of z, mirrored at β",
    equation=r"\mathrm{BN}_{a^2\epsilon}(a z) = \mathrm{sign}(a)\,\gamma u + \beta",
    source="Ioffe & Szegedy 2015, §3.3, with ε scaled along",
    presupposes=AGREES,
    stride=3,
)
def scale_relation(case: Case, ask: Ask) -> Iterator[Check]:
    """Scaling a feature by a, and ε by a², leaves the normalised values alone but for the sign of
    a.
    """
    moved = scaled(case)
    want = ask.expected(case.training)[0]
    room = want.bound("out") + ask.expected(moved)[0].bound("out")
    got, reference = output(ask, moved), widen(output(ask, case.training))
    beta = per_feature(case.beta, case.x)
    # 2β − ẑ rounds twice, in float64.
    room = room + roundings(2) * (2 * np.abs(beta) + np.abs(want.values["out"]) + room)
    yield Check("training output of −4z with 16ε", got, 2 * beta - reference, room)


@per_case
def doubled(case: Case) -> Scenario:
    """Return training on every instance twice, and where gradients are asked, too, its
    backward pass.
    """
    grad = np.concatenate([case.grad, case.grad]) if _differentiated(case) else None
    return Scenario(case.full_setup, (Train(np.concatenate([case.x, case.x]), grad),))


@states(
    "training.duplicated_batch",
    finding="an instance's training output changes when the whole batch is fed twice over",
    equation=r"\mathrm{BN}(z \oplus z) = \mathrm{BN}(z) \oplus \mathrm{BN}(z)",
    source="the mean and the biased variance of a batch are those of the batch taken twice",
    stride=3,
)
def duplicated_batch(case: Case, ask: Ask) -> Iterator[Check]:
    """Feeding every instance twice leaves each output alone: the batch variance divides by B, not
    by B−1.
    """
    scenario = doubled(case)
    room = ask.expected(case.training)[0].bound("out")
    room = np.concatenate([room, room]) + ask.expected(scenario)[0].bound("out")
    got, once = output(ask, scenario), widen(output(ask, case.training))
    yield Check("training output of the doubled batch", got, np.concatenate([once, once]), room)


@per_case
def reversed_rows(case: Case) -> Scenario:
    """Return training and its backward on the batch in reversed order."""
    return Scenario(case.full_setup, (Train(case.x[::-1], case.grad[::-1]),))


@states(
    "training.row_permutation",
    finding="the training output of the reversed batch is not the reversed output of the batch",
    equation=r"\mathrm{BN}(Pz) = P\,\mathrm{BN}(z)",
    source="mean and variance do not know the order of the batch",
    presupposes=AGREES,
    stride=5,
)
def row_permutation(case: Case, ask: Ask) -> Iterator[Check]:
    """Reversing the order of the batch reverses the output, and changes nothing else."""
    room = 2 * ask.expected(case.training)[0].bound("out")
    got, reference = output(ask, reversed_rows(case))[::-1], output(ask, case.training)
    yield Check("training output of the reversed batch", got, widen(reference), room)


@per_case
def _reversed_features(case: Case) -> Scenario:
    setup = replace(
        case.full_setup,
        gamma=case.gamma[::-1],
        beta=case.beta[::-1],
        running_mean=case.running_mean[::-1],
        running_var=case.running_var[::-1],
    )
    return Scenario(setup, (Train(case.x[:, ::-1]),))


@states(
    "training.feature_permutation",
    finding="with features, γ and β in reversed order, the training output is not just reversed",
    equation=r"\mathrm{BN}(zP) = \mathrm{BN}(z)P",
    source="each feature is treated alike",
    presupposes=AGREES,
    stride=5,
)
def feature_permutation(case: Case, ask: Ask) -> Iterator[Check]:
    """Reversing the order of the features, with γ and β, reverses the output's features."""
    room = 2 * ask.expected(case.training)[0].bound("out")
    got = output(ask, _reversed_features(case))[:, ::-1]
    reference = output(ask, case.training)
    yield Check("training output with features reversed", got, widen(reference), room)


@per_case
def _first_feature_changed(case: Case) -> Scenario:
    x = case.x.copy()
    x[:, 0] = x[::-1, 0] * x.dtype.type(-2)
    return Scenario(case.full_setup, (Train(x),))


@states(
    "training.features_independent",
    finding="a feature's training output changes when only another feature's values change",
    equation=r"\frac{\partial \hat z^{(k)}}{\partial z^{(l)}} = 0, \quad k \ne l",
    source=IOFFE + ": each activation by itself",
    presupposes=AGREES,
    stride=5,
)
def features_independent(case: Case, ask: Ask) -> Iterator[Check]:
    """What happens in one feature leaves the output of every other feature alone."""
    if case.features == 1:
        return
    room = 2 * ask.expected(case.training)[0].bound("out")[:, 1:]
    got = output(ask, _first_feature_changed(case))[:, 1:]
    reference = output(ask, case.training)[:, 1:]
    yield Check("output of the features that did not change", got, widen(reference), room)


@per_case
def _other_parameters(case: Case) -> Scenario:
    setup = replace(case.full_setup, gamma=2 * case.gamma, beta=case.beta + 1)
    return Scenario(setup, (Train(case.x),))


@states(
    "training.linear_in_parameters",
    finding="with 2γ and β + 1 set, the training output minus the new β is not twice what it was",
    equation=r"\mathrm{BN}_{2\gamma,\,\beta+1}(z) - 1 - \beta = "
    r"2\left(\mathrm{BN}_{\gamma,\beta}(z) - \beta\right)",
    source=IOFFE + ", last line",
    presupposes=AGREES,
    stride=8,
)
def linear_in_parameters(case: Case, ask: Ask) -> Iterator[Check]:
    """Doubling γ doubles the output's distance from β, and adding 1 to β adds 1 to it."""
    scenario = _other_parameters(case)
    base, moved = ask.expected(case.training)[0], ask.expected(scenario)[0]
    beta = per_feature(case.beta, case.x)
    reference = 2 * (widen(output(ask, case.training)) - beta) + beta + 1
    # The difference, both sums, and the β + 1 that the layer was given round.
    size = 2 * (np.abs(base.values["out"]) + base.bound("out")) + 3 * np.abs(beta) + 1
    room = moved.bound("out") + 2 * base.bound("out") + roundings(4) * size
    yield Check("output with 2γ and β+1", output(ask, scenario), reference, room)


@per_case
def _last_row_moved(case: Case) -> Scenario:
    x = case.x.copy()
    x[-1] = x[0] + x.dtype.type(2) * (x[-1] - x[0]) + x.dtype.type(1)
    return Scenario(case.full_setup, (Train(x),))


@states(
    "training.every_instance_counts",
    finding="when the last instance moves, the training output changes otherwise than it should",
    equation=r"\frac{\partial \hat z_j}{\partial z_i} \ne 0",
    source="the lecture's influence diagram: a vector function over the mini-batch",
    presupposes=AGREES,
    stride=5,
)
def every_instance_counts(case: Case, ask: Ask) -> Iterator[Check]:
    """Every instance of the batch, the last one too, moves the output of all the others."""
    if len(case.x) < 2:
        return
    scenario = _last_row_moved(case)
    base, moved = ask.expected(case.training)[0], ask.expected(scenario)[0]
    got = widen(output(ask, scenario)) - widen(output(ask, case.training))
    room = base.bound("out") + moved.bound("out")
    # The difference of two outputs rounds once, and so does that of the two right ones.
    size = np.abs(base.values["out"]) + np.abs(moved.values["out"]) + room
    expected = moved.values["out"] - base.values["out"]
    name = "change of the output when the last instance moves"
    yield Check(name, got, expected, room + roundings(2) * size)
