"""What is right of each step, in LaTeX, and where that is settled and tested.

A fault that says nothing else has the right equation, the family, the place in the derivation and
the property of the first step that it replaces.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from bn_diagnosis.formulas import StepName

Family = Literal["training", "backward", "inference", "running", "population", "convention"]

FAMILIES: tuple[Family, ...] = get_args(Family)


def family_of(killed_by: str) -> Family:
    """Return the family of mistakes that a property is about: its id begins with it.

    Raises:
        ValueError: it begins with no family.
    """
    for family in FAMILIES:
        if killed_by.startswith(f"{family}."):
            return family
    raise ValueError(f"no such property of a known mistake: {killed_by}")


@dataclass(frozen=True)
class Statement:
    """What is right of one step."""

    equation: str
    killed_by: str
    """The property that rejects most mistakes in it."""
    note: int | None = None
    """The item of docs/derivation.md that settles it; None for its section on the family."""

    @property
    def anchor(self) -> str:
        """The heading of docs/derivation.md that settles it."""
        return f"real-{family_of(self.killed_by)}" if self.note is None else f"note-{self.note}"


GAMMA_IS = r"\frac{\partial Div}{\partial\gamma} = "
BETA_IS = r"\frac{\partial Div}{\partial\beta} = "
VAR_IS = r"\frac{\partial Div}{\partial\sigma_B^2} = "
MEAN_IS = r"\frac{\partial Div}{\partial\mu_B} = "
DU_IS = r"\frac{\partial Div}{\partial u_i} = "
DZ_IS = r"\frac{\partial Div}{\partial z_i} = "
DU_CENTRED = r"\sum_i\frac{\partial Div}{\partial u_i}(z_i-\mu_B)"
DIRECT = r"\frac{1}{\sqrt{\sigma_B^2+\epsilon}}\frac{\partial Div}{\partial u_i}"
BY_VARIANCE = r"\frac{2(z_i-\mu_B)}{B}\frac{\partial Div}{\partial\sigma_B^2}"
BY_MEAN = r"\frac1B\frac{\partial Div}{\partial\mu_B}"
PROJECTED = r"\left(G_i - \frac1B\sum_j G_j - \frac{u_i}{B}\sum_j G_j u_j\right)"
CLOSED = DZ_IS + r"\frac{\gamma}{\sqrt{\sigma_B^2+\epsilon}}" + PROJECTED
"""The input gradient in closed form."""

STATEMENTS: Mapping[StepName, Statement] = {
    "rows": Statement(r"z_{(n,h,w),c} = x_{nchw}", "training.agreement"),
    "restore": Statement(r"\hat z_{nchw} = \hat z_{(n,h,w),c}", "training.agreement"),
    "mean": Statement(r"\mu_B = \frac1B\sum_i z_i", "training.agreement"),
    "var": Statement(r"\sigma_B^2 = \frac1B\sum_i (z_i-\mu_B)^2", "training.agreement"),
    "s": Statement(r"s = \sqrt{\sigma_B^2+\epsilon}", "training.agreement"),
    "u": Statement(r"u_i = \frac{z_i-\mu_B}{\sqrt{\sigma_B^2+\epsilon}}", "training.agreement"),
    "y": Statement(r"\hat z_i = \gamma u_i+\beta", "training.agreement"),
    "dgamma": Statement(GAMMA_IS + r"\sum_i G_i u_i", "backward.gamma_gradient", 1),
    "dbeta": Statement(BETA_IS + r"\sum_i G_i", "backward.beta_gradient", 1),
    "du": Statement(DU_IS + r"\gamma G_i", "backward.input_gradient", 4),
    "dvar": Statement(
        VAR_IS + r"-\frac12(\sigma_B^2+\epsilon)^{-3/2}" + DU_CENTRED, "backward.input_gradient", 3
    ),
    "dmean": Statement(
        MEAN_IS + r"-\frac{1}{\sqrt{\sigma_B^2+\epsilon}}\sum_i\frac{\partial Div}{\partial u_i}",
        "backward.input_gradient",
        2,
    ),
    "dz": Statement(
        DZ_IS + " + ".join((DIRECT, BY_VARIANCE, BY_MEAN)), "backward.input_gradient", 5
    ),
    "next_mean": Statement(r"M \leftarrow k\,M + (1-k)\,\mu_B", "running.mean_recurrence"),
    "next_var": Statement(r"V \leftarrow k\,V + (1-k)\,\sigma_B^2", "running.variance_recurrence"),
    "infer_s": Statement(r"s = \sqrt{\sigma^2+\epsilon}", "inference.affine_fold"),
    "infer": Statement(
        r"\hat z = \gamma\,\frac{z-\mu}{\sqrt{\sigma^2+\epsilon}} + \beta",
        "inference.affine_fold",
        10,
    ),
    "after_infer": Statement(r"M \leftarrow M, \quad V \leftarrow V", "inference.no_state_change"),
    "infer_dz": Statement(
        DZ_IS + r"\frac{\gamma}{\sqrt{\sigma^2+\epsilon}}\,G_i", "inference.gradient", 10
    ),
    "infer_dgamma": Statement(
        GAMMA_IS + r"\sum_i G_i\,\frac{z_i-\mu}{\sqrt{\sigma^2+\epsilon}}", "inference.gradient", 10
    ),
    "infer_dbeta": Statement(BETA_IS + r"\sum_i G_i", "inference.gradient", 10),
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
