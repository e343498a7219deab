"""Mistakes with the layout of the rows; most show on inputs with more than two axes alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from bn_oracle.arrays import Array, from_rows, to_rows

from bn_diagnosis.faults.combining import divided_by, of_parameters
from bn_diagnosis.faults.fault import Fault, Kind, fault
from bn_diagnosis.faults.statements import right
from bn_diagnosis.formulas import STEPS
from bn_diagnosis.trace import Step, StepName, Trace, batch_var

MEAN = r"\mu_c = \frac{1}{NHW}\sum_{n,h,w} z_{nchw}"

of_gradient = Kind(anchor="real-backward")
images = Kind(right=MEAN, anchor="note-11")
of_bessel = Kind(right=r"\leftarrow k\,V + (1-k)\,\frac{NHW}{NHW-1}\sigma_B^2", anchor="note-7")


def _flat(t: Trace) -> Array:
    return t.x.reshape(-1, t.x.shape[1])


def _in_shape(t: Trace, rows: Array) -> Array:
    """Return rows in the shape of the input."""
    return from_rows(rows, t.x.shape)


def _not_moved_back(step: StepName) -> Step:
    return lambda t: to_rows(np.reshape(np.asarray(STEPS[step](t)), t.x.shape))


def _grouped(*, image: bool) -> Mapping[str, Step]:
    """Return the steps that normalise each image by itself, or each pixel over the images."""

    def axes(t: Trace) -> tuple[int, ...]:
        return tuple(range(2, t.x.ndim)) if image and t.x.ndim > 2 else (0,)

    def spread(t: Trace) -> Array:
        var = _in_shape(t, t.z).var(axis=axes(t), keepdims=True)
        return np.asarray(np.sqrt(var + t.eps))

    def u(t: Trace) -> Array:
        z = _in_shape(t, t.z)
        return to_rows((z - z.mean(axis=axes(t), keepdims=True)) / spread(t))

    def dz(t: Trace) -> Array:
        du, u = _in_shape(t, t.du), _in_shape(t, t.u)
        mean, product = (each.mean(axis=axes(t), keepdims=True) for each in (du, du * u))
        return to_rows((du - mean - u * product) / spread(t))

    return {"u": u, "dz": dz}


def _by_images(t: Trace) -> Array:
    value = batch_var(t) if t.x.ndim == 2 else t.var * (len(t.x) / max(len(t.x) - 1, 1))
    return t.blend(t.running_var, value)


def _over_images(t: Trace, each: Array) -> Array:
    """Return what the places of a gradient's images add up to."""
    return np.asarray(_in_shape(t, each).sum(axis=0))


def _dgamma(t: Trace) -> Array:
    return _over_images(t, t.g * t.u)


def _dbeta(t: Trace) -> Array:
    return _over_images(t, t.g)


DGAMMA = r"\frac{\partial Div}{\partial\gamma_{chw}} = \sum_n G_{nchw} u_{nchw}"
DBETA = r"\frac{\partial Div}{\partial\beta_{chw}} = \sum_n G_{nchw}"

FAULTS: tuple[Fault, ...] = (
    fault.coded(
        "reshape-without-moving-channels", rows=_flat, restore=lambda t: t.result.reshape(t.x.shape)
    )(r"z_{kc} = x_{flat}[kC + c]")("""images are reshaped to (-1, C) without moving the channel
        axis. A reshape keeps the order in memory, so a column mixes values of different channels.
        Move the channel axis to the end first."""),
    fault.coded(
        "reshaped-statistics",
        mean=lambda t: _flat(t).mean(axis=0),
        var=lambda t: _flat(t).var(axis=0),
    )(r"\mu_c = \frac1B\sum_k x_{flat}[kC + c]", MEAN)("""the statistics are those of x.reshape(-1,
        C), which mixes the channels. A reshape keeps the order in memory, so a column mixes values
        of different channels. Take the mean and the variance over the axes 0, 2 and 3."""),
    fault.coded(
        "channels-not-moved-back", **{step: _not_moved_back(step) for step in ("y", "infer", "dz")}
    )(
        r"\hat z_{nchw} = \hat z_{flat}[nCHW + cHW + hW + w]", right("restore")
    )("""the results are reshaped to (N, C, H, W) without moving the channel axis back. The rows are
        right, but the way back only reshapes them. Reshape to (N, H, W, C) and move the last axis
        to the second place."""),
    images.coded("pixels-as-features", **_grouped(image=False))(
        r"\mu_{chw} = \frac1N\sum_n z_{nchw}"
    )("""
        each pixel of a channel is normalised by itself, over the images. A channel shares its
        statistics over all images and all places. Treating the places as features gives each a mean
        and a variance of its own."""),
    images.coded("per-image-statistics", **_grouped(image=True))(
        r"\mu_{nc} = \frac{1}{HW}\sum_{h,w} z_{nchw}"
    )("""each image is normalised by itself. A channel shares its statistics over all images of the
        batch, too. Statistics an image are those of instance normalisation."""),
    divided_by("spatial-divides-by-images", "images", of_gradient)("""the input gradient divides by
        the number of images in place of N·H·W. A channel's statistics run over N·H·W values, so
        that is B in their derivatives. The length of the first axis counts the images alone."""),
    divided_by("spatial-divides-by-pixels", "pixels", of_gradient)("""the input gradient divides by
        H·W in place of N·H·W. A channel's statistics run over N·H·W values, so that is B in their
        derivatives. Here the number of images is left out."""),
    of_gradient(
        "spatial-divisor-precedence",
        dz="du / s + 2 * centred / images * area * dvar + dmean / images * area",
    )("""a missing parenthesis divides by N and multiplies by H·W. In `a / N * H * W` only N
        divides. Write `a / (N * H * W)`."""),
    *of_parameters(
        fault.coded("gamma-gradient-summed-over-images-only", dgamma=_dgamma)(DGAMMA),
        fault.coded("beta-gradient-summed-over-images-only", dbeta=_dbeta)(DBETA),
        fault.coded("parameter-gradients-summed-over-images-only", dgamma=_dgamma, dbeta=_dbeta)(
            rf"{DGAMMA}, \quad {DBETA}", right("dgamma", "dbeta")
        ),
    )("""dγ is summed over the images, but not over the places. A channel has one γ for all places,
        so the sum runs over the axes 0, 2 and 3. Summed over axis 0 alone, the gradient has the
        shape (C, H, W).

        dγ and dβ are summed over the images, but not over the places. A channel has one γ and one β
        for all places, so the sums run over the axes 0, 2 and 3. Summed over axis 0 alone, both
        gradients have the shape (C, H, W)."""),
    of_bessel.coded("spatial-bessel-over-images", next_var=_by_images)(
        r"\leftarrow k\,V + (1-k)\,\frac{N}{N-1}\sigma_B^2"
    )("""the running variance is corrected by N/(N − 1) in place of B/(B − 1). Bessel's correction
        counts the values that a variance was taken over, which are N·H·W. An interface that keeps
        the biased variance asks for no correction at all."""),
)
