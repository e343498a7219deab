"""Training mode, forward: what the output is, what it looks like, and what the defaults are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from bn_properties.calls import Infer, Train
from bn_properties.cases.case import Case, per_case
from bn_properties.families.training_relations import (
    AGREES,
    IOFFE,
    duplicated_batch,
    every_instance_counts,
    feature_permutation,
    features_independent,
    linear_in_parameters,
    output,
    row_permutation,
    scale_relation,
    shift_invariance,
)
from bn_properties.property import (
    Ask,
    Check,
    compare,
    feature_sum,
    per_feature,
    roundings,
    states,
    times,
    widen,
)
from bn_properties.protocol import FORWARD, GRADIENTS, Setup
from bn_properties.scenario import Scenario
from bn_properties.transcript import Oracle


@states(
    "training.agreement",
    finding="the training output is not γ(z − μ)/√(σ² + ε) + β with the batch's own μ and biased "
    "σ²",
    equation=r"\hat z_i = \gamma\,\frac{z_i-\mu_B}{\sqrt{\sigma_B^2+\epsilon}} + \beta",
    source=IOFFE,
)
def agreement(case: Case, ask: Ask) -> Iterator[Check]:
    """In training, each feature is normalised by its own batch mean and biased batch variance,
    then scaled by γ and shifted by β.
    """
    yield from compare(ask, case.training, "out", name="training output")


@per_case
def _with_other_eps(case: Case) -> Scenario | None:
    """Return training with another ε, past both the case's and the variance."""
    variance = float(widen(case.x).var(axis=(0, *range(2, case.x.ndim))).max())
    other = float(np.ldexp(1.0, int(np.frexp(max(case.eps, variance))[1]) + 2))
    if other == 0.0 or not np.isfinite(other):
        return None
    return Scenario(replace(case.full_setup, eps=other), (Train(case.x),))


@states(
    "training.uses_eps",
    finding="the training output stays the same, to the last bit, when another ε is set",
    equation=r"\epsilon_1 \ne \epsilon_2 \Rightarrow \hat z(\epsilon_1) \ne \hat z(\epsilon_2)",
    source="each course's interface: ε is an attribute or an argument",
    stride=4,
    about=("other_eps", "unusual_eps"),
)
def uses_eps(case: Case, ask: Ask) -> Iterator[Check]:
    """The ε that is set on the layer is the ε in the formula: with another ε, the output
    changes.
    """
    changed = _with_other_eps(case)
    if changed is None:
        return
    base, moved = ask.expected(case.training)[0], ask.expected(changed)[0]
    room = base.bound("out") + moved.bound("out")
    visible = np.abs(base.values["out"] - moved.values["out"]) > room
    if not visible.any():
        return
    first, second = widen(output(ask, case.training)), widen(output(ask, changed))
    # Where the outputs are the same to the last bit, ε went nowhere.
    right = moved.values["out"]
    got = np.where((first == second).all(), second, right)
    yield Check(f"output with ε = {changed.setup.eps:g}", got, right, room)


@states(
    "training.output_mean",
    finding="the mean of a feature's training output over the batch is not β",
    equation=r"\frac1B\sum_i \hat z_i = \beta",
    source=IOFFE + ": Σu = 0",
    presupposes=AGREES,
)
def output_mean(case: Case, ask: Ask) -> Iterator[Check]:
    """The mean of a feature's training output over the batch is β."""
    got = widen(output(ask, case.training))
    want = ask.expected(case.training)[0]
    size = np.abs(want.values["out"]) + want.bound("out")
    # The sum of B terms rounds B−1 times, its division once.
    own = roundings(case.batch_size) * size
    room = feature_sum(want.bound("out") + own) / case.batch_size
    yield Check("mean of the output", feature_sum(got) / case.batch_size, case.beta, room)


@states(
    "training.output_variance",
    finding="the training output's mean squared distance from β is not γ²σ²/(σ² + ε)",
    equation=r"\mathrm{Var}(\hat z) = \gamma^2\,\frac{\sigma_B^2}{\sigma_B^2+\epsilon}",
    source=IOFFE + ": Σu²/B = σ²/(σ²+ε)",
    presupposes=AGREES,
)
def output_variance(case: Case, ask: Ask) -> Iterator[Check]:
    """The variance of a feature's training output is γ²σ²/(σ²+ε): a little less than γ²."""
    got = widen(output(ask, case.training))
    want = ask.expected(case.training)[0]
    record = want.trained.record
    centre = per_feature(case.beta, got)
    around = got - centre
    size = np.abs(want.values["out"] - centre)
    # ẑ by its bound; ẑ − β rounds once here, and once in the size that stands for it.
    error = want.bound("out") + roundings(2) * (np.abs(want.values["out"]) + np.abs(centre))
    # Each square is off by 2·|ẑ−β|·E + E², and rounds; so do B−1 sums and the division.
    spread = 2 * size * error + error**2 + roundings(case.batch_size + 1) * (size + error) ** 2
    spread = np.where(np.isinf(error), np.inf, spread)
    expected = record.gamma**2 * (record.var / (record.var + record.eps))
    # The expected value: γ², σ²+ε, the quotient and the product round, and the oracle's variance
    # is off by its own bound, which σ²/(σ²+ε) carries on by its slope, ε/(σ²+ε)², at the lower end.
    off = want.trained.own.var
    least = record.var + record.eps - off
    slope = np.where(least > 0, record.eps / np.where(least > 0, least, 1.0) ** 2, np.inf)
    own = roundings(4) * expected + times(slope * off, record.gamma**2)
    room = feature_sum(spread) / case.batch_size + own
    yield Check("variance of the output", feature_sum(around**2) / case.batch_size, expected, room)


