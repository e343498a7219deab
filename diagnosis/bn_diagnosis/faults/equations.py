"""The equation of a step: what it computes on the left side, and a formula on the right."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from bn_diagnosis.formulas import RIGHT
from bn_diagnosis.recovery.forms import AT_INFERENCE, FORWARD, LEFT, NAMES
from bn_diagnosis.recovery.notation import parsed
from bn_diagnosis.recovery.printing import latex
from bn_diagnosis.recovery.trees import Tree, mentioned, multiply, substituted, symbol
from bn_diagnosis.trace import StepName

Formula = str | Tree
"""As it is written down (`recovery/notation.py`), or made of such."""

_LEFT: Mapping[StepName, str] = {
    **{step: f"{NAMES[step]} =" for step in ("mean", "var", "u", "dgamma", "dbeta", "du")},
    **{step: f"{NAMES[step]} =" for step in ("dvar", "dmean")},
    "s": "s =",
    "y": f"{NAMES['out']} =",
    "dz": f"{LEFT['dz']} =",
    "next_mean": r"M \leftarrow",
    "next_var": r"V \leftarrow",
    "infer": f"{LEFT['inferred']} =",
    "infer_dz": f"{LEFT['inferred_dz']} =",
    "infer_dgamma": f"{LEFT['inferred_dgamma']} =",
    "infer_dbeta": f"{LEFT['inferred_dbeta']} =",
}

_NAMES: Mapping[str, str] = {
    **NAMES,
    "batch_var": NAMES["var"],
    "row_var": r"\sigma_i^2",
    "steps": "N_B",
    "pixels": NAMES["area"],
}
_AT_INFERENCE: Mapping[str, str] = {
    **_NAMES,
    "old_mean": r"\mu",
    "old_var": r"\sigma^2",
    "own_mean": NAMES["mean"],
    "own_var": NAMES["var"],
    "last_mean": r"\mu_{last}",
    "last_var": r"\sigma_{last}^2",
    "inferred_u": NAMES["u"],
    "trained": "z_i^{train}",
}
_WRITTEN: Mapping[Tree, Tree] = {RIGHT["dmean"]: parsed("-Sum(du) / s")}
"""What the notes write in another way than the one in which it is computed."""

_SIDE_BY_SIDE: tuple[tuple[StepName, ...], ...] = (
    ("mean", "var"),
    ("dvar", "dmean", "dz", "dgamma", "dbeta"),
    ("next_mean", "next_var"),
)
"""Mistakes in these are shown together; else the first step's equation says enough."""


def formula(step: StepName, text: Formula) -> Tree:
    """Return what is written down as the formula of a step; at inference, `u` is its own.

    Raises:
        ValueError: it is no formula.
    """
    tree = parsed(text) if isinstance(text, str) else text
    return substituted(tree, {"u": AT_INFERENCE["u"]}) if step.startswith("infer") else tree


@cache
def equation(step: StepName, tree: Tree) -> str:
    """Return a step's equation in LaTeX, its denominator as the root that it should be.

    A denominator at inference is shown in the output.
    """
    if step == "infer_s":
        return equation("infer", substituted(RIGHT["infer"], {"s": tree}))
    given, names = (AT_INFERENCE, _AT_INFERENCE) if step.startswith("infer") else (FORWARD, _NAMES)
    left, tree = _LEFT[step], _WRITTEN.get(tree, tree)
    return f"{left} {latex(substituted(tree, {'s': given['s']}), names, left=left)}"


def of_upstream(tree: Tree) -> Tree:
    """Return a multiple of ∂Div/∂u as the notes write it: γ in front, and G in its place."""
    if "du" not in mentioned(tree):
        return tree
    return multiply(symbol("gamma"), substituted(tree, {"du": symbol("g")}))


def equations(trees: Mapping[StepName, Tree]) -> str:
    """Return the equations of several steps."""
    return r", \quad ".join(equation(step, tree) for step, tree in trees.items())


def side_by_side(wrong: Mapping[StepName, Tree], right: Mapping[StepName, Tree]) -> list[StepName]:
    """Return the steps whose equations are shown: the first one, and the wrong ones beside it."""
    first = next(iter(wrong))
    beside = next((each for each in _SIDE_BY_SIDE if first in each), ())
    return [
        step
        for step, tree in wrong.items()
        if step == first or (step in beside and tree is not right[step])
    ]
