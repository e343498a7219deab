"""Mistakes in what the routes of the input gradient are divided by."""

from __future__ import annotations

from bn_diagnosis.faults.common import bessel, less_one, over, routes
from bn_diagnosis.faults.fault import Fault, fault
from bn_diagnosis.faults.statements import DIRECT, DZ_IS

FAULTS: tuple[Fault, ...] = (
    fault("divides-by-features", {"dz": lambda t: over(t.z.shape[1], t)})(
        "the input gradient divides by the number of features",
        DZ_IS + DIRECT + r" + \frac{2(z_i-\mu_B)}{C}\frac{\partial Div}{\partial\sigma_B^2}"
        r" + \frac1C\frac{\partial Div}{\partial\mu_B}",
        "Mean and variance run over the batch, so B is in their derivatives. The number of "
        "features is the other entry of the shape.",
    ),
    fault("divides-by-b-minus-1", {"dz": lambda t: over(less_one(t), t)})(
        "the input gradient divides by B − 1",
        DZ_IS + DIRECT + r" + \frac{2(z_i-\mu_B)}{B-1}\frac{\partial Div}{\partial\sigma_B^2}"
        r" + \frac{1}{B-1}\frac{\partial Div}{\partial\mu_B}",
        "The forward pass divides both statistics by B, and so must their derivatives. Bessel's "
        "correction has no place here.",
        anchor="note-7",
    ),
    fault("variance-route-over-b-minus-1", {"dz": lambda t: routes(t, variance=bessel(t))})(
        "the variance route divides by B − 1",
        r"\frac{\partial\sigma_B^2}{\partial z_i} = \frac{2(z_i-\mu_B)}{B-1}",
        "The forward pass divides the squares by B, and so must the derivative. Bessel's "
        "correction has no place here.",
        right=r"\frac{\partial\sigma_B^2}{\partial z_i} = \frac{2(z_i-\mu_B)}{B}",
        anchor="note-7",
    ),
    fault("variance-route-not-divided", {"dz": lambda t: routes(t, variance=t.n)})(
        "the variance route is not divided by B",
        r"\frac{\partial\sigma_B^2}{\partial z_i} = 2(z_i-\mu_B)",
        "The variance is a mean over the batch, so one instance moves it by a B-th part. In the "
        "closed form it is the product with u that must be a mean.",
        right=r"\frac{\partial\sigma_B^2}{\partial z_i} = \frac{2(z_i-\mu_B)}{B}",
    ),
    fault("mean-route-not-divided", {"dz": lambda t: routes(t, mean=t.n)})(
        "the mean route is not divided by B",
        r"\frac{\partial\mu_B}{\partial z_i} = 1",
        "The mean moves by a B-th part of what one instance does. In the closed form it is the "
        "subtracted sum of G that must be a mean.",
        right=r"\frac{\partial\mu_B}{\partial z_i} = \frac1B",
        killed_by="backward.zero_gradient_sum",
    ),
    fault("routes-not-divided", {"dz": lambda t: over(1, t)})(
        "neither the variance route nor the mean route is divided by B",
        DZ_IS + DIRECT + r" + 2(z_i-\mu_B)\frac{\partial Div}{\partial\sigma_B^2}"
        r" + \frac{\partial Div}{\partial\mu_B}",
        "Both statistics are means over the batch, so one instance moves them by a B-th part. "
        "Divide both routes by the batch size.",
    ),
)
"""The mistakes of this module."""
