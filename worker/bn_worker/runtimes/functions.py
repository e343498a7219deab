"""A forward and a backward function, with parameters and settings passed in, as CS231n has it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bn_worker.results import Absent, UnusableResult
from bn_worker.runtimes.base import Adapter, Arrays, Spec


class FunctionAdapter(Adapter):
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
        self._latest: tuple[Any, Any] = (0.0, 0.0)
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
            raise UnusableResult(f"{self._spec['forward']} should return two things: out, cache")
        out, cache = result
        if mode == self._spec["train_mode"]:
            self._cache, self._trained = cache, True
        return out

    def train(self, x: NDArray[Any], *, differentiable: bool, frozen: bool = False) -> Any:
        """Forward in training mode; keeps the cache."""
        return self._forward(x, self._spec["train_mode"])

    def infer(self, x: NDArray[Any], *, differentiable: bool) -> Any:
        """Forward in inference mode."""
        return self._forward(x, self._spec["infer_mode"])

    def population(self, batches: list[NDArray[Any]]) -> Any:
        """Call the function for the population's statistics."""
        return self._function(self._spec["population"])(batches)

    def backward(self, grad: NDArray[Any]) -> Arrays:
        """Call backward with the latest training cache."""
        result = self._function(self._spec["backward"])(grad, self._cache)
        if result is None:
            raise Absent(f"{self._spec['backward']} returns None")
        if not isinstance(result, tuple | list) or len(result) != 3:
            raise UnusableResult(f"{self._spec['backward']} should return three: dx, dgamma, dbeta")
        dz, dgamma, dbeta = result
        self._latest = dgamma, dbeta
        return {"dz": dz, "dgamma": dgamma, "dbeta": dbeta}

    def descend(self) -> Arrays:
        """Subtract each gradient from the array that is passed in, in place."""
        before = self._gamma.copy(), self._beta.copy()
        dgamma, dbeta = self._latest
        if dgamma is None or dbeta is None:
            raise Absent(f"{self._spec['backward']} gives no dgamma, or no dbeta")
        self._gamma -= dgamma
        self._beta -= dbeta
        return {"dgamma": before[0] - self._gamma, "dbeta": before[1] - self._beta}

    def set_parameters(self, gamma: NDArray[Any], beta: NDArray[Any], *, in_place: bool) -> None:
        """Pass others from now on, or the same arrays with other numbers."""
        if in_place:
            self._gamma[...], self._beta[...] = gamma, beta
        else:
            self._gamma, self._beta = gamma.astype(np.float64), beta.astype(np.float64)

    def parameters(self) -> dict[str, bytes]:
        """Return the bytes of the arrays that are passed in."""
        return {"gamma": self._gamma.tobytes(), "beta": self._beta.tobytes()}

    def statistics(self) -> Arrays:
        """Read the running statistics out of the settings.

        Raises:
            UnusableResult: the forward has not written them there.
        """
        keys = {name: key for key, name in self._spec["settings"].items()}
        if self._trained:
            for name in ("running_mean", "running_var"):
                if self._settings.get(keys[name]) is None:
                    raise UnusableResult(
                        f"{self._spec['forward']} stores no {keys[name]} in bn_param"
                    )
        return {name: self._settings.get(keys[name]) for name in ("running_mean", "running_var")}
