r"""The three routes of the influence diagram from z_i to the divergence, each by itself.

z_i reaches Div through its own u_i, through σ_B² and through μ_B; the last two reach every u_j::

    direct   ∂Div/∂u_i · ∂u_i/∂z_i                     = γG_i / s
    by σ²    (Σ_j ∂Div/∂u_j · ∂u_j/∂σ²) · ∂σ²/∂z_i     = −(1/B) (Σ_j γG_j u_j) u_i / s
    by μ     (Σ_j ∂Div/∂u_j · ∂u_j/∂μ) · ∂μ/∂z_i       = −(1/B) Σ_j γG_j / s

The sum over j is complete: it has j = i in it, and no other term for j = i is to be added.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bn_oracle import arrays
from bn_oracle.arrays import Array
from bn_oracle.backward import upstream_rows
from bn_oracle.forward import Forward


@dataclass(frozen=True)
class Routes:
    """What each route adds to ∂Div/∂z; all in the shape of the input."""

    direct: Array
    """Through u_i."""
    by_variance: Array
    """Through σ_B²."""
    by_mean: Array
    """Through μ_B: the same for every instance."""
    total: Array
    """∂Div/∂z"""


def three_routes(record: Forward, grad: ArrayLike) -> Routes:
    """Return the contribution of every route to ∂Div/∂z, and their sum.

    Args:
        record: the forward pass.
        grad: G = ∂Div/∂ẑ, in the shape of the output.

    Domain: γG/s must neither overflow nor be subnormal. It is the size of the routes, which
    may be much larger than their sum.

    Raises:
        TypeError, ValueError: as `upstream_rows`.

    Source: the notes' pages on the influence diagram, "∂div/∂z_i" as a sum of three terms.
    """
    g = upstream_rows(record, grad)
    size = record.batch_size
    direct = (record.gamma / record.std) * g
    every_u = (direct * record.u).sum(axis=0)  # −2s · ∂Div/∂σ²: all of the u_j, i among them
    by_variance = -every_u * (record.u / size)
    by_mean = np.broadcast_to(-direct.mean(axis=0), direct.shape)

    def shaped(rows: Array) -> Array:
        return arrays.from_rows(rows, record.out.shape, record.channel_axis)

    return Routes(
        direct=shaped(direct),
        by_variance=shaped(by_variance),
        by_mean=shaped(by_mean),
        total=shaped(direct + by_variance + by_mean),
    )
