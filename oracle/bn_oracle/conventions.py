"""The knobs on which correct implementations differ, and named profiles of them.

Two implementations can both be right and still keep different running statistics. Nothing here
is about the training-mode output or its gradients: on those all agree.

Where a source leaves a value open, the profile has the closest documented default, names the
field in `unspecified`, and says in `source` whose default it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Convention:
    """How an implementation keeps its running statistics, and what its defaults are."""

    name: str
    momentum_weighs: Literal["old", "new"]
    """`old`: running = m·running + (1−m)·batch. `new`: running = (1−m)·running + m·batch."""
    running_variance: Literal["biased", "unbiased"]
    """Which variance of the batch enters the running average: Σ(z−μ)²/B, or over B−1."""
    eps: float
    """The default ε."""
    momentum: float
    """The default momentum, in the implementation's own meaning."""
    initial_mean: float = 0.0
    initial_var: float = 1.0
    single_value: Literal["normalises", "refuses"] = "normalises"
    """What training does with one value a feature (B = 1)."""
    source: str = ""
    """Where all this is written."""
    unspecified: tuple[str, ...] = ()
    """The fields that the source leaves open."""

    def decay(self, momentum: float) -> float:
        """Return the weight of the old average, given the implementation's momentum."""
        return momentum if self.momentum_weighs == "old" else 1.0 - momentum

    def momentum_for(self, decay: float) -> float:
        """Return the implementation's momentum that keeps `decay` of the old average."""
        return decay if self.momentum_weighs == "old" else 1.0 - decay


LECTURE = Convention(
    name="lecture",
    momentum_weighs="old",
    running_variance="unbiased",
    eps=1e-8,
    momentum=0.9,
    single_value="refuses",
    source="the lecture notes, 'Batch Norm - Inference': B/(B−1) · (1/N_B) Σ σ_B² over the "
    "mini-batches, so no single value; they mention a running estimate and fix nothing of it: "
    "ε, momentum and initial values are those of the same course's homework 1 part 1",
    unspecified=("momentum_weighs", "eps", "momentum", "initial_mean", "initial_var"),
)

CMU_HW1P1 = Convention(
    name="cmu-hw1p1",
    momentum_weighs="old",
    running_variance="biased",
    eps=1e-8,
    momentum=0.9,
    source="CMU 11-785, homework 1 part 1 writeup, spring 2024",
)

CS231N = Convention(
    name="cs231n",
    momentum_weighs="old",
    running_variance="biased",
    eps=1e-5,
    momentum=0.9,
    initial_var=0.0,
    source="Stanford CS231n, assignment 2, docstring of batchnorm_forward",
)

TORCH = Convention(
    name="torch",
    momentum_weighs="new",
    running_variance="unbiased",
    eps=1e-5,
    momentum=0.1,
    single_value="refuses",
    source="PyTorch documentation, torch.nn.BatchNorm1d",
)

KERAS = Convention(
    name="keras",
    momentum_weighs="old",
    running_variance="biased",
    eps=1e-3,
    momentum=0.99,
    source="Keras 3 documentation, keras.layers.BatchNormalization: moving_var * momentum + "
    "var(batch) * (1 - momentum); var is ops.moments', divided by B",
)

FLAX = Convention(
    name="flax",
    momentum_weighs="old",
    running_variance="biased",
    eps=1e-5,
    momentum=0.99,
    source="Flax documentation, flax.linen.BatchNorm (flax.nnx.BatchNorm the same); the variance "
    "is that of flax/linen/normalization.py, _compute_stats, divided by B",
)

ONNX_15 = Convention(
    name="onnx-15",
    momentum_weighs="old",
    running_variance="biased",
    eps=1e-5,
    momentum=0.9,
    source="ONNX operator BatchNormalization, version 15, training_mode=1: running_var = "
    "input_var * momentum + current_var * (1 - momentum), 'ReduceVar refers to the population "
    "variance'; the statistics are inputs, so an initial value is the caller's: 0 and 1 as usual",
    unspecified=("initial_mean", "initial_var"),
)

TENSORFLOW_FUSED = Convention(
    name="tensorflow-fused",
    momentum_weighs="old",
    running_variance="unbiased",
    eps=1e-3,
    momentum=0.99,
    source="TensorFlow documentation, tf.compat.v1.layers.batch_normalization(fused=True) for the "
    "defaults; Bessel's correction is in tensorflow/core/kernels/fused_batch_norm_op.cc, which "
    "multiplies the variance that it returns by B/max(B-1, 1); the raw operator's "
    "exponential_avg_factor weighs the new value instead, by 1 unless told otherwise",
)

CUDNN = Convention(
    name="cudnn",
    momentum_weighs="new",
    running_variance="unbiased",
    eps=1e-5,
    momentum=0.1,
    initial_var=0.0,
    source="NVIDIA cuDNN API, cudnnBatchNormalizationForwardTraining: runningMean*(1-factor) + "
    "newMean*factor with exponentialAverageFactor, resultRunningVariance is the sample variance, "
    "'initialized to some reasonable values or to 0'. There is no default: ε has only a lower "
    "bound, CUDNN_BN_MIN_EPSILON (1e-5 in early releases, 0 in later ones), and the factor is the "
    "caller's: 1e-5 and 0.1 are what PyTorch passes. B = 1 is not documented: it is left out, "
    "because the sample variance does not exist",
    single_value="refuses",
    unspecified=("eps", "momentum", "single_value"),
)

IOFFE_SZEGEDY = Convention(
    name="ioffe-szegedy",
    momentum_weighs="old",
    running_variance="unbiased",
    eps=1e-5,
    momentum=0.9,
    single_value="refuses",
    source="Ioffe & Szegedy 2015 (arXiv:1502.03167), Algorithm 2, line 10: Var[x] = m/(m−1) · "
    "E[σ_B²] over mini-batches, so no single value; §3.1 mentions moving averages. ε is only "
    "'added to the mini-batch variance for numerical stability', and no momentum is given: 1e-5 "
    "and 0.9 are CS231n's, 0 and 1 as usual",
    unspecified=("momentum_weighs", "eps", "momentum", "initial_mean", "initial_var"),
)

CONVENTIONS = {
    profile.name: profile
    for profile in (
        LECTURE,
        CMU_HW1P1,
        CS231N,
        TORCH,
        KERAS,
        FLAX,
        ONNX_15,
        TENSORFLOW_FUSED,
        CUDNN,
        IOFFE_SZEGEDY,
    )
}
"""Every profile by its name."""
