"""A class with attributes for parameters, gradients and statistics, as CMU's courses have it."""

from __future__ import annotations

import contextlib
import inspect
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bn_worker.results import Absent, UnusableResult
from bn_worker.runtimes.base import Adapter, Arrays, Spec
from bn_worker.runtimes.making import make


class ClassAdapter(Adapter):
    """A class with attributes for parameters, gradients and statistics."""

    def __init__(self, spec: Spec, names: dict[str, Any], setup: dict[str, Any]) -> None:
        """Construct the object and set what the setup gives."""
        self._spec = spec
        self._object = make(spec, names, setup)
        self._bare = bool(setup.get("bare"))
        self._inferred = False
        features = setup["features"]
        self._shape = (1, features) + (1,) * setup["spatial_axes"]
        if setup.get("eps") is not None:
            setattr(self._object, self._name("eps"), setup["eps"])
        for name in ("gamma", "beta", "running_mean", "running_var"):
            if setup.get(name) is not None:
                self._set(name, setup[name])
            else:
                self._lengthen(name)

    def _lengthen(self, role: str) -> None:
        """Keep in float64 what the layer keeps in a shorter type of its own choice."""
        value = self._read(role)
        if isinstance(value, np.ndarray) and value.dtype in (np.float16, np.float32):
            with contextlib.suppress(AttributeError):  # a property without a setter
                setattr(self._object, self._name(role), value.astype(np.float64))

    def _name(self, role: str) -> str:
        """Return the attribute that plays `role`: the first of the course's names that exists."""
        options: list[str] = self._spec["attributes"][role]
        for option in options:
            if hasattr(self._object, option):
                return option
        raise Absent(f"the object has no attribute {' or '.join(options)}")

    def _set(self, role: str, value: NDArray[Any]) -> None:
        name = self._name(role)
        current = getattr(self._object, name)
        fits = isinstance(current, np.ndarray) and current.size == value.size
        shape = current.shape if fits else self._shape
        setattr(self._object, name, value.astype(np.float64).reshape(shape))
        took = getattr(self._object, name, None)
        if isinstance(took, np.ndarray) and took.size == value.size:
            same = np.array_equal(took.reshape(-1), value.reshape(-1), equal_nan=True)
            if not same:
                raise UnusableResult(f"{name} was set to another value, and does not read as that")

    def _forward(
        self, x: NDArray[Any], *, inference: bool, options: list[str] | None = None
    ) -> Any:
        method = self._method(options or self._spec["forward"])
        modes = _possible_modes(getattr(method, "__func__", method), self._spec)
        if not modes and inference:
            raise Absent("forward takes no argument for inference mode")
        if not modes or (self._bare and not inference and _has_default(method, modes[0])):
            result = method(x)
        else:
            result = _call_in_mode(method, x, modes, "infer" if inference else "train")
        if result is None:
            for name in self._spec["output"]:
                if getattr(self._object, name, None) is not None:
                    return getattr(self._object, name)
        return result

    def _method(self, options: list[str]) -> Any:
        for option in options:
            method = getattr(self._object, option, None)
            if callable(method):
                return method
        raise Absent(f"the class has no method {' or '.join(options)}")

    def train(self, x: NDArray[Any], *, differentiable: bool, frozen: bool = False) -> Any:
        """Forward in training mode."""
        return self._forward(x, inference=False)

    def infer(self, x: NDArray[Any], *, differentiable: bool) -> Any:
        """Forward in inference mode; once, by all the names that the course calls it by.

        Raises:
            UnusableResult: they give different outputs.
        """
        out = self._forward(x, inference=True)
        if not self._inferred:
            self._inferred, kept = True, np.array(out, copy=True)
            first, *others = self._spec["forward"]
            own = vars(type(self._object))
            for name in others if first in own else ():
                # One that takes no mode, such as a `__call__(self, x)`, is for training alone.
                if name not in own or own[name] is own[first]:
                    continue
                if not callable(own[name]) or not _possible_modes(own[name], self._spec):
                    continue
                again = self._forward(x, inference=True, options=[name])
                if not np.array_equal(np.asarray(again), kept, equal_nan=kept.dtype.kind == "f"):
                    raise UnusableResult(f"{name} gives another output than {first} at inference")
        return out

    def backward(self, grad: NDArray[Any]) -> Arrays:
        """Call backward, then read the parameters' gradients."""
        return self._gradients(self._spec["backward"], grad)

    def infer_backward(self, grad: NDArray[Any]) -> Arrays:
        """Call the method that differentiates inference, then read the parameters' gradients."""
        return self._gradients(self._spec["inference_backward"], grad)

    def _gradients(self, methods: list[str], grad: NDArray[Any]) -> Arrays:
        dz = self._method(methods)(grad)
        return {"dz": dz, "dgamma": self._read("dgamma"), "dbeta": self._read("dbeta")}

    def population(self, batches: list[NDArray[Any]]) -> Any:
        """Call the method for the population's statistics."""
        return self._method(self._spec["population"])(batches)

    def statistics(self) -> Arrays:
        """Read the running statistics."""
        return {name: self._read(name) for name in ("running_mean", "running_var")}

    def set_parameters(self, gamma: NDArray[Any], beta: NDArray[Any], *, in_place: bool) -> None:
        """Set the attributes, or write into the arrays that stand there."""
        for role, value in (("gamma", gamma), ("beta", beta)):
            if not (in_place and self._write(role, value)):
                self._set(role, value)

    def _write(self, role: str, value: NDArray[Any]) -> bool:
        """Write into a parameter's array; False where the object does not show its own."""
        current = self._read(role)
        if not isinstance(current, np.ndarray) or current.size != value.size:
            return False
        if current.dtype != np.float64 or not current.flags.writeable:
            return False
        current[...] = value.reshape(current.shape)
        return bool(np.array_equal(self._read(role), current))

    def descend(self) -> Arrays:
        """Subtract each gradient from its parameter, in place."""
        moved = {}
        for role in ("gamma", "beta"):
            value, gradient = self._read(role), self._read(f"d{role}")
            if value is None or gradient is None:
                raise Absent(f"there is no {role}, or no gradient of it")
            before = np.array(value, np.float64)
            value -= gradient
            setattr(self._object, self._name(role), value)
            moved[f"d{role}"] = before - np.asarray(self._read(role), np.float64)
        return moved

    def parameters(self) -> dict[str, bytes]:
        """Return the bytes of the parameters, where they are arrays."""
        found = {}
        for name in ("gamma", "beta"):
            value = self._read(name)
            if isinstance(value, np.ndarray):
                found[name] = value.tobytes()
        return found

    def held(self, name: str) -> Any:
        """Read the attribute of a parameter's gradient."""
        return self._read(name) if name in ("dgamma", "dbeta") else None

    def _read(self, role: str) -> Any:
        """Return the attribute that plays `role`; None where there is none."""
        for option in self._spec["attributes"][role]:
            value = getattr(self._object, option, _ABSENT)
            if value is not _ABSENT:
                return value
        return None


