"""The population's statistics, where an interface gives them for a list of mini-batches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bn_properties.cases.case import Case
from bn_properties.property import Ask, Check, invariant, no_edits, widen
from bn_properties.scenario import SYMBOLS, Infer, Population, Quantity, Scenario, Train


def _equal(case: Case) -> Scenario:
    """Return three mini-batches of one size, made of the case's two arrays of that size."""
    batches = (case.x, case.grad, case.x + case.grad)
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
    if not case.more:
        return
    first, other = case.x[:1], case.more[0]
    batches = (np.concatenate([case.x, first, first]), np.concatenate([other[:1], other[-1:]]))
    scenario = case.once(
        "ragged batches", lambda: Scenario(case.parameters, (Population(batches),))
    )
    yield from _compare(ask, scenario, "population_mean")
    # Several weights are right for the variances of such batches: only nonsense can be told.
    var = widen(ask.seen(scenario)[0].array("population_var"))
    possible = np.where(np.isfinite(var) & (var >= 0), var, 0.0)
    yield Check("population variance, which cannot be negative", var, possible, None)


@invariant(
    "population.stateless",
    equation=r"(\mu, \sigma^2) = f(\text{batches}), \quad (M, V) \text{ as they were}",
    source="the population's statistics are asked for after training, and again later",
    presupposes=("population.mean_of_means", "population.unbiased_variance"),
    every=10,
    needs="population",
)
def stateless(case: Case, ask: Ask) -> Iterator[Check]:
    """The population's statistics depend on the batches alone; asking for them edits nothing and moves no running statistics."""  # noqa: E501
    first, second = Population((case.x, case.grad)), Population((case.grad, case.x + case.grad))
    steps = (Train(case.x), Infer(case.probe), first, second, Infer(case.probe))
    scenario = case.once("population between", lambda: Scenario(case.parameters, steps))
    seen, answers = ask.seen(scenario), ask.answer(scenario)
    statistics: tuple[Quantity, ...] = ("population_mean", "population_var")
    for number in (2, 3):
        for quantity in statistics:
            if quantity in answers[number].expected:
                yield Check(
                    f"{SYMBOLS[quantity]} after training",
                    seen[number].array(quantity),
                    answers[number].expected[quantity],
                    answers[number].bound(quantity),
                )
    yield no_edits(seen[2].edited | seen[3].edited)
    kept: tuple[Quantity, ...] = ("running_mean", "running_var")
    for quantity in kept:
        before, after = seen[1].array(quantity), seen[4].array(quantity)
        name = f"{SYMBOLS[quantity]} after population statistics"
        yield Check(name, after, widen(before), None)


PROPERTIES = (mean_of_means, unbiased_variance, ragged_batches, stateless)
