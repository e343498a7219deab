"""What every runtime gives: a layer of the submission's, behind one set of calls."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

Arrays = dict[str, Any]
Spec = dict[str, Any]


class Layer(Protocol):
    """One layer of the submission's."""

    def train(self, x: NDArray[Any], *, differentiable: bool = True) -> Any:
        """Forward in training mode."""
        ...

    def backward(self, grad: NDArray[Any]) -> Arrays:
        """Return dz, dgamma and dbeta."""
        ...

    def infer(self, x: NDArray[Any], *, differentiable: bool = False) -> Any:
        """Forward in inference mode."""
        ...

    def infer_backward(self, grad: NDArray[Any]) -> Arrays:
        """Return dz, dgamma and dbeta of the latest inference."""
        ...

    def population(self, batches: list[NDArray[Any]]) -> Any:
        """Return the population's mean and variance."""
        ...

    def statistics(self) -> Arrays:
        """Return running_mean and running_var."""
        ...

    def parameters(self) -> dict[str, bytes]:
        """Return the bytes of gamma and beta, to see whether a call changes them."""
        ...

    def held(self, name: str) -> Any:
        """Return the dgamma or dbeta that the layer holds now; None where it holds none."""
        ...

    def set_parameters(
        self, gamma: NDArray[Any], beta: NDArray[Any], *, in_place: bool = False
    ) -> None:
        """Set other parameters."""
        ...
