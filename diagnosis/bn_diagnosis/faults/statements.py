"""What is right of each step, in LaTeX, and where that is settled and tested.

A fault that says nothing else has the right equation, the family, the place in the derivation and
the property of the first step that it replaces.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from bn_diagnosis.faults.equations import equation
from bn_diagnosis.formulas import RIGHT, STEPS
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


_NO_FORMULAS: Mapping[StepName, str] = {
    "rows": r"z_{(n,h,w),c} = x_{nchw}",
    "restore": r"\hat z_{nchw} = \hat z_{(n,h,w),c}",
    "initial_var": "V = V_0",
    "after_infer": r"M \leftarrow M, \quad V \leftarrow V",
    "cumulative_decay": r"M_n = \frac1n\sum_{t=1}^n \mu_t",
    "population_mean": r"\mu = \frac{\sum_b B_b\,\mu_b}{\sum_b B_b}",
    "population_var": r"\sigma^2 = \frac{B}{B-1}\,\frac1K\sum_b \sigma_b^2",
}

_EQUATIONS: Mapping[StepName, str] = {
    **_NO_FORMULAS,
    **{step: equation(step, tree) for step, tree in RIGHT.items()},
}

_INPUT, _INFER, _GRADIENT = "backward.input_gradient", "inference.affine_fold", "inference.gradient"

_SETTLED: Mapping[StepName, tuple[str, int | None]] = {
    "dgamma": ("backward.gamma_gradient", 1),
    "dbeta": ("backward.beta_gradient", 1),
    "du": (_INPUT, 4),
    "dvar": (_INPUT, 3),
    "dmean": (_INPUT, 2),
    "dz": (_INPUT, 5),
    "initial_var": ("running.initial_values", None),
    "next_mean": ("running.mean_recurrence", None),
    "next_var": ("running.variance_recurrence", None),
    "infer_s": (_INFER, None),
    "infer": (_INFER, 10),
    "after_infer": ("inference.no_state_change", None),
    "infer_dz": (_GRADIENT, 10),
    "infer_dgamma": (_GRADIENT, 10),
    "infer_dbeta": (_GRADIENT, 10),
    "cumulative_decay": ("running.cumulative_average", 9),
    "population_mean": ("population.mean_of_means", 8),
    "population_var": ("population.unbiased_variance", 7),
}
"""Of the steps but those of the training output: the property that rejects most mistakes in it, and
the item of docs/derivation.md."""

STATEMENTS: Mapping[StepName, Statement] = {
    step: Statement(_EQUATIONS[step], *_SETTLED.get(step, ())) for step in STEPS
}
"""Of each step."""


def right(*steps: StepName) -> str:
    """Return the right equations of some steps, side by side."""
    return r", \quad ".join(STATEMENTS[step].equation for step in steps)
