"""The oracle taken apart into steps, so that one of them can be replaced by a mistake.

`Variation` is a layer that computes batch norm by the lecture's chain, each quantity by a small
function. Replacing a function gives an executable mistake; replacing none gives batch norm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from bn_oracle.arrays import Array, from_rows, to_rows
from bn_oracle.conventions import Convention
from numpy.typing import NDArray


@dataclass
class Trace:
    """Everything that a step may look at; each step fills in its own quantity.

    Rows have shape (B, C); statistics and parameters (C,). What comes later in the computation
    than the step at hand still holds the previous pass's values, or is missing.
    """

    gamma: Array
    beta: Array
    eps: float
    decay: float
    convention: Convention
    running_mean: Array
    running_var: Array
    x: Array = field(default_factory=lambda: np.zeros((0, 0)))
    """The input in its own shape."""
    z: Array = field(default_factory=lambda: np.zeros((0, 0)))
    mean: Array = field(default_factory=lambda: np.zeros(0))
    var: Array = field(default_factory=lambda: np.zeros(0))
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
    trained: Array | None = None
    """The rows of the latest training batch."""
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


Step = Callable[[Trace], Any]


def batch_var(t: Trace) -> Array:
    """Return the batch variance that enters the running average under the convention."""
    if t.convention.running_variance == "unbiased" and t.n > 1:
        return t.var * (t.n / (t.n - 1))
    return t.var


STEPS: Mapping[str, Step] = {
    "rows": lambda t: to_rows(t.x),
    "mean": lambda t: t.z.mean(axis=0),
    "var": lambda t: ((t.z - t.mean) ** 2).mean(axis=0),
    "s": lambda t: np.sqrt(t.var + t.eps),
    "u": lambda t: (t.z - t.mean) / t.s,
    "y": lambda t: t.gamma * t.u + t.beta,
    "dgamma": lambda t: (t.g * t.u).sum(axis=0),
    "dbeta": lambda t: t.g.sum(axis=0),
    "du": lambda t: t.gamma * t.g,
    "dvar": lambda t: -0.5 * (t.du * (t.z - t.mean)).sum(axis=0) / t.s / t.s / t.s,
    "dmean": lambda t: -(t.du / t.s).sum(axis=0),
    "dz": lambda t: t.du / t.s + t.dvar * 2 * (t.z - t.mean) / t.n + t.dmean / t.n,
    "next_mean": lambda t: t.decay * t.running_mean + (1 - t.decay) * t.mean,
    "next_var": lambda t: t.decay * t.running_var + (1 - t.decay) * batch_var(t),
    "infer_s": lambda t: np.sqrt(t.running_var + t.eps),
    "infer": lambda t: t.gamma * ((t.z - t.running_mean) / t.s) + t.beta,
    "after_infer": lambda t: None,
    "after_train": lambda t: None,
    "infer_dz": lambda t: t.gamma * t.g / t.s,
    "infer_dgamma": lambda t: (t.g * (t.z - t.running_mean) / t.s).sum(axis=0),
    "infer_dbeta": lambda t: t.g.sum(axis=0),
    "cumulative_decay": lambda t: (t.steps_taken - 1) / t.steps_taken,
    "population_mean": lambda t: np.concatenate(t.batches).mean(axis=0),
    "population_var": lambda t: np.mean(
        [rows.var(axis=0) * len(rows) / max(len(rows) - 1, 1) for rows in t.batches], axis=0
    ),
}
"""Each quantity's right step, by name."""


class Variation:
    """A batch-norm layer on (N, C, …) made of steps, some of them replaced.

    Its results are whatever the steps give: a mistake may have the wrong shape, or be NaN.
    """

    def __init__(self, trace: Trace, replaced: Mapping[str, Step]) -> None:
        """Start from the parameters and statistics in `trace`."""
        self._t = trace
        self._steps = {**STEPS, **replaced}
        self._inferred = trace.x, trace.z, trace.s

    def _set_input(self, x: NDArray[Any]) -> None:
        self._t.x = np.asarray(x, np.float64)
        self._t.z = self._steps["rows"](self._t)

    def _shaped(self, rows: Any) -> Any:
        """Undo the rows, where the step gave rows."""
        t = self._t
        rows = np.asarray(rows)
        if rows.shape != t.z.shape:
            return rows
        if self._steps["rows"] is STEPS["rows"]:
            return from_rows(rows, t.x.shape)
        return rows.reshape(t.x.shape)

    def train(self, x: NDArray[Any]) -> Any:
        """Forward in training mode; moves the running statistics."""
        t, steps = self._t, self._steps
        with np.errstate(all="ignore"):
            self._set_input(x)
            t.steps_taken += 1
            if t.cumulative:
                t.decay = steps["cumulative_decay"](t)
            for name in ("mean", "var", "s", "u", "y"):
                setattr(t, name, steps[name](t))
            t.trained = t.z
            t.running_mean, t.running_var = steps["next_mean"](t), steps["next_var"](t)
            steps["after_train"](t)
        return self._shaped(t.y)

    def backward(self, grad: NDArray[Any]) -> tuple[Any, Any, Any]:
        """Return dz, dγ, dβ of the latest training batch."""
        t, steps = self._t, self._steps
        with np.errstate(all="ignore"):
            held = t.x
            t.x = np.asarray(grad, np.float64)
            t.g = steps["rows"](t)
            t.x = held
            for name in ("du", "dvar", "dmean"):
                setattr(t, name, steps[name](t))
            return self._shaped(steps["dz"](t)), steps["dgamma"](t), steps["dbeta"](t)

    def infer(self, x: NDArray[Any]) -> Any:
        """Forward in inference mode; a later backward still sees the latest training batch."""
        t, steps = self._t, self._steps
        held = t.x, t.z, t.s
        try:
            with np.errstate(all="ignore"):
                self._set_input(x)
                t.s = steps["infer_s"](t)
                out = self._shaped(steps["infer"](t))
                steps["after_infer"](t)
        finally:
            self._inferred = t.x, t.z, t.s
            t.x, t.z, t.s = held
        return out

    def infer_backward(self, grad: NDArray[Any]) -> tuple[Any, Any, Any]:
        """Return dz, dγ, dβ of the latest inference, with the statistics held fixed."""
        t, steps = self._t, self._steps
        held = t.x, t.z, t.s
        try:
            with np.errstate(all="ignore"):
                t.x = np.asarray(grad, np.float64)
                t.g = steps["rows"](t)
                t.x, t.z, t.s = self._inferred
                dz = self._shaped(steps["infer_dz"](t))
                return dz, steps["infer_dgamma"](t), steps["infer_dbeta"](t)
        finally:
            t.x, t.z, t.s = held

    def population(self, batches: Sequence[NDArray[Any]]) -> tuple[Any, Any]:
        """Return the mean and variance, (C,) each, of which `batches` (N_b, C, …) are samples."""
        t, steps = self._t, self._steps
        held = t.x
        rows = []
        with np.errstate(all="ignore"):
            for batch in batches:
                t.x = np.asarray(batch, np.float64)
                rows.append(steps["rows"](t))
            t.x, t.batches = held, tuple(rows)
            return steps["population_mean"](t), steps["population_var"](t)

    def set_parameters(self, gamma: Array, beta: Array) -> None:
        """Set other parameters, each (C,)."""
        self._t.gamma, self._t.beta = gamma, beta

    def statistics(self) -> tuple[Any, Any]:
        """Return the running mean and variance."""
        return self._t.running_mean, self._t.running_var
