"""Bad habits: mistakes that are not a matter of one formula, as executable variations.

They complete the fault catalogue for testing the tester: a layer that edits what it is given, that
shares state, adds up its gradients, or computes by an unstable algorithm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from bn_oracle.conventions import Convention
from bn_oracle.variation import Step

from bn_properties.diagnosis import VariedLayer, varied_layer
from bn_properties.scenario import InProcess
from bn_properties.subject import AnyArray, Gradient, Layer, Setup, Statistics


@dataclass(frozen=True)
class Habit:
    """A bad habit: its name, what it is, and the property that must reject it."""

    id: str
    title: str
    killed_by: str
    make: Callable[[Convention, Setup], Layer]

    def subject(self, convention: Convention, spatial_axes: int) -> InProcess:
        """Return the habit as a subject."""
        return InProcess(lambda setup: self.make(convention, setup), convention, spatial_axes)


class _Wrapped:
    """A right layer; the habits below spoil one method each."""

    def __init__(self, convention: Convention, setup: Setup) -> None:
        self.inner: VariedLayer = varied_layer({}, convention, setup)
        self.convention, self.setup = convention, setup

    def train(self, x: AnyArray) -> AnyArray:
        """Forward in training mode."""
        return self.inner.train(x)

    def backward(self, grad: AnyArray) -> Gradient:
        """Differentiate the latest training forward."""
        return self.inner.backward(grad)

    def infer(self, x: AnyArray) -> AnyArray:
        """Forward in inference mode."""
        return self.inner.infer(x)

    def infer_backward(self, grad: AnyArray) -> Gradient:
        """Differentiate the latest inference-mode forward."""
        return self.inner.infer_backward(grad)

    def statistics(self) -> Statistics:
        """Return the running statistics."""
        return self.inner.statistics()

    def population(self, batches: tuple[AnyArray, ...]) -> Statistics:
        """Return the statistics of the population."""
        return self.inner.population(batches)

    def reread(self, what: str) -> AnyArray:
        """Return what the first call of a kind gave."""
        return self.inner.reread(what)

    def elsewhere(self, x: AnyArray) -> None:
        """Another layer trains; it shares nothing with this one."""

    def move(self, gamma: AnyArray, beta: AnyArray) -> None:
        """Set other parameters."""
        self.inner.move(gamma, beta)

    def edited(self) -> frozenset[str]:
        """Return nothing: the parameters are left alone."""
        return frozenset()


class _EditsInput(_Wrapped):
    def train(self, x: AnyArray) -> AnyArray:
        out = self.inner.train(x)
        x -= x.mean(axis=0)
        x += 1
        return out


class _EditsGradient(_Wrapped):
    def backward(self, grad: AnyArray) -> Gradient:
        gradient = self.inner.backward(grad)
        grad += 1
        return gradient


class _EditsParameters(_Wrapped):
    def edited(self) -> frozenset[str]:
        return frozenset({"gamma"})


class _ReusesOutput(_Wrapped):
    """Writes the next output into the array of the first: of one kind of call."""

    what = "train"

    def reread(self, what: str) -> AnyArray:
        return self.inner.reread(what) + (what == self.what)


class _ReusesPrediction(_ReusesOutput):
    what = "infer"


class _ReusesGradient(_ReusesOutput):
    what = "backward"


class _KeepsParameters(_Wrapped):
    def move(self, gamma: AnyArray, beta: AnyArray) -> None:
        pass


class _KeepsParametersForInference(_Wrapped):
    """Inference goes on with the parameters that the layer was made with."""

    def __init__(self, convention: Convention, setup: Setup) -> None:
        super().__init__(convention, setup)
        self._made = varied_layer({}, convention, setup)

    def train(self, x: AnyArray) -> AnyArray:
        self._made.train(x)
        return self.inner.train(x)

    def infer(self, x: AnyArray) -> AnyArray:
        return self._made.infer(x)


class _EditsInputLater(_Wrapped):
    """Inference overwrites the caller's array once the layer has trained."""

    def __init__(self, convention: Convention, setup: Setup) -> None:
        super().__init__(convention, setup)
        self._trained = False

    def train(self, x: AnyArray) -> AnyArray:
        self._trained = True
        return self.inner.train(x)

    def infer(self, x: AnyArray) -> AnyArray:
        out = self.inner.infer(x)
        if self._trained:
            x += 1
        return out


