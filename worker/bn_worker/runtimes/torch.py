"""A torch.nn.Module. Only a torch course's worker imports this."""

from __future__ import annotations

import contextlib
import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bn_worker.results import Absent, UnusableResult
from bn_worker.runtimes.base import Adapter, Arrays, Spec
from bn_worker.runtimes.making import make

torch.set_num_threads(1)
# PyTorch looks once at what the processor can do, and behind the lock it could not.
with contextlib.suppress(RuntimeError):
    torch.zeros(1).half()


@dataclass(frozen=True)
class _Pass:
    """A forward pass: what went in and what came out."""

    x: torch.Tensor
    out: torch.Tensor

    def given(self, mode: str = "") -> Any:
        """Return the output's numbers.

        Raises:
            UnusableResult: it has another dtype than the input.
        """
        if self.out.dtype != self.x.dtype:
            raise UnusableResult(
                f"the output{mode} is {self.out.dtype}, but should be {self.x.dtype}"
            )
        return self.out.detach().numpy()


class ModuleAdapter(Adapter):
    """A module with torch's names: weight, bias, running_mean, running_var."""

    def __init__(self, spec: Spec, names: dict[str, Any], setup: dict[str, Any]) -> None:
        """Construct the module; what the setup gives is copied in when its dtype is known."""
        self._spec, self._names, self._setup = spec, names, setup
        self._module = make(spec, names, setup)
        self._dtype: torch.dtype | None = None
        self._container = torch.nn.Sequential(self._module)
        """Modules are set to a mode by what contains them."""
        self._steps_alone = 0
        self._trained: _Pass | None = None
        self._inferred: _Pass | None = None
        for role, neutral in (("gamma", 1.0), ("beta", 0.0)):
            # A module without them (affine=False) is as one on which these stand.
            value = setup.get(role)
            if value is not None and self._tensor(role) is None and (value != neutral).any():
                raise Absent(f"the module has no {self._attribute(role)}")

    def prepare(self, dtype: np.dtype[Any]) -> None:
        """Convert the module where inputs are of another dtype than float32."""
        self._settle(torch.float64 if dtype == np.float64 else torch.float32)

    def _settle(self, dtype: torch.dtype) -> None:
        """Make ready for inputs of a dtype, at the first one; a module is made for float32.

        For that, nothing is converted: converting reallocates what the module holds, and so would
        hide what it shares with others, or holds in the wrong type.
        """
        if self._dtype == dtype:
            return
        first, self._dtype = self._dtype is None, dtype
        if dtype != torch.float32 or not first:
            self._module.to(dtype)
            for role in ("gamma", "beta", "running_mean", "running_var"):
                tensor, name = self._tensor(role), self._attribute(role)
                if self._is_plain(name) and tensor.dtype != dtype:
                    # A plain attribute is out of .to()'s reach.
                    converted = tensor.detach().to(dtype).requires_grad_(tensor.requires_grad)
                    setattr(self._module, name, converted)
            self._settle_numbers(dtype)
        if first:
            for role in ("gamma", "beta", "running_mean", "running_var"):
                if self._setup.get(role) is not None and self._tensor(role) is not None:
                    self._copy(role, self._setup[role])

    def _is_plain(self, name: str) -> bool:
        """Whether an attribute is a tensor that the module knows nothing of."""
        return isinstance(vars(self._module).get(name), torch.Tensor)

    def _clear(self) -> None:
        """Clear all gradients, as a caller does who knows of every one."""
        self._module.zero_grad(set_to_none=True)
        for name in map(self._attribute, ("gamma", "beta")):
            if self._is_plain(name):
                vars(self._module)[name].grad = None

    def _settle_numbers(self, dtype: torch.dtype) -> None:
        """Give a tensor that holds ε or the momentum the number again that it was made with.

        Converted from float32, it holds that number as float32 rounds it. Where nothing was
        set, the number is the shortest decimal that float32 rounds so.

        Raises:
            UnusableResult: it does not take it.
        """
        for name in ("eps", "momentum"):
            tensor, number = getattr(self._module, name, None), self._setup.get(name)
            if not isinstance(tensor, torch.Tensor) or tensor.numel() != 1:
                continue
            number = float(str(np.float32(tensor.item()))) if number is None else number
            wanted = torch.full_like(tensor, number, dtype=dtype)
            if tensor.is_floating_point() and torch.equal(tensor.float(), wanted.float()):
                if tensor.dtype != dtype:
                    # A plain attribute is out of .to()'s reach.
                    setattr(self._module, name, wanted)
                with torch.no_grad():
                    getattr(self._module, name).copy_(wanted)
                if not torch.equal(getattr(self._module, name), wanted):
                    text = f"the module's {name} was set to {number}, and does not read as that"
                    raise UnusableResult(text)

    def _copy(self, role: str, value: NDArray[Any]) -> None:
        tensor = self._tensor(role)
        if tensor is None:
            raise Absent(f"the module has no {self._attribute(role)}")
        wanted = torch.from_numpy(value.reshape(tuple(tensor.shape))).to(tensor.dtype)
        with torch.no_grad():
            tensor.copy_(wanted)
        if not torch.equal(self._tensor(role), wanted):
            name = self._attribute(role)
            raise UnusableResult(f"{name} was set to another value, and does not read as that")

    def set_parameters(self, gamma: NDArray[Any], beta: NDArray[Any], *, in_place: bool) -> None:
        """Copy other parameters in, as torch's optimisers do: in place."""
        self._settle(self._dtype or torch.float32)
        self._copy("gamma", gamma)
        self._copy("beta", beta)

    def _attribute(self, role: str) -> str:
        name: str = self._spec["attributes"][role][0]
        return name

    def _tensor(self, role: str) -> Any:
        return getattr(self._module, self._attribute(role), None)

    def _forward(self, x: NDArray[Any], *, grad: bool) -> _Pass:
        tensor = _as_tensor(x)
        out = self._module(tensor.requires_grad_(grad))
        if out is None:
            raise Absent("forward returns None")
        if not isinstance(out, torch.Tensor):
            raise UnusableResult(
                f"the output is a {type(out).__name__}, but should be a torch.Tensor"
            )
        return _Pass(tensor, out)

    def train(self, x: NDArray[Any], *, differentiable: bool, frozen: bool = False) -> Any:
        """Forward in training mode; when nothing is differentiated, every second time without a
        graph.
        """
        self._container.train()
        self._clear()
        self._steps_alone += not differentiable
        grad = differentiable or self._steps_alone % 2 == 1
        with torch.set_grad_enabled(grad):
            self._trained = self._forward(x, grad=grad and not frozen)
        return self._trained.given()

    def infer(self, x: NDArray[Any], *, differentiable: bool) -> Any:
        """Forward in inference mode; `differentiable` as for a layer that is frozen.

        Raises:
            Absent: the module keeps no running statistics (track_running_stats=False).
        """
        for role in ("running_mean", "running_var"):
            if self._tensor(role) is None:
                raise Absent(f"the module has no {self._attribute(role)}")
        if self._container.training or self._module.training:
            self._container.eval()
        with torch.set_grad_enabled(differentiable):
            self._inferred = self._forward(x, grad=differentiable)
        return self._inferred.given(" in inference mode")

    def backward(self, grad: NDArray[Any]) -> Arrays:
        """Differentiate the latest training forward by autograd, or the module's own backward."""
        gradients = self._differentiate(self._trained, grad, "training")
        if self._trained is not None and not self._trained.x.requires_grad:
            # Where the input needs a gradient, what has none is not implemented.
            for role in ("gamma", "beta"):
                if gradients[f"d{role}"] is None and self._tensor(role) is not None:
                    name = self._attribute(role)
                    raise UnusableResult(f"{name} gets no gradient where the input needs none")
        return gradients

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
            if not latest.x.requires_grad and not any(True for _ in self._module.parameters()):
                raise Absent("the module has no parameters")
            raise UnusableResult(
                f"the output in {mode} mode is cut off from the input: it has no gradient"
            )
        # Gradients add up in .grad, which the caller clears.
        self._clear()
        latest.x.grad = None
        latest.out.backward(_as_tensor(grad).to(latest.out.dtype))
        if latest.x.grad is None and latest.x.requires_grad:
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
        self._settle(self._dtype or torch.float32)
        return {name: self._numpy(self._tensor(name)) for name in ("running_mean", "running_var")}

    def descend(self) -> Arrays:
        """Take a step of gradient descent at a rate of one, as torch's optimisers do.

        Raises:
            UnusableResult: weight or bias is out of their reach.
        """
        self._look_for_strangers()
        before = {name: self._numpy(self._tensor(name)) for name in ("gamma", "beta")}
        with torch.no_grad():
            for parameter in self._module.parameters():
                if parameter.grad is not None:
                    parameter.sub_(parameter.grad)
        moved: Arrays = {}
        for name, old in before.items():
            new = self._numpy(self._tensor(name))
            moved[f"d{name}"] = None if old is None or new is None else old - new
        return moved

    def _look_for_strangers(self) -> None:
        for name in map(self._attribute, ("gamma", "beta")):
            if self._is_plain(name):
                raise UnusableResult(
                    f"{name} is a tensor, and no nn.Parameter: optimisers and state_dict do not "
                    "know of it"
                )

    def add_up(self, steps: tuple[tuple[NDArray[Any], NDArray[Any]], ...]) -> Arrays:
        """Differentiate two training steps; nobody clears .grad between them."""
        self._clear()
        self._container.train()
        for x, grad in steps:
            latest = self._forward(x, grad=True)
            latest.out.backward(_as_tensor(grad).to(latest.out.dtype))
        return {
            f"d{name}": self._numpy(getattr(self._tensor(name), "grad", None))
            for name in ("gamma", "beta")
        }

    def reload(self, setup: dict[str, Any], *, copied: bool) -> None:
        """Go on with a copy, or with a module of the same setup that has loaded this one's
        state_dict while it was in inference mode.

        Raises:
            UnusableResult: state_dict does not know of weight or bias.
        """
        if copied:
            self._contain(copy.deepcopy(self._module))
            return
        self._look_for_strangers()
        state = self._module.state_dict()
        dtype = self._dtype or torch.float32
        fresh = make(self._spec, self._names, setup)
        if dtype != torch.float32:
            fresh.to(dtype)
        self._contain(fresh)
        self._container.eval()
        fresh.load_state_dict(state)

    def _contain(self, module: Any) -> None:
        self._module, self._container = module, torch.nn.Sequential(module)

    def set_momentum(self, momentum: float | None) -> None:
        """Set the attribute.

        Raises:
            Absent: there is none, or it is not the momentum that the module was made with.
        """
        own = getattr(self._module, "momentum", None)
        if own is None or own != self._setup.get("momentum"):
            raise Absent("the module keeps no attribute momentum")
        self._module.momentum = momentum

    def overwrite(self, out: Any) -> None:
        """Write into the latest output, as an activation in place does.

        Raises:
            Absent: PyTorch lets nobody do that: it is a view that a Function has returned.
        """
        assert self._trained is not None
        with torch.no_grad():
            self._trained.out.detach().zero_()
        try:
            assert self._trained.out.grad_fn is not None
        except RuntimeError as error:
            raise Absent(f"PyTorch refuses an output that is edited: {error}") from None

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


def _as_tensor(array: NDArray[Any]) -> torch.Tensor:
    """Return an array as a tensor that lies in memory as it does, where a tensor can."""
    if not array.flags.writeable or any(stride < 0 for stride in array.strides):
        array = array.copy()
    return torch.from_numpy(array)
