"""A layer in use: beside others, on arrays of any layout, under an optimiser, saved and loaded."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bn_properties.calls import (
    AddUp,
    Backward,
    Descend,
    Infer,
    LookAgain,
    OtherLayer,
    Reload,
    SetMomentum,
    SetParameters,
    Train,
)
from bn_properties.cases.case import Case, per_case, small_integers
from bn_properties.families.hygiene import as_it_was
from bn_properties.property import Ask, Check, compare, no_edits, states
from bn_properties.protocol import (
    FORWARD,
    GRADIENTS,
    STATISTICS,
    SYMBOLS,
    AnyArray,
    Layout,
    Setup,
)
from bn_properties.scenario import Scenario

_GRADIENTS_HOLD = (
    "backward.input_gradient",
    "backward.gamma_gradient",
    "backward.beta_gradient",
)
_RECURRENCES_HOLD = ("running.mean_recurrence", "running.variance_recurrence")


@per_case
def _others(case: Case) -> tuple[OtherLayer, ...]:
    """Return three other layers at work: of other widths and parameters, and one of the same shape.

    Each has its own γ and β, which are also moved in place.
    """
    rows, features, *space = case.x.shape

    def other(number: int, size: int, width: int) -> OtherLayer:
        shape, start = (size, width, *space), case.index + 31 * number
        batch = small_integers(start, shape).astype(case.x.dtype)
        gamma = np.arange(width) + 2.0 + number
        return OtherLayer(batch, batch[::-1] + 1, batch * 2 - 1, gamma, gamma / 4 - 3)

    return other(1, rows, features), other(2, rows + 1, features + 2), other(3, rows + 2, 1)


@states(
    "hygiene.layers_independent",
    finding="when other layers of the class are used in between, this layer's numbers change or "
    "come out wrong",
    equation=r"\mathrm{layer}_1 \text{ is the same whatever } \mathrm{layer}_2 \text{ does}",
    source="a network holds many layers of one class, of different widths and parameters",
    presupposes=(*_GRADIENTS_HOLD, *_RECURRENCES_HOLD, "inference.after_training"),
    stride=50,
)
def layers_independent(case: Case, ask: Ask) -> Iterator[Check]:
    """Layers share no state: whatever three others are asked, of the same or of another width, this
    one stays as it is.
    """
    scenario = _among_others(case)
    name = "{} after other layers were at work"
    back = next(k for k, call in enumerate(scenario.calls) if isinstance(call, Backward))
    yield from compare(ask, scenario, GRADIENTS, call=back, name=name)
    for call, quantity in ((back + 2, GRADIENTS[1]), (back + 3, GRADIENTS[2])):
        shown = ask.response(scenario)
        again, first = shown[call].array(quantity), shown[back].array(quantity)
        yield as_it_was(f"the first {SYMBOLS[quantity]}, looked at again", again, first)
    yield from compare(ask, scenario, FORWARD, call=back + 4, name=name)
    yield from compare(ask, scenario, FORWARD, call=back + 6, name=name)
    own = _with_its_own_parameters(case)
    yield from compare(ask, own, FORWARD, call=2, name=f"{name}, with the parameters it began with")


@per_case
def _among_others(case: Case) -> Scenario:
    """Return a layer's life with others at work before each of its calls but the first."""
    others, probe = _others(case), Infer(case.probe)
    looks = LookAgain("backward", "dgamma"), LookAgain("backward", "dbeta")
    calls = (
        Train(case.x),
        *others,
        *others,
        Backward(case.grad),
        others[0],
        *looks,
        Train(case.x[::-1] * -2),
        others[1],
        probe,
    )
    return Scenario(case.full_setup, calls)


@per_case
def _with_its_own_parameters(case: Case) -> Scenario:
    """Return training before and after another layer's parameters are moved; this one's are set by
    nobody.
    """
    setup = Setup(case.features, case.eps, case.decay)
    return Scenario(setup, (Train(case.x), _others(case)[0], Train(case.x)))


_LAYOUTS: tuple[Layout, ...] = ("fortran", "strided", "reversed", "read-only")


@states(
    "hygiene.any_layout",
    finding="for a batch laid out otherwise in memory, or read-only, a result is wrong or an array "
    "is edited",
    equation=r"f(z) \text{ depends on the numbers in } z \text{ alone}",
    source="what a network hands on is a slice, a transposed view, or not its own to write to",
    presupposes=(
        *_GRADIENTS_HOLD,
        *_RECURRENCES_HOLD,
        "inference.affine_fold",
        "hygiene.input_unmodified",
    ),
    stride=50,
)
def any_layout(case: Case, ask: Ask) -> Iterator[Check]:
    """How a batch lies in memory, and whether it may be written to, changes nothing."""
    layouts = (*_LAYOUTS, "swapped") if case.x.ndim > 3 else _LAYOUTS
    for layout in layouts:
        scenario, name = _laid(case, layout), f"{{}} of a batch that is {layout} in memory"
        yield from compare(ask, scenario, ("out", *GRADIENTS), name=name)
        yield from compare(ask, scenario, "out", call=1, name=f"{name}, at inference")
        yield no_edits(frozenset().union(*(each.edited for each in ask.response(scenario))))


@per_case
def _laid(case: Case, layout: Layout) -> Scenario:
    calls = Train(case.x, case.grad, layout), Infer(case.probe, layout=layout)
    return Scenario(case.full_setup, calls)


