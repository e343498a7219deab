"""A torch.nn.Module behind the calls of `interfaces`. Only a torch course's worker imports this."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray

from bn_grading.worker.interfaces import Arrays, Spec, make
from bn_grading.worker.results import Absent, Unusable

torch.set_num_threads(1)


class ModuleLayer:
    """A module with torch's names: weight, bias, running_mean, running_var."""

    def __init__(self, spec: Spec, names: dict[str, Any], setup: dict[str, Any]) -> None:
        """Construct the module in float64 and copy the setup's arrays in."""
        self._spec = spec
        self._module = make(spec, names, setup).double()
        for role in ("running_mean", "running_var"):
            tensor = self._tensor(role)
            if isinstance(tensor, torch.Tensor):  # a plain attribute is out of .double()'s reach
                setattr(self._module, self._attribute(role), tensor.double())
        for role in ("gamma", "beta", "running_mean", "running_var"):
            if setup.get(role) is not None:
                self._copy(role, setup[role])
        self._x: torch.Tensor | None = None
        self._out: torch.Tensor | None = None

    def _copy(self, role: str, value: NDArray[Any]) -> None:
        tensor = self._tensor(role)
        if tensor is None:
            raise Absent(f"the module has no {self._attribute(role)}")
        with torch.no_grad():
            tensor.copy_(torch.from_numpy(value.reshape(tuple(tensor.shape))))

    def move(self, gamma: NDArray[Any], beta: NDArray[Any]) -> None:
        """Copy other parameters in."""
        self._copy("gamma", gamma)
        self._copy("beta", beta)

    def _attribute(self, role: str) -> str:
        name: str = self._spec["attributes"][role][0]
        return name

    def _tensor(self, role: str) -> Any:
        return getattr(self._module, self._attribute(role), None)

    def _forward(self, x: NDArray[Any], *, grad: bool) -> torch.Tensor:
        tensor = torch.from_numpy(x)
        self._module.to(tensor.dtype)
        out = self._module(tensor.requires_grad_(grad))
        if out is None:
            raise Absent("forward returns None")
        if not isinstance(out, torch.Tensor):
            raise Unusable(f"the output is a {type(out).__name__}, but should be a torch.Tensor")
        if grad:
            self._x, self._out = tensor, out
        return out

    def train(self, x: NDArray[Any]) -> Any:
        """Forward in training mode."""
        self._module.train()
        self._module.zero_grad(set_to_none=True)
        return self._forward(x, grad=True).detach().numpy().copy()

    def infer(self, x: NDArray[Any]) -> Any:
        """Forward in inference mode."""
        self._module.eval()
        with torch.no_grad():
            return self._forward(x, grad=False).numpy().copy()

    def backward(self, grad: NDArray[Any]) -> Arrays:
        """Differentiate the latest training forward by autograd, or the module's own backward."""
        if self._out is None or self._x is None:
            raise Absent("there was no training forward")
        if not self._out.requires_grad:
            raise Absent("the output is cut off from the input: there is nothing to differentiate")
        self._out.backward(torch.from_numpy(grad).to(self._out.dtype))
        return {
            "dz": self._numpy(self._x.grad),
            "dgamma": self._numpy(getattr(self._tensor("gamma"), "grad", None)),
            "dbeta": self._numpy(getattr(self._tensor("beta"), "grad", None)),
        }

    def statistics(self) -> Arrays:
        """Read the running statistics."""
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
