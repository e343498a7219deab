"""Faults that come together, and mistakes whose equation and formula change alike."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from bn_oracle.arrays import Array

from bn_diagnosis.faults.common import over, routes
from bn_diagnosis.faults.fault import Fault, Kind, Mistake, Told, fault
from bn_diagnosis.faults.statements import BY_MEAN, BY_VAR, CENTRED, DIRECT, DMEAN, DVAR, frac
from bn_diagnosis.formulas import STEPS
from bn_diagnosis.trace import Step, StepName, Trace, batch_var

Faults = tuple[Fault, ...]
Formula = Callable[[Trace], Array]
Change = Callable[[Trace, Array], object]
"""Something made of an array."""
Average = Callable[[Trace, Array, Array], object]
"""Something made of the old average and the batch's value."""


def changed(change: Change, *steps: StepName) -> Mapping[str, Step]:
    """Return right steps with what they give changed."""

    def of(step: Step) -> Step:
        return lambda t: change(t, np.asarray(step(t)))

    return {name: of(STEPS[name]) for name in steps}


def both_of(first: Fault, second: Fault, id: str, wrong: str = "") -> Callable[[str], Faults]:
    """Return two faults, and the third, still without words, that makes both mistakes at once."""
    kind = Kind(right=rf"{first.right}, \quad {second.right}", anchor=first.anchor)
    both = Mistake(kind, id, {**first.replaces, **second.replaces})
    told = both(wrong or rf"{first.wrong}, \quad {second.wrong}")
    return lambda text: (first, second, told(text))


def _of_beta(text: str) -> str:
    """Return what is said of γ as it is said of β, which no u multiplies."""
    return re.sub(r" u_(\w|\{\w+\})", "", text).replace("γ", "β").replace(r"\gamma", r"\beta")


def in_parameters(suffix: str, change: Change, wrong: str) -> Callable[[str], Faults]:
    """Return what makes three faults of words: in dγ, in dβ and in both.

    `change` makes a gradient of what each instance adds to it: Gu, or G. The equation and the
    first paragraph are said of γ, and serve for β; the second paragraph is said of both.
    """
    gamma = fault(f"gamma-gradient-{suffix}", dgamma=lambda t: change(t, t.g * t.u))(wrong)
    beta = fault(f"beta-gradient-{suffix}", dbeta=lambda t: change(t, t.g))(_of_beta(wrong))

    def told(text: str) -> Faults:
        one, both = text.split("\n\n")
        return both_of(gamma(one), beta(_of_beta(one)), f"parameter-gradients-{suffix}")(both)

    return told


@dataclass(frozen=True)
class Denominator:
    """A mistaken denominator, in LaTeX and as a formula of a variance.

    Called with an id and steps: its mistake in `s` (training), `infer_s`, or `u` (the output).
    """

    latex: str
    formula: Callable[[Trace, Array], Array]
    in_training: Kind = fault

    def __call__(self, id: str, *steps: Literal["u", "s", "infer_s"], **others: Step) -> Told:
        """Return the mistake; its equation is that of the first step."""
        divisor = self.formula
        forms: Mapping[str, tuple[str, Step]] = {
            "u": (frac(CENTRED, self.latex), lambda t: t.centred / divisor(t, t.var)),
            "s": (self.latex, lambda t: divisor(t, t.var)),
            "infer_s": (self.latex.replace("_B", ""), lambda t: divisor(t, t.running_var)),
        }
        kind = fault if steps[0] == "infer_s" else self.in_training
        replaced: dict[str, Step] = {step: forms[step][1] for step in steps}
        return kind(id, **replaced, **others)(f"= {forms[steps[0]][0]}")


def signed(id: str, direct: int = 1, variance: int = 1, mean: int = 1, kind: Kind = fault) -> Told:
    """Return the mistake of other signs of the routes of dz; 0 leaves one out."""
    terms = ((direct, DIRECT), (variance, BY_VAR), (mean, BY_MEAN))
    wrong = "".join(f"{' + ' if sign > 0 else ' - '}{term}" for sign, term in terms if sign)
    steps = kind(id, dz=lambda t: routes(t, direct, variance, mean))
    return steps("=" + wrong.removeprefix(" +"))


def divided_by(id: str, size: str, number: Callable[[Trace], float], kind: Kind = fault) -> Told:
    """Return the mistake of another number where B belongs in dz; `size` is it in LaTeX, or ""."""
    two = frac(f"2({CENTRED})", size) if size else f"2({CENTRED})"
    one = {0: "", 1: rf"\frac1{size}"}.get(len(size), frac("1", size))
    return kind(id, dz=lambda t: over(t, number(t)))(f"= {DIRECT} + {two}{DVAR} + {one}{DMEAN}")


def kept(id: str, value: str, formula: Formula, kind: Kind = fault) -> Told:
    """Return the mistake of a running variance of something else: `value` in LaTeX."""
    steps = kind(id, next_var=lambda t: t.blend(t.running_var, formula(t)))
    return steps(rf"\leftarrow k\,V + (1-k){value}")


def averages(form: Average) -> Mapping[str, Step]:
    """Return both running statistics, averaged in another way."""
    return {
        "next_mean": lambda t: form(t, t.running_mean, t.mean),
        "next_var": lambda t: form(t, t.running_var, batch_var(t)),
    }
