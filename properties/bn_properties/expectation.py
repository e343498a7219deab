"""What one quantity should be, and how far off a right implementation, or a mistake, may be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from bn_oracle.arrays import Array
from bn_oracle.bounds import training
from bn_oracle.bounds.precision import Precision
from bn_oracle.bounds.training import Algorithm, TrainingBounds
from bn_oracle.forward import Forward

from bn_properties.protocol import Quantity, SubjectError
from bn_properties.scenario import Response


def unchanged(bound: Array) -> Array:
    """Return the bound as it is."""
    return bound


@dataclass(frozen=True, eq=False)
class Trained:
    """A training forward with its bounds."""

    record: Forward
    precision: Precision
    own: TrainingBounds
    """The oracle's rounding."""
    theirs: dict[Algorithm, TrainingBounds]
    """A correct implementation's."""
    shift: Array
    """(C,): the running mean before the step, by which an implementation may shift the batch."""


@dataclass(frozen=True, eq=False)
class Expectation:
    """What one quantity should be, and by how much a correct implementation may miss it.

    A bound is infinite where rounding could explain anything, so that nothing may be judged.
    """

    value: Array
    stable: Array
    """The bound for an implementation that centres before it squares."""
    one_pass: Array
    """The bound that E[z²] − E[z]² stays within as well: past it, rounding explains nothing."""
    precision: Precision
    trained: Trained | None = None
    """The training-mode forward pass that it belongs to; None elsewhere."""
    generously: Callable[[Array], Array] = unchanged
    largest_batch: int = 0
    """Of a running statistic: the most values a feature of the batches that it is made of."""

    @cached_property
    def generous(self) -> Array:
        """The bound that a mistake may need. Only the diagnosis uses it: no verdict does."""
        return self.generously(self.one_pass)


class Expected:
    """What all quantities of one call should be, each by its name."""

    def __init__(self, response: Response[Expectation]) -> None:
        """Hold what the oracle gave; what it refuses is not there."""
        self._by_name = {
            name: each
            for name, each in response.values.items()
            if not isinstance(each, SubjectError)
        }
        self.values = {name: each.value for name, each in self._by_name.items()}
        passes = (each.trained for each in self._by_name.values() if each.trained is not None)
        self._trained = next(passes, None)

    def __getitem__(self, quantity: Quantity) -> Expectation:
        """Return what one quantity should be; raises KeyError where nothing is asked of it."""
        return self._by_name[quantity]

    def bound(self, quantity: Quantity, algorithm: Algorithm = "one-pass") -> Array:
        """Return the bound on one quantity."""
        each = self._by_name[quantity]
        return each.stable if algorithm == "stable" else each.one_pass

    @property
    def record(self) -> Forward | None:
        """The training-mode forward pass with its intermediates; None for another call."""
        return None if self._trained is None else self._trained.record

    @property
    def trained(self) -> Trained:
        """The training-mode forward pass and its bounds, where there must be one."""
        assert self._trained is not None, "this call trains nothing"
        return self._trained


@dataclass(frozen=True, eq=False)
class Wider:
    """The bounds that a mistake may need: as if γ and β were larger by one, and ε away.

    A mistake may leave γ or ε out, and then rounds as if there were none, however small or large
    they are.
    """

    record: Forward
    precision: Precision
    grad_rows: Array | None = None
    shift: Array | float = 0.0
    """See `bn_oracle.bounds.training.forward`."""

    @cached_property
    def _records(self) -> tuple[Forward, ...]:
        record = self.record
        larger = replace(record, gamma=np.abs(record.gamma) + 1, beta=np.abs(record.beta) + 1)
        if not record.var.all():
            return (larger,)
        # Without ε, s is √σ²: much smaller where ε is large beside the variance.
        bare = np.sqrt(record.var)
        return larger, replace(larger, eps=0.0, std=bare, u=record.centred / bare)

    @cached_property
    def _forward(self) -> tuple[TrainingBounds, ...]:
        return tuple(
            training.forward(each, self.precision, "one-pass", self.shift) for each in self._records
        )

    @cached_property
    def _backward(self) -> tuple[training.GradientBounds, ...]:
        assert self.grad_rows is not None
        pairs = zip(self._records, self._forward, strict=True)
        return tuple(
            training.backward(record, self.grad_rows, bounds, self.precision)
            for record, bounds in pairs
        )

    def out(self, bound: Array) -> Array:
        """Widen the bound on the output."""
        return _largest(bound, *(each.out for each in self._forward))

    def gradient(self, quantity: Quantity) -> Callable[[Array], Array]:
        """Return what widens the bound on one gradient."""
        return lambda bound: _largest(bound, *(getattr(each, quantity) for each in self._backward))


def _largest(first: Array, *others: Array) -> Array:
    for other in others:
        first = np.maximum(first, other)
    return first
