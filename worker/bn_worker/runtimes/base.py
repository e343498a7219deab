"""What every runtime gives: a layer of the submission's, behind one set of calls."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from numpy.typing import NDArray

from bn_worker.results import Absent

Arrays = dict[str, Any]
"""Results by quantity, as the submission gave them; None where it gave none."""
Spec = dict[str, Any]
"""An interface, as the course's file describes it: names, by role."""


class Adapter(ABC):
    """One layer of the submission's; what a runtime does not override, its interfaces lack.

    Every call may raise `Absent` or `UnusableResult`, or whatever the submission raises.
    """

    @abstractmethod
    def train(self, x: NDArray[Any], *, differentiable: bool) -> Any:
        """Forward in training mode; `differentiable` where a backward will follow."""

    @abstractmethod
    def backward(self, grad: NDArray[Any]) -> Arrays:
        """Return dz, dgamma and dbeta of the latest training forward."""

    @abstractmethod
    def infer(self, x: NDArray[Any], *, differentiable: bool) -> Any:
        """Forward in inference mode; `differentiable` where a backward will follow."""

    @abstractmethod
    def statistics(self) -> Arrays:
        """Return running_mean and running_var."""

    @abstractmethod
    def parameters(self) -> dict[str, bytes]:
        """Return the bytes of gamma and beta, to see whether a call changes them."""

    @abstractmethod
    def set_parameters(self, gamma: NDArray[Any], beta: NDArray[Any], *, in_place: bool) -> None:
        """Set other parameters: new arrays, or new numbers in the arrays that stand there."""

    def infer_backward(self, grad: NDArray[Any]) -> Arrays:
        """Return dz, dgamma and dbeta of the latest inference."""
        raise Absent("nothing differentiates inference")

    def population(self, batches: list[NDArray[Any]]) -> Any:
        """Return the population's mean and variance."""
        raise Absent("nothing gives population statistics")

    def held(self, name: str) -> Any:
        """Return the dgamma or dbeta that the layer holds now; None where it holds none."""
        return None
