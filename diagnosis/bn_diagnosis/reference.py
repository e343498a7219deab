"""A layer made of the oracle's steps, some of them replaced: batch norm, or a known mistake."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from bn_oracle.conventions import Convention
from bn_properties.protocol import (
    AnyArray,
    Gradient,
    Moment,
    Quantity,
    Setup,
    Statistics,
    SubjectError,
)
from bn_properties.scenario import InProcess

from bn_diagnosis.formulas import STEPS, check_names
from bn_diagnosis.trace import Step, StepName, Trace

Replaced = Mapping[StepName, Step] | Mapping[str, Step]
"""Steps that stand in place of the oracle's, by name."""


def reference_layer(replaced: Replaced, convention: Convention, setup: Setup) -> ReferenceLayer:
    """Make a layer of the oracle's steps, but for those in `replaced`.

    Raises:
        ValueError: there is no step of that name.
    """
    layer = ReferenceLayer(start(convention, setup), replaced)
    if setup.running_var is None:
        layer.begin()
    return layer


def reference_subject(
    replaced: Replaced, convention: Convention, spatial_axes: int = 0
) -> InProcess:
    """Return the layers of the oracle's steps, but for those in `replaced`, as a subject."""
    return InProcess(
        lambda setup: reference_layer(replaced, convention, setup), convention, spatial_axes
    )


def start(convention: Convention, setup: Setup) -> Trace:
    """Return what a fresh layer holds: what `setup` gives, and the convention's defaults."""
    size = setup.features

    def given(value: AnyArray | None, default: float) -> AnyArray:
        if value is None:
            return np.full(size, default)
        return np.asarray(value, np.float64).reshape(size)

    return Trace(
        gamma=given(setup.gamma, 1.0),
        beta=given(setup.beta, 0.0),
        eps=convention.eps if setup.eps is None else setup.eps,
        decay=convention.decay(convention.momentum) if setup.decay is None else setup.decay,
        convention=convention,
        running_mean=given(setup.running_mean, convention.initial_mean),
        running_var=given(setup.running_var, convention.initial_var),
        cumulative=setup.cumulative,
    )


@contextmanager
def _call() -> Iterator[None]:
    """Let a step that cannot go on fail as a submission's call would, without a warning."""
    with np.errstate(all="ignore"):
        try:
            yield
        except (ValueError, IndexError, ArithmeticError, AttributeError) as error:
            raise SubjectError("raised", f"{type(error).__name__}: {error}") from error