class _FirstInFirstOut(_Wrapped):
    """Backward takes the oldest forward that had no backward yet."""

    def __init__(self, convention: Convention, setup: Setup) -> None:
        super().__init__(convention, setup)
        self._waiting: list[VariedLayer] = []

    def train(self, x: AnyArray) -> AnyArray:
        self._waiting.append(varied_layer({}, self.convention, self.setup))
        self._waiting[-1].train(x)
        return self.inner.train(x)

    def backward(self, grad: AnyArray) -> Gradient:
        oldest = self._waiting.pop(0) if len(self._waiting) > 1 else self.inner
        return oldest.backward(grad)


class _PopulationTrains(_Wrapped):
    """Asking for the population's statistics moves the running ones."""

    def population(self, batches: tuple[AnyArray, ...]) -> Statistics:
        for batch in batches:
            self.inner.train(batch)
        return self.inner.population(batches)


class _OtherDefaults(_Wrapped):
    """Its default ε is 1e-3."""

    def __init__(self, convention: Convention, setup: Setup) -> None:
        super().__init__(convention, replace(setup, eps=1e-3) if setup.eps is None else setup)


class _InfersByDefault(_Wrapped):
    """Its forward is inference where no mode is named, as on a layer that nothing was set on."""

    def train(self, x: AnyArray) -> AnyArray:
        return self.inner.infer(x) if self.setup.bare else self.inner.train(x)


class _SpoilsCache(_Wrapped):
    """Its backward leaves something else in the cache than forward put there."""

    def __init__(self, convention: Convention, setup: Setup) -> None:
        super().__init__(convention, setup)
        self._spoilt = False

    def train(self, x: AnyArray) -> AnyArray:
        self._spoilt = False
        return self.inner.train(x)

    def backward(self, grad: AnyArray) -> Gradient:
        gradient = self.inner.backward(grad * 2 if self._spoilt else grad)
        self._spoilt = True
        return gradient


class _SharesState(_Wrapped):
    def elsewhere(self, x: AnyArray) -> None:
        self.inner.train(x)


class _AddsUpGradients(_Wrapped):
    def __init__(self, convention: Convention, setup: Setup) -> None:
        super().__init__(convention, setup)
        self._sum: AnyArray = np.zeros(setup.features)

    def backward(self, grad: AnyArray) -> Gradient:
        gradient = self.inner.backward(grad)
        self._sum = self._sum + np.asarray(gradient.dgamma)
        return Gradient(gradient.dz, self._sum, gradient.dbeta)


class _KeepsFirstBatch(_Wrapped):
    """Its backward uses what the first batch left in the cache."""

    def __init__(self, convention: Convention, setup: Setup) -> None:
        super().__init__(convention, setup)
        self._first: VariedLayer | None = None
        self._rows = -1

    def train(self, x: AnyArray) -> AnyArray:
        if self._first is None:
            self._first = varied_layer({}, self.convention, self.setup)
            self._first.train(x)
            self._rows = len(x)
        return self.inner.train(x)

    def backward(self, grad: AnyArray) -> Gradient:
        if self._first is not None and len(grad) == self._rows:
            return self._first.backward(grad)
        gradient = self.inner.backward(grad)
        return Gradient(np.zeros_like(grad), gradient.dgamma, gradient.dbeta)


class _Noisy(_Wrapped):
    """Gives another last bit each time, as an unordered parallel sum may."""

    def __init__(self, convention: Convention, setup: Setup) -> None:
        super().__init__(convention, setup)
        self._calls = 0

    def train(self, x: AnyArray) -> AnyArray:
        self._calls += 1
        return self.inner.train(x) * (1 + self._calls * 2.0**-52)


class _StartsElsewhere(_Wrapped):
    """A fresh layer's running mean is 1."""

    def __init__(self, convention: Convention, setup: Setup) -> None:
        if setup.running_mean is None:
            setup = replace(setup, running_mean=np.ones(setup.features))
        super().__init__(convention, setup)


class _NeedsTraining(_Wrapped):
    """Inference before training fails by using statistics that are not there yet."""

    def __init__(self, convention: Convention, setup: Setup) -> None:
        super().__init__(convention, setup)
        self._trained = setup.running_mean is not None

    def train(self, x: AnyArray) -> AnyArray:
        self._trained = True
        return self.inner.train(x)

    def infer(self, x: AnyArray) -> AnyArray:
        return self.inner.infer(x) if self._trained else self.inner.infer(x) * np.nan


class _WantsTrainingSize(_Wrapped):
    """Inference computes only as many rows as the latest training batch had."""

    def __init__(self, convention: Convention, setup: Setup) -> None:
        super().__init__(convention, setup)
        self._rows: int | None = None

    def train(self, x: AnyArray) -> AnyArray:
        self._rows = len(x)
        return self.inner.train(x)

    def infer(self, x: AnyArray) -> AnyArray:
        out = self.inner.infer(x)
        if self._rows is not None:
            out[self._rows * 2 :] = 0.0
        return out


