"""Bad habits: mistakes that are not a matter of one formula, as executable variations.

They complete the fault catalogue for testing the tester: a layer that edits what it is given, that
shares state, adds up its gradients, or computes by an unstable algorithm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from bn_diagnosis.formulas import Step
from bn_diagnosis.reference import reference_layer
from bn_oracle.conventions import Convention
from bn_properties.protocol import Layer, Setup
from bn_properties.scenario import InProcess

from bn_evidence.faulty_layers import (
    AddsUpGradients,
    EditsGradient,
    EditsInput,
    EditsInputLater,
    EditsParameters,
    FirstInFirstOut,
    InfersByDefault,
    KeepsFirstBatch,
    KeepsParameters,
    KeepsParametersForInference,
    NeedsTraining,
    Noisy,
    OtherDefaults,
    PopulationTrains,
    ReusesGradient,
    ReusesOutput,
    ReusesPrediction,
    SharesState,
    SpoilsCache,
    StartsElsewhere,
    WantsTrainingSize,
)


@dataclass(frozen=True)
class FaultyLayer:
    """A bad habit: its name, what it is, and the property that must reject it."""

    id: str
    title: str
    killed_by: str
    make: Callable[[Convention, Setup], Layer]

    def subject(self, convention: Convention, spatial_axes: int) -> InProcess:
        """Return the habit as a subject."""
        return InProcess(lambda setup: self.make(convention, setup), convention, spatial_axes)


def _steps(**replaced: Step) -> Callable[[Convention, Setup], Layer]:
    return lambda convention, setup: reference_layer(replaced, convention, setup)


FAULTY_LAYERS = (
    FaultyLayer(
        "edits-input", "the batch is centred in place", "hygiene.input_unmodified", EditsInput
    ),
    FaultyLayer(
        "edits-upstream-gradient",
        "the upstream gradient is edited in place",
        "hygiene.input_unmodified",
        EditsGradient,
    ),
    FaultyLayer(
        "edits-parameters",
        "γ is edited by a forward or backward",
        "hygiene.parameters_unmodified",
        EditsParameters,
    ),
    FaultyLayer(
        "reuses-output",
        "the array that was returned is written to again",
        "hygiene.output_kept",
        ReusesOutput,
    ),
    FaultyLayer(
        "reuses-prediction",
        "the array that inference returned is written to again",
        "hygiene.output_kept",
        ReusesPrediction,
    ),
    FaultyLayer(
        "reuses-gradient",
        "the array that backward returned is written to again",
        "hygiene.output_kept",
        ReusesGradient,
    ),
    FaultyLayer(
        "edits-input-later",
        "inference overwrites its input once the layer has trained",
        "hygiene.input_unmodified",
        EditsInputLater,
    ),
    FaultyLayer(
        "first-in-first-out",
        "backward takes the oldest forward that had no backward yet",
        "hygiene.latest_forward",
        FirstInFirstOut,
    ),
    FaultyLayer(
        "population-trains",
        "asking for the population's statistics moves the running ones",
        "population.stateless",
        PopulationTrains,
    ),
    FaultyLayer(
        "keeps-parameters-for-inference",
        "inference keeps the parameters that the layer was made with",
        "hygiene.current_parameters",
        KeepsParametersForInference,
    ),
    FaultyLayer(
        "keeps-parameters",
        "γ and β are those of the first forward for ever",
        "hygiene.current_parameters",
        KeepsParameters,
    ),
    FaultyLayer("other-defaults", "the default ε is 1e-3", "training.defaults", OtherDefaults),
    FaultyLayer(
        "infers-by-default",
        "forward is inference where no mode is named",
        "training.defaults",
        InfersByDefault,
    ),
    FaultyLayer(
        "spoils-cache",
        "backward overwrites what forward kept for it",
        "hygiene.cache_kept",
        SpoilsCache,
    ),
    FaultyLayer(
        "shares-state",
        "two layers share their state through the class",
        "hygiene.layers_independent",
        SharesState,
    ),
    FaultyLayer(
        "adds-up-gradients",
        "dγ adds up from call to call",
        "hygiene.repeatable",
        AddsUpGradients,
    ),
    FaultyLayer(
        "keeps-first-batch",
        "backward uses the first batch for ever",
        "hygiene.latest_forward",
        KeepsFirstBatch,
    ),
    FaultyLayer("noisy", "the last bits differ from call to call", "hygiene.repeatable", Noisy),
    FaultyLayer(
        "starts-elsewhere",
        "the running mean starts at 1",
        "running.initial_values",
        StartsElsewhere,
    ),
    FaultyLayer(
        "needs-training",
        "inference before training gives NaN",
        "inference.fresh_layer",
        NeedsTraining,
    ),
    FaultyLayer(
        "wants-training-size",
        "inference on a larger batch than the training batch leaves rows out",
        "inference.any_batch_size",
        WantsTrainingSize,
    ),
    FaultyLayer(
        "one-pass-variance",
        "the variance is E[z²] − E[z]²",
        "stability.training_output",
        _steps(var=lambda t: (t.z**2).mean(axis=0) - t.mean**2),
    ),
    FaultyLayer(
        "one-pass-running-variance",
        "only the running variance is E[z²] − E[z]²",
        "stability.running_variance",
        _steps(
            next_var=lambda t: (
                t.decay * t.running_var + (1 - t.decay) * ((t.z**2).mean(axis=0) - t.mean**2)
            )
        ),
    ),
    FaultyLayer(
        "cubed-variance",
        "(σ²+ε)^{3/2} is formed as the root of (σ²+ε)³",
        "stability.huge_scale",
        _steps(
            dvar=lambda t: (
                -0.5 * (t.du * (t.z - t.mean)).sum(axis=0) / np.sqrt((t.var + t.eps) ** 3)
            )
        ),
    ),
    FaultyLayer(
        "underflowing-spread",
        "the normalised values are formed through σ⁴, which underflows",
        "stability.tiny_scale",
        _steps(u=lambda t: (t.z - t.mean) * np.sqrt((t.var + t.eps) ** 2 / (t.var + t.eps) ** 3)),
    ),
)
"""All of them."""
