"""The faulty layers, each with the property that must reject it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from bn_diagnosis.reference import ReferenceLayer, reference_layer
from bn_diagnosis.trace import Step
from bn_oracle.conventions import Convention
from bn_properties.protocol import AnyArray, Gradient, Moment, Quantity, Setup, Statistics

from bn_evidence.faulty import Faulty, FaultyLayer, listing
from bn_evidence.faulty_use import IN_USE

_layers: list[FaultyLayer] = []
_faulty = listing(_layers)


@_faulty("edits-input", "the batch is centred in place", "hygiene.input_unmodified")
class _EditsInput(Faulty):
    def train(self, x: AnyArray) -> AnyArray:
        out = super().train(x)
        x -= x.mean(axis=0)
        x += 1
        return out


@_faulty(
    "edits-upstream-gradient",
    "the upstream gradient is edited in place",
    "hygiene.input_unmodified",
)
class _EditsUpstreamGradient(Faulty):
    def backward(self, grad: AnyArray) -> Gradient[AnyArray]:
        gradient = super().backward(grad)
        grad += 1
        return gradient


@_faulty(
    "edits-parameters", "γ is edited by a forward or backward", "hygiene.parameters_unmodified"
)
class _EditsParameters(Faulty):
    def edited(self) -> frozenset[str]:
        return frozenset({"gamma"})


def _written_again(written: tuple[Moment, Quantity]) -> type[Faulty]:
    """Return a layer that later writes to the array that its first call of a kind returned."""

    class WrittenAgain(Faulty):
        def look_again(self, call: Moment, quantity: Quantity) -> AnyArray:
            return super().look_again(call, quantity) + ((call, quantity) == written)

    return WrittenAgain


_AGAIN: tuple[tuple[str, str, tuple[Moment, Quantity]], ...] = (
    ("reuses-output", "the array that was returned", ("train", "out")),
    ("reuses-prediction", "the array that inference returned", ("infer", "out")),
    ("reuses-gradient", "the array that backward returned", ("backward", "dz")),
)
for _id, _what, _written in _AGAIN:
    _faulty(_id, f"{_what} is written to again", "hygiene.output_kept")(_written_again(_written))


@_faulty(
    "edits-input-later",
    "inference overwrites its input once the layer has trained",
    "hygiene.input_unmodified",
)
class _EditsInputLater(Faulty):
    _trained = False

    def train(self, x: AnyArray) -> AnyArray:
        self._trained = True
        return super().train(x)

    def infer(self, x: AnyArray) -> AnyArray:
        out = super().infer(x)
        if self._trained:
            x += 1
        return out


@_faulty(
    "first-in-first-out",
    "backward takes the oldest forward that had no backward yet",
    "hygiene.latest_forward",
)
class _FirstInFirstOut(Faulty):
    def __init__(self, convention: Convention, setup: Setup) -> None:
        super().__init__(convention, setup)
        self._waiting: list[ReferenceLayer] = []

    def train(self, x: AnyArray) -> AnyArray:
        self._waiting.append(self.twin())
        self._waiting[-1].train(x)
        return super().train(x)

    def backward(self, grad: AnyArray) -> Gradient[AnyArray]:
        if len(self._waiting) > 1:
            return self._waiting.pop(0).backward(grad)
        return super().backward(grad)


@_faulty(
    "population-trains",
    "asking for the population's statistics moves the running ones",
    "population.stateless",
)
class _PopulationTrains(Faulty):
    def population(self, batches: tuple[AnyArray, ...]) -> Statistics[AnyArray]:
        for batch in batches:
            self.train(batch)
        return super().population(batches)


@_faulty(
    "keeps-parameters-for-inference",
    "inference keeps the parameters that the layer was made with",
    "hygiene.current_parameters",
)
class _KeepsParametersForInference(Faulty):
    def __init__(self, convention: Convention, setup: Setup) -> None:
        super().__init__(convention, setup)
        self._made = self.twin()

    def train(self, x: AnyArray) -> AnyArray:
        self._made.train(x)
        return super().train(x)

    def infer(self, x: AnyArray) -> AnyArray:
        return self._made.infer(x)


@_faulty(
    "keeps-parameters",
    "γ and β are those of the first forward for ever",
    "hygiene.current_parameters",
)
class _KeepsParameters(Faulty):
    def set_parameters(self, gamma: AnyArray, beta: AnyArray, *, in_place: bool) -> None:
        pass


@_faulty("other-defaults", "the default ε is 1e-3", "training.defaults")
class _OtherDefaults(Faulty):
    def __init__(self, convention: Convention, setup: Setup) -> None:
        super().__init__(convention, replace(setup, eps=1e-3) if setup.eps is None else setup)


@_faulty("infers-by-default", "forward is inference where no mode is named", "training.defaults")
class _InfersByDefault(Faulty):
    def train(self, x: AnyArray) -> AnyArray:
        return self.infer(x) if self.setup.bare else super().train(x)


@_faulty("spoils-cache", "backward overwrites what forward kept for it", "hygiene.cache_kept")
class _SpoilsCache(Faulty):
    _overwritten = False

    def train(self, x: AnyArray) -> AnyArray:
        self._overwritten = False
        return super().train(x)

    def backward(self, grad: AnyArray) -> Gradient[AnyArray]:
        gradient = super().backward(grad * 2 if self._overwritten else grad)
        self._overwritten = True
        return gradient


@_faulty(
    "shares-state", "two layers share their state through the class", "hygiene.layers_independent"
)
class _SharesState(Faulty):
    def other_layer(
        self,
        x: AnyArray,
        grad: AnyArray | None,
        probe: AnyArray | None,
        gamma: AnyArray | None = None,
        beta: AnyArray | None = None,
    ) -> None:
        self.train(x)


@_faulty("adds-up-gradients", "dγ adds up from call to call", "hygiene.repeatable")
class _AddsUpGradients(Faulty):
    def __init__(self, convention: Convention, setup: Setup) -> None:
        super().__init__(convention, setup)
        self._sum: AnyArray = np.zeros(setup.features)

    def backward(self, grad: AnyArray) -> Gradient[AnyArray]:
        gradient = super().backward(grad)
        self._sum = self._sum + np.asarray(gradient.dgamma)
        return replace(gradient, dgamma=self._sum)


@_faulty("keeps-first-batch", "backward uses the first batch for ever", "hygiene.latest_forward")
class _KeepsFirstBatch(Faulty):
    def __init__(self, convention: Convention, setup: Setup) -> None:
        super().__init__(convention, setup)
        self._first_batch: ReferenceLayer | None = None
        self._trained_rows = -1

    def train(self, x: AnyArray) -> AnyArray:
        if self._first_batch is None:
            self._first_batch = self.twin()
            self._first_batch.train(x)
            self._trained_rows = len(x)
        return super().train(x)

    def backward(self, grad: AnyArray) -> Gradient[AnyArray]:
        if self._first_batch is not None and len(grad) == self._trained_rows:
            return self._first_batch.backward(grad)
        return replace(super().backward(grad), dz=np.zeros_like(grad))


@_faulty("starts-elsewhere", "the running mean starts at 1", "running.initial_values")
class _StartsElsewhere(Faulty):
    def __init__(self, convention: Convention, setup: Setup) -> None:
        if setup.running_mean is None:
            setup = replace(setup, running_mean=np.ones(setup.features))
        super().__init__(convention, setup)


@_faulty(
    "leaves-the-last-out",
    "the mean is that of all instances but the last",
    "training.row_permutation",
)
class _LeavesTheLastOut(Faulty):
    def __init__(self, convention: Convention, setup: Setup) -> None:
        super().__init__(convention, setup)
        self._steps = {**self._steps, "mean": lambda t: t.z[: max(t.n - 1, 1)].mean(axis=0)}


@_faulty("needs-training", "inference before training gives NaN", "inference.fresh_layer")
class _NeedsTraining(Faulty):
    def __init__(self, convention: Convention, setup: Setup) -> None:
        super().__init__(convention, setup)
        self._trained = setup.running_mean is not None

    def train(self, x: AnyArray) -> AnyArray:
        self._trained = True
        return super().train(x)

    def infer(self, x: AnyArray) -> AnyArray:
        return super().infer(x) if self._trained else super().infer(x) * np.nan


@_faulty(
    "wants-training-size",
    "inference on a larger batch than the training batch leaves rows out",
    "inference.any_batch_size",
)
class _WantsTrainingSize(Faulty):
    _trained_rows: int | None = None

    def train(self, x: AnyArray) -> AnyArray:
        self._trained_rows = len(x)
        return super().train(x)

    def infer(self, x: AnyArray) -> AnyArray:
        out = super().infer(x)
        if self._trained_rows is not None:
            out[self._trained_rows * 2 :] = 0.0
        return out


def _unstable(id_: str, title: str, killed_by: str, **replaced: Step) -> FaultyLayer:
    """Return a layer that is right in exact arithmetic, with some of its steps formed otherwise."""
    return FaultyLayer(
        id_,
        title,
        killed_by,
        lambda convention, setup: reference_layer(replaced, convention, setup),
    )


FAULTY_LAYERS = (
    *_layers,
    *IN_USE,
    _unstable(
        "one-pass-variance",
        "the variance is E[z²] − E[z]²",
        "stability.training_output",
        var=lambda t: (t.z**2).mean(axis=0) - t.mean**2,
    ),
    _unstable(
        "one-pass-running-variance",
        "only the running variance is E[z²] − E[z]²",
        "stability.running_variance",
        next_var=lambda t: (
            t.decay * t.running_var + (1 - t.decay) * ((t.z**2).mean(axis=0) - t.mean**2)
        ),
    ),
    _unstable(
        "overflowing-power",
        "(σ²+ε)^{3/2} is formed through (σ²+ε)⁴, which overflows",
        "stability.huge_scale",
        dvar=lambda t: (
            -0.5
            * (t.du * (t.z - t.mean)).sum(axis=0)
            / np.sqrt((t.var + t.eps) ** 4 / (t.var + t.eps))
        ),
    ),
    _unstable(
        "underflowing-spread",
        "the normalised values are formed through (σ²+ε)⁴, which underflows",
        "stability.tiny_scale",
        u=lambda t: (t.z - t.mean) * np.sqrt((t.var + t.eps) ** 3 / (t.var + t.eps) ** 4),
    ),
)
"""All of them."""
