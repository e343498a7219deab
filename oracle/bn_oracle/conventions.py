"""The knobs on which correct implementations differ, and named profiles of them.

Two implementations can both be right and still keep different running statistics. Nothing here
is about the training-mode output or its gradients: on those all agree.
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

    def keep(self, momentum: float) -> float:
        """Return the weight of the old average, given the implementation's momentum."""
        return momentum if self.momentum_weighs == "old" else 1.0 - momentum

    def momentum_for(self, keep: float) -> float:
        """Return the implementation's momentum that keeps `keep` of the old average."""
        return keep if self.momentum_weighs == "old" else 1.0 - keep


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

CONVENTIONS = {profile.name: profile for profile in (CMU_HW1P1, CS231N, TORCH)}
"""Every profile by its name."""