def _steps(**replaced: Step) -> Callable[[Convention, Setup], Layer]:
    return lambda convention, setup: varied_layer(replaced, convention, setup)


HABITS = (
    Habit("edits-input", "the batch is centred in place", "hygiene.input_unmodified", _EditsInput),
    Habit(
        "edits-upstream-gradient",
        "the upstream gradient is edited in place",
        "hygiene.input_unmodified",
        _EditsGradient,
    ),
    Habit(
        "edits-parameters",
        "γ is edited by a forward or backward",
        "hygiene.parameters_unmodified",
        _EditsParameters,
    ),
    Habit(
        "reuses-output",
        "the array that was returned is written to again",
        "hygiene.output_kept",
        _ReusesOutput,
    ),
    Habit(
        "reuses-prediction",
        "the array that inference returned is written to again",
        "hygiene.output_kept",
        _ReusesPrediction,
    ),
    Habit(
        "reuses-gradient",
        "the array that backward returned is written to again",
        "hygiene.output_kept",
        _ReusesGradient,
    ),
    Habit(
        "edits-input-later",
        "inference overwrites its input once the layer has trained",
        "hygiene.input_unmodified",
        _EditsInputLater,
    ),
    Habit(
        "first-in-first-out",
        "backward takes the oldest forward that had no backward yet",
        "hygiene.latest_forward",
        _FirstInFirstOut,
    ),
    Habit(
        "population-trains",
        "asking for the population's statistics moves the running ones",
        "population.stateless",
        _PopulationTrains,
    ),
    Habit(
        "keeps-parameters-for-inference",
        "inference keeps the parameters that the layer was made with",
        "hygiene.current_parameters",
        _KeepsParametersForInference,
    ),
    Habit(
        "keeps-parameters",
        "γ and β are those of the first forward for ever",
        "hygiene.current_parameters",
        _KeepsParameters,
    ),
    Habit("other-defaults", "the default ε is 1e-3", "training.defaults", _OtherDefaults),
    Habit(
        "infers-by-default",
        "forward is inference where no mode is named",
        "training.defaults",
        _InfersByDefault,
    ),
    Habit(
        "spoils-cache",
        "backward overwrites what forward kept for it",
        "hygiene.cache_kept",
        _SpoilsCache,
    ),
    Habit(
        "shares-state",
        "two layers share their state through the class",
        "hygiene.layers_independent",
        _SharesState,
    ),
    Habit(
        "adds-up-gradients",
        "dγ adds up from call to call",
        "hygiene.repeatable",
        _AddsUpGradients,
    ),
    Habit(
        "keeps-first-batch",
        "backward uses the first batch for ever",
        "hygiene.latest_forward",
        _KeepsFirstBatch,
    ),
    Habit("noisy", "the last bits differ from call to call", "hygiene.repeatable", _Noisy),
    Habit(
        "starts-elsewhere",
        "the running mean starts at 1",
        "running.initial_values",
        _StartsElsewhere,
    ),
    Habit(
        "needs-training",
        "inference before training gives NaN",
        "inference.fresh_layer",
        _NeedsTraining,
    ),
    Habit(
        "wants-training-size",
        "inference on a larger batch than the training batch leaves rows out",
        "inference.any_batch_size",
        _WantsTrainingSize,
    ),
    Habit(
        "one-pass-variance",
        "the variance is E[z²] − E[z]²",
        "stability.training_output",
        _steps(var=lambda t: (t.z**2).mean(axis=0) - t.mean**2),
    ),
    Habit(
        "one-pass-running-variance",
        "only the running variance is E[z²] − E[z]²",
        "stability.running_variance",
        _steps(
            next_var=lambda t: (
                t.keep * t.running_var + (1 - t.keep) * ((t.z**2).mean(axis=0) - t.mean**2)
            )
        ),
    ),
    Habit(
        "cubed-variance",
        "(σ²+ε)^{3/2} is formed as the root of (σ²+ε)³",
        "stability.huge_scale",
        _steps(
            dvar=lambda t: (
                -0.5 * (t.du * (t.z - t.mean)).sum(axis=0) / np.sqrt((t.var + t.eps) ** 3)
            )
        ),
    ),
    Habit(
        "underflowing-spread",
        "the normalised values are formed through σ⁴, which underflows",
        "stability.tiny_scale",
        _steps(u=lambda t: (t.z - t.mean) * np.sqrt((t.var + t.eps) ** 2 / (t.var + t.eps) ** 3)),
    ),
)
"""All of them."""
