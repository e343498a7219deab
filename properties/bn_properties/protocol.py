"""What a batch norm under test can be asked: the protocol that every implementation is put behind.

A *layer* is made from a `Setup`; it trains, differentiates, infers and shows its statistics. The
properties know nothing else of an implementation: a student's file in another process, a
framework's module and a deliberately wrong variation of the oracle all look the same to them.
What makes layers and takes them through scenarios is a `Subject` (in `scenario`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

AnyArray = NDArray[Any]


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


Capability = Literal["inference_gradient", "cumulative_average", "population"]
"""What an interface may offer beyond the calls that all have."""

CAPABILITIES: dict[Capability, str] = {
    "inference_gradient": "gradient in inference mode",
    "cumulative_average": "cumulative average",
    "population": "population statistics",
}
"""How each is called in messages."""


Failure = Literal["not_implemented", "unfinished", "raised", "unusable_result", "timeout", "died"]
"""Of what kind a failure is. The first two are no mistake: there is nothing that could be wrong, or
the time for all calls together is up."""


UNANSWERED: frozenset[Failure] = frozenset({"not_implemented", "unfinished"})
"""Those two."""


class SubjectError(Exception):
    """The implementation under test failed in a call; its own doing, never the grader's."""

    def __init__(self, failure: Failure, message: str) -> None:
        """Record which kind of failure, and a sentence that a student can read."""
        super().__init__(message)
        self.failure: Failure = failure
        self.message = message


@dataclass(frozen=True)
class Gradient:
    """The answer to a backward pass; a missing quantity stands as the error that says so."""

    dz: AnyArray | SubjectError
    dgamma: AnyArray | SubjectError
    dbeta: AnyArray | SubjectError


@dataclass(frozen=True)
class Statistics:
    """The running statistics as they stand; a missing one stands as the error that says so."""

    mean: AnyArray | SubjectError
    var: AnyArray | SubjectError


class Layer(Protocol):
    """One layer. Every method may raise `SubjectError`.

    Inputs are (N, C) or channels-first (N, C, …). A layer that edits its input edits the array
    it was given, where the caller can see it.
    """

    def train(self, x: AnyArray) -> AnyArray:
        """Forward in training mode; updates the running statistics."""
        ...

    def backward(self, grad: AnyArray) -> Gradient:
        """Differentiate the latest training-mode forward."""
        ...

    def infer(self, x: AnyArray) -> AnyArray:
        """Forward in inference mode."""
        ...

    def infer_backward(self, grad: AnyArray) -> Gradient:
        """Differentiate the latest inference-mode forward."""
        ...

    def statistics(self) -> Statistics:
        """Return the running statistics."""
        ...

    def population(self, batches: tuple[AnyArray, ...]) -> Statistics:
        """Return the statistics of the population that `batches` are samples of."""
        ...

    def look_again(self, what: str) -> AnyArray:
        """Return what the first call of a kind gave, as it is now (see `scenario.LookAgain`)."""
        ...

    def other_layer(
        self, x: AnyArray, grad: AnyArray | None = None, probe: AnyArray | None = None
    ) -> None:
        """Train another layer on `x`; given them, differentiate `grad` and infer on `probe`."""
        ...

    def set_parameters(self, gamma: AnyArray, beta: AnyArray, *, in_place: bool = False) -> None:
        """Set other parameters, as an optimiser does between two steps: new arrays, or in place."""
        ...

    def edited(self) -> frozenset[str]:
        """Return which of gamma and beta the latest call has changed, where that can be seen."""
        ...
