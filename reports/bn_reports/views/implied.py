"""What a submission's results say of values that it does not show.

Each is the one value that, in place of the right one and with all later steps right, gives these
results, within twice what rounding can explain on either side. There need not be one.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from bn_oracle.arrays import Array

from bn_reports.views.quantities import Measured
from bn_reports.views.steps import Feature, Symbol

_ROOM: Final = 4
Implied = dict[Symbol, float]


def of_output(out: Measured, feature: Feature, mean: float, std: float) -> Implied:
    """Return the centre (μ) or the root (s) that gives this output of a feature."""
    z, got, gamma = feature.z, out.got, feature.gamma
    room = _room(out)
    low, high = int(np.argmin(z)), int(np.argmax(z))
    spread = float(z[high] - z[low])
    if not gamma or not np.isfinite(got).all():
        return {}
    if not spread:
        off = float(got[0] - out.expected[0])
        return {"μ": mean - off * std / gamma} if (np.abs(got - got[0]) <= room).all() else {}
    slope = float(got[high] - got[low]) / spread
    if (np.abs(got - got[low] - slope * (z - z[low])) > room).any():
        return {}
    shift = float(got.mean() - feature.beta - slope * (z.mean() - mean))
    if abs(slope - gamma / std) * spread <= room:
        return {"μ": mean - std * shift / gamma}
    return {"s": gamma / slope} if slope and abs(shift) <= room else {}


def root_of_one(got: float, feature: Feature, mean: float) -> Implied:
    """Return the s that gives one instance's output, if nothing else is wrong in it."""
    rise = got - feature.beta
    off = feature.gamma * float(feature.z[feature.row] - mean)
    return {"s": off / rise} if rise and off and off / rise > 0 else {}


def lacks_parameters(out: Measured, feature: Feature, mean: float, std: float) -> bool:
    """Whether the output is that of the layer without its γ, its β or both."""
    u = (feature.z - mean) / std
    others = (u, feature.gamma * u, u + feature.beta)
    return any((np.abs(out.got - other) <= _room(out)).all() for other in others)


def of_gradient(dz: Measured, d: Array, dvar: float, dmean: float) -> Implied:
    """Return the dμ or the dσ² that gives this dz; `d` is z − μ, (B,)."""
    off, size, room = dz.got - dz.expected, len(d), _room(dz)
    if (np.abs(off - off.mean()) <= room).all():
        return {"dμ": dmean + size * float(off.mean())}
    squared = float((d * d).sum())
    slope = float((off * d).sum()) / squared if squared else 0.0
    if squared and (np.abs(off - slope * d) <= room).all():
        return {"dσ²": dvar + slope * size / 2}
    return {}


def _room(measured: Measured) -> float:
    finite = measured.bound[np.isfinite(measured.bound)]
    return _ROOM * float(finite.max(initial=0.0))
