"""Mistakes with the layout of the rows; most show on inputs with more than two axes alone."""

from __future__ import annotations

from collections.abc import Mapping

from bn_oracle.arrays import Array, to_rows

from bn_diagnosis.faults.combining import changed, divided_by, in_parameters, kept
from bn_diagnosis.faults.common import in_shape, normalised, over, projected, spread
from bn_diagnosis.faults.fault import Fault, Kind, fault
from bn_diagnosis.faults.statements import DIRECT, DMEAN, DVAR, right
from bn_diagnosis.trace import Step, Trace, batch_var

MEAN = r"\mu_c = \frac{1}{NHW}\sum_{n,h,w} z_{nchw}"

of_gradient = Kind(anchor="real-backward")
images = Kind(right=MEAN, anchor="note-11")
of_bessel = Kind(right=r"\leftarrow k\,V + (1-k)\,\frac{NHW}{NHW-1}\sigma_B^2", anchor="note-7")


def _flat(t: Trace) -> Array:
    return t.x.reshape(-1, t.x.shape[1])


def _not_moved_back(t: Trace, rows: Array) -> Array:
    return to_rows(rows.reshape(t.x.shape))


def _pixels(t: Trace) -> int:
    """Return H·W; of a matrix, its rows."""
    return t.n // len(t.x) if t.x.ndim > 2 else t.n


def _grouped(*, image: bool) -> Mapping[str, Step]:
    """Return the steps that normalise each image by itself, or each pixel over the images."""

    def axes(t: Trace) -> tuple[int, ...]:
        return tuple(range(2, t.x.ndim)) if image and t.x.ndim > 2 else (0,)

    def u(t: Trace) -> Array:
        return to_rows(normalised(t, in_shape(t, t.z), axes(t)))

    def dz(t: Trace) -> Array:
        z, du, u = (in_shape(t, rows) for rows in (t.z, t.du, t.u))
        return to_rows(projected(du, u, axes(t)) / spread(t, z, axes(t)))

    return {"u": u, "dz": dz}


def _by_images(t: Trace) -> Array:
    return batch_var(t) if t.x.ndim == 2 else t.var * (len(t.x) / max(len(t.x) - 1, 1))


FAULTS: tuple[Fault, ...] = (
    fault(
        "reshape-without-moving-channels", rows=_flat, restore=lambda t: t.result.reshape(t.x.shape)
    )(r"z_{kc} = x_{flat}[kC + c]")("""images are reshaped to (-1, C) without moving the channel
        axis. A reshape keeps the order in memory, so a column mixes values of different channels.
        Move the channel axis to the end first."""),
    fault(
        "reshaped-statistics",
        mean=lambda t: _flat(t).mean(axis=0),
        var=lambda t: _flat(t).var(axis=0),
    )(r"\mu_c = \frac1B\sum_k x_{flat}[kC + c]", MEAN)("""the statistics are those of x.reshape(-1,
        C), which mixes the channels. A reshape keeps the order in memory, so a column mixes values
        of different channels. Take the mean and the variance over the axes 0, 2 and 3."""),
    fault("channels-not-moved-back", **changed(_not_moved_back, "y", "infer", "dz"))(
        r"\hat z_{nchw} = \hat z_{flat}[nCHW + cHW + hW + w]", right("restore")
    )("""the results are reshaped to (N, C, H, W) without moving the channel axis back. The rows are
        right, but the way back only reshapes them. Reshape to (N, H, W, C) and move the last axis
        to the second place."""),
    images("pixels-as-features", **_grouped(image=False))(r"\mu_{chw} = \frac1N\sum_n z_{nchw}")("""
        each pixel of a channel is normalised by itself, over the images. A channel shares its
        statistics over all images and all places. Treating the places as features gives each a mean
        and a variance of its own."""),
    images("per-image-statistics", **_grouped(image=True))(
        r"\mu_{nc} = \frac{1}{HW}\sum_{h,w} z_{nchw}"
    )("""each image is normalised by itself. A channel shares its statistics over all images of the
        batch, too. Statistics an image are those of instance normalisation."""),
    divided_by("spatial-divides-by-images", "N", lambda t: len(t.x), of_gradient)("""
        the input gradient divides by the number of images in place of N·H·W. A channel's statistics
        run over N·H·W values, so that is B in their derivatives. The length of the first axis
        counts the images alone."""),
    divided_by("spatial-divides-by-pixels", "HW", _pixels, of_gradient)("""
        the input gradient divides by H·W in place of N·H·W. A channel's statistics run over N·H·W
        values, so that is B in their derivatives. Here the number of images is left out."""),
    of_gradient("spatial-divisor-precedence", dz=lambda t: over(t, len(t.x) ** 2 / t.n))(
        rf"= {DIRECT} + \frac{{2(z_i-\mu_B)}}{{N}}HW\,{DVAR} + \frac{{HW}}{{N}}{DMEAN}"
    )("""a missing parenthesis divides by N and multiplies by H·W. In `a / N * H * W` only N
        divides. Write `a / (N * H * W)`."""),
    *in_parameters(
        "summed-over-images-only",
        lambda t, g: in_shape(t, g).sum(axis=0),
        r"\frac{\partial Div}{\partial\gamma_{chw}} = \sum_n G_{nchw} u_{nchw}",
    )("""dγ is summed over the images, but not over the places. A channel has one γ for all places,
        so the sum runs over the axes 0, 2 and 3. Summed over axis 0 alone, the gradient has the
        shape (C, H, W).

        dγ and dβ are summed over the images, but not over the places. A channel has one γ and one β
        for all places, so the sums run over the axes 0, 2 and 3. Summed over axis 0 alone, both
        gradients have the shape (C, H, W)."""),
    kept("spatial-bessel-over-images", r"\,\frac{N}{N-1}\sigma_B^2", _by_images, of_bessel)("""
        the running variance is corrected by N/(N − 1) in place of B/(B − 1). Bessel's correction
        counts the values that a variance was taken over, which are N·H·W. An interface that keeps
        the biased variance asks for no correction at all."""),
)
