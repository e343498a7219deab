"""The running statistics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from bn_properties.cases.case import Case, splitmix
from bn_properties.property import Ask, Check, invariant
from bn_properties.protocol import SubjectError
from bn_properties.scenario import SYMBOLS, Infer, Quantity, Scenario, Train


def _recurrence(case: Case, ask: Ask, quantity: Quantity, name: str) -> Iterator[Check]:
    yield from _follow(case.sequence, ask, quantity, name)
    # A statistic that shares its memory with the batch's loses its history only when an
    # inference call comes between two training steps.
    if case.index % 2:
        return  # the same cases on which `inference.no_state_change` asks it
    seen = ask.seen(case.interrupted)
    missing = seen[1].answers["out"]
    if isinstance(missing, SubjectError) and missing.failure == "not_implemented":
        return
    yield from _follow(case.interrupted, ask, quantity, name)


def _follow(scenario: Scenario, ask: Ask, quantity: Quantity, name: str) -> Iterator[Check]:
    seen = ask.seen(scenario)
    for step, want in enumerate(ask.answer(scenario)):
        if quantity not in want.expected:
            return
        kind = "training" if isinstance(scenario.steps[step], Train) else "inference"
        yield Check(
            f"{name} after step {step + 1} ({kind})",
            seen[step].array(quantity),
            want.expected[quantity],
            want.bound(quantity),
        )


@invariant(
    "running.mean_recurrence",
    equation=r"M \leftarrow k\,M + (1-k)\,\mu_B",
    source="each course's convention for k",
)
def mean_recurrence(case: Case, ask: Ask) -> Iterator[Check]:
    """Each training step moves the running mean towards the batch mean, by the momentum that was set."""  # noqa: E501
    yield from _recurrence(case, ask, "running_mean", "running mean")


@invariant(
    "running.variance_recurrence",
    equation=r"V \leftarrow k\,V + (1-k)\,\sigma_B^2",
    source="each course's convention for k, and for the biased or unbiased variance",
)
def variance_recurrence(case: Case, ask: Ask) -> Iterator[Check]:
    """Each training step moves the running variance towards the batch variance (biased or not, as the course says)."""  # noqa: E501
    yield from _recurrence(case, ask, "running_var", "running variance")


RECURRENCES = ("running.mean_recurrence", "running.variance_recurrence")
STATISTICS: tuple[Quantity, ...] = ("running_mean", "running_var")


@invariant(
    "running.closed_form",
    equation=r"M_n = k^n M_0 + (1-k)\sum_{t=1}^n k^{n-t}\mu_t",
    source="the recurrence, written out",
    presupposes=RECURRENCES,
)
def closed_form(case: Case, ask: Ask) -> Iterator[Check]:
    """After several steps, the running mean is a weighted sum of all batch means, the old ones fading."""  # noqa: E501
    want = ask.answer(case.sequence)
    records = [answer.record for answer in want]
    means = [record.mean for record in records if record is not None]
    steps = len(means)
    total = case.decay**steps * np.full(case.features, ask.convention.initial_mean)
    size = np.abs(total)
    for number, mean in enumerate(means):
        weight = (1 - case.decay) * case.decay ** (steps - 1 - number)
        total, size = total + weight * mean, size + np.abs(weight * mean)
    if "running_mean" not in want[-1].expected:
        return
    # The weights are exact binary fractions to begin with; each power and product rounds once.
    room = want[-1].bound("running_mean") + 4 * steps * 2.0**-53 * size
    got = ask.seen(case.sequence)[-1].array("running_mean")
    plural = "s" if steps > 1 else ""
    yield Check(f"running mean after {steps} step{plural}", got, total, room)
    if case.index % 50 == 0 and not case.example:
        yield from _long_run(case, ask)


def _long_run(case: Case, ask: Ask) -> Iterator[Check]:
    """Compare the statistics after many steps: a layer may stop to keep them, or begin to."""
    batches = (case.x, *case.more)
    train = tuple(Train(batches[number % len(batches)]) for number in range(24))
    setup = replace(case.parameters, decay=0.75)
    scenario = case.once("long run", lambda: Scenario(setup, train))
    seen, want = ask.seen(scenario)[-1], ask.answer(scenario)[-1]
    for quantity in STATISTICS:
        if quantity in want.expected:
            yield Check(
                f"{SYMBOLS[quantity]} after {len(train)} steps",
                seen.array(quantity),
                want.expected[quantity],
                want.bound(quantity),
            )


@invariant(
    "running.initial_values",
    equation=r"M_0,\ V_0",
    source="each course's convention",
    presupposes=("inference.no_state_change",),
    every=10,
)
def initial_values(case: Case, ask: Ask) -> Iterator[Check]:
    """A fresh layer's running statistics are the initial ones that the course asks for."""
    scenario = case.once("fresh", lambda: Scenario(case.parameters, (Infer(case.probe),)))
    seen, want = ask.seen(scenario)[0], ask.answer(scenario)[0]
    seen.array("out")
    for quantity in STATISTICS:
        got = seen.answers[quantity]
        if isinstance(got, SubjectError) and got.failure == "not_implemented":
            continue  # an interface may make them with the first batch
        yield Check(
            f"initial {SYMBOLS[quantity]}",
            seen.array(quantity),
            want.expected[quantity],
            want.bound(quantity),
        )


