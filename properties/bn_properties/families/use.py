"""A layer in use: beside others, on arrays of any layout and refilled ones, under an optimiser."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bn_properties.calls import (
    Backward,
    Descend,
    Infer,
    LookAgain,
    OtherLayer,
    Train,
)
from bn_properties.cases.case import Case, per_case, small_integers
from bn_properties.families.hygiene import as_it_was
from bn_properties.families.running import RECURRENCES
from bn_properties.property import Ask, Check, compare, no_edits, states
from bn_properties.protocol import (
    FORWARD,
    GRADIENTS,
    STATISTICS,
    SYMBOLS,
    AnyArray,
    Layout,
    Setup,
    SubjectError,
)
from bn_properties.scenario import Scenario

_GRADIENTS_HOLD = (
    "backward.input_gradient",
    "backward.gamma_gradient",
    "backward.beta_gradient",
)


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


@per_case
def _twins(case: Case) -> tuple[OtherLayer, ...]:
    """Return two layers that agree with this one in shape, ε and momentum: one in γ and β, too, and
    one on which nothing is set.
    """
    batch = small_integers(case.index + 124, case.x.shape).astype(case.x.dtype)
    given = batch, batch[::-1] + 1, batch * 2 - 1
    return OtherLayer(*given, case.gamma, case.beta, alike=True), OtherLayer(*given, alike=True)


@states(
    "hygiene.layers_independent",
    finding="when other layers of the class are used in between, this layer's numbers change or "
    "come out wrong",
    equation=r"\mathrm{layer}_1 \text{ is the same whatever } \mathrm{layer}_2 \text{ does}",
    source="a network holds many layers of one class, of different widths and parameters",
    presupposes=(
        *_GRADIENTS_HOLD,
        *RECURRENCES,
        "inference.after_training",
        "hygiene.refilled",
    ),
    stride=50,
)
def layers_independent(case: Case, ask: Ask) -> Iterator[Check]:
    """Layers share no state: whatever others are asked, of the same or of another width, this one
    stays as it is.
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
    own, began = _with_its_own_parameters(case), f"{name}, with the parameters it began with"
    yield from compare(ask, own, GRADIENTS, call=3, name=began)
    yield from compare(ask, own, FORWARD, call=4, name=began)


@per_case
def _among_others(case: Case) -> Scenario:
    """Return a layer's life with others at work before each of its calls but the first."""
    others, twin, probe = _others(case), _twins(case)[0], Infer(case.probe)
    looks = LookAgain("backward", "dgamma"), LookAgain("backward", "dbeta")
    calls = (
        Train(case.x),
        *others,
        *others,
        twin,
        Backward(case.grad),
        others[0],
        *looks,
        Train(case.x[::-1] * -2),
        twin,
        probe,
    )
    return Scenario(case.full_setup, calls)


@per_case
def _with_its_own_parameters(case: Case) -> Scenario:
    """Return training before and after another layer's parameters are moved; this one's are set by
    nobody.
    """
    setup = Setup(case.features, case.eps, case.decay)
    others = _others(case)[0], _twins(case)[1]
    return Scenario(setup, (Train(case.x), *others, Backward(case.grad), Train(case.x)))


_LAYOUTS: tuple[Layout, ...] = ("fortran", "strided", "reversed", "read-only")


@states(
    "hygiene.any_layout",
    finding="for a batch laid out otherwise in memory, or read-only, a result is wrong or an array "
    "is edited",
    equation=r"f(z) \text{ depends on the numbers in } z \text{ alone}",
    source="what a network hands on is a slice, a transposed view, or not its own to write to",
    presupposes=(
        *_GRADIENTS_HOLD,
        *RECURRENCES,
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
    refused = ask.response(_overwritten(case))[1].values["dz"]
    if isinstance(refused, SubjectError) and refused.failure == "not_implemented":
        plain = ask.response(case.training)[0].values["dz"]
        if not isinstance(plain, SubjectError):
            return  # PyTorch lets nobody write into a view that a Function returns, and says so
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
        *RECURRENCES,
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
    presupposes=(
        *RECURRENCES,
        "inference.affine_fold",
        "hygiene.input_unmodified",
        "hygiene.refilled",
    ),
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
    "hygiene.refilled",
    finding="where the caller has refilled an array and passes it again, the output or dz is not "
    "that of what it holds now",
    equation=r"\hat z = f(z) \text{ whatever the array held before}",
    source="a caller that reads each batch into the same array",
    presupposes=(
        "training.agreement",
        "backward.input_gradient",
        "inference.affine_fold",
        "hygiene.input_unmodified",
        "hygiene.repeatable",
        "hygiene.latest_forward",
    ),
    stride=20,
)
def refilled(case: Case, ask: Ask) -> Iterator[Check]:
    """The output and dz are those of what an array holds now, whatever it held before."""
    training, inference = _refilled(case)
    name = "{} of a refilled array"
    yield from compare(ask, training, ("out", "dz"), name=name)
    yield from compare(ask, inference, "out", name=name)


@per_case
def _refilled(case: Case) -> tuple[Scenario, Scenario]:
    before: AnyArray = case.x[::-1] * -2
    training = Train(case.x, case.grad, before=before)
    inference = Infer(case.probe, before=case.probe[::-1] * -2)
    return Scenario(case.full_setup, (training,)), Scenario(case.full_setup, (inference,))


PROPERTIES = (
    layers_independent,
    any_layout,
    output_overwritten,
    descent,
    evaluated_first,
    thousand_steps,
    refilled,
)
