"""Training mode, forward: what the output looks like, and what it depends on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from bn_properties.cases.case import Case
from bn_properties.property import Ask, Check, feature_sum, invariant, per_feature, widen
from bn_properties.protocol import Setup
from bn_properties.scenario import SYMBOLS, Infer, Quantity, Scenario, Train

IOFFE = "Ioffe & Szegedy 2015, Algorithm 1"
AGREES = ("training.agreement", "training.uses_eps")
UNIT = 2.0**-53
"""The unit roundoff of the sums that the properties themselves make, in float64."""

GRADIENTS: tuple[Quantity, ...] = ("dz", "dgamma", "dbeta")


@invariant(
    "training.output_mean",
    equation=r"\frac1B\sum_i \hat z_i = \beta",
    source=IOFFE + ": Σu = 0",
    presupposes=AGREES,
)
def output_mean(case: Case, ask: Ask) -> Iterator[Check]:
    """The mean of a feature's training output over the batch is β."""
    got = widen(ask.seen(case.training)[0].array("out"))
    want = ask.answer(case.training)[0]
    size = np.abs(want.expected["out"]) + want.bound("out")
    room = feature_sum(want.bound("out") + (case.batch_size + 2) * UNIT * size) / case.batch_size
    yield Check("mean of the output", feature_sum(got) / case.batch_size, case.beta, room)


@invariant(
    "training.output_variance",
    equation=r"\mathrm{Var}(\hat z) = \gamma^2\,\frac{\sigma_B^2}{\sigma_B^2+\epsilon}",
    source=IOFFE + ": Σu²/B = σ²/(σ²+ε)",
    presupposes=AGREES,
)
def output_variance(case: Case, ask: Ask) -> Iterator[Check]:
    """The variance of a feature's training output is γ²σ²/(σ²+ε): a little less than γ²."""
    got = widen(ask.seen(case.training)[0].array("out"))
    want = ask.answer(case.training)[0]
    record = want.record
    assert record is not None
    centre = per_feature(case.beta, got)
    around = got - centre
    size = np.abs(want.expected["out"] - centre)
    error = want.bound("out") + 2 * UNIT * (np.abs(want.expected["out"]) + np.abs(centre))
    # Each square is off by 2·|ẑ−β|·E + E², the sum of B squares by B roundings more.
    spread = 2 * size * error + error**2 + (case.batch_size + 4) * UNIT * (size + error) ** 2
    expected = record.gamma**2 * (record.var / (record.var + record.eps))
    spread = np.where(np.isinf(error), np.inf, spread)
    room = feature_sum(spread) / case.batch_size + 8 * UNIT * expected
    yield Check("variance of the output", feature_sum(around**2) / case.batch_size, expected, room)


@invariant(
    "training.bounded_values",
    equation=r"|u_i| \le \sqrt{B-1}",
    source="Σu ≤ B and Σu = 0 (Samuelson's inequality)",
    presupposes=AGREES,
)
def bounded_values(case: Case, ask: Ask) -> Iterator[Check]:
    """No normalised value exceeds √(B−1), however far out its instance lies."""
    got = np.abs(widen(ask.seen(case.training)[0].array("out")) - per_feature(case.beta, case.x))
    want = ask.answer(case.training)[0]
    most = np.abs(per_feature(case.gamma, case.x)) * np.sqrt(case.batch_size - 1)
    room = want.bound("out") + 8 * UNIT * (np.abs(want.expected["out"]) + most)
    yield Check(
        "|ẑ − β|, where it exceeds |γ|√(B−1)",
        np.maximum(got, most),
        np.broadcast_to(most, got.shape),
        room,
    )


@invariant(
    "training.degenerate_batch",
    equation=r"\sigma_B^2 = 0 \Rightarrow \hat z_i = \beta",
    source="u = (z − μ)/√ε = 0 where all values of a feature are the same",
    presupposes=AGREES,
)
def degenerate_batch(case: Case, ask: Ask) -> Iterator[Check]:
    """A feature that is the same in every instance, or a batch of one, gives β: ε keeps it from dividing by zero."""  # noqa: E501
    flat = np.ptp(case.x, axis=(0, *range(2, case.x.ndim))) == 0
    if not flat.any():
        return
    got = ask.seen(case.training)[0].array("out")[:, flat]
    room = ask.answer(case.training)[0].bound("out")[:, flat]
    expected = np.broadcast_to(per_feature(case.beta[flat], got), got.shape)
    yield Check("output of a constant feature", got, expected, room)


