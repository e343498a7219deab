"""Layers with a bad habit each: right formulas, spoiled by what is done around them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from bn_diagnosis.reference import ReferenceLayer, reference_layer
from bn_oracle.conventions import Convention
from bn_properties.protocol import AnyArray, Gradient, Setup, Statistics


class Spoiled:
    """A right layer; each class below spoils what it does in one way."""

    def __init__(self, convention: Convention, setup: Setup) -> None:
        self.inner: ReferenceLayer = reference_layer({}, convention, setup)
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

    def look_again(self, what: str) -> AnyArray:
        """Return what the first call of a kind gave."""
        return self.inner.look_again(what)

    def other_layer(
        self, x: AnyArray, grad: AnyArray | None = None, probe: AnyArray | None = None
    ) -> None:
        """Another layer trains; it shares nothing with this one."""

    def set_parameters(self, gamma: AnyArray, beta: AnyArray, *, in_place: bool = False) -> None:
        """Set other parameters."""
        self.inner.set_parameters(gamma, beta)

    def edited(self) -> frozenset[str]:
        """Return nothing: the parameters are left alone."""
        return frozenset()


class EditsInput(Spoiled):
    """Training centres its input in place."""

    def train(self, x: AnyArray) -> AnyArray:
        out = self.inner.train(x)
        x -= x.mean(axis=0)
        x += 1
        return out


class EditsGradient(Spoiled):
    """Backward writes into the upstream gradient."""

    def backward(self, grad: AnyArray) -> Gradient:
        gradient = self.inner.backward(grad)
        grad += 1
        return gradient


class EditsParameters(Spoiled):
    """A call changes γ."""

    def edited(self) -> frozenset[str]:
        return frozenset({"gamma"})


class ReusesOutput(Spoiled):
    """Writes the next output into the array of the first: of one kind of call."""

    what = "train"

    def look_again(self, what: str) -> AnyArray:
        return self.inner.look_again(what) + (what == self.what)


class ReusesPrediction(ReusesOutput):
    """The same, of inference."""

    what = "infer"


class ReusesGradient(ReusesOutput):
    """The same, of dz."""

    what = "backward"


class KeepsParameters(Spoiled):
    """It never takes other parameters."""

    def set_parameters(self, gamma: AnyArray, beta: AnyArray, *, in_place: bool = False) -> None:
        pass


class KeepsParametersForInference(Spoiled):
    """Inference goes on with the parameters that the layer was made with."""

    def __init__(self, convention: Convention, setup: Setup) -> None:
        super().__init__(convention, setup)
        self._made = reference_layer({}, convention, setup)

    def train(self, x: AnyArray) -> AnyArray:
        self._made.train(x)
        return self.inner.train(x)

    def infer(self, x: AnyArray) -> AnyArray:
        return self._made.infer(x)


class EditsInputLater(Spoiled):
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


class FirstInFirstOut(Spoiled):
    """Backward takes the oldest forward that had no backward yet."""

    def __init__(self, convention: Convention, setup: Setup) -> None:
        super().__init__(convention, setup)
        self._waiting: list[ReferenceLayer] = []

    def train(self, x: AnyArray) -> AnyArray:
        self._waiting.append(reference_layer({}, self.convention, self.setup))
        self._waiting[-1].train(x)
        return self.inner.train(x)

    def backward(self, grad: AnyArray) -> Gradient:
        oldest = self._waiting.pop(0) if len(self._waiting) > 1 else self.inner
        return oldest.backward(grad)


class PopulationTrains(Spoiled):
    """Asking for the population's statistics moves the running ones."""

    def population(self, batches: tuple[AnyArray, ...]) -> Statistics:
        for batch in batches:
            self.inner.train(batch)
        return self.inner.population(batches)


class OtherDefaults(Spoiled):
    """Its default ε is 1e-3."""

    def __init__(self, convention: Convention, setup: Setup) -> None:
        super().__init__(convention, replace(setup, eps=1e-3) if setup.eps is None else setup)


class InfersByDefault(Spoiled):
    """Its forward is inference where no mode is named, as on a layer that nothing was set on."""

    def train(self, x: AnyArray) -> AnyArray:
        return self.inner.infer(x) if self.setup.bare else self.inner.train(x)


class SpoilsCache(Spoiled):
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


class SharesState(Spoiled):
    """Another layer of its class trains it along."""

    def other_layer(
        self, x: AnyArray, grad: AnyArray | None = None, probe: AnyArray | None = None
    ) -> None:
        self.inner.train(x)


class AddsUpGradients(Spoiled):
    """Its dγ adds up from call to call."""

    def __init__(self, convention: Convention, setup: Setup) -> None:
        super().__init__(convention, setup)
        self._sum: AnyArray = np.zeros(setup.features)

    def backward(self, grad: AnyArray) -> Gradient:
        gradient = self.inner.backward(grad)
        self._sum = self._sum + np.asarray(gradient.dgamma)
        return Gradient(gradient.dz, self._sum, gradient.dbeta)


class KeepsFirstBatch(Spoiled):
    """Its backward uses what the first batch left in the cache."""

    def __init__(self, convention: Convention, setup: Setup) -> None:
        super().__init__(convention, setup)
        self._first: ReferenceLayer | None = None
        self._rows = -1

    def train(self, x: AnyArray) -> AnyArray:
        if self._first is None:
            self._first = reference_layer({}, self.convention, self.setup)
            self._first.train(x)
            self._rows = len(x)
        return self.inner.train(x)

    def backward(self, grad: AnyArray) -> Gradient:
        if self._first is not None and len(grad) == self._rows:
            return self._first.backward(grad)
        gradient = self.inner.backward(grad)
        return Gradient(np.zeros_like(grad), gradient.dgamma, gradient.dbeta)


class Noisy(Spoiled):
    """Gives another last bit each time, as an unordered parallel sum may."""

    def __init__(self, convention: Convention, setup: Setup) -> None:
        super().__init__(convention, setup)
        self._calls = 0

    def train(self, x: AnyArray) -> AnyArray:
        self._calls += 1
        return self.inner.train(x) * (1 + self._calls * 2.0**-52)


class StartsElsewhere(Spoiled):
    """A fresh layer's running mean is 1."""

    def __init__(self, convention: Convention, setup: Setup) -> None:
        if setup.running_mean is None:
            setup = replace(setup, running_mean=np.ones(setup.features))
        super().__init__(convention, setup)


class NeedsTraining(Spoiled):
    """Inference before training fails by using statistics that are not there yet."""

    def __init__(self, convention: Convention, setup: Setup) -> None:
        super().__init__(convention, setup)
        self._trained = setup.running_mean is not None

    def train(self, x: AnyArray) -> AnyArray:
        self._trained = True
        return self.inner.train(x)

    def infer(self, x: AnyArray) -> AnyArray:
        return self.inner.infer(x) if self._trained else self.inner.infer(x) * np.nan


class WantsTrainingSize(Spoiled):
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
