"""The running statistics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from bn_properties.calls import Infer, Train
from bn_properties.cases.case import Case, per_case, splitmix
from bn_properties.families.inference import fresh
from bn_properties.property import Ask, Check, compare, roundings, states
from bn_properties.protocol import FORWARD, STATISTICS, Quantity, SubjectError
from bn_properties.scenario import Scenario, is_large

RECURRENCES = ("running.mean_recurrence", "running.variance_recurrence")


def _recurrence(case: Case, ask: Ask, quantity: Quantity) -> Iterator[Check]:
    yield from _follow(case.sequence, ask, quantity)
    # A layer that goes on from statistics it was given may take its first step for its first batch.
    step = _one_step(case)
    if quantity in ask.expected(step)[0].values:
        yield from compare(ask, step, quantity, name="{} after a step from one that was set")
    # A statistic that shares its memory with the batch's loses its history only when an
    # inference call comes between two training steps.
    missing = ask.response(case.interrupted)[1].values["out"]
    if isinstance(missing, SubjectError) and missing.failure == "not_implemented":
        return
    yield from _follow(case.interrupted, ask, quantity)


@per_case
def _one_step(case: Case) -> Scenario:
    """Return what is asked anyway; of a large batch, no gradient: some lack the memory for it."""
    if is_large(case.training):
        return Scenario(case.full_setup, (Train(case.x),))
    return case.training


def _follow(scenario: Scenario, ask: Ask, quantity: Quantity) -> Iterator[Check]:
    for number, call in enumerate(scenario.calls):
        if quantity not in ask.expected(scenario)[number].values:
            return
        kind = "training" if isinstance(call, Train) else "inference"
        name = f"{{}} after step {number + 1} ({kind})"
        yield from compare(ask, scenario, quantity, call=number, name=name)


@states(
    "running.mean_recurrence",
    finding="the running mean is not what the momentum makes of the batch means so far",
    equation=r"M \leftarrow k\,M + (1-k)\,\mu_B",
    source="each course's convention for k",
    stride=2,
)
def mean_recurrence(case: Case, ask: Ask) -> Iterator[Check]:
    """Each training step moves the running mean towards the batch mean, by the momentum that was
    set.
    """
    yield from _recurrence(case, ask, "running_mean")


@states(
    "running.variance_recurrence",
    finding="the running variance is not what the momentum makes of the batch variances, biased or "
    "not as asked",
    equation=r"V \leftarrow k\,V + (1-k)\,\sigma_B^2",
    source="each course's convention for k, and for the biased or unbiased variance",
    stride=2,
)
def variance_recurrence(case: Case, ask: Ask) -> Iterator[Check]:
    """Each training step moves the running variance towards the batch variance (biased or not, as
    the course says).
    """
    yield from _recurrence(case, ask, "running_var")


@states(
    "running.closed_form",
    finding="after all steps, a running statistic is not the weighted sum of the initial one and "
    "all batches'",
    equation=r"M_n = k^n M_0 + (1-k)\sum_{t=1}^n k^{n-t}\mu_t",
    source="the recurrence, written out",
    presupposes=RECURRENCES,
    stride=2,
)
def closed_form(case: Case, ask: Ask) -> Iterator[Check]:
    """After several steps, the running mean is a weighted sum of all batch means, the old ones
    fading.
    """
    want = ask.expected(case.sequence)
    records = [each.record for each in want]
    means = [record.mean for record in records if record is not None]
    steps = len(means)
    total = case.decay**steps * np.full(case.features, ask.convention.initial_mean)
    size = np.abs(total)
    for number, mean in enumerate(means):
        weight = (1 - case.decay) * case.decay ** (steps - 1 - number)
        total, size = total + weight * mean, size + np.abs(weight * mean)
    if "running_mean" not in want[-1].values:
        return
    # 1 − k is exact. A power rounds to within an ulp, two products and the sums once each.
    room = want[-1].bound("running_mean") + roundings(steps + 4) * size
    got = ask.response(case.sequence)[-1].array("running_mean")
    plural = "s" if steps > 1 else ""
    yield Check(f"running mean after {steps} step{plural}", got, total, room)
    if case.index % 100 == 0 and not case.pinned:
        yield from _long_run(case, ask)


def _long_run(case: Case, ask: Ask) -> Iterator[Check]:
    """Compare the statistics after many steps: a layer may stop to keep them, or begin to."""
    scenario = _many_steps(case)
    steps = len(scenario.calls)
    yield from compare(ask, scenario, STATISTICS, call=steps - 1, name=f"{{}} after {steps} steps")


@per_case
def _many_steps(case: Case) -> Scenario:
    batches = (case.x, *case.more)
    calls = tuple(Train(batches[number % len(batches)]) for number in range(24))
    return Scenario(replace(case.parameters, decay=0.75), calls)


@states(
    "running.initial_values",
    finding="a fresh layer's running statistics are not the initial ones that the course asks for",
    equation=r"M_0,\ V_0",
    source="each course's convention",
    presupposes=("inference.no_state_change",),
    stride=20,
)
def initial_values(case: Case, ask: Ask) -> Iterator[Check]:
    """A fresh layer's running statistics are the initial ones that the course asks for."""
    response = ask.response(fresh(case))[0]
    response.array("out")
    for quantity in STATISTICS:
        got = response.values[quantity]
        if isinstance(got, SubjectError) and got.failure == "not_implemented":
            continue  # an interface may make them with the first batch
        yield from compare(ask, fresh(case), quantity, name="initial {}")