@invariant(
    "training.ignores_running_statistics",
    equation=r"\hat z = f(z_1, \ldots, z_B)",
    source=IOFFE + ": training uses the mini-batch's statistics",
    presupposes=AGREES,
)
def ignores_running_statistics(case: Case, ask: Ask) -> Iterator[Check]:
    """The training output does not depend on the running statistics."""
    room = 2 * ask.answer(case.training)[0].bound("out")
    got = ask.seen(case.training)[0].array("out")
    fresh = ask.seen(case.sequence)[0].array("out")
    yield Check("training output with other running statistics", got, widen(fresh), room)


@invariant(
    "training.row_permutation",
    equation=r"\mathrm{BN}(Pz) = P\,\mathrm{BN}(z)",
    source="mean and variance do not know the order of the batch",
    presupposes=AGREES,
    every=5,
)
def row_permutation(case: Case, ask: Ask) -> Iterator[Check]:
    """Reversing the order of the batch reverses the output, and changes nothing else."""
    scenario = case.once(
        "reversed", lambda: Scenario(case.full_setup, (Train(case.x[::-1], case.grad[::-1]),))
    )
    room = 2 * ask.answer(case.training)[0].bound("out")
    got = ask.seen(scenario)[0].array("out")[::-1]
    reference = ask.seen(case.training)[0].array("out")
    yield Check("training output of the reversed batch", got, widen(reference), room)


@invariant(
    "training.feature_permutation",
    equation=r"\mathrm{BN}(zP) = \mathrm{BN}(z)P",
    source="each feature is treated alike",
    presupposes=AGREES,
    every=5,
)
def feature_permutation(case: Case, ask: Ask) -> Iterator[Check]:
    """Reversing the order of the features, with γ and β, reverses the output's features."""
    setup = replace(
        case.full_setup,
        gamma=case.gamma[::-1],
        beta=case.beta[::-1],
        running_mean=case.running_mean[::-1],
        running_var=case.running_var[::-1],
    )
    scenario = case.once("features reversed", lambda: Scenario(setup, (Train(case.x[:, ::-1]),)))
    room = 2 * ask.answer(case.training)[0].bound("out")
    got = ask.seen(scenario)[0].array("out")[:, ::-1]
    reference = ask.seen(case.training)[0].array("out")
    yield Check("training output with features reversed", got, widen(reference), room)


@invariant(
    "training.features_independent",
    equation=r"\frac{\partial \hat z^{(k)}}{\partial z^{(l)}} = 0, \quad k \ne l",
    source=IOFFE + ": each activation by itself",
    presupposes=AGREES,
    every=5,
)
def features_independent(case: Case, ask: Ask) -> Iterator[Check]:
    """What happens in one feature leaves the output of every other feature alone."""
    if case.features == 1:
        return
    x = case.x.copy()
    x[:, 0] = x[::-1, 0] * x.dtype.type(-2)
    scenario = case.once("first feature changed", lambda: Scenario(case.full_setup, (Train(x),)))
    room = 2 * ask.answer(case.training)[0].bound("out")[:, 1:]
    got = ask.seen(scenario)[0].array("out")[:, 1:]
    reference = ask.seen(case.training)[0].array("out")[:, 1:]
    yield Check("output of the features that did not change", got, widen(reference), room)


@invariant(
    "training.linear_in_parameters",
    equation=r"\mathrm{BN}_{2\gamma,\,\beta+1}(z) - 1 - \beta = "
    r"2\left(\mathrm{BN}_{\gamma,\beta}(z) - \beta\right)",
    source=IOFFE + ", last line",
    presupposes=AGREES,
    every=5,
)
def linear_in_parameters(case: Case, ask: Ask) -> Iterator[Check]:
    """Doubling γ doubles the output's distance from β, and adding 1 to β adds 1 to it."""
    setup = replace(case.full_setup, gamma=2 * case.gamma, beta=case.beta + 1)
    scenario = case.once("other parameters", lambda: Scenario(setup, (Train(case.x),)))
    base, moved = ask.answer(case.training)[0], ask.answer(scenario)[0]
    beta = per_feature(case.beta, case.x)
    reference = 2 * (widen(ask.seen(case.training)[0].array("out")) - beta) + beta + 1
    size = np.abs(base.expected["out"]) + base.bound("out") + np.abs(beta) + 1
    room = moved.bound("out") + 2 * base.bound("out") + 8 * UNIT * size
    yield Check("output with 2γ and β+1", ask.seen(scenario)[0].array("out"), reference, room)


