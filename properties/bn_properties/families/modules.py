"""What a module of a framework is asked besides: saved and loaded, copied, part of a network."""

from __future__ import annotations

from collections.abc import Iterator

from bn_properties.calls import AddUp, Infer, Reload, SetMomentum, SetParameters, Train
from bn_properties.cases.case import Case, per_case
from bn_properties.families.running import RECURRENCES
from bn_properties.property import Ask, Check, compare, states
from bn_properties.protocol import FORWARD, GRADIENTS, STATISTICS, AnyArray
from bn_properties.scenario import Scenario


@states(
    "hygiene.state_saved",
    finding="a layer that has loaded a saved state gives other outputs or statistics than the one "
    "that was saved",
    equation=r"\mathrm{load}(\mathrm{save}(\mathrm{layer})) = \mathrm{layer}",
    source="a network is trained once, saved, and used elsewhere (PyTorch: state_dict)",
    presupposes=(*RECURRENCES, "inference.after_training"),
    stride=50,
    needs="state_dict",
)
def state_saved(case: Case, ask: Ask) -> Iterator[Check]:
    """A layer that has loaded another one's saved state infers and trains on as that one would."""
    scenario = _reloaded(case)
    for call in (3, 4):
        name = "{} after the state was saved and loaded"
        yield from compare(ask, scenario, FORWARD, call=call, name=name)


@per_case
def _reloaded(case: Case) -> Scenario:
    other = case.x[::-1] * -2
    calls = (
        Train(case.x),
        SetParameters(case.gamma + 1, case.beta - 2),
        Reload(),
        Infer(case.probe),
        Train(other),
    )
    return Scenario(case.full_setup, calls)


@states(
    "hygiene.copied",
    finding="a copy of the layer gives other outputs or statistics than the layer would",
    equation=r"\mathrm{copy}(\mathrm{layer}) = \mathrm{layer}",
    source="averaged weights and ensembles copy a network, and train on (Python: copy.deepcopy)",
    presupposes=(*RECURRENCES, "inference.after_training"),
    stride=50,
    needs="state_dict",
)
def copied(case: Case, ask: Ask) -> Iterator[Check]:
    """A copy of a layer trains and infers as the layer itself would."""
    scenario = _copied(case)
    for call in (1, 2):
        yield from compare(ask, scenario, FORWARD, call=call, name="{} of a copy")


@per_case
def _copied(case: Case) -> Scenario:
    return Scenario(case.full_setup, (Reload(copied=True), Train(case.x), Infer(case.probe)))


@states(
    "backward.frozen_input",
    finding="dγ or dβ is wrong where the input needs no gradient",
    equation=r"\frac{\partial Div}{\partial\gamma}, \frac{\partial Div}{\partial\beta} "
    r"\text{ without } \frac{\partial Div}{\partial z}",
    source="the first layer of a network: its input needs no gradient, its parameters do",
    presupposes=("backward.gamma_gradient", "backward.beta_gradient"),
    stride=50,
    needs="frozen_input",
)
def frozen_input(case: Case, ask: Ask) -> Iterator[Check]:
    """γ and β get their gradients where the input needs none, too."""
    name = "{} where the input needs none"
    yield from compare(ask, _frozen(case), GRADIENTS[1:], name=name)


@per_case
def _frozen(case: Case) -> Scenario:
    return Scenario(case.full_setup, (Train(case.x, case.grad, frozen=True),))


@states(
    "running.changed_momentum",
    finding="after the momentum is changed, the next step's running statistics are not those of "
    "the new one",
    equation=r"M \leftarrow k_2 M + (1-k_2)\mu_B \text{ once } k_2 \text{ is set}",
    source="schedules change it while a network is trained",
    presupposes=RECURRENCES,
    stride=50,
    needs="changed_momentum",
)
def changed_momentum(case: Case, ask: Ask) -> Iterator[Check]:
    """A momentum that is changed after construction counts from the next step on."""
    name = "{} with another momentum"
    yield from compare(ask, _other_momentum(case), STATISTICS, call=2, name=name)


@per_case
def _other_momentum(case: Case) -> Scenario:
    later: AnyArray = case.x[::-1] * -2
    calls = Train(case.x), SetMomentum(0.625 if case.decay != 0.625 else 0.375), Train(later)
    return Scenario(case.full_setup, calls)


@states(
    "backward.adds_up",
    finding="dγ or dβ is not the sum over two steps between which nothing was cleared",
    equation=r"\texttt{grad} = \sum_k \frac{\partial Div_k}{\partial\gamma}",
    source="gradients add up over backward passes until they are cleared: a large batch in parts",
    presupposes=("backward.gamma_gradient", "backward.beta_gradient"),
    stride=50,
    needs="gradients_add_up",
)
def adds_up(case: Case, ask: Ask) -> Iterator[Check]:
    """The gradients of γ and β add up over two steps between which nothing is cleared."""
    name = "{}, added up over two steps"
    yield from compare(ask, _adding_up(case), GRADIENTS[1:], name=name)


@per_case
def _adding_up(case: Case) -> Scenario:
    x: AnyArray = case.x[::-1] * -2
    return Scenario(case.full_setup, (AddUp(case.x, case.grad, x, case.grad),))


PROPERTIES = (state_saved, copied, frozen_input, changed_momentum, adds_up)
