"""What every runtime gives: a layer of the submission's, behind one set of calls."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
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
    def train(self, x: NDArray[Any], *, differentiable: bool, frozen: bool = False) -> Any:
        """Forward in training mode; `differentiable` where a backward will follow, `frozen` where
        it is not for the input's gradient.
        """

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
    def descend(self) -> Arrays:
        """Subtract the latest dgamma and dbeta from gamma and beta, in place, as an optimiser does;
        return by how much each has changed.
        """

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

    def prepare(self, dtype: np.dtype[Any]) -> None:  # noqa: B027 (most need nothing)
        """Make ready for inputs of a dtype, before it is looked at what a call changes."""

    def add_up(self, steps: tuple[tuple[NDArray[Any], NDArray[Any]], ...]) -> Arrays:
        """Train and differentiate step after step; return dgamma and dbeta as they add up."""
        raise Absent("its gradients do not add up")

    def reload(self, setup: dict[str, Any], *, copied: bool) -> None:
        """Save the state, and go on with another layer of this setup that has loaded it."""
        raise Absent("nothing saves its state")

    def set_momentum(self, momentum: float | None) -> None:
        """Set another momentum after construction."""
        raise Absent("nothing changes its momentum")

    def overwrite(self, out: Any) -> None:
        """Write into an output that the layer has returned, as a caller may."""
        if isinstance(out, np.ndarray) and out.flags.writeable:
            out[...] = 0

    def held(self, name: str) -> Any:
        """Return the dgamma or dbeta that the layer holds now; None where it holds none."""
        return None
