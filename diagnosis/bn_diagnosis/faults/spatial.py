"""Mistakes with the layout of the rows; most show on inputs with more than two axes alone."""

from __future__ import annotations

import math

import numpy as np
from bn_oracle.arrays import Array, to_rows

from bn_diagnosis.faults.combining import in_parameters
from bn_diagnosis.faults.common import blend, in_shape, over
from bn_diagnosis.faults.fault import Fault, fault
from bn_diagnosis.faults.statements import DIRECT, DZ_IS
from bn_diagnosis.formulas import Trace, batch_var

MEAN = r"\mu_c = \frac{1}{NHW}\sum_{n,h,w} z_{nchw}"


def _pixels(t: Trace) -> int:
    return math.prod(t.x.shape[2:])


def _flat(t: Trace) -> Array:
    return t.x.reshape(-1, t.x.shape[1])


def _not_moved_back(t: Trace, rows: Array) -> Array:
    return to_rows(rows.reshape(t.x.shape))


def _grouped(t: Trace, rows: Array, image: bool) -> tuple[Array, tuple[int, ...]]:
    """Return rows in the input's shape, and the axes of one image or of one pixel."""
    array = in_shape(t, rows)
    every = (0, *range(2, array.ndim))
    if array.ndim == 2:
        return array, every
    return array, every[1:] if image else every[:1]


def _u(t: Trace, image: bool) -> Array:
    z, axes = _grouped(t, t.z, image)
    s = np.sqrt(z.var(axis=axes, keepdims=True) + t.eps)
    return to_rows((z - z.mean(axis=axes, keepdims=True)) / s)


def _dz(t: Trace, image: bool) -> Array:
    (z, axes), (du, _), (u, _) = (_grouped(t, rows, image) for rows in (t.z, t.du, t.u))
    s = np.sqrt(z.var(axis=axes, keepdims=True) + t.eps)
    mean = du.mean(axis=axes, keepdims=True)
    return to_rows((du - mean - u * (du * u).mean(axis=axes, keepdims=True)) / s)


def _over_images_less_one(t: Trace) -> Array:
    if t.x.ndim == 2:
        return batch_var(t)
    return t.var * (len(t.x) / max(len(t.x) - 1, 1))


def _over_images(t: Trace, rows: Array) -> object:
    return in_shape(t, rows).sum(axis=0)