@states(
    "training.bounded_values",
    finding="a training output lies further from β than |γ|√(B − 1)",
    equation=r"|u_i| \le \sqrt{B-1}",
    source="Σu² ≤ B and Σu = 0 (Samuelson's inequality)",
    presupposes=AGREES,
)
def bounded_values(case: Case, ask: Ask) -> Iterator[Check]:
    """No normalised value exceeds √(B−1), however far out its instance lies."""
    got = np.abs(widen(output(ask, case.training)) - per_feature(case.beta, case.x))
    want = ask.expected(case.training)[0]
    most = np.abs(per_feature(case.gamma, case.x)) * np.sqrt(case.batch_size - 1)
    # |ẑ − β| ≤ most + bound rounds once, and most itself in its root and its product.
    room = want.bound("out") + roundings(3) * (most + want.bound("out"))
    most = np.broadcast_to(most, got.shape)
    yield Check("|ẑ − β|, where it exceeds |γ|√(B−1)", np.maximum(got, most), most, room)


@states(
    "training.degenerate_batch",
    finding="the training output of a feature that is the same in every instance is not β",
    equation=r"\sigma_B^2 = 0 \Rightarrow \hat z_i = \beta",
    source="u = (z − μ)/√ε = 0 where all values of a feature are the same",
    presupposes=AGREES,
    about=("one_value",),
)
def degenerate_batch(case: Case, ask: Ask) -> Iterator[Check]:
    """A feature that is the same in every instance, or a batch of one, gives β: ε keeps it from
    dividing by zero.
    """
    flat = np.ptp(case.x, axis=(0, *range(2, case.x.ndim))) == 0
    if not flat.any():
        return
    got = output(ask, case.training)[:, flat]
    room = ask.expected(case.training)[0].bound("out")[:, flat]
    expected = np.broadcast_to(per_feature(case.beta[flat], got), got.shape)
    yield Check("output of a constant feature", got, expected, room)


@states(
    "training.ignores_running_statistics",
    finding="the training output changes with the running statistics that a layer starts from",
    equation=r"\hat z = f(z_1, \ldots, z_B)",
    source=IOFFE + ": training uses the mini-batch's statistics",
    presupposes=AGREES,
    stride=2,
)
def ignores_running_statistics(case: Case, ask: Ask) -> Iterator[Check]:
    """The training output does not depend on the running statistics."""
    room = 2 * ask.expected(case.training)[0].bound("out")
    got, fresh = output(ask, case.training), output(ask, case.sequence)
    yield Check("training output with other running statistics", got, widen(fresh), room)


@per_case
def _restoring(case: Case, oracle: Oracle) -> Scenario:
    record = oracle(case.training)[0].trained.record
    setup = replace(case.full_setup, gamma=record.std, beta=record.mean)
    return Scenario(setup, (Train(case.x),))


@states(
    "training.identity_recovery",
    finding="with γ = √(σ² + ε) and β = μ, the training output is not the input",
    equation=r"\gamma = \sqrt{\sigma_B^2+\epsilon},\ \beta = \mu_B \Rightarrow \hat z = z",
    source="Ioffe & Szegedy 2015, §3, with ε under the root",
    presupposes=AGREES,
    stride=8,
)
def identity_recovery(case: Case, ask: Ask) -> Iterator[Check]:
    """With γ = √(σ²+ε) and β = μ, batch norm gives its input back."""
    scenario = _restoring(case, ask.oracle)
    want = ask.expected(scenario)[0]
    # γ and β are the oracle's, rounded: with them the right output itself is a little off z.
    room = want.bound("out") + (1 + roundings(1)) * np.abs(want.values["out"] - case.x)
    got = output(ask, scenario)
    yield Check("output with the restoring parameters", got, widen(case.x), room)


@per_case
def _bare(case: Case) -> Scenario:
    calls = (Train(case.x, case.grad), Infer(case.probe), Train(case.x))
    return Scenario(Setup(case.features), calls)


@states(
    "training.defaults",
    finding="a layer with nothing set does not act as with γ = 1, β = 0 and the course's ε, "
    "momentum and mode",
    equation=r"\gamma = 1,\ \beta = 0,\ \epsilon \text{, momentum and mode as the course says}",
    source="each course's interface",
    presupposes=(
        "training.agreement",
        "backward.input_gradient",
        "backward.gamma_gradient",
        "backward.beta_gradient",
        "inference.after_training",
        "running.mean_recurrence",
        "running.variance_recurrence",
        "hygiene.refilled",
    ),
    stride=10,
)
def defaults(case: Case, ask: Ask) -> Iterator[Check]:
    """A layer on which nothing was set has γ = 1, β = 0, the course's ε and momentum, and trains
    where no mode is named.
    """
    scenario = _bare(case)
    for call in range(len(scenario.calls)):
        name = "{} of a layer with defaults"
        yield from compare(ask, scenario, (*FORWARD, *GRADIENTS), call=call, name=name)


PROPERTIES = (
    agreement,
    uses_eps,
    duplicated_batch,
    shift_invariance,
    scale_relation,
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