class ReferenceLayer:
    """A `bn_properties.protocol.Layer` on (N, C, …) made of steps, some of them replaced.

    Its results are whatever the steps give: a mistake may have the wrong shape, or be NaN.
    """

    def __init__(self, trace: Trace, replaced: Replaced) -> None:
        """Start from the parameters and statistics in `trace`."""
        check_names(replaced)
        self._t = trace
        self._steps: dict[str, Step] = dict(STEPS.items())
        self._steps.update(replaced.items())
        self._inferred = trace.x, trace.z, trace.s, trace.running_mean
        self._first: dict[tuple[Moment, Quantity], AnyArray] = {}

    def begin(self) -> None:
        """Give the running variance its initial value."""
        self._t.running_var = self._step("initial_var")

    def _take(self, *names: StepName) -> None:
        """Take the steps in their order; each sets the quantity that it is named for."""
        for name in names:
            setattr(self._t, name, self._steps[name](self._t))

    def _step(self, name: StepName) -> AnyArray:
        return np.asarray(self._steps[name](self._t))

    def _rows(self, array: AnyArray) -> AnyArray:
        held, self._t.x = self._t.x, np.asarray(array, np.float64)
        rows = self._step("rows")
        self._t.x = held
        return rows

    def _set_input(self, x: AnyArray) -> None:
        self._t.x = np.asarray(x, np.float64)
        self._t.z = self._step("rows")

    def _restored(self, rows: AnyArray) -> AnyArray:
        """Return rows in the input's shape, where the step gave rows."""
        if rows.shape != self._t.z.shape:
            return rows
        self._t.result = rows
        return self._step("restore")

    def _keep(self, call: Moment, quantity: Quantity, result: AnyArray) -> AnyArray:
        self._first.setdefault((call, quantity), result)
        return result

    @_call()
    def train(self, x: AnyArray) -> AnyArray:
        """Forward in training mode; moves the running statistics."""
        t = self._t
        self._set_input(x)
        t.steps_taken += 1
        if t.cumulative:
            t.decay = float(self._step("cumulative_decay"))
        self._take("mean", "var", "s", "u", "y")
        t.trained = t.z
        t.old_mean, t.old_var = t.running_mean, t.running_var
        t.running_mean, t.running_var = self._step("next_mean"), self._step("next_var")
        return self._keep("train", "out", self._restored(np.asarray(t.y)))

    @_call()
    def backward(self, grad: AnyArray) -> Gradient[AnyArray]:
        """Differentiate the latest training forward."""
        self._t.g = self._rows(grad)
        self._take("du", "dvar", "dmean")
        return Gradient(
            self._keep("backward", "dz", self._restored(self._step("dz"))),
            self._keep("backward", "dgamma", self._step("dgamma")),
            self._keep("backward", "dbeta", self._step("dbeta")),
        )

    @_call()
    def infer(self, x: AnyArray) -> AnyArray:
        """Forward in inference mode; a later backward still sees the latest training batch."""
        t = self._t
        held = t.x, t.z, t.s
        try:
            self._set_input(x)
            t.s = self._step("infer_s")
            out = self._restored(self._step("infer"))
            self._inferred = t.x, t.z, t.s, t.running_mean
            self._step("after_infer")
        finally:
            t.x, t.z, t.s = held
        return self._keep("infer", "out", out)

    @_call()
    def infer_backward(self, grad: AnyArray) -> Gradient[AnyArray]:
        """Differentiate the latest inference, with the statistics that it used held fixed."""
        t = self._t
        held = t.x, t.z, t.s, t.running_mean
        try:
            t.g = self._rows(grad)
            t.x, t.z, t.s, t.running_mean = self._inferred
            dz = self._restored(self._step("infer_dz"))
            return Gradient(dz, self._step("infer_dgamma"), self._step("infer_dbeta"))
        finally:
            t.x, t.z, t.s, t.running_mean = held

    @_call()
    def population(self, batches: tuple[AnyArray, ...]) -> Statistics[AnyArray]:
        """Return the mean and variance, (C,) each, of which `batches` (N_b, C, …) are samples."""
        self._t.batches = tuple(self._rows(batch) for batch in batches)
        return Statistics(self._step("population_mean"), self._step("population_var"))

    def statistics(self) -> Statistics[AnyArray]:
        """Return the running statistics."""
        return Statistics(self._t.running_mean, self._t.running_var)

    def look_again(self, call: Moment, quantity: Quantity) -> AnyArray:
        """Return what the first call of a kind gave; no step writes into it."""
        return self._first.get((call, quantity), np.zeros(0))

    def set_parameters(self, gamma: AnyArray, beta: AnyArray, *, in_place: bool) -> None:
        """Set other parameters, each (C,)."""
        self._t.gamma, self._t.beta = gamma, beta

    def other_layer(
        self,
        x: AnyArray,
        grad: AnyArray | None,
        probe: AnyArray | None,
        gamma: AnyArray | None = None,
        beta: AnyArray | None = None,
    ) -> None:
        """Do nothing: these layers share no state."""

    @_call()
    def descend(self) -> Statistics[AnyArray]:
        """Subtract the latest gradients from γ and β, in a copy of their own."""
        moved = []
        for name in ("gamma", "beta"):
            before = np.array(getattr(self._t, name), np.float64)
            after = before.copy()
            after -= self._step("dgamma" if name == "gamma" else "dbeta")
            setattr(self._t, name, after)
            moved.append(before - after)
        return Statistics(moved[0], moved[1])

    def add_up(self, steps: tuple[tuple[AnyArray, AnyArray], ...]) -> Statistics[AnyArray]:
        """Return the sums of the steps' gradients of γ and β."""
        sums: list[AnyArray] = []
        for x, grad in steps:
            self.train(x)
            found = self.backward(grad)
            each = [np.asarray(found.dgamma), np.asarray(found.dbeta)]
            sums = [old + new for old, new in zip(sums, each, strict=True)] if sums else each
        return Statistics(sums[0], sums[1])

    def reload(self, *, copied: bool = False) -> None:
        """Do nothing: the other layer is as this one."""

    def set_momentum(self, decay: float) -> None:
        """Set another weight of the old average."""
        self._t.decay = decay

    def edited(self) -> frozenset[str]:
        """Return nothing: the parameters are private copies."""
        return frozenset()
