"""What formulas are recovered from: a few well-conditioned steps, the same for every submission.

All layers have one batch size and one width, which differ, so that a formula is computed for all of
them at once; ε is of the order of the variance, so that where it stands shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from bn_oracle.arrays import Array
from bn_properties.call import Call
from bn_properties.calls import Infer, Train
from bn_properties.cases.case import splitmix
from bn_properties.protocol import AnyArray, Quantity, Setup, SubjectError
from bn_properties.scenario import Response, Scenario

from bn_diagnosis.recovery import shapes
from bn_diagnosis.recovery.forms import Observable
from bn_diagnosis.recovery.shapes import rows

LAYERS = 3
_SHAPES = {0: (7, 5), 1: (5, 7, 6), 2: (5, 7, 2, 3), 3: (5, 7, 1, 2, 3)}
"""Of a batch, by the number of axes after (N, C)."""
_DECAYS = (0.8125, 0.34375, 0.625)

Place = tuple[int, Quantity]
_OF_TRAINING: Mapping[Observable, Place] = {
    "out": (0, "out"),
    "running_mean": (0, "running_mean"),
    "running_var": (0, "running_var"),
    "dgamma": (0, "dgamma"),
    "dbeta": (0, "dbeta"),
    "dz": (0, "dz"),
}
_OF_INFERENCE: Mapping[Observable, Place] = {
    "inferred": (-1, "out"),
    "inferred_dz": (-1, "dz"),
    "inferred_dgamma": (-1, "dgamma"),
    "inferred_dbeta": (-1, "dbeta"),
}


_STATISTICS: Mapping[str, Quantity] = {"old_mean": "running_mean", "old_var": "running_var"}


def _uniform(start: int, shape: tuple[int, ...]) -> Array:
    """Return numbers from −1 to 1 that `start` determines."""
    numbers = splitmix(start, int(np.prod(shape))) >> np.uint64(11)
    return numbers.astype(np.float64).reshape(shape) * 2.0**-52 - 1.0


@dataclass(frozen=True, eq=False)
class Evidence:
    """The steps, and what each symbol is in them."""

    spatial_axes: int = 0
    inference_gradient: bool = False
    """Whether inference is differentiated."""

    @cached_property
    def _setups(self) -> tuple[Setup, ...]:
        features = _SHAPES[self.spatial_axes][1]
        return tuple(
            Setup(
                features,
                0.3125 + 0.25 * layer,
                _DECAYS[layer],
                1.5 + _uniform(10 * layer + 1, (features,)),
                0.25 + _uniform(10 * layer + 2, (features,)),
                2.5 + 2.0 * _uniform(10 * layer + 3, (features,)),
                2.25 + _uniform(10 * layer + 4, (features,)),
            )
            for layer in range(LAYERS)
        )

    @cached_property
    def _batches(self) -> tuple[tuple[Array, Array], ...]:
        shape = _SHAPES[self.spatial_axes]
        # All positive, so that a root taken of the wrong quantity is a number.
        offset = 4 + 0.5 * np.arange(shape[1]).reshape(1, -1, *(1 for _ in shape[2:]))
        return tuple(
            (3 * _uniform(10 * layer + 5, shape) + offset, _uniform(10 * layer + 6, shape) + 0.25)
            for layer in range(LAYERS)
        )

    def _scenarios(self, call: type[Call]) -> Iterator[Scenario]:
        for setup, (x, grad) in zip(self._setups, self._batches, strict=True):
            if call is Train:
                yield Scenario(setup, (Train(x, grad),))
            else:
                yield Scenario(setup, (Infer(x, grad if self.inference_gradient else None),))

    @cached_property
    def training(self) -> tuple[Scenario, ...]:
        """A training step of each layer."""
        return tuple(self._scenarios(Train))

    @cached_property
    def inference(self) -> tuple[Scenario, ...]:
        """An inference of each layer, with the statistics that were set."""
        return tuple(self._scenarios(Infer))

    @cached_property
    def after_training(self) -> tuple[Scenario, ...]:
        """An inference of each layer that has trained on another batch just before."""
        others = (*self._batches[1:], self._batches[0])
        return tuple(
            Scenario(each.setup, (Train(other), *each.calls))
            for each, (other, _) in zip(self.inference, others, strict=True)
        )

    def given_after_training(
        self, responses: tuple[tuple[Response[AnyArray], ...], ...]
    ) -> dict[str, Array] | None:
        """Return the symbols' values after training: the running statistics are the subject's own,
        and there are those of the batch that it has trained on. None where it did not show them.
        """
        found = dict(self.symbols)
        for name, quantity in _STATISTICS.items():
            values = [each[0].values.get(quantity) for each in responses]
            if any(not isinstance(each, np.ndarray) for each in values):
                return None
            arrays = [np.asarray(each, np.float64).reshape(1, -1) for each in values]
            if any(each.shape != found[name].shape[1:] for each in arrays):
                return None
            found[name] = np.stack(arrays)
        last = np.roll(self.symbols["z"], -1, axis=0)
        found["last_mean"] = last.mean(axis=1, keepdims=True)
        found["last_var"] = last.var(axis=1, keepdims=True)
        return found if np.isfinite(found["old_var"]).all() else None

    @cached_property
    def symbols(self) -> dict[str, Array]:
        """The symbols' values: (layers, B, C), (layers, 1, C) or (layers, 1, 1)."""
        shape = _SHAPES[self.spatial_axes]
        batches = [(rows(x), rows(grad)) for x, grad in self._batches]
        each = {
            "z": [x for x, _ in batches],
            "g": [grad for _, grad in batches],
            "gamma": [setup.gamma for setup in self._setups],
            "beta": [setup.beta for setup in self._setups],
            "old_mean": [setup.running_mean for setup in self._setups],
            "old_var": [setup.running_var for setup in self._setups],
            "eps": [setup.eps for setup in self._setups],
            "keep": [setup.decay for setup in self._setups],
        }
        count = batches[0][0].shape[0]
        same = {"n": count, "less_one": count - 1, "features": shape[1]}
        if self.spatial_axes:
            same |= {"images": shape[0], "area": count // shape[0]}
            same |= {"height": shape[-2] if len(shape) > 3 else 1, "width": shape[-1]}
        stacked = {name: np.array(values, np.float64) for name, values in each.items()}
        found = {
            name: array.reshape(LAYERS, *(1,) * (3 - array.ndim), *array.shape[1:])
            for name, array in stacked.items()
        }
        return found | {name: np.full((1, 1, 1), float(value)) for name, value in same.items()}

    def shape(self, observable: Observable) -> tuple[int, int, int]:
        """Return the shape of an observable's values, all layers together."""
        layers, count, features = self.symbols["z"].shape
        of_rows = observable in ("out", "dz", "inferred", "inferred_dz")
        return (layers, count if of_rows else 1, features)

    def observed(
        self,
        trained: tuple[tuple[Response[AnyArray], ...], ...],
        inferred: tuple[tuple[Response[AnyArray], ...], ...],
    ) -> dict[Observable, Array]:
        """Return what a subject showed: each observable that every layer gave, in `shape`.

        What came in another shape is laid out as far as `shapes.laid` goes.
        """
        found: dict[Observable, Array] = {}
        for observable, arrays in self._arrays(trained, inferred):
            laid = [shapes.laid(each, _SHAPES[self.spatial_axes]) for each in arrays]
            fitting = [each for each in laid if each is not None]
            if len(fitting) == len(laid) and len({each.shape for each in fitting}) == 1:
                found[observable] = np.stack(fitting)
        return found

    def misshapen(
        self,
        trained: tuple[tuple[Response[AnyArray], ...], ...],
        inferred: tuple[tuple[Response[AnyArray], ...], ...],
    ) -> dict[Observable, shapes.Axes]:
        """Return the axes of the observables that came in another shape than they should have."""
        batch, found = _SHAPES[self.spatial_axes], dict[Observable, shapes.Axes]()
        for observable, arrays in self._arrays(trained, inferred):
            named = shapes.axes(arrays[0].shape, batch)
            proper = ("C",) if self.shape(observable)[1] == 1 else shapes.axes(batch, batch)
            if named is not None and named != proper:
                found[observable] = named
        return found

    def _arrays(
        self,
        trained: tuple[tuple[Response[AnyArray], ...], ...],
        inferred: tuple[tuple[Response[AnyArray], ...], ...],
    ) -> Iterator[tuple[Observable, list[AnyArray]]]:
        for of_what, responses in ((_OF_TRAINING, trained), (_OF_INFERENCE, inferred)):
            for observable, (step, quantity) in of_what.items() if responses else ():
                values = [each[step].values.get(quantity) for each in responses]
                given = [each.given if isinstance(each, SubjectError) else each for each in values]
                arrays = [each for each in given if each is not None]
                if len(arrays) == len(values):
                    yield observable, arrays


@dataclass(frozen=True, eq=False)
class Given:
    """Evidence whose symbols are a subject's own."""

    symbols: Mapping[str, Array]
    of: Evidence

    def shape(self, observable: Observable) -> tuple[int, int, int]:
        """Return the shape of an observable's values."""
        return self.of.shape(observable)
