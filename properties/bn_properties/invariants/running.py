"""The running statistics."""

from __future__ import annotations

from collections.abc import Iterator

from bn_properties.cases import Case
from bn_properties.invariant import Ask, Check, invariant
from bn_properties.scenario import Quantity, Scenario, Train
from bn_properties.subject import SubjectError


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


PROPERTIES = (mean_recurrence, variance_recurrence)
