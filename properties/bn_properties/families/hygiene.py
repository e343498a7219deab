"""Good manners: what a layer must leave alone, and must not depend on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bn_properties.cases.case import Case
from bn_properties.property import Ask, Check, invariant, no_edits, widen
from bn_properties.protocol import AnyArray, SubjectError
from bn_properties.scenario import (
    EARLIER,
    SYMBOLS,
    Backward,
    Infer,
    LookAgain,
    OtherLayer,
    Quantity,
    Scenario,
    SetParameters,
    Train,
)

_CALLER = "the caller still needs its arrays"
_GRADIENTS: tuple[Quantity, ...] = ("dz", "dgamma", "dbeta")


def _life(case: Case) -> Scenario:
    """Return training, inference, other parameters, both again; and once more, moved in place."""
    first, probe = Train(case.x, case.grad), Infer(case.probe)
    turned = Train(case.x[::-1] * -2, case.grad[::-1])
    moved = SetParameters(case.gamma + 1, case.beta - 2)
    again = SetParameters(case.gamma * 2, case.beta + 1, in_place=True)
    steps = (first, probe, moved, probe, turned, probe, again, probe, first)
    return Scenario(case.full_setup, steps)


def _unedited(case: Case, ask: Ask, names: frozenset[str]) -> Iterator[Check]:
    scenarios = [case.training, case.inference]
    if case.index % 10 == 0 and not case.example:
        scenarios.append(case.once("life", lambda: _life(case)))
    for scenario in scenarios:
        seen = ask.seen(scenario)
        edited: frozenset[str] = frozenset()
        for step, each in zip(scenario.steps, seen, strict=True):
            if not isinstance(step, SetParameters):
                each.array("out")
            edited |= each.edited & names
        yield no_edits(edited)


@invariant(
    "hygiene.input_unmodified",
    equation=r"z, G \text{ after the call} = z, G \text{ before}",
    source=_CALLER,
)
def input_unmodified(case: Case, ask: Ask) -> Iterator[Check]:
    """Forward and backward leave the arrays that they are given as they were."""
    yield from _unedited(case, ask, frozenset({"input", "upstream gradient", EARLIER}))


@invariant(
    "hygiene.parameters_unmodified",
    equation=r"\gamma, \beta \text{ after the call} = \gamma, \beta \text{ before}",
    source="the optimiser moves the parameters, not the layer",
)
def parameters_unmodified(case: Case, ask: Ask) -> Iterator[Check]:
    """Forward and backward leave γ and β as they were."""
    yield from _unedited(case, ask, frozenset({"gamma", "beta"}))


@invariant(
    "hygiene.output_kept",
    equation=r"\hat z^{(1)} \text{ after the second step} = \hat z^{(1)} \text{ before}",
    source=_CALLER,
    every=10,
)
def output_kept(case: Case, ask: Ask) -> Iterator[Check]:
    """What was returned does not change when its gradient is computed, or other batches come, in either mode."""  # noqa: E501
    other = case.x[::-1] * -2
    turned, more = Train(other, case.grad[::-1]), Train(other + 1, case.grad)
    steps = (Train(case.x), Backward(case.grad), turned, more, turned)
    scenario = case.once(
        "looked at again",
        lambda: Scenario(case.full_setup, (*steps, LookAgain(), LookAgain("backward"))),
    )
    seen = ask.seen(scenario)
    gradient = seen[1].array("dz")
    yield _kept("output", seen[5].array("out"), seen[0].array("out"))
    yield _kept("dz", seen[6].array("dz"), gradient)
    calls = (Infer(case.x), Train(other), Infer(other), Infer(other + 1), LookAgain("infer"))
    predicted = case.once("inference again", lambda: Scenario(case.full_setup, calls))
    shown = ask.seen(predicted)
    yield _kept("inference output", shown[4].array("out"), shown[0].array("out"))
    between = (Train(case.x), Backward(case.grad), Infer(other), Infer(other + 1), LookAgain())
    both = case.once("inference after", lambda: Scenario(case.full_setup, between))
    shown = ask.seen(both)
    shown[2].array("out")
    yield _kept("training output", shown[4].array("out"), shown[0].array("out"))


def _kept(what: str, again: AnyArray, first: AnyArray) -> Check:
    return _equal(f"the first {what}, looked at again", again, first)


def _equal(what: str, again: AnyArray, first: AnyArray) -> Check:
    """Compare bit for bit; that NaN and infinities are wrong is for agreement to say."""
    second, kept = widen(again), widen(first)
    both = ~np.isfinite(kept) & ((second == kept) | (np.isnan(second) & np.isnan(kept)))
    return Check(what, np.where(both, 0.0, second), np.where(both, 0.0, kept), None)


@invariant(
    "hygiene.current_parameters",
    equation=r"\hat z = \gamma_t u + \beta_t \text{ with the parameters of step } t",
    source="an optimiser moves the parameters between two steps",
    presupposes=("training.agreement", "backward.input_gradient", "inference.after_training"),
    every=10,
)
def current_parameters(case: Case, ask: Ask) -> Iterator[Check]:
    """After the parameters were changed, outputs of both modes and gradients are computed with the new ones."""  # noqa: E501
    scenario = case.once("life", lambda: _life(case))
    seen, answers = ask.seen(scenario), ask.answer(scenario)
    trained: tuple[Quantity, ...] = ("out", *_GRADIENTS)
    calls = (
        (4, "training with other parameters", trained),
        (3, "inference with other parameters", trained[:1]),
        (7, "inference with parameters changed in place", trained[:1]),
        (8, "training with parameters changed in place", trained),
    )
    for step, mode, quantities in calls:
        for quantity in quantities:
            yield Check(
                f"{SYMBOLS[quantity]} in {mode}",
                seen[step].array(quantity),
                answers[step].expected[quantity],
                answers[step].bound(quantity),
            )


@invariant(
    "hygiene.layers_independent",
    equation=r"\mathrm{layer}_1 \text{ is the same whatever } \mathrm{layer}_2 \text{ does}",
    source="a network holds many layers of one class",
    presupposes=("backward.input_gradient", "backward.gamma_gradient", "backward.beta_gradient"),
    every=10,
)
def layers_independent(case: Case, ask: Ask) -> Iterator[Check]:
    """Two layers share no state: whatever another one is asked, this one stays as it is."""
    if not case.more:
        return
    steps = (Train(case.x), OtherLayer(case.more[0]), Backward(case.grad), Train(case.more[0]))
    scenario = case.once("two layers", lambda: Scenario(case.parameters, steps))
    seen, want = ask.seen(scenario), ask.answer(scenario)
    for quantity in _GRADIENTS:
        yield Check(
            f"{SYMBOLS[quantity]} after another layer trained",
            seen[2].array(quantity),
            want[2].expected[quantity],
            want[2].bound(quantity),
        )
    statistics: tuple[Quantity, ...] = ("running_mean", "running_var")
    for quantity in statistics:
        if quantity in want[3].expected:
            yield Check(
                f"{SYMBOLS[quantity]} after another layer trained",
                seen[3].array(quantity),
                want[3].expected[quantity],
                want[3].bound(quantity),
            )
    other = case.more[0]
    differentiated = OtherLayer(other, np.ones_like(other))
    rereads = (LookAgain("dgamma"), LookAgain("dbeta"))
    gradients = case.once(
        "two layers' gradients",
        lambda: Scenario(case.full_setup, (Train(case.x, case.grad), differentiated, *rereads)),
    )
    shown = ask.seen(gradients)
    for step in (2, 3):
        name = rereads[step - 2].quantity
        yield _kept(SYMBOLS[name], shown[step].array(name), shown[0].array(name))
    calls = (Train(case.x), Infer(case.probe), OtherLayer(other, None, case.probe))
    inferring = case.once(
        "two layers infer", lambda: Scenario(case.full_setup, (*calls, Infer(case.probe)))
    )
    _, inferred, _, again = ask.seen(inferring)
    missing = inferred.answers["out"]
    if not (isinstance(missing, SubjectError) and missing.failure == "not_implemented"):
        what = "inference after another layer trained"
        yield _equal(what, again.array("out"), inferred.array("out"))


@invariant(
    "hygiene.repeatable",
    equation=r"f(z) = f(z)",
    source="nothing in batch norm is random; training output depends on the batch alone",
    every=5,
)
def repeatable(case: Case, ask: Ask) -> Iterator[Check]:
    """The same batch again gives the same output and the same gradients, to the last bit: nothing adds up from call to call."""  # noqa: E501
    step = Train(case.x, case.grad)
    scenario = case.once("repeated", lambda: Scenario(case.full_setup, (step, step)))
    first, second = ask.seen(scenario)
    quantities: tuple[Quantity, ...] = ("out", *_GRADIENTS)
    for quantity in quantities:
        kept = widen(first.array(quantity))
        if not np.isfinite(kept).all():
            return  # agreement says so; NaN is not equal to itself
        yield Check(f"{SYMBOLS[quantity]} again", second.array(quantity), kept, None)


@invariant(
    "hygiene.cache_kept",
    equation=r"\mathrm{backward}(G) = \mathrm{backward}(G)",
    source="what forward kept belongs to every backward that asks for it: two backward passes are "
    "compared on one cache",
    presupposes=("backward.input_gradient", "backward.gamma_gradient", "backward.beta_gradient"),
    every=5,
)
def cache_kept(case: Case, ask: Ask) -> Iterator[Check]:
    """A second backward for the same forward gives the same gradients, to the last bit: the first one edits nothing that forward kept."""  # noqa: E501
    other = case.grad[::-1] + case.grad.dtype.type(1)
    steps = (Train(case.x, case.grad), Backward(case.grad), Backward(other))
    scenario = case.once("backward twice", lambda: Scenario(case.full_setup, steps))
    first, second, third = ask.seen(scenario)
    for quantity in _GRADIENTS:
        kept, again = widen(first.array(quantity)), second.answers[quantity]
        if isinstance(again, SubjectError) and again.failure == "raised":
            ask.withdraw(scenario)  # it gave its memory back, and says so
            return
        if not np.isfinite(kept).all():
            return  # agreement says so; NaN is not equal to itself
        yield Check(f"{SYMBOLS[quantity]}, asked again", second.array(quantity), kept, None)
    want = ask.answer(scenario)[2]
    for quantity in _GRADIENTS:
        yield Check(
            f"{SYMBOLS[quantity]} of another upstream gradient",
            third.array(quantity),
            want.expected[quantity],
            want.bound(quantity),
        )


@invariant(
    "hygiene.latest_forward",
    equation=r"\mathrm{backward}(G) \text{ belongs to the latest forward}",
    source="a layer is trained batch after batch",
    presupposes=("backward.input_gradient", "backward.gamma_gradient", "backward.beta_gradient"),
    every=5,
)
def latest_forward(case: Case, ask: Ask) -> Iterator[Check]:
    """After another batch, the gradients are those of the latest batch, and of it alone."""
    if not case.more:
        return
    other = case.more[0]
    unasked = Train(case.x[::-1] * -2)  # no gradient is asked of this one
    steps = (Train(other, np.ones_like(other)), unasked, Train(case.x, case.grad))
    scenario = case.once("third batch", lambda: Scenario(case.full_setup, steps))
    seen, want = ask.seen(scenario)[2], ask.answer(scenario)[2]
    for quantity in _GRADIENTS:
        yield Check(
            f"{SYMBOLS[quantity]} of the latest batch",
            seen.array(quantity),
            want.expected[quantity],
            want.bound(quantity),
        )


PROPERTIES = (
    input_unmodified,
    parameters_unmodified,
    output_kept,
    current_parameters,
    layers_independent,
    repeatable,
    cache_kept,
    latest_forward,
)