@invariant(
    "training.identity_recovery",
    equation=r"\gamma = \sqrt{\sigma_B^2+\epsilon},\ \beta = \mu_B \Rightarrow \hat z = z",
    source="Ioffe & Szegedy 2015, §3, with ε under the root",
    presupposes=AGREES,
    every=5,
)
def identity_recovery(case: Case, ask: Ask) -> Iterator[Check]:
    """With γ = √(σ²+ε) and β = μ, batch norm gives its input back."""
    record = ask.answer(case.training)[0].record
    assert record is not None
    setup = replace(case.full_setup, gamma=record.std, beta=record.mean)
    scenario = case.once("restoring parameters", lambda: Scenario(setup, (Train(case.x),)))
    want = ask.answer(scenario)[0]
    # γ and β are the oracle's, rounded once more each: a few roundings of γ|u| and |μ|.
    size = np.abs(want.expected["out"]) + np.abs(per_feature(record.mean, case.x))
    room = want.bound("out") + 8 * UNIT * size + np.abs(want.expected["out"] - case.x)
    yield Check(
        "output with the restoring parameters",
        ask.seen(scenario)[0].array("out"),
        widen(case.x),
        room,
    )


@invariant(
    "training.every_instance_counts",
    equation=r"\frac{\partial \hat z_j}{\partial z_i} \ne 0",
    source="the lecture's influence diagram: a vector function over the mini-batch",
    presupposes=AGREES,
    every=5,
)
def every_instance_counts(case: Case, ask: Ask) -> Iterator[Check]:
    """Every instance of the batch, the last one too, moves the output of all the others."""
    if len(case.x) < 2:
        return
    x = case.x.copy()
    x[-1] = x[0] + x.dtype.type(2) * (x[-1] - x[0]) + x.dtype.type(1)
    scenario = case.once("last row moved", lambda: Scenario(case.full_setup, (Train(x),)))
    base, moved = ask.answer(case.training)[0], ask.answer(scenario)[0]
    got = widen(ask.seen(scenario)[0].array("out")) - widen(ask.seen(case.training)[0].array("out"))
    size = np.abs(base.expected["out"]) + np.abs(moved.expected["out"])
    room = base.bound("out") + moved.bound("out") + 4 * UNIT * size
    expected = moved.expected["out"] - base.expected["out"]
    yield Check("change of the output when the last instance moves", got, expected, room)


@invariant(
    "training.defaults",
    equation=r"\gamma = 1,\ \beta = 0,\ \epsilon \text{, momentum and mode as the course says}",
    source="each course's interface",
    presupposes=(
        "training.agreement",
        "backward.input_gradient",
        "inference.after_training",
        "running.mean_recurrence",
        "running.variance_recurrence",
    ),
    every=10,
)
def defaults(case: Case, ask: Ask) -> Iterator[Check]:
    """A layer on which nothing was set has γ = 1, β = 0, the course's ε and momentum, and trains where no mode is named."""  # noqa: E501
    steps = (Train(case.x, case.grad), Infer(case.probe), Train(case.x))
    scenario = case.once("defaults", lambda: Scenario(Setup(case.features), steps))
    quantities: tuple[Quantity, ...] = ("out", "running_mean", "running_var", *GRADIENTS)
    for seen, want in zip(ask.seen(scenario), ask.answer(scenario), strict=True):
        for quantity in quantities:
            if quantity in want.expected:
                yield Check(
                    f"{SYMBOLS[quantity]} of a layer with defaults",
                    seen.array(quantity),
                    want.expected[quantity],
                    want.bound(quantity),
                )


PROPERTIES = (
    output_mean,
    output_variance,
    bounded_values,
    degenerate_batch,
    ignores_running_statistics,
    row_permutation,
    feature_permutation,
    features_independent,
    linear_in_parameters,
    identity_recovery,
    every_instance_counts,
    defaults,
)
