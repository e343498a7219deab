"""A layer that computes an observable, or several, by recovered formulas."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from bn_oracle.arrays import Array
from bn_oracle.conventions import Convention
from bn_properties.protocol import Quantity
from bn_properties.records import Cause

from bn_diagnosis.candidates import BatchNorm, Candidate
from bn_diagnosis.faults.fault import Fault
from bn_diagnosis.faults.statements import family_of
from bn_diagnosis.recovery.forms import Observable
from bn_diagnosis.recovery.formula import Formula
from bn_diagnosis.recovery.shapes import unlaid
from bn_diagnosis.recovery.telling import OBSERVABLES, told
from bn_diagnosis.trace import Step, StepName, Trace

STEPS: Mapping[Observable, StepName] = {
    "out": "y",
    "inferred": "infer",
    "running_mean": "next_mean",
    "running_var": "next_var",
    "dgamma": "dgamma",
    "dbeta": "dbeta",
    "dz": "dz",
    "inferred_dgamma": "infer_dgamma",
    "inferred_dbeta": "infer_dbeta",
    "inferred_dz": "infer_dz",
}
KINDS: Mapping[Observable, tuple[bool, Quantity]] = {
    "out": (False, "out"),
    "inferred": (True, "out"),
    "running_mean": (False, "running_mean"),
    "running_var": (False, "running_var"),
    "dgamma": (False, "dgamma"),
    "dbeta": (False, "dbeta"),
    "dz": (False, "dz"),
    "inferred_dgamma": (True, "dgamma"),
    "inferred_dbeta": (True, "dbeta"),
    "inferred_dz": (True, "dz"),
}
"""Whether each is of inference, and its quantity."""
REJECTED_BY: Mapping[Observable, str] = {
    "out": "training.agreement",
    "inferred": "inference.affine_fold",
    "running_mean": "running.mean_recurrence",
    "running_var": "running.variance_recurrence",
    "dgamma": "backward.gamma_gradient",
    "dbeta": "backward.beta_gradient",
    "dz": "backward.input_gradient",
    "inferred_dgamma": "inference.gradient",
    "inferred_dbeta": "inference.gradient",
    "inferred_dz": "inference.gradient",
}


def _symbols(t: Trace, *, behind: bool) -> dict[str, Array]:
    """Return what a formula's symbols are in a layer's step; `behind` the forward, or in it."""
    old = (t.old_mean, t.old_var) if behind else (t.running_mean, t.running_var)
    new = (t.running_mean, t.running_var)
    if not behind:
        variance = t.z.var(axis=0) * (
            t.bessel if t.convention.running_variance == "unbiased" else 1
        )
        new = t.blend(old[0], t.z.mean(axis=0)), t.blend(old[1], variance)
    count, shape = t.n, t.x.shape
    scalars: dict[str, float] = {
        "eps": t.eps,
        "keep": t.decay,
        "n": count,
        "less_one": count - 1,
        "features": t.z.shape[1],
        "images": shape[0],
        "area": count // shape[0],
        "height": shape[-2] if len(shape) > 3 else 1,
        "width": shape[-1] if len(shape) > 2 else 1,
    }
    vectors = {
        "gamma": t.gamma,
        "beta": t.beta,
        "old_mean": old[0],
        "old_var": old[1],
        "new_mean": new[0],
        "new_var": new[1],
        "last_mean": np.broadcast_to(t.mean, t.gamma.shape),
        "last_var": np.broadcast_to(t.var, t.gamma.shape),
    }
    found: dict[str, Array] = {name: np.full((1, 1), float(v)) for name, v in scalars.items()}
    found |= {name: np.asarray(v, np.float64).reshape(1, -1) for name, v in vectors.items()}
    return found | {"z": t.z} | ({"g": t.g} if t.g.shape == t.z.shape else {})


def step(formula: Formula) -> Step:
    """Return the step of a layer that computes an observable by a formula."""
    of_rows = formula.observable in ("out", "dz", "inferred", "inferred_dz")
    behind = formula.observable in ("dz", "dgamma", "dbeta")

    def take(t: Trace) -> Array:
        try:
            value = formula.value(_symbols(t, behind=behind))
        except KeyError as error:
            raise ValueError(f"nothing is known of {error}") from error
        if formula.axes is not None:
            return unlaid(value, formula.axes, t.x.shape)
        if value.size == 1:  # it is the same for all
            value = np.full(t.z.shape if of_rows else (1, t.z.shape[1]), value.item())
        return value if of_rows else value.reshape(-1)

    return take


class RecoveredCandidate(Candidate):
    """Slips, and what follows from them: a layer that computes all of it."""

    def __init__(
        self,
        roots: tuple[Fault, ...],
        following: tuple[Fault, ...],
        batch_norm: BatchNorm,
        unexplained: tuple[Observable, ...] = (),
    ) -> None:
        """Put all steps in place; only the `roots` are told, and what stays `unexplained`."""
        super().__init__((*roots, *following), batch_norm, None)
        self.faults, self._unexplained = roots, unexplained

    @property
    def own(self) -> frozenset[str]:
        """The properties that a slip of its own, or what is not explained, fails."""
        slips = {fault.killed_by for fault in self.faults}
        return frozenset(slips | {REJECTED_BY[each] for each in self._unexplained})

    def told(self, explained: int, observed: int) -> Cause:
        """Return what is told of it."""
        cause = self.cause(observed)
        text = cause.explanation
        if self._unexplained:
            names = ", ".join(OBSERVABLES[each] for each in self._unexplained)
            text += f" What else is wrong with {names} is not explained by it."
        return cause.model_copy(update={"explained": explained, "explanation": text})


def fault_of(formula: Formula, convention: Convention) -> Fault:
    """Return a recovered formula as a fault."""
    observable = formula.observable
    replaces = {STEPS[observable]: step(formula)}
    rejected_by = REJECTED_BY[observable]
    name = observable.replace("_", "-")
    if not formula.edits and formula.instead_of is None:
        return Fault(name, replaces, "", "", "", "", family_of(rejected_by), "", rejected_by)
    slip = told(formula, convention)
    text = (
        f"This is the formula that gives {OBSERVABLES[observable]} as your code does, found from "
        "its numbers; the place that differs is marked."
    )
    return Fault(
        f"{name}-{slip.rule}",
        replaces,
        slip.title,
        slip.wrong,
        slip.right,
        text,
        family_of(rejected_by),
        f"real-{family_of(rejected_by)}",
        rejected_by,
    )
