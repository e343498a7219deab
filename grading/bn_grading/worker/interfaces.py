"""A course's names, put behind one set of calls: construct, train, backward, infer, statistics.

The names come from the course's TOML file, as the grader sends them.
"""

from __future__ import annotations

import contextlib
import inspect
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bn_grading.worker.results import Absent, Unusable

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

    def move(self, gamma: NDArray[Any], beta: NDArray[Any], *, in_place: bool = False) -> None:
        """Set other parameters."""
        ...


def present(spec: Spec, names: dict[str, Any]) -> bool:
    """Whether the submission defines a name by which the interface is recognised."""
    wanted = spec["identified_by"] if spec["kind"] == "functions" else spec["classes"]
    return any(name in names for name in wanted)


def construct(spec: Spec, names: dict[str, Any], setup: dict[str, Any]) -> Layer:
    """Make a layer; `setup` holds features, spatial_axes and whatever the grader sets."""
    if spec["kind"] == "functions":
        return FunctionLayer(spec, names, setup)
    if spec["kind"] == "module":
        from bn_grading.worker.torch_modules import ModuleLayer  # noqa: PLC0415 (torch is optional)

        return ModuleLayer(spec, names, setup)
    return ClassLayer(spec, names, setup)


def make(spec: Spec, names: dict[str, Any], setup: dict[str, Any]) -> Any:
    """Call the first of the interface's classes that there is, as the course calls it."""
    cls = next(names[name] for name in spec["classes"] if name in names)
    given = {name for name, value in setup.items() if value is not None}
    if setup.get("cumulative"):
        setup, given = {**setup, "momentum": None}, given | {"momentum"}
    arguments = [setup[name] for name in spec["arguments"] if name in given]
    keyword_only = _keyword_only(cls)
    if len(arguments) == 2 and len(keyword_only) == 1:
        # `def __init__(self, n, *, alpha=0.9)`: the second argument has one place to go.
        return cls(arguments[0], **{keyword_only[0]: arguments[1]})
    keywords = {
        keyword: setup[name] for keyword, name in spec["keyword_arguments"].items() if name in given
    }
    return cls(*arguments, **keywords)


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
    """Whether the course says what a call without the mode does, and the method takes such a call."""  # noqa: E501
    parameter = inspect.signature(method).parameters.get(mode["argument"])
    return (
        bool(mode["default"]) and parameter is not None and parameter.default is not parameter.empty
    )


_constructors: dict[Any, list[str]] = {}


def _keyword_only(cls: Any) -> list[str]:
    """Return the constructor's keyword-only parameters, if it takes one by position."""
    if id(cls) not in _constructors:
        _constructors[id(cls)] = _find_keyword_only(cls)
    return _constructors[id(cls)]


def _find_keyword_only(cls: Any) -> list[str]:
    try:
        parameters = list(inspect.signature(cls).parameters.values())
    except (TypeError, ValueError):
        return []
    by_position = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    rest = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    keyword = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    return keyword if len(by_position) == 1 and not rest else []


class ClassLayer:
    """A class with attributes for parameters, gradients and statistics."""

    def __init__(self, spec: Spec, names: dict[str, Any], setup: dict[str, Any]) -> None:
        """Construct the object and set what the setup gives."""
        self._spec = spec
        self._object = make(spec, names, setup)
        self._bare = bool(setup.get("bare"))
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

    def _forward(self, x: NDArray[Any], *, inference: bool) -> Any:
        method = self._method(self._spec["forward"])
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

    def train(self, x: NDArray[Any], *, differentiable: bool = True) -> Any:
        """Forward in training mode."""
        return self._forward(x, inference=False)

    def infer(self, x: NDArray[Any], *, differentiable: bool = False) -> Any:
        """Forward in inference mode."""
        return self._forward(x, inference=True)

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

    def move(self, gamma: NDArray[Any], beta: NDArray[Any], *, in_place: bool = False) -> None:
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

    def parameters(self) -> dict[str, bytes]:
        """Return the bytes of the parameters, where they are arrays."""
        values = {name: self._read(name) for name in ("gamma", "beta")}
        return {n: v.tobytes() for n, v in values.items() if isinstance(v, np.ndarray)}

    def held(self, name: str) -> Any:
        """Read the attribute of a parameter's gradient."""
        return self._read(name) if name in ("dgamma", "dbeta") else None

    def _read(self, role: str) -> Any:
        try:
            return getattr(self._object, self._name(role))
        except Absent:
            return None


