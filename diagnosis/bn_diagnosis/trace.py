"""What a layer that is made of steps holds, and the steps' names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from bn_oracle.arrays import Array
from bn_oracle.conventions import Convention


@dataclass
class Trace:
    """Everything that a step may look at; each step fills in its own quantity.

    Rows have shape (B, C); statistics and parameters (C,). What comes later in the computation
    than the step at hand still holds the previous pass's values, or is missing. Until a batch has
    been seen, the mean is 0 and the variance 1.
    """

    gamma: Array
    beta: Array
    eps: float
    decay: float
    convention: Convention
    running_mean: Array
    running_var: Array
    old_mean: Array = field(default_factory=lambda: np.zeros(1))
    """The running mean before the latest training batch."""
    old_var: Array = field(default_factory=lambda: np.ones(1))
    x: Array = field(default_factory=lambda: np.zeros((0, 0)))
    """The input in its own shape."""
    z: Array = field(default_factory=lambda: np.zeros((0, 0)))
    mean: Array = field(default_factory=lambda: np.zeros(1))
    var: Array = field(default_factory=lambda: np.ones(1))
    s: Array = field(default_factory=lambda: np.zeros(0))
    """The denominator, √(σ²+ε)."""
    u: Array = field(default_factory=lambda: np.zeros((0, 0)))
    y: Array = field(default_factory=lambda: np.zeros((0, 0)))
    """The output ẑ, as rows."""
    g: Array = field(default_factory=lambda: np.zeros((0, 0)))
    """The upstream gradient, as rows."""
    du: Array = field(default_factory=lambda: np.zeros((0, 0)))
    dvar: Array = field(default_factory=lambda: np.zeros(0))
    dmean: Array = field(default_factory=lambda: np.zeros(0))
    result: Array = field(default_factory=lambda: np.zeros((0, 0)))
    """The rows that are to be given the input's shape."""
    trained: Array = field(default_factory=lambda: np.zeros((1, 1)))
    """The rows of the latest training batch; a zero until there is one."""
    steps_taken: int = 0
    """How many training batches there were, this one included."""
    cumulative: bool = False
    """Whether the running statistics are the plain mean of all batches; it chooses `decay`."""
    batches: tuple[Array, ...] = ()
    """The rows of the mini-batches that population statistics are asked for."""

    @property
    def n(self) -> int:
        """B, the number of rows."""
        return len(self.z)

    @property
    def less_one(self) -> int:
        """B−1, or 1 for a single value."""
        return max(self.n - 1, 1)

    @property
    def bessel(self) -> float:
        """B/(B−1), or 1 for a single value."""
        return self.n / self.less_one

    @property
    def centred(self) -> Array:
        """z − μ_B."""
        return self.z - self.mean

    def blend(self, old: Array, new: Array) -> Array:
        """Return the exponential average of the old value and the new."""
        return self.decay * old + (1 - self.decay) * new


Step = Callable[[Trace], object]
"""A mistaken one may give anything: a wrong shape, a single number, NaN."""

StepName = Literal[
    "rows",
    "restore",
    "mean",
    "var",
    "s",
    "u",
    "y",
    "dgamma",
    "dbeta",
    "du",
    "dvar",
    "dmean",
    "dz",
    "initial_var",
    "next_mean",
    "next_var",
    "infer_s",
    "infer",
    "after_infer",
    "infer_dz",
    "infer_dgamma",
    "infer_dbeta",
    "cumulative_decay",
    "population_mean",
    "population_var",
]


def batch_var(t: Trace) -> Array:
    """Return the batch variance that enters the running average under the convention."""
    return t.var * t.bessel if t.convention.running_variance == "unbiased" else t.var
