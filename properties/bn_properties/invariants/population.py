"""The population's statistics, where an interface gives them for a list of mini-batches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bn_properties.cases import Case, small_integers
from bn_properties.invariant import Ask, Check, invariant
from bn_properties.scenario import SYMBOLS, Population, Quantity, Scenario


def _equal(case: Case) -> Scenario:
    """Return three mini-batches of one size."""
    others = (small_integers(case.index + number, case.x.shape) for number in (1, 2))
    batches = (case.x, *(other.astype(case.x.dtype) for other in others))
    return Scenario(case.parameters, (Population(batches),))


def _compare(ask: Ask, scenario: Scenario, quantity: Quantity) -> Iterator[Check]:
    want = ask.answer(scenario)[0]
    if quantity in want.expected:
        got = ask.seen(scenario)[0].array(quantity)
        yield Check(SYMBOLS[quantity], got, want.expected[quantity], want.bound(quantity))


@invariant(
    "population.mean_of_means",
    equation=r"\mu = \frac1K\sum_{b=1}^K \mu_b",
    source="Ioffe & Szegedy 2015, Algorithm 2, line 10",
    every=5,
    needs="population",
)
def mean_of_means(case: Case, ask: Ask) -> Iterator[Check]:
    """The population mean is the average of the means of equally large mini-batches."""
    scenario = case.once("equal batches", lambda: _equal(case))
    yield from _compare(ask, scenario, "population_mean")


@invariant(
    "population.unbiased_variance",
    equation=r"\sigma^2 = \frac{B}{B-1}\,\frac1K\sum_{b=1}^K \sigma_b^2",
    source="Ioffe & Szegedy 2015, Algorithm 2, line 10",
    every=5,
    needs="population",
)
def unbiased_variance(case: Case, ask: Ask) -> Iterator[Check]:
    """The population variance is B/(B−1) times the average of the mini-batches' biased variances."""  # noqa: E501
    scenario = case.once("equal batches", lambda: _equal(case))
    yield from _compare(ask, scenario, "population_var")


@invariant(
    "population.ragged_batches",
    equation=r"\mu = \frac{\sum_b B_b\,\mu_b}{\sum_b B_b}",
    source="the mean of all instances, each counted once",
    presupposes=("population.mean_of_means",),
    every=5,
    needs="population",
)
def ragged_batches(case: Case, ask: Ask) -> Iterator[Check]:
    """With a smaller last mini-batch, each instance still counts the same in the population mean."""  # noqa: E501
    last = small_integers(case.index + 3, (1, *case.x.shape[1:])).astype(case.x.dtype) + 4
    batches = (np.concatenate([case.x, case.x[:1]]), last)
    scenario = case.once(
        "ragged batches", lambda: Scenario(case.parameters, (Population(batches),))
    )
    yield from _compare(ask, scenario, "population_mean")


PROPERTIES = (mean_of_means, unbiased_variance, ragged_batches)
