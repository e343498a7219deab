"""The population's statistics, where an interface gives them for a list of mini-batches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bn_properties.call import EARLIER
from bn_properties.calls import Infer, Population, Train
from bn_properties.cases.case import Case, per_case
from bn_properties.property import Ask, Check, compare, no_edits, states, widen
from bn_properties.protocol import POPULATION, STATISTICS, SYMBOLS
from bn_properties.scenario import Scenario


@per_case
def _equal(case: Case) -> Scenario:
    """Return three mini-batches of one size, made of the case's two arrays of that size."""
    batches = (case.x, case.grad, case.x + case.grad)
    return Scenario(case.parameters, (Population(batches),))


@per_case
def _ragged(case: Case) -> Scenario:
    first, other = case.x[:1], case.more[0]
    batches = (np.concatenate([case.x, first, first]), np.concatenate([other[:1], other[-1:]]))
    return Scenario(case.parameters, (Population(batches),))


@per_case
def _between(case: Case) -> Scenario:
    first, second = Population((case.x, case.grad)), Population((case.grad, case.x + case.grad))
    calls = (Train(case.x), Infer(case.probe), first, second, Infer(case.probe))
    return Scenario(case.parameters, calls)


@states(
    "population.mean_of_means",
    finding="the population mean of equally large mini-batches is not the average of their means",
    equation=r"\mu = \frac1K\sum_{b=1}^K \mu_b",
    source="Ioffe & Szegedy 2015, Algorithm 2, line 10",
    stride=10,
    needs="population",
)
def mean_of_means(case: Case, ask: Ask) -> Iterator[Check]:
    """The population mean is the average of the means of equally large mini-batches."""
    yield from compare(ask, _equal(case), "population_mean")


@states(
    "population.unbiased_variance",
    finding="the population variance is not B/(B − 1) times the average of the biased batch "
    "variances",
    equation=r"\sigma^2 = \frac{B}{B-1}\,\frac1K\sum_{b=1}^K \sigma_b^2",
    source="Ioffe & Szegedy 2015, Algorithm 2, line 10",
    stride=10,
    needs="population",
)
def unbiased_variance(case: Case, ask: Ask) -> Iterator[Check]:
    """The population variance is B/(B−1) times the average of the mini-batches' biased
    variances.
    """
    yield from compare(ask, _equal(case), "population_var")


@states(
    "population.ragged_batches",
    finding="for unequal mini-batches, the population mean is not that of all instances, or the "
    "variance is impossible",
    equation=r"\mu = \frac{\sum_b B_b\,\mu_b}{\sum_b B_b}",
    source="the mean of all instances, each counted once",
    presupposes=("population.mean_of_means",),
    stride=10,
    needs="population",
)
def ragged_batches(case: Case, ask: Ask) -> Iterator[Check]:
    """With a smaller last mini-batch, each instance still counts the same in the
    population mean.
    """
    if not case.more:
        return
    scenario = _ragged(case)
    yield from compare(ask, scenario, "population_mean")
    # Several weights are right for the variances of such batches: only nonsense can be told.
    var = widen(ask.response(scenario)[0].array("population_var"))
    possible = np.where(np.isfinite(var) & (var >= 0), var, 0.0)
    yield Check("population variance, which cannot be negative", var, possible, None)


@states(
    "population.stateless",
    finding="population statistics asked for after training are wrong, move the running ones or "
    "edit an array",
    equation=r"(\mu, \sigma^2) = f(\text{batches}), \quad (M, V) \text{ as they were}",
    source="the population's statistics are asked for after training, and again later",
    presupposes=("population.mean_of_means", "population.unbiased_variance"),
    stride=50,
    needs="population",
)
def stateless(case: Case, ask: Ask) -> Iterator[Check]:
    """The population's statistics depend on the batches alone; asking for them edits nothing and
    moves no running statistics.
    """
    scenario = _between(case)
    for call in (2, 3):
        yield from compare(ask, scenario, POPULATION, call=call, name="{} after training")
    responses = ask.response(scenario)
    # What another call has edited since is for `hygiene` to say.
    yield no_edits((responses[2].edited | responses[3].edited) - {EARLIER})
    for quantity in STATISTICS:
        before, after = responses[1].array(quantity), responses[4].array(quantity)
        name = f"{SYMBOLS[quantity]} after population statistics"
        yield Check(name, after, widen(before), None)


PROPERTIES = (mean_of_means, unbiased_variance, ragged_batches, stateless)
