"""Faulty layers that show in use: between steps, in other layouts, after a thousand batches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from bn_properties.protocol import AnyArray, Gradient, Statistics

from bn_evidence.faulty import Faulty, FaultyLayer, listing

_layers: list[FaultyLayer] = []
_faulty = listing(_layers)


@_faulty(
    "reads-in-memory-order",
    "the batch is read in the order in which it lies in memory",
    "hygiene.any_layout",
)
class _ReadsInMemoryOrder(Faulty):
    def train(self, x: AnyArray) -> AnyArray:
        return super().train(x.ravel(order="K").reshape(x.shape))


@_faulty(
    "differentiates-the-output",
    "the gradient is computed from the output array, which the caller may have written to",
    "hygiene.output_overwritten",
)
class _DifferentiatesTheOutput(Faulty):
    def train(self, x: AnyArray) -> AnyArray:
        self._out = super().train(x)
        self._kept = self._out.copy()
        return self._out

    def backward(self, grad: AnyArray) -> Gradient[AnyArray]:
        gradient = super().backward(grad)
        same = np.array_equal(self._out, self._kept, equal_nan=True)
        return gradient if same else replace(gradient, dgamma=np.zeros_like(grad[0]))


@_faulty(
    "gradient-is-the-parameter",
    "dγ is kept in γ's own array, so that γ − dγ is zero",
    "backward.descent",
)
class _GradientIsTheParameter(Faulty):
    def descend(self) -> Statistics[AnyArray]:
        gamma = np.array(self._t.gamma)
        return replace(super().descend(), mean=gamma)


@_faulty(
    "evaluation-spoils-training",
    "inference before the first step keeps the running statistics from moving in it",
    "running.evaluated_first",
)
class _EvaluationSpoilsTraining(Faulty):
    _spoilt: bool | None = None

    def infer(self, x: AnyArray) -> AnyArray:
        if self._spoilt is None:
            self._spoilt = True
        return super().infer(x)

    def train(self, x: AnyArray) -> AnyArray:
        before, spoilt = (self._t.running_mean, self._t.running_var), self._spoilt
        out = super().train(x)
        if spoilt:
            self._t.running_mean, self._t.running_var = before
        self._spoilt = False
        return out


@_faulty(
    "forgets-after-five-hundred",
    "after five hundred steps the running statistics start anew",
    "running.thousand_steps",
)
class _ForgetsAfterFiveHundred(Faulty):
    _taken = 0

    def train(self, x: AnyArray) -> AnyArray:
        self._taken += 1
        if self._taken == 500:
            self._t.running_mean = np.zeros_like(self._t.running_mean)
        return super().train(x)


@_faulty("saves-no-statistics", "the saved state has no running mean", "hygiene.state_saved")
class _SavesNoStatistics(Faulty):
    def reload(self, *, copied: bool = False) -> None:
        if not copied:
            self._t.running_mean = np.zeros_like(self._t.running_mean)


@_faulty(
    "copy-moves-the-original",
    "a copy of the layer moves the running statistics of the one that it was copied from",
    "hygiene.copied",
)
class _CopyMovesTheOriginal(Faulty):
    _copied = False

    def reload(self, *, copied: bool = False) -> None:
        self._copied = copied

    def train(self, x: AnyArray) -> AnyArray:
        before = self._t.running_mean, self._t.running_var
        out = super().train(x)
        if self._copied:
            self._t.running_mean, self._t.running_var = before
        return out


@_faulty(
    "remembers-the-array",
    "of an array that it was given before, the layer looks at nothing again",
    "hygiene.refilled",
)
class _RemembersTheArray(Faulty):
    _seen: AnyArray | None = None
    _content: AnyArray | None = None

    def train(self, x: AnyArray) -> AnyArray:
        if self._seen is not x or self._content is None:
            self._seen, self._content = x, x.copy()
        return super().train(self._content)


@_faulty(
    "keeps-the-first-momentum",
    "a momentum that is set later is not used",
    "running.changed_momentum",
)
class _KeepsTheFirstMomentum(Faulty):
    def set_momentum(self, decay: float) -> None:
        pass


@_faulty(
    "assigns-its-gradients",
    "the gradients of the last step stand where the sum should",
    "backward.adds_up",
)
class _AssignsItsGradients(Faulty):
    def add_up(self, steps: tuple[tuple[AnyArray, AnyArray], ...]) -> Statistics[AnyArray]:
        return super().add_up(steps[-1:])


IN_USE = tuple(_layers)
"""All of them."""
