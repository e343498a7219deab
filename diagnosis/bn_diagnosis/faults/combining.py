"""Formulas that many mistakes are made of, and mistakes that come together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from bn_diagnosis.faults.fault import Fault, Kind, Told, fault
from bn_diagnosis.formulas import RIGHT
from bn_diagnosis.recovery.notation import parsed
from bn_diagnosis.recovery.trees import Tree, symbol
from bn_diagnosis.trace import StepName

Faults = tuple[Fault, ...]


def changed(text: str, *steps: StepName) -> Mapping[str, Tree]:
    """Return right formulas with what they give changed: it is `each` in the text."""
    return {step: parsed(text, {"each": RIGHT[step]}) for step in steps}


def averages(text: str) -> Mapping[str, Tree]:
    """Return both running statistics averaged in another way: `old` and `new` in the text."""
    return {
        "next_mean": parsed(text, {"old": symbol("old_mean"), "new": symbol("mean")}),
        "next_var": parsed(text, {"old": symbol("old_var"), "new": symbol("batch_var")}),
    }


def kept(id: str, value: str, kind: Kind = fault) -> Told:
    """Return the mistake of a running variance of something else."""
    return kind(id, next_var=f"keep * old_var + (1 - keep) * ({value})")


def statistics_of(id: str, rows: str) -> Told:
    """Return the mistake of averaging the mean and variance of other rows than the input's."""
    mean, var = f"Mean({rows})", f"Mean(({rows} - Mean({rows}))**2)"
    return fault(
        id,
        next_mean=f"keep * old_mean + (1 - keep) * {mean}",
        next_var=f"keep * old_var + (1 - keep) * {var}",
    )


def divided_by(id: str, size: str, kind: Kind = fault) -> Told:
    """Return the mistake of another number where B belongs in dz."""
    return kind(id, dz=f"du / s + 2 * centred / {size} * dvar + dmean / {size}")


@dataclass(frozen=True)
class Denominator:
    """A mistaken denominator, made of `var`.

    Called with an id and steps: its mistake in `s` (training), `infer_s`, or `u` (the output).
    """

    text: str
    in_training: Kind = fault

    def __call__(self, id: str, *steps: Literal["u", "s", "infer_s"], **others: str) -> Told:
        """Return the mistake."""
        forms: Mapping[str, Tree] = {
            "u": parsed("centred / root", {"root": parsed(self.text)}),
            "s": parsed(self.text),
            "infer_s": parsed(self.text, {"var": symbol("old_var")}),
        }
        kind = fault if steps[0] == "infer_s" else self.in_training
        return kind(id, **{step: forms[step] for step in steps}, **others)


def _of_beta(text: str) -> str:
    """Return what is said of γ as it is said of β."""
    return text.replace("γ", "β")


def of_parameters(gamma: Told, beta: Told, both: Told) -> Callable[[str], Faults]:
    """Return what makes three faults of words: in dγ, in dβ and in both.

    The first paragraph is said of γ, and serves for β; the second one is said of both.
    """

    def told(text: str) -> Faults:
        one, of_both = text.split("\n\n")
        return gamma(one), beta(_of_beta(one)), both(of_both)

    return told


def in_parameters(suffix: str, text: str) -> Callable[[str], Faults]:
    """Return the mistakes in the parameters' gradients; `each` is what an instance adds to one."""
    dgamma = parsed(text, {"each": parsed("g * u")})
    dbeta = parsed(text, {"each": symbol("g")})
    return of_parameters(
        fault(f"gamma-gradient-{suffix}", dgamma=dgamma),
        fault(f"beta-gradient-{suffix}", dbeta=dbeta),
        fault(f"parameter-gradients-{suffix}", dgamma=dgamma, dbeta=dbeta),
    )