FAULTS: tuple[Fault, ...] = (
    fault(
        "reshape-without-moving-channels",
        {"rows": _flat, "restore": lambda t: t.result.reshape(t.x.shape)},
    )(
        "images are reshaped to (-1, C) without moving the channel axis",
        r"z_{kc} = x_{flat}[kC + c]",
        "A reshape keeps the order in memory, so a column mixes values of different channels. "
        "Move the channel axis to the end first.",
    ),
    fault(
        "reshaped-statistics",
        {"mean": lambda t: _flat(t).mean(axis=0), "var": lambda t: _flat(t).var(axis=0)},
    )(
        "the statistics are those of x.reshape(-1, C), which mixes the channels",
        r"\mu_c = \frac1B\sum_k x_{flat}[kC + c]",
        "A reshape keeps the order in memory, so a column mixes values of different channels. "
        "Take the mean and the variance over the axes 0, 2 and 3.",
        right=MEAN,
    ),
    fault(
        "channels-not-moved-back",
        {
            "y": lambda t: _not_moved_back(t, t.gamma * t.u + t.beta),
            "infer": lambda t: _not_moved_back(
                t, t.gamma * ((t.z - t.running_mean) / t.s) + t.beta
            ),
            "dz": lambda t: _not_moved_back(t, over(t.n, t)),
        },
    )(
        "the results are reshaped to (N, C, H, W) without moving the channel axis back",
        r"\hat z_{nchw} = \hat z_{flat}[nCHW + cHW + hW + w]",
        "The rows are right, but the way back only reshapes them. Reshape to (N, H, W, C) and "
        "move the last axis to the second place.",
        right=r"\hat z_{nchw} = \hat z_{(n,h,w),c}",
    ),
    fault(
        "pixels-as-features",
        {"u": lambda t: _u(t, image=False), "dz": lambda t: _dz(t, image=False)},
    )(
        "each pixel of a channel is normalised by itself, over the images",
        r"\mu_{chw} = \frac1N\sum_n z_{nchw}",
        "A channel shares its statistics over all images and all places. Treating the places as "
        "features gives each a mean and a variance of its own.",
        right=MEAN,
        anchor="note-11",
    ),
    fault(
        "per-image-statistics",
        {"u": lambda t: _u(t, image=True), "dz": lambda t: _dz(t, image=True)},
    )(
        "each image is normalised by itself",
        r"\mu_{nc} = \frac{1}{HW}\sum_{h,w} z_{nchw}",
        "A channel shares its statistics over all images of the batch, too. Statistics an image "
        "are those of instance normalisation.",
        right=MEAN,
        anchor="note-11",
    ),
    fault("spatial-divides-by-images", {"dz": lambda t: over(t.x.shape[0], t)})(
        "the input gradient divides by the number of images in place of N·H·W",
        DZ_IS + DIRECT + r" + \frac{2(z_i-\mu_B)}{N}\frac{\partial Div}{\partial\sigma_B^2} + "
        r"\frac1N\frac{\partial Div}{\partial\mu_B}",
        "A channel's statistics run over N·H·W values, so that is B in their derivatives. The "
        "length of the first axis counts the images alone.",
        anchor="real-backward",
    ),
    fault(
        "spatial-divides-by-pixels", {"dz": lambda t: over(_pixels(t) if t.x.ndim > 2 else t.n, t)}
    )(
        "the input gradient divides by H·W in place of N·H·W",
        DZ_IS + DIRECT + r" + \frac{2(z_i-\mu_B)}{HW}\frac{\partial Div}{\partial\sigma_B^2} + "
        r"\frac{1}{HW}\frac{\partial Div}{\partial\mu_B}",
        "A channel's statistics run over N·H·W values, so that is B in their derivatives. Here "
        "the number of images is left out.",
        anchor="real-backward",
    ),
    fault("spatial-divisor-precedence", {"dz": lambda t: over(t.x.shape[0] / _pixels(t), t)})(
        "a missing parenthesis divides by N and multiplies by H·W",
        DZ_IS + DIRECT + r" + \frac{2(z_i-\mu_B)}{N}HW\,\frac{\partial Div}{\partial\sigma_B^2} + "
        r"\frac{HW}{N}\frac{\partial Div}{\partial\mu_B}",
        "In `a / N * H * W` only N divides. Write `a / (N * H * W)`.",
        anchor="real-backward",
    ),
    *in_parameters(
        "summed-over-images-only",
        "summed over the images, but not over the places",
        (
            r"\frac{\partial Div}{\partial\gamma_{chw}} = \sum_n G_{nchw} u_{nchw}",
            r"\frac{\partial Div}{\partial\beta_{chw}} = \sum_n G_{nchw}",
        ),
        (lambda t: _over_images(t, t.g * t.u), lambda t: _over_images(t, t.g)),
        (
            "A channel has one γ for all places, so the sum runs over the axes 0, 2 and 3. Summed "
            "over axis 0 alone, the gradient has the shape (C, H, W).",
            "A channel has one β for all places, so the sum runs over the axes 0, 2 and 3. Summed "
            "over axis 0 alone, the gradient has the shape (C, H, W).",
            "A channel has one γ and one β for all places, so the sums run over the axes 0, 2 and "
            "3. Summed over axis 0 alone, both gradients have the shape (C, H, W).",
        ),
    ),
    fault(
        "spatial-bessel-over-images",
        {"next_var": lambda t: blend(t, t.running_var, _over_images_less_one(t))},
    )(
        "the running variance is corrected by N/(N − 1) in place of B/(B − 1)",
        r"V \leftarrow k\,V + (1-k)\,\frac{N}{N-1}\sigma_B^2",
        "Bessel's correction counts the values that a variance was taken over, which are N·H·W. "
        "An interface that keeps the biased variance asks for no correction at all.",
        right=r"V \leftarrow k\,V + (1-k)\,\frac{NHW}{NHW-1}\sigma_B^2",
        anchor="note-7",
    ),
)
"""The mistakes of this module."""
