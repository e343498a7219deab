"""What is right of each step, in LaTeX, and where that is settled and tested.

A fault that says nothing else has the right equation, the family, the place in the derivation and
the property of the first step that it replaces.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from bn_diagnosis.trace import StepName

Family = Literal["training", "backward", "inference", "running", "population", "convention"]

FAMILIES: Mapping[str, Family] = {family: family for family in get_args(Family)}


def family_of(killed_by: str) -> Family:
    """Return the family of mistakes that a property is about: its id begins with it.

    Raises:
        ValueError: it begins with no family.
    """
    try:
        return FAMILIES[killed_by.partition(".")[0]]
    except KeyError:
        raise ValueError(f"no such property of a known mistake: {killed_by}") from None


@dataclass(frozen=True)
class Statement:
    """What is right of one step."""

    equation: str = ""
    killed_by: str = "training.agreement"
    """The property that rejects most mistakes in it."""
    note: int | None = None
    """The item of docs/derivation.md that settles it; None for its section on the family."""

    @property
    def anchor(self) -> str:
        """The heading of docs/derivation.md that settles it."""
        return f"real-{family_of(self.killed_by)}" if self.note is None else f"note-{self.note}"

    def completed(self, equation: str) -> str:
        """Return an equation, with this one's left side if it begins with its sign, = or ←."""
        sign = next((each for each in ("= ", r"\leftarrow ") if equation.startswith(each)), None)
        return equation if sign is None else self.equation.partition(sign)[0] + equation


def frac(above: str, below: str) -> str:
    """Return a fraction."""
    return rf"\frac{{{above}}}{{{below}}}"


S, INFER_S = r"\sqrt{\sigma_B^2+\epsilon}", r"\sqrt{\sigma^2+\epsilon}"
CENTRED, OVER_S = r"z_i-\mu_B", frac("1", S)
DGAMMA, DBETA = r"\frac{\partial Div}{\partial\gamma}", r"\frac{\partial Div}{\partial\beta}"
DU, DZ = r"\frac{\partial Div}{\partial u_i}", r"\frac{\partial Div}{\partial z_i}"
DVAR, DMEAN = r"\frac{\partial Div}{\partial\sigma_B^2}", r"\frac{\partial Div}{\partial\mu_B}"
DIRECT = OVER_S + DU
BY_VAR, BY_MEAN = frac(f"2({CENTRED})", "B") + DVAR, r"\frac1B" + DMEAN
PROJECTED = r"\left(G_i - \frac1B\sum_j G_j - \frac{u_i}{B}\sum_j G_j u_j\right)"
CLOSED = f"{DZ} = " + frac(r"\gamma", S) + PROJECTED
"""The input gradient in closed form."""

_INPUT, _INFER, _GRADIENT = "backward.input_gradient", "inference.affine_fold", "inference.gradient"

STATEMENTS: Mapping[StepName, Statement] = {
    "rows": Statement(r"z_{(n,h,w),c} = x_{nchw}"),
    "restore": Statement(r"\hat z_{nchw} = \hat z_{(n,h,w),c}"),
    "mean": Statement(r"\mu_B = \frac1B\sum_i z_i"),
    "var": Statement(r"\sigma_B^2 = \frac1B\sum_i (z_i-\mu_B)^2"),
    "s": Statement(f"s = {S}"),
    "u": Statement("u_i = " + frac(CENTRED, S)),
    "y": Statement(r"\hat z_i = \gamma u_i+\beta"),
    "dgamma": Statement(rf"{DGAMMA} = \sum_i G_i u_i", "backward.gamma_gradient", 1),
    "dbeta": Statement(rf"{DBETA} = \sum_i G_i", "backward.beta_gradient", 1),
    "du": Statement(rf"{DU} = \gamma G_i", _INPUT, 4),
    "dvar": Statement(
        rf"{DVAR} = -\frac12(\sigma_B^2+\epsilon)^{{-3/2}}\sum_i{DU}({CENTRED})", _INPUT, 3
    ),
    "dmean": Statement(rf"{DMEAN} = -{OVER_S}\sum_i{DU}", _INPUT, 2),
    "dz": Statement(f"{DZ} = {DIRECT} + {BY_VAR} + {BY_MEAN}", _INPUT, 5),
    "initial_var": Statement("V = V_0", "running.initial_values"),
    "next_mean": Statement(r"M \leftarrow k\,M + (1-k)\,\mu_B", "running.mean_recurrence"),
    "next_var": Statement(r"V \leftarrow k\,V + (1-k)\,\sigma_B^2", "running.variance_recurrence"),
    "infer_s": Statement(f"s = {INFER_S}", _INFER),
    "infer": Statement(rf"\hat z = \gamma\,\frac{{z-\mu}}{{{INFER_S}}} + \beta", _INFER, 10),
    "after_infer": Statement(r"M \leftarrow M, \quad V \leftarrow V", "inference.no_state_change"),
    "infer_dz": Statement(rf"{DZ} = \frac{{\gamma}}{{{INFER_S}}}\,G_i", _GRADIENT, 10),
    "infer_dgamma": Statement(
        rf"{DGAMMA} = \sum_i G_i\,\frac{{z_i-\mu}}{{{INFER_S}}}", _GRADIENT, 10
    ),
    "infer_dbeta": Statement(rf"{DBETA} = \sum_i G_i", _GRADIENT, 10),
    "cumulative_decay": Statement(
        r"M_n = \frac1n\sum_{t=1}^n \mu_t", "running.cumulative_average", 9
    ),
    "population_mean": Statement(
        r"\mu = \frac{\sum_b B_b\,\mu_b}{\sum_b B_b}", "population.mean_of_means", 8
    ),
    "population_var": Statement(
        r"\sigma^2 = \frac{B}{B-1}\,\frac1K\sum_b \sigma_b^2", "population.unbiased_variance", 7
    ),
}
"""Of each step."""


def right(*steps: StepName) -> str:
    """Return the right equations of some steps, side by side."""
    return r", \quad ".join(STATEMENTS[step].equation for step in steps)
