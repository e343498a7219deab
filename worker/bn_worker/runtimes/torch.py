"""A torch.nn.Module. Only a torch course's worker imports this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray

from bn_worker.results import Absent, UnusableResult
from bn_worker.runtimes.base import Adapter, Arrays, Spec
from bn_worker.runtimes.making import make

torch.set_num_threads(1)


@dataclass(frozen=True)
class _Pass:
    """A forward pass: what went in and what came out."""

    x: torch.Tensor
    out: torch.Tensor


class ModuleAdapter(Adapter):
    """A module with torch's names: weight, bias, running_mean, running_var."""

    def __init__(self, spec: Spec, names: dict[str, Any], setup: dict[str, Any]) -> None:
        """Construct the module in float64 and copy the setup's arrays in."""
        self._spec = spec
        self._module = make(spec, names, setup).double()
        for role in ("running_mean", "running_var"):
            tensor = self._tensor(role)
            if isinstance(tensor, torch.Tensor) and tensor.dtype != torch.float64:
                # A plain attribute is out of .double()'s reach.
                setattr(self._module, self._attribute(role), tensor.double())
        for role in ("gamma", "beta", "running_mean", "running_var"):
            if setup.get(role) is not None:
                self._copy(role, setup[role])
        self._container = torch.nn.Sequential(self._module)
        """Modules are set to a mode by what contains them."""
        self._steps_alone = 0
        self._trained: _Pass | None = None
        self._inferred: _Pass | None = None

    def _copy(self, role: str, value: NDArray[Any]) -> None:
        tensor = self._tensor(role)
        if tensor is None:
            raise Absent(f"the module has no {self._attribute(role)}")
        with torch.no_grad():
            tensor.copy_(torch.from_numpy(value.reshape(tuple(tensor.shape))))

    def set_parameters(self, gamma: NDArray[Any], beta: NDArray[Any], *, in_place: bool) -> None:
        """Copy other parameters in, as torch's optimisers do: in place."""
        self._copy("gamma", gamma)
        self._copy("beta", beta)

    def _attribute(self, role: str) -> str:
        name: str = self._spec["attributes"][role][0]
        return name

    def _tensor(self, role: str) -> Any:
        return getattr(self._module, self._attribute(role), None)

    def _forward(self, x: NDArray[Any], *, grad: bool) -> _Pass:
        tensor = torch.from_numpy(x)
        self._module.to(tensor.dtype)
        out = self._module(tensor.requires_grad_(grad))
        if out is None:
            raise Absent("forward returns None")
        if not isinstance(out, torch.Tensor):
            raise UnusableResult(
                f"the output is a {type(out).__name__}, but should be a torch.Tensor"
            )
        return _Pass(tensor, out)

    def train(self, x: NDArray[Any], *, differentiable: bool) -> Any:
        """Forward in training mode; when nothing is differentiated, every second time without a
        graph.
        """
        self._container.train()
        self._module.zero_grad(set_to_none=True)
        self._steps_alone += not differentiable
        grad = differentiable or self._steps_alone % 2 == 1
        with torch.set_grad_enabled(grad):
            self._trained = self._forward(x, grad=grad)
        out = self._trained.out
        if out.dtype != self._trained.x.dtype:
            raise UnusableResult(
                f"the output is {out.dtype}, but should be {self._trained.x.dtype}"
            )
        return out.detach().numpy()

    def infer(self, x: NDArray[Any], *, differentiable: bool) -> Any:
        """Forward in inference mode; `differentiable` as for a layer that is frozen."""
        self._container.eval()
        with torch.set_grad_enabled(differentiable):
            self._inferred = self._forward(x, grad=differentiable)
        return self._inferred.out.detach().numpy()

    def backward(self, grad: NDArray[Any]) -> Arrays:
        """Differentiate the latest training forward by autograd, or the module's own backward."""
        return self._differentiate(self._trained, grad, "training")

    def infer_backward(self, grad: NDArray[Any]) -> Arrays:
        """Differentiate the latest inference."""
        gradients = self._differentiate(self._inferred, grad, "inference")
        # What has no gradient in training either is not implemented; here it is cut off.
        for role in ("gamma", "beta"):
            if self._tensor(role) is not None and gradients[f"d{role}"] is None:
                raise UnusableResult(f"{self._attribute(role)} gets no gradient in inference mode")
        return gradients

    def _differentiate(self, latest: _Pass | None, grad: NDArray[Any], mode: str) -> Arrays:
        if latest is None:
            raise Absent(f"there was no forward in {mode} mode")
        if not latest.out.requires_grad:
            raise UnusableResult(
                f"the output in {mode} mode is cut off from the input: it has no gradient"
            )
        # Gradients add up in .grad, which the caller clears.
        self._module.zero_grad(set_to_none=True)
        latest.x.grad = None
        latest.out.backward(torch.from_numpy(grad).to(latest.out.dtype))
        if latest.x.grad is None:
            raise UnusableResult(f"the input gets no gradient in {mode} mode")
        return {
            "dz": self._numpy(latest.x.grad),
            "dgamma": self._numpy(getattr(self._tensor("gamma"), "grad", None)),
            "dbeta": self._numpy(getattr(self._tensor("beta"), "grad", None)),
        }

    def statistics(self) -> Arrays:
        """Read the running statistics.

        Raises:
            UnusableResult: one is part of the graph, or a parameter that an optimiser would move.
        """
        for name in ("running_mean", "running_var"):
            tensor = self._tensor(name)
            if isinstance(tensor, torch.Tensor) and tensor.requires_grad:
                what = (
                    "is a parameter, which an optimiser would move"
                    if tensor.is_leaf
                    else "is not detached: it keeps the graph of every batch"
                )
                raise UnusableResult(f"{name} {what}")
        return {name: self._numpy(self._tensor(name)) for name in ("running_mean", "running_var")}

    def parameters(self) -> dict[str, bytes]:
        """Return the bytes of weight and bias, in float64: a forward may convert the module."""
        values = {name: self._numpy(self._tensor(name)) for name in ("gamma", "beta")}
        return {
            name: value.astype("float64").tobytes()
            for name, value in values.items()
            if value is not None
        }

    @staticmethod
    def _numpy(tensor: Any) -> NDArray[Any] | None:
        if tensor is None:
            return None
        array: NDArray[Any] = tensor.detach().numpy().copy()
        return array
