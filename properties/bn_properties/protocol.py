"""What a batch norm under test can be asked: the protocol that every implementation is put behind.

A *layer* is made from a `Setup`; it trains, differentiates, infers and shows its statistics. The
properties know nothing else of an implementation: a student's file in another process, a
framework's module and a deliberately wrong layer all look the same to them. The oracle is a layer,
too: one that gives, for each number, what it should be and by how much it may be missed. What
takes layers through scenarios is a `Subject` (in `scenario`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

from numpy.typing import NDArray

AnyArray = NDArray[Any]

Quantity = Literal[
    "out",
    "dz",
    "dgamma",
    "dbeta",
    "running_mean",
    "running_var",
    "population_mean",
    "population_var",
]
"""What a call may give."""

SYMBOLS: dict[Quantity, str] = {
    "out": "the output ẑ",
    "dz": "dz",
    "dgamma": "dγ",
    "dbeta": "dβ",
    "running_mean": "running mean",
    "running_var": "running variance",
    "population_mean": "population mean",
    "population_var": "population variance",
}
"""How a quantity is called in messages."""

STATISTICS: tuple[Quantity, ...] = ("running_mean", "running_var")
FORWARD: tuple[Quantity, ...] = ("out", *STATISTICS)
GRADIENTS: tuple[Quantity, ...] = ("dz", "dgamma", "dbeta")
POPULATION: tuple[Quantity, ...] = ("population_mean", "population_var")
SHAPED_LIKE_THE_BATCH: frozenset[Quantity] = frozenset({"out", "dz"})
"""All others are one number a feature."""


@dataclass(frozen=True)
class Setup:
    """What a layer is made with. None leaves the implementation's own default in place."""

    features: int
    eps: float | None = None
    decay: float | None = None
    """The weight kept of the old running average; the subject translates it to its momentum."""
    gamma: AnyArray | None = None
    beta: AnyArray | None = None
    running_mean: AnyArray | None = None
    running_var: AnyArray | None = None
    cumulative: bool = False
    """Whether the running statistics are the plain mean of all batches; `decay` is then None."""

    @property
    def bare(self) -> bool:
        """Whether nothing is set but the number of features."""
        given = (self.eps, self.decay, self.gamma, self.beta, self.running_mean, self.running_var)
        return not self.cumulative and all(value is None for value in given)


Refusable = Literal["one_value", "momentum_ends", "other_eps", "unusual_eps"]
"""What some layers raise an exception at: a training batch of one value a feature, a momentum that
keeps all or nothing of the old average, another ε than their own, an ε that nobody takes (of 1 and
above, or below 1e-8)."""

Capability = Literal[
    "inference_gradient",
    "cumulative_average",
    "population",
    "state_dict",
    "frozen_input",
    "changed_momentum",
    "gradients_add_up",
]
"""What an interface may offer beyond the calls that all have."""

CAPABILITIES: dict[Capability, str] = {
    "inference_gradient": "gradient in inference mode",
    "cumulative_average": "cumulative average",
    "population": "population statistics",
    "state_dict": "state that is saved and loaded",
    "frozen_input": "inputs that need no gradient",
    "changed_momentum": "momentum that can be changed",
    "gradients_add_up": "gradients that add up until they are cleared",
}
"""How each is called in messages."""


Failure = Literal[
    "not_implemented", "unfinished", "raised", "unusable_result", "timeout", "slept", "died"
]
"""Of what kind a failure is. The first two are no mistake: there is nothing that could be wrong, or
the time for all calls together is up. What has `slept` took too long, and did not compute."""


UNANSWERED: frozenset[Failure] = frozenset({"not_implemented", "unfinished"})
"""Those two."""


class SubjectError(Exception):
    """The implementation under test failed in a call; its own doing, never the grader's."""

    def __init__(self, failure: Failure, message: str, given: AnyArray | None = None) -> None:
        """Record which kind of failure, a sentence that a student can read, and what was given
        in place of a result, if that was numbers of another shape.
        """
        super().__init__(message)
        self.given = given
        self.failure: Failure = failure
        self.message = message


T = TypeVar("T")


@dataclass(frozen=True)
class Gradient(Generic[T]):
    """What a backward pass gives; a missing quantity stands as the error that says so."""

    dz: T | SubjectError
    dgamma: T | SubjectError
    dbeta: T | SubjectError


@dataclass(frozen=True)
class Statistics(Generic[T]):
    """Two statistics of each feature; a missing one stands as the error that says so."""

    mean: T | SubjectError
    var: T | SubjectError


Layout = Literal["C", "fortran", "strided", "reversed", "swapped", "read-only"]
"""How an array lies in memory: row by row; column by column; every second place of a larger one;
back to front; its last two axes exchanged; or row by row, and not to be written to."""

Moment = Literal["train", "infer", "backward"]
"""A kind of call whose first result can be looked at again."""


class Layer(Protocol[T]):
    """One layer. Every method may raise `SubjectError`.

    Inputs are (N, C) or channels-first (N, C, …). A layer that edits its input edits the array
    it was given, where the caller can see it. Results are arrays, or, of the oracle, what they
    should be (`T`).
    """

    def train(self, x: AnyArray) -> T:
        """Forward in training mode; updates the running statistics."""
        ...

    def backward(self, grad: AnyArray) -> Gradient[T]:
        """Differentiate the latest training-mode forward."""
        ...

    def infer(self, x: AnyArray) -> T:
        """Forward in inference mode."""
        ...

    def infer_backward(self, grad: AnyArray) -> Gradient[T]:
        """Differentiate the latest inference-mode forward."""
        ...

    def statistics(self) -> Statistics[T]:
        """Return the running statistics, after the latest forward of either mode."""
        ...

    def population(self, batches: tuple[AnyArray, ...]) -> Statistics[T]:
        """Return the statistics of the population that `batches` are samples of."""
        ...

    def look_again(self, call: Moment, quantity: Quantity) -> T:
        """Return what the first call of a kind gave, as it is now.

        Of a parameter's gradient that a layer keeps in an attribute, what stands there now.
        """
        ...

    def other_layer(
        self,
        x: AnyArray,
        grad: AnyArray | None,
        probe: AnyArray | None,
        gamma: AnyArray | None = None,
        beta: AnyArray | None = None,
    ) -> None:
        """Train another layer, as wide as `x`, on it; given them, differentiate `grad` and infer on
        `probe`. Its parameters are `gamma` and `beta`, or its own; before it, those of one more
        layer are moved in place.
        """
        ...

    def set_parameters(self, gamma: AnyArray, beta: AnyArray, *, in_place: bool) -> None:
        """Set other parameters, as an optimiser does between two steps: new arrays, or in place."""
        ...

    def descend(self) -> Statistics[T]:
        """Subtract the latest gradients of γ and β from them, in place; return by how much each has
        changed.
        """
        ...

    def add_up(self, steps: tuple[tuple[AnyArray, AnyArray], ...]) -> Statistics[T]:
        """Train on each step's batch and differentiate with its upstream gradient; return dγ and dβ
        as they have added up.
        """
        ...

    def reload(self, *, copied: bool = False) -> None:
        """Save the state, and go on with another layer that has loaded it."""
        ...

    def set_momentum(self, decay: float) -> None:
        """Keep another weight of the old running average from now on."""
        ...

    def edited(self) -> frozenset[str]:
        """Return which of gamma and beta the latest call has changed, where that can be seen."""
        ...
