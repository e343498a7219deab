"""How hard a batch is to normalise in floating point."""

from __future__ import annotations

import numpy as np

from bn_properties.cases.case import Case


def condition(case: Case) -> float:
    """Return the condition number of a case's batch: that of its worst feature, at least 1.

    It is √(1 + μ²/(σ² + ε)). Without ε it is the condition number of a variance (Chan, Golub and
    LeVeque, 1983): by about as much relative errors of the batch grow in it, and by its square in
    E[z²] − E[z]². With ε, it is that of the normalised values.
    """
    axes = (0, *range(2, case.x.ndim))
    z = case.x.astype(np.float64)
    with np.errstate(over="ignore"):
        ratio = z.mean(axis=axes) ** 2 / (z.var(axis=axes) + case.eps)
        return float(np.sqrt(1.0 + ratio.max()))
