"""Many cases out of few: drawing is the dear part, so only so many are drawn, and others derived.

A derived case is a drawn one, rearranged and scaled by exact steps: rows rolled, features
reversed, signs and powers of two, the next ε and momentum of the lists. It stays in its regime.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bn_properties.cases.case import Case
from bn_properties.cases.draw import DECAYS, EPSILONS
from bn_properties.protocol import AnyArray

MOST_DRAWN = 200
"""How many cases are drawn a process for one shape of input: 1 to 2 ms each."""


def enlarge(drawn: Sequence[Case], count: int) -> tuple[Case, ...]:
    """Return `count` cases: the drawn ones, then as many derived ones as are missing.

    Raises:
        ValueError: nothing was drawn.
    """
    if not drawn:
        raise ValueError("drawn is empty, but must hold at least one case to derive from")
    more = (
        derive(drawn[index % len(drawn)], index // len(drawn), index)
        for index in range(len(drawn), count)
    )
    return (*drawn[:count], *more)


def derive(case: Case, generation: int, index: int) -> Case:
    """Return the case of a later generation, 1 and up, that comes of a drawn one."""
    scale = np.ldexp(-1.0 if generation % 2 else 1.0, generation % 5 - 2)

    def batch(values: AnyArray, rolled: int) -> AnyArray:
        turned = values[:, ::-1] if generation % 2 else values
        result: AnyArray = np.roll(turned, rolled, axis=0) * values.dtype.type(scale)
        return result

    def vector(values: AnyArray) -> AnyArray:
        return np.roll(values, generation)

    turn = EPSILONS.index(case.eps) + generation if case.eps in EPSILONS else None
    return replace(
        case,
        index=index,
        x=batch(case.x, generation),
        grad=batch(case.grad, -generation),
        gamma=vector(case.gamma),
        beta=vector(case.beta) + generation,
        eps=case.eps * scale**2 if turn is None else EPSILONS[turn % len(EPSILONS)],
        decay=DECAYS[(DECAYS.index(case.decay) + generation) % len(DECAYS)],
        running_mean=vector(case.running_mean) - generation,
        running_var=vector(case.running_var) + generation,
        more=tuple(batch(each, generation) for each in case.more),
        probe=batch(case.probe, generation),
    )