class FunctionLayer:
    """A forward and a backward function, with parameters and statistics passed in."""

    def __init__(self, spec: Spec, names: dict[str, Any], setup: dict[str, Any]) -> None:
        """Look the functions up and fill the dictionary of settings."""
        self._spec, self._names = spec, names
        features = setup["features"]
        self._gamma = self._parameter(setup, "gamma", np.ones(features))
        self._beta = self._parameter(setup, "beta", np.zeros(features))
        self._mode = ""
        self._settings: dict[str, Any] = {}
        for key, name in spec["settings"].items():
            if setup.get(name) is not None:
                value = setup[name]
                self._settings[key] = (
                    value.astype(np.float64) if isinstance(value, np.ndarray) else value
                )
        self._cache: Any = None
        self._trained = False

    @staticmethod
    def _parameter(setup: dict[str, Any], name: str, default: NDArray[Any]) -> NDArray[Any]:
        value = setup.get(name)
        return default if value is None else value.astype(np.float64)

    def _function(self, name: str) -> Any:
        function = self._names.get(name)
        if not callable(function):
            raise Absent(f"there is no function {name}")
        return function

    def _forward(self, x: NDArray[Any], mode: str) -> Any:
        if mode != self._mode:  # the caller sets it once, and calls as often as there are batches
            self._settings["mode"] = self._mode = mode
        result = self._function(self._spec["forward"])(x, self._gamma, self._beta, self._settings)
        if result is None:
            return None
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise Unusable(f"{self._spec['forward']} should return two things: out, cache")
        out, cache = result
        if mode == self._spec["train_mode"]:
            self._cache, self._trained = cache, True
        return out

    def train(self, x: NDArray[Any], *, differentiable: bool = True) -> Any:
        """Forward in training mode; keeps the cache."""
        return self._forward(x, self._spec["train_mode"])

    def infer(self, x: NDArray[Any], *, differentiable: bool = False) -> Any:
        """Forward in inference mode."""
        return self._forward(x, self._spec["infer_mode"])

    def infer_backward(self, grad: NDArray[Any]) -> Arrays:
        """Refuse: the course has no function for it."""
        raise Absent("there is no function that differentiates inference")

    def population(self, batches: list[NDArray[Any]]) -> Any:
        """Call the function for the population's statistics."""
        return self._function(self._spec["population"])(batches)

    def backward(self, grad: NDArray[Any]) -> Arrays:
        """Call backward with the latest training cache."""
        result = self._function(self._spec["backward"])(grad, self._cache)
        if result is None:
            raise Absent(f"{self._spec['backward']} returns None")
        if not isinstance(result, tuple | list) or len(result) != 3:
            raise Unusable(f"{self._spec['backward']} should return three: dx, dgamma, dbeta")
        dz, dgamma, dbeta = result
        return {"dz": dz, "dgamma": dgamma, "dbeta": dbeta}

    def move(self, gamma: NDArray[Any], beta: NDArray[Any], *, in_place: bool = False) -> None:
        """Pass others from now on, or the same arrays with other numbers."""
        if in_place:
            self._gamma[...], self._beta[...] = gamma, beta
        else:
            self._gamma, self._beta = gamma.astype(np.float64), beta.astype(np.float64)

    def held(self, name: str) -> None:
        """Return nothing: a function keeps nothing."""

    def parameters(self) -> dict[str, bytes]:
        """Return the bytes of the arrays that are passed in."""
        return {"gamma": self._gamma.tobytes(), "beta": self._beta.tobytes()}

    def statistics(self) -> Arrays:
        """Read the running statistics out of the settings.

        Raises:
            Unusable: the forward has not written them there.
        """
        keys = {name: key for key, name in self._spec["settings"].items()}
        if self._trained:
            for name in ("running_mean", "running_var"):
                if self._settings.get(keys[name]) is None:
                    raise Unusable(f"{self._spec['forward']} stores no {keys[name]} in bn_param")
        return {name: self._settings.get(keys[name]) for name in ("running_mean", "running_var")}