@invariant(
    "running.full_and_no_memory",
    equation=r"k = 1: M \leftarrow M \qquad k = 0: M \leftarrow \mu_B",
    source="the recurrence at its two ends",
    presupposes=RECURRENCES,
    every=10,
)
def full_and_no_memory(case: Case, ask: Ask) -> Iterator[Check]:
    """With all weight on the old average nothing moves, and with none the batch's statistics take its place."""  # noqa: E501
    for decay in (1.0, 0.0):
        setup = replace(case.full_setup, decay=decay)
        scenario = case.once(f"decay {decay}", lambda s=setup: Scenario(s, (Train(case.x),)))  # type: ignore[misc]
        seen, want = ask.seen(scenario)[0], ask.answer(scenario)[0]
        for quantity in STATISTICS:
            if quantity in want.expected:
                yield Check(
                    f"{SYMBOLS[quantity]} with weight {decay:g} on the old one",
                    seen.array(quantity),
                    want.expected[quantity],
                    want.bound(quantity),
                )


@invariant(
    "running.cumulative_average",
    equation=r"M_n = \frac1n\sum_{t=1}^n \mu_t, \quad V_n = \frac1n\sum_{t=1}^n V_t",
    source="the recurrence with k = 1 − 1/t at batch t (PyTorch: momentum=None)",
    presupposes=RECURRENCES,
    every=5,
    needs="cumulative_average",
)
def cumulative_average(case: Case, ask: Ask) -> Iterator[Check]:
    """Without a momentum, the running statistics are the plain average of all batches' statistics."""  # noqa: E501
    setup = replace(case.parameters, decay=None, cumulative=True)
    probe = Infer(case.probe)
    later = tuple(Train(x) for x in case.more)
    steps: tuple[Train | Infer, ...] = (Train(case.x), probe, *later, probe)
    scenario = case.once("cumulative", lambda: Scenario(setup, steps))
    seen = ask.seen(scenario)
    quantities: tuple[Quantity, ...] = ("out", *STATISTICS)
    for step, want in enumerate(ask.answer(scenario)):
        for quantity in quantities:
            if quantity in want.expected:
                yield Check(
                    f"{SYMBOLS[quantity]} in step {step + 1}, without momentum",
                    seen[step].array(quantity),
                    want.expected[quantity],
                    want.bound(quantity),
                )


@invariant(
    "running.any_order",
    equation=r"(M, V) \text{ after any order of training and inference steps}",
    source="the recurrence, which inference does not enter",
    presupposes=(*RECURRENCES, "inference.affine_fold", "inference.no_state_change"),
    every=10,
)
def any_order(case: Case, ask: Ask) -> Iterator[Check]:
    """In any order of training and inference steps, the statistics follow the training steps alone, and the outputs the statistics."""  # noqa: E501
    scenario = case.once("any order", lambda: _mixed(case))
    seen = ask.seen(scenario)
    for step, want in enumerate(ask.answer(scenario)):
        quantities: tuple[Quantity, ...] = ("out", *STATISTICS)
        for quantity in quantities:
            if quantity in want.expected:
                yield Check(
                    f"{SYMBOLS[quantity]} in step {step + 1}",
                    seen[step].array(quantity),
                    want.expected[quantity],
                    want.bound(quantity),
                )


def _mixed(case: Case) -> Scenario:
    """Eight steps in an order that the case's number chooses; they begin with training."""
    batches = (case.x, *case.more)
    choices = splitmix(case.index, 7) % 4
    steps: list[Train | Infer] = [Train(case.x)]
    for number, choice in enumerate(choices.tolist()):
        if choice < 2:
            steps.append(Train(batches[(number + choice) % len(batches)]))
        else:
            steps.append(Infer(case.probe if choice == 2 else batches[number % len(batches)]))
    return Scenario(case.parameters, tuple(steps))


PROPERTIES = (
    mean_recurrence,
    variance_recurrence,
    closed_form,
    initial_values,
    full_and_no_memory,
    cumulative_average,
    any_order,
)
