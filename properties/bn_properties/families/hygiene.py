"""Good manners: what a layer must leave alone, and must not depend on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bn_properties.call import EARLIER
from bn_properties.calls import Backward, Infer, LookAgain, SetParameters, Train
from bn_properties.cases.case import Case, per_case
from bn_properties.property import Ask, Check, compare, no_edits, states, widen
from bn_properties.protocol import GRADIENTS, SYMBOLS, AnyArray, Quantity, SubjectError
from bn_properties.scenario import Scenario

_CALLER = "the caller still needs its arrays"
_GRADIENTS_HOLD = (
    "backward.input_gradient",
    "backward.gamma_gradient",
    "backward.beta_gradient",
)


@per_case
def _life(case: Case) -> Scenario:
    """Return training, inference, other parameters, both again; and once more, moved in place."""
    first, probe = Train(case.x, case.grad), Infer(case.probe)
    turned = Train(case.x[::-1] * -2, case.grad[::-1])
    moved = SetParameters(case.gamma + 1, case.beta - 2)
    again = SetParameters(case.gamma * 2, case.beta + 1, in_place=True)
    calls = (first, probe, moved, probe, turned, probe, again, probe, first)
    return Scenario(case.full_setup, calls)


def _unedited(case: Case, ask: Ask, names: frozenset[str]) -> Iterator[Check]:
    scenarios = [case.training, case.inference]
    if case.index % current_parameters.stride == 0 and not case.pinned:
        scenarios.append(_life(case))
    for scenario in scenarios:
        edited: frozenset[str] = frozenset()
        for call, response in zip(scenario.calls, ask.response(scenario), strict=True):
            if not isinstance(call, SetParameters):
                response.array("out")
            edited |= response.edited & names
        yield no_edits(edited)


@states(
    "hygiene.input_unmodified",
    finding="forward or backward changes an array that it, or an earlier call, was given",
    equation=r"z, G \text{ after the call} = z, G \text{ before}",
    source=_CALLER,
)
def input_unmodified(case: Case, ask: Ask) -> Iterator[Check]:
    """Forward and backward leave the arrays that they are given as they were."""
    yield from _unedited(case, ask, frozenset({"input", "upstream gradient", EARLIER}))


@states(
    "hygiene.parameters_unmodified",
    finding="forward or backward changes γ or β",
    equation=r"\gamma, \beta \text{ after the call} = \gamma, \beta \text{ before}",
    source="the optimiser moves the parameters, not the layer",
)
def parameters_unmodified(case: Case, ask: Ask) -> Iterator[Check]:
    """Forward and backward leave γ and β as they were."""
    yield from _unedited(case, ask, frozenset({"gamma", "beta"}))


@states(
    "hygiene.output_kept",
    finding="an output or a dz that was returned is no longer what it was after later calls",
    equation=r"\hat z^{(1)} \text{ after the second step} = \hat z^{(1)} \text{ before}",
    source=_CALLER,
    stride=50,
)
def output_kept(case: Case, ask: Ask) -> Iterator[Check]:
    """What was returned does not change when its gradient is computed, or other batches come, in
    either mode.
    """
    again, predicted, between = _looked_at_again(case)
    shown = ask.response(again)
    gradient = shown[1].array("dz")
    yield _kept("output", shown[5].array("out"), shown[0].array("out"))
    yield _kept("dz", shown[6].array("dz"), gradient)
    shown = ask.response(predicted)
    yield _kept("inference output", shown[4].array("out"), shown[0].array("out"))
    shown = ask.response(between)
    shown[2].array("out")
    yield _kept("training output", shown[4].array("out"), shown[0].array("out"))


@per_case
def _looked_at_again(case: Case) -> tuple[Scenario, Scenario, Scenario]:
    """Return a second look after training, after inference, and at the one after the other."""
    other = case.x[::-1] * -2
    turned, more = Train(other, case.grad[::-1]), Train(other + 1, case.grad)
    first, back = Train(case.x), Backward(case.grad)
    looks = LookAgain(), LookAgain("backward", "dz")
    lives = (
        (first, back, turned, more, turned, *looks),
        (Infer(case.x), Train(other), Infer(other), Infer(other + 1), LookAgain("infer")),
        (first, back, Infer(other), Infer(other + 1), LookAgain()),
    )
    again, predicted, between = (Scenario(case.full_setup, calls) for calls in lives)
    return again, predicted, between


def _kept(what: str, again: AnyArray, first: AnyArray) -> Check:
    return as_it_was(f"the first {what}, looked at again", again, first)


def as_it_was(what: str, again: AnyArray, first: AnyArray) -> Check:
    """Return a second look beside the first, to be equal bit for bit.

    That NaN and infinities are wrong is for agreement to say.
    """
    second, kept = widen(again), widen(first)
    both = ~np.isfinite(kept) & ((second == kept) | (np.isnan(second) & np.isnan(kept)))
    return Check(what, np.where(both, 0.0, second), np.where(both, 0.0, kept), None)


def _steady(what: str, again: AnyArray, first: AnyArray) -> Check:
    """Compare bit for bit where the first are numbers; if not, agreement says so."""
    second, kept = widen(again), widen(first)
    numbers = np.isfinite(kept).all()
    return Check(what, np.where(numbers, second, 0.0), np.where(numbers, kept, 0.0), None)


@states(
    "hygiene.current_parameters",
    finding="after γ and β were changed, an output or a gradient is not what the new ones give",
    equation=r"\hat z = \gamma_t u + \beta_t \text{ with the parameters of step } t",
    source="an optimiser moves the parameters between two steps",
    presupposes=(
        "training.agreement",
        "backward.input_gradient",
        "backward.gamma_gradient",
        "backward.beta_gradient",
        "inference.after_training",
    ),
    stride=50,
)
def current_parameters(case: Case, ask: Ask) -> Iterator[Check]:
    """After the parameters were changed, outputs of both modes and gradients are computed with the
    new ones.
    """
    calls: tuple[tuple[int, str, tuple[Quantity, ...]], ...] = (
        (4, "training with other parameters", ("out", *GRADIENTS)),
        (3, "inference with other parameters", ("out",)),
        (7, "inference with parameters changed in place", ("out",)),
        (8, "training with parameters changed in place", ("out", *GRADIENTS)),
    )
    for call, mode, quantities in calls:
        yield from compare(ask, _life(case), quantities, call=call, name=f"{{}} in {mode}")


@per_case
def _repeated(case: Case) -> Scenario:
    call = Train(case.x, case.grad)
    return Scenario(case.full_setup, (call, call))


@states(
    "hygiene.repeatable",
    finding="the same batch, trained on again, gives another output, dz, dγ or dβ",
    equation=r"f(z) = f(z)",
    source="nothing in batch norm is random; training output depends on the batch alone",
    stride=25,
)
def repeatable(case: Case, ask: Ask) -> Iterator[Check]:
    """The same batch again gives the same output and the same gradients: nothing adds up from call
    to call.
    """
    scenario = _repeated(case)
    first, second = ask.response(scenario)
    wanted = ask.expected(scenario)
    for quantity in ("out", *GRADIENTS):
        # Another rounding is right, too: some shift a batch by the running mean before they sum.
        room = wanted[0].bound(quantity) + wanted[1].bound(quantity)
        kept = widen(first.array(quantity))
        numbers = np.isfinite(kept).all()  # if not, agreement says so
        again = np.where(numbers, widen(second.array(quantity)), 0.0)
        yield Check(f"{SYMBOLS[quantity]} again", again, np.where(numbers, kept, 0.0), room)


@states(
    "hygiene.cache_kept",
    finding="a later backward for the same forward gives a gradient that has changed or is wrong",
    equation=r"\mathrm{backward}(G) = \mathrm{backward}(G)",
    source="what forward kept belongs to every backward that asks for it: two backward passes are "
    "compared on one cache",
    presupposes=_GRADIENTS_HOLD,
    stride=25,
)
def cache_kept(case: Case, ask: Ask) -> Iterator[Check]:
    """A second backward for the same forward gives the same gradients, to the last bit: the first
    one edits nothing that forward kept.
    """
    scenario = _backward_twice(case)
    first, second, _ = ask.response(scenario)
    for quantity in GRADIENTS:
        kept, again = first.array(quantity), second.values[quantity]
        if isinstance(again, SubjectError) and again.failure == "raised":
            ask.retract(scenario)  # it gave its memory back, and says so
            return
        yield _steady(f"{SYMBOLS[quantity]}, asked again", second.array(quantity), kept)
    name = "{} of another upstream gradient"
    yield from compare(ask, scenario, GRADIENTS, call=2, name=name)


@per_case
def _backward_twice(case: Case) -> Scenario:
    other = case.grad[::-1] + case.grad.dtype.type(1)
    calls = (Train(case.x, case.grad), Backward(case.grad), Backward(other))
    return Scenario(case.full_setup, calls)


@states(
    "hygiene.latest_forward",
    finding="after other batches, a gradient is not that of the latest batch",
    equation=r"\mathrm{backward}(G) \text{ belongs to the latest forward}",
    source="a layer is trained batch after batch",
    presupposes=_GRADIENTS_HOLD,
    stride=25,
)
def latest_forward(case: Case, ask: Ask) -> Iterator[Check]:
    """After another batch, the gradients are those of the latest batch, and of it alone."""
    if not case.more:
        return
    yield from compare(ask, _third_batch(case), GRADIENTS, call=2, name="{} of the latest batch")


@per_case
def _third_batch(case: Case) -> Scenario:
    other = case.more[0]
    unasked = Train(case.x[::-1] * -2)  # no gradient is asked of this one
    calls = (Train(other, np.ones_like(other)), unasked, Train(case.x, case.grad))
    return Scenario(case.full_setup, calls)


PROPERTIES = (
    input_unmodified,
    parameters_unmodified,
    output_kept,
    current_parameters,
    repeatable,
    cache_kept,
    latest_forward,
)