_ABSENT = object()

_modes: dict[Any, list[Any]] = {}


def _possible_modes(function: Any, spec: Spec) -> list[Any]:
    """Return the course's modes whose argument `function` may take, the likeliest first.

    A decorator's `**kwargs` may hide any of them; which it is shows when it is called.
    """
    if function not in _modes:
        parameters = inspect.signature(function).parameters
        named = [mode for mode in spec["mode"] if mode["argument"] in parameters]
        takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
        _modes[function] = named[:1] or (list(spec["mode"]) if takes_any else [])
    return _modes[function]


def _call_in_mode(method: Any, x: NDArray[Any], modes: list[Any], value: str) -> Any:
    """Call `method` with the first mode's argument that it knows; the others are forgotten."""
    while True:
        mode = modes[0]
        try:
            return method(x, **{mode["argument"]: mode[value]})
        except TypeError as error:
            unknown = f"unexpected keyword argument {mode['argument']!r}" in str(error)
            if not unknown or len(modes) == 1:
                raise
            del modes[0]


def _has_default(method: Any, mode: Any) -> bool:
    """Whether the course says what a call without the mode does, and the method takes
    such a call.
    """
    parameter = inspect.signature(method).parameters.get(mode["argument"])
    return (
        bool(mode["default"]) and parameter is not None and parameter.default is not parameter.empty
    )
