"""Batch norm taken apart into steps, so that one of them can be replaced by a mistake.

Each quantity of the lecture's chain is computed by a small function of what came before it, the
`Trace`: by the formula that is recovered from (`recovery/forms.py`), wherever it is one. A layer
made of these steps, or of others in their place, is in `reference`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from bn_oracle.arrays import from_rows, to_rows
from bn_oracle.conventions import CMU_HW1P1

from bn_diagnosis.computing import step_of
from bn_diagnosis.recovery.forms import AFFINE, AT_INFERENCE, FORWARD, RESULT, Observable, forms
from bn_diagnosis.recovery.notation import parsed
from bn_diagnosis.recovery.trees import Tree, substituted, symbol
from bn_diagnosis.trace import Step, StepName


def _form(observable: Observable) -> Mapping[str, Tree]:
    """Return the lecture's form; one that is the same under all conventions."""
    return forms(observable, CMU_HW1P1)[0].bindings


def _at_inference(observable: Observable) -> Tree:
    """Return what inference computes in one piece, but for its denominator."""
    return substituted(_form(observable)[RESULT], {"u": AT_INFERENCE["u"]})


_CHAIN = _form("dz")

RIGHT: Mapping[StepName, Tree] = {
    "mean": FORWARD["mean"],
    "var": FORWARD["var"],
    "s": FORWARD["s"],
    "u": FORWARD["u"],
    "y": AFFINE,
    "dgamma": _CHAIN["dgamma"],
    "dbeta": _CHAIN["dbeta"],
    "du": _CHAIN["du"],
    # Of the denominator as it is: whoever gets that wrong differentiates it, too.
    "dvar": parsed("-1/2 * Sum(du * centred) / s**3"),
    "dmean": _CHAIN["dmean"],
    "dz": _CHAIN[RESULT],
    "next_mean": _form("running_mean")[RESULT],
    "next_var": substituted(
        _form("running_mean")[RESULT],
        {"old_mean": symbol("old_var"), "mean": symbol("batch_var")},
    ),
    "infer_s": AT_INFERENCE["s"],
    "infer": _at_inference("inferred"),
    "infer_dz": _at_inference("inferred_dz"),
    "infer_dgamma": _at_inference("inferred_dgamma"),
    "infer_dbeta": _at_inference("inferred_dbeta"),
}
"""The formulas among the right steps."""

STEPS: Mapping[StepName, Step] = {
    "rows": lambda t: to_rows(t.x),
    "restore": lambda t: from_rows(t.result, t.x.shape),
    "initial_var": lambda t: np.full(t.gamma.shape, t.convention.initial_var),
    "after_infer": lambda t: None,
    "cumulative_decay": lambda t: (t.steps_taken - 1) / t.steps_taken,
    "population_mean": lambda t: np.concatenate(t.batches).mean(axis=0),
    "population_var": lambda t: np.mean(
        [rows.var(axis=0) * len(rows) / max(len(rows) - 1, 1) for rows in t.batches], axis=0
    ),
    **{name: step_of(name, tree) for name, tree in RIGHT.items()},
}
"""Each quantity's right step."""


def check_names(names: Mapping[StepName, object] | Mapping[str, object]) -> None:
    """Raise ValueError, naming them, for steps that a layer does not have.

    Such a step would never be taken: a mistake in it would be none, without a word.
    """
    unknown = sorted(set(names) - STEPS.keys())
    if unknown:
        raise ValueError(f"no such step: {', '.join(unknown)}; there are {', '.join(STEPS)}")