@per_case
def _with_decay(case: Case, decay: float) -> Scenario:
    return Scenario(replace(case.full_setup, decay=decay), (Train(case.x),))


@states(
    "running.full_and_no_memory",
    finding="with weight 1 on the old statistics they do not stay, or with 0 they do not become "
    "the batch's",
    equation=r"k = 1: M \leftarrow M \qquad k = 0: M \leftarrow \mu_B",
    source="the recurrence at its two ends",
    presupposes=RECURRENCES,
    stride=25,
    about=("momentum_ends",),
)
def full_and_no_memory(case: Case, ask: Ask) -> Iterator[Check]:
    """With all weight on the old average nothing moves, and with none the batch's statistics take
    its place.
    """
    for decay in (1.0, 0.0):
        name = f"{{}} with weight {decay:g} on the old one"
        yield from compare(ask, _with_decay(case, decay), STATISTICS, name=name)


@states(
    "running.cumulative_average",
    finding="without a momentum, a running statistic is not the plain average over batches, or an "
    "output is wrong",
    equation=r"M_n = \frac1n\sum_{t=1}^n \mu_t, \quad V_n = \frac1n\sum_{t=1}^n V_t",
    source="the recurrence with k = 1 − 1/t at batch t (PyTorch: momentum=None)",
    presupposes=RECURRENCES,
    stride=50,
    needs="cumulative_average",
)
def cumulative_average(case: Case, ask: Ask) -> Iterator[Check]:
    """Without a momentum, the running statistics are the plain average of all batches'
    statistics.
    """
    yield from _each_step(_cumulative(case), ask, ", without momentum")


@per_case
def _cumulative(case: Case) -> Scenario:
    setup = replace(case.parameters, decay=None, cumulative=True)
    probe = Infer(case.probe)
    return Scenario(setup, (Train(case.x), probe, *map(Train, case.more), probe))


def _each_step(scenario: Scenario, ask: Ask, how: str = "") -> Iterator[Check]:
    """Compare outputs and statistics of every call."""
    for number in range(len(scenario.calls)):
        name = f"{{}} in step {number + 1}{how}"
        yield from compare(ask, scenario, FORWARD, call=number, name=name)


@states(
    "running.any_order",
    finding="in a mixed order of training and inference steps, an output or a running statistic is "
    "wrong",
    equation=r"(M, V) \text{ after any order of training and inference steps}",
    source="the recurrence, which inference does not enter",
    presupposes=(
        *RECURRENCES,
        "training.agreement",
        "inference.affine_fold",
        "inference.no_state_change",
        "hygiene.refilled",
    ),
    stride=34,
)
def any_order(case: Case, ask: Ask) -> Iterator[Check]:
    """In any order of training and inference steps, the statistics follow the training steps
    alone, and the outputs the statistics.
    """
    yield from _each_step(_mixed(case), ask)


@per_case
def _mixed(case: Case) -> Scenario:
    """Eight steps in an order that the case's number chooses; they begin with training."""
    batches = (case.x, *case.more)
    choices = splitmix(case.index, 7) % 4
    calls: list[Train | Infer] = [Train(case.x)]
    for number, choice in enumerate(choices.tolist()):
        if choice < 2:
            calls.append(Train(batches[(number + choice) % len(batches)]))
        else:
            calls.append(Infer(case.probe if choice == 2 else batches[number % len(batches)]))
    return Scenario(case.parameters, tuple(calls))


PROPERTIES = (
    mean_recurrence,
    variance_recurrence,
    closed_form,
    initial_values,
    full_and_no_memory,
    cumulative_average,
    any_order,
)