@states(
    "hygiene.output_overwritten",
    finding="a gradient is wrong when the caller has written into the output before backward",
    equation=r"\mathrm{backward}(G) \text{ does not read } \hat z",
    source="an activation that works in place writes into the output before the gradient comes",
    presupposes=_GRADIENTS_HOLD,
    stride=50,
)
def output_overwritten(case: Case, ask: Ask) -> Iterator[Check]:
    """The gradients are the same when the caller has written into the output meanwhile."""
    name = "{} after the output was overwritten"
    yield from compare(ask, _overwritten(case), GRADIENTS, call=1, name=name)
    # A new network's: where γ is one and β zero, the output may be the very array that was kept.
    name = "{} of a layer with γ = 1 and β = 0, after the output was overwritten"
    yield from compare(ask, _overwritten_anew(case), GRADIENTS, call=1, name=name)


@per_case
def _overwritten(case: Case) -> Scenario:
    return Scenario(case.full_setup, (Train(case.x, overwritten=True), Backward(case.grad)))


@per_case
def _overwritten_anew(case: Case) -> Scenario:
    ones, zeros = np.ones(case.features), np.zeros(case.features)
    setup = Setup(case.features, case.eps, case.decay, ones, zeros)
    return Scenario(setup, (Train(case.x, overwritten=True), Backward(case.grad)))


@states(
    "backward.descent",
    finding="γ and β do not move by the right dγ and dβ when these are subtracted from them in "
    "place",
    equation=r"\gamma \leftarrow \gamma - \frac{\partial Div}{\partial\gamma}, \quad "
    r"\beta \leftarrow \beta - \frac{\partial Div}{\partial\beta}",
    source="what an optimiser does with them: `gamma -= rate * dgamma`",
    presupposes=("backward.gamma_gradient", "backward.beta_gradient"),
    stride=50,
)
def descent(case: Case, ask: Ask) -> Iterator[Check]:
    """The gradients of γ and β can be subtracted from γ and β, in place: they have a shape that
    fits, and are arrays of their own.
    """
    name = "{}, as subtracted in place"
    yield from compare(ask, _descending(case), GRADIENTS[1:], call=1, name=name)


@per_case
def _descending(case: Case) -> Scenario:
    return Scenario(case.full_setup, (Train(case.x, case.grad), Descend(case.x)))


@states(
    "running.evaluated_first",
    finding="where inference comes before the first training step, an output or a running "
    "statistic is wrong",
    equation=r"(M, V) \text{ after inference, then training}",
    source="a network is evaluated before it is trained, to see where it starts",
    presupposes=(
        *_RECURRENCES_HOLD,
        "training.agreement",
        "inference.fresh_layer",
        "inference.after_training",
    ),
    stride=50,
)
def evaluated_first(case: Case, ask: Ask) -> Iterator[Check]:
    """A layer that has inferred before its first training step trains as any other."""
    scenario = _evaluated_first(case)
    for number, call in enumerate(scenario.calls):
        name = f"{{}} in step {number + 1}, inference first"
        # Where the statistics stand before the first training step is not asked here.
        quantities = FORWARD if number > 1 or isinstance(call, Train) else FORWARD[:1]
        yield from compare(ask, scenario, quantities, call=number, name=name)


@per_case
def _evaluated_first(case: Case) -> Scenario:
    probe = Infer(case.probe)
    steps = tuple(Train(batch) for batch in case.more[:1])
    return Scenario(case.parameters, (probe, probe, Train(case.x), *steps, probe))


STEPS = 1000


@states(
    "running.thousand_steps",
    finding="after a thousand training steps, a running statistic or the inference output is wrong",
    equation=r"M_n = k^n M_0 + (1 - k^n)\,\mu_B, \quad n = 1000",
    source="the recurrence; training takes thousands of steps",
    presupposes=(*_RECURRENCES_HOLD, "inference.affine_fold", "hygiene.input_unmodified"),
    stride=0,
)
def thousand_steps(case: Case, ask: Ask) -> Iterator[Check]:
    """After a thousand steps the running statistics still hold what came before them."""
    name = f"{{}} after {STEPS} steps"
    scenario = _thousand_steps(case)
    yield from compare(ask, scenario, STATISTICS, call=1, name=name)
    yield from compare(ask, scenario, "out", call=2, name=name)


@per_case
def _thousand_steps(case: Case) -> Scenario:
    few = tuple(batch[:3] for batch in (case.x, case.more[0] if case.more else case.x))
    calls = Train(few[0] * 64), Train(few[1], times=STEPS), Infer(case.probe)
    return Scenario(case.full_setup, calls)


@states(
    "hygiene.state_saved",
    finding="a layer that has loaded a saved state gives other outputs or statistics than the one "
    "that was saved",
    equation=r"\mathrm{load}(\mathrm{save}(\mathrm{layer})) = \mathrm{layer}",
    source="a network is trained once, saved, and used elsewhere (PyTorch: state_dict)",
    presupposes=(*_RECURRENCES_HOLD, "inference.after_training"),
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
    presupposes=_RECURRENCES_HOLD,
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


PROPERTIES = (
    layers_independent,
    any_layout,
    output_overwritten,
    descent,
    evaluated_first,
    thousand_steps,
    state_saved,
    frozen_input,
    changed_momentum,
    adds_up,
)
