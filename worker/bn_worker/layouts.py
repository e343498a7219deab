"""How the arrays that a submission is given lie in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def laid(array: NDArray[Any], layout: str) -> NDArray[Any]:
    """Return the same numbers, laid otherwise in memory."""
    if layout == "fortran":
        return np.asfortranarray(array)
    if layout == "swapped":
        return np.ascontiguousarray(array.swapaxes(-1, -2)).swapaxes(-1, -2)
    if layout == "reversed":
        return np.ascontiguousarray(array[::-1])[::-1]
    if layout == "strided":
        wider = np.empty((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
        wider[...] = np.nan
        wider[..., ::2] = array
        return wider[..., ::2]
    if layout == "read-only":
        array = array.copy()
        array.flags.writeable = False
    return array
