"""Mistakes in what the routes of the input gradient are divided by."""

from __future__ import annotations

from bn_diagnosis.faults.common import DZ, over, routes
from bn_diagnosis.faults.fault import Fault

DZ_IS = r"\frac{\partial Div}{\partial z_i} = "
DIRECT = r"\frac{1}{\sqrt{\sigma_B^2+\epsilon}}\frac{\partial Div}{\partial u_i}"

FAULTS: tuple[Fault, ...] = (
    Fault(
        id="divides-by-features",
        title="the input gradient divides by the number of features",
        family="backward",
        wrong=DZ_IS + DIRECT + r" + \frac{2(z_i-\mu_B)}{C}\frac{\partial Div}{\partial\sigma_B^2}"
        r" + \frac1C\frac{\partial Div}{\partial\mu_B}",
        right=DZ,
        explanation="Mean and variance run over the batch, so B is in their derivatives. The "
        "number of features is the other entry of the shape.",
        anchor="note-5",
        killed_by="backward.input_gradient",
        replaces={"dz": lambda t: over(t.z.shape[1], t)},
    ),
    Fault(
        id="divides-by-b-minus-1",
        title="the input gradient divides by B − 1",
        family="backward",
        wrong=DZ_IS + DIRECT + r" + \frac{2(z_i-\mu_B)}{B-1}\frac{\partial Div}{\partial\sigma_B^2}"
        r" + \frac{1}{B-1}\frac{\partial Div}{\partial\mu_B}",
        right=DZ,
        explanation="The forward pass divides both statistics by B, and so must their derivatives. "
        "Bessel's correction has no place here.",
        anchor="note-7",
        killed_by="backward.input_gradient",
        replaces={"dz": lambda t: over(max(t.n - 1, 1), t)},
    ),
    Fault(
        id="variance-route-over-b-minus-1",
        title="the variance route divides by B − 1",
        family="backward",
        wrong=r"\frac{\partial\sigma_B^2}{\partial z_i} = \frac{2(z_i-\mu_B)}{B-1}",
        right=r"\frac{\partial\sigma_B^2}{\partial z_i} = \frac{2(z_i-\mu_B)}{B}",
        explanation="The forward pass divides the squares by B, and so must the derivative. "
        "Bessel's correction has no place here.",
        anchor="note-7",
        killed_by="backward.input_gradient",
        replaces={"dz": lambda t: routes(t, variance=t.n / max(t.n - 1, 1))},
    ),
    Fault(
        id="variance-route-not-divided",
        title="the variance route is not divided by B",
        family="backward",
        wrong=r"\frac{\partial\sigma_B^2}{\partial z_i} = 2(z_i-\mu_B)",
        right=r"\frac{\partial\sigma_B^2}{\partial z_i} = \frac{2(z_i-\mu_B)}{B}",
        explanation="The variance is a mean over the batch, so one instance moves it by a B-th "
        "part. In the closed form it is the product with u that must be a mean.",
        anchor="note-5",
        killed_by="backward.input_gradient",
        replaces={"dz": lambda t: routes(t, variance=t.n)},
    ),
    Fault(
        id="mean-route-not-divided",
        title="the mean route is not divided by B",
        family="backward",
        wrong=r"\frac{\partial\mu_B}{\partial z_i} = 1",
        right=r"\frac{\partial\mu_B}{\partial z_i} = \frac1B",
        explanation="The mean moves by a B-th part of what one instance does. In the closed form "
        "it is the subtracted sum of G that must be a mean.",
        anchor="note-5",
        killed_by="backward.zero_gradient_sum",
        replaces={"dz": lambda t: routes(t, mean=t.n)},
    ),
    Fault(
        id="routes-not-divided",
        title="neither the variance route nor the mean route is divided by B",
        family="backward",
        wrong=DZ_IS + DIRECT + r" + 2(z_i-\mu_B)\frac{\partial Div}{\partial\sigma_B^2}"
        r" + \frac{\partial Div}{\partial\mu_B}",
        right=DZ,
        explanation="Both statistics are means over the batch, so one instance moves them by a "
        "B-th part. Divide both routes by the batch size.",
        anchor="note-5",
        killed_by="backward.input_gradient",
        replaces={"dz": lambda t: over(1, t)},
    ),
)
"""The mistakes of this module."""
