"""Inference mode."""

from __future__ import annotations

from collections.abc import Iterator

from bn_oracle.inference import fold

from bn_properties.cases import Case
from bn_properties.invariant import Ask, Check, invariant, per_feature, widen
from bn_properties.scenario import SYMBOLS, Infer, Quantity, Scenario

IOFFE = "Ioffe & Szegedy 2015, Algorithm 2"
_STATISTICS: tuple[Quantity, ...] = ("running_mean", "running_var")


@invariant(
    "inference.affine_fold",
    equation=r"\hat z = \frac{\gamma}{\sqrt{\sigma^2+\epsilon}}\,z + "
    r"\left(\beta - \frac{\gamma\mu}{\sqrt{\sigma^2+\epsilon}}\right)",
    source=IOFFE + ", line 11",
)
def affine_fold(case: Case, ask: Ask) -> Iterator[Check]:
    """At inference, each feature is one fixed line a·z + b, made of the running statistics, γ, β and ε."""  # noqa: E501
    got = ask.seen(case.inference)[0].array("out")
    want = ask.answer(case.inference)[0]
    slope, intercept = fold(case.gamma, case.beta, case.running_mean, case.running_var, case.eps)
    z = widen(case.probe)
    line = per_feature(slope, z) * z + per_feature(intercept, z)
    # want.bound holds the oracle's own rounding, folded or straight.
    yield Check("inference output", got, line, want.bound("out"))


@invariant(
    "inference.rows_independent",
    equation=r"\hat z_i = f(z_i), \text{ whatever else is in the batch}",
    source=IOFFE,
    presupposes=("inference.affine_fold",),
    every=3,
)
def rows_independent(case: Case, ask: Ask) -> Iterator[Check]:
    """At inference, an instance gives the same output alone as in company."""
    whole = ask.seen(case.inference)[0].array("out")
    rows = tuple(Infer(case.probe[row : row + 1]) for row in range(len(case.probe)))
    alone = case.once("rows alone", lambda: Scenario(case.full_setup, rows))
    answers = ask.answer(alone)
    for row, seen in enumerate(ask.seen(alone)):
        got = seen.array("out")
        room = 2 * answers[row].bound("out")
        yield Check(f"inference output of row {row} alone", got, widen(whole[row : row + 1]), room)


@invariant(
    "inference.no_state_change",
    equation=r"(\mu, \sigma^2) \text{ after inference} = (\mu, \sigma^2) \text{ before}",
    source=IOFFE,
    every=2,
)
def no_state_change(case: Case, ask: Ask) -> Iterator[Check]:
    """Inference leaves the running statistics as they were, to the last bit, also between two training steps."""  # noqa: E501
    straight, detour = ask.seen(case.sequence), ask.seen(case.interrupted)
    detour[1].array("out")
    for quantity in _STATISTICS:
        name = SYMBOLS[quantity]
        kept = widen(detour[0].array(quantity))
        yield Check(f"{name} after inference", detour[1].array(quantity), kept, None)
        if len(straight) > 1:
            got = detour[2].array(quantity)
            kept = widen(straight[1].array(quantity))
            yield Check(f"{name} after train, infer, train", got, kept, None)


PROPERTIES = (affine_fold, rows_independent, no_state_change)
