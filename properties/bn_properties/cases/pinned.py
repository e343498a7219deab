"""Cases that were chosen, not drawn: each once let a wrong file pass, or accused a right one.

Every run asks about them, whatever its seed and however few cases it draws.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from bn_properties.cases.case import Case, small_integers
from bn_properties.protocol import AnyArray

_FIRST = 1_000_000
"""The index of the first example: no drawn case has so large a one."""


def _case(shape: tuple[int, ...], dtype: Any = np.float64) -> Case:
    """Return a plain case of small integers, with every parameter away from its neutral value."""
    features = shape[1]
    number = np.arange(features)

    def batch(start: int, rows: int) -> AnyArray:
        return (small_integers(start, (rows, *shape[1:])) / 2).astype(dtype)

    return Case(
        index=0,
        regime="example",
        x=batch(1, shape[0]),
        grad=batch(2, shape[0]),
        gamma=(number % 3 + 1) * np.where(number % 2, -0.5, 1.0),
        beta=(number % 5 - 2) / 2,
        eps=0.25,
        decay=0.75,
        running_mean=(number % 4 - 1.0) / 2,
        running_var=(number % 3 + 1.0) / 2,
        more=(batch(3, 3), batch(4, 2)),
        probe=batch(5, 2),
        pinned=True,
    )


def _tall(space: tuple[int, ...]) -> Case:
    values = int(np.prod(space, dtype=int))
    case = _case((1536 // values + 1, 1, *space))
    x = case.x.copy()
    x[-1] = 1024.0
    return replace(case, x=x, probe=case.probe * 2**14)


def _wide(space: tuple[int, ...]) -> Case:
    return _case((2, 40, *(7, 9, 1)[: len(space)]))


def _distant(space: tuple[int, ...]) -> Case:
    case = _case((65, 2, *(1 for _ in space)))
    return replace(case, x=case.x + 2.0**20)


def _square(space: tuple[int, ...]) -> Case:
    return _case((3, 3, *(3 for _ in space)))


def _pair(space: tuple[int, ...]) -> Case:
    return _case((2, 1, *(1 for _ in space)))


def _one(space: tuple[int, ...]) -> Case:
    return _case((1, 2, *space))


def _fine(space: tuple[int, ...]) -> Case:
    case = _case((4, 3, *space))
    return replace(
        case,
        x=case.x * 1.1,
        grad=case.grad * 1.1,
        gamma=case.gamma * 1.1,
        beta=case.beta + 0.1,
        eps=1e-5,
        decay=1 - 2.0**-10,
        running_mean=case.running_mean + 0.1,
        running_var=case.running_var * 1.1,
        more=tuple(batch * 1.1 for batch in case.more),
        probe=case.probe * 1.1,
    )


def _steep(space: tuple[int, ...]) -> Case:
    case = _case((4, 3, *space))
    return replace(case, grad=case.grad * 2.0**20)


def _flat(space: tuple[int, ...]) -> Case:
    case = _case((4, 3, *space))
    return replace(case, grad=case.grad * 2.0**-60)


def _opposed(space: tuple[int, ...]) -> Case:
    case = _case((4, 2, *space), np.float32)
    far = np.array([1000.1, -3000.1]).reshape(1, 2, *(1 for _ in space))
    first, second = (
        (batch + away).astype(np.float32)
        for batch, away in ((case.x, -far), (case.more[0], 0.4 * far))
    )
    return replace(case, x=first, more=(second, case.more[1]), decay=0.25)


def _folded(space: tuple[int, ...]) -> Case:
    case = _case((3, 2, *space), np.float32)
    away = np.float32(33.3)
    return replace(case, x=case.x + away, probe=case.probe + away, eps=1e-3)


AGREEMENT = (
    "training.agreement",
    "backward.input_gradient",
    "backward.gamma_gradient",
    "backward.beta_gradient",
    "inference.affine_fold",
)
"""What large cases are for: three calls each."""
LIFE = (
    "training.defaults",
    "inference.fresh_layer",
    "inference.gradient",
    "running.any_order",
    "running.cumulative_average",
    "running.changed_momentum",
    "running.evaluated_first",
    "running.full_and_no_memory",
    "running.initial_values",
    "backward.adds_up",
    "backward.descent",
    "backward.frozen_input",
    "hygiene.any_layout",
    "hygiene.cache_kept",
    "hygiene.current_parameters",
    "hygiene.latest_forward",
    "hygiene.layers_independent",
    "hygiene.output_kept",
    "hygiene.output_overwritten",
    "hygiene.repeatable",
    "hygiene.state_saved",
)
"""What is seldom asked of drawn cases, and must not depend on which those are."""


def _large(rows: int, features: int, space: tuple[int, ...], dtype: Any = np.float64) -> Case:
    """Return a case of so many values a feature, with an inference on as many again."""
    return replace(_case((rows, features, *space), dtype), asked_by=AGREEMENT)


def _many_features(space: tuple[int, ...]) -> Case:
    return _large(4, 515, tuple(1 for _ in space))


def _many_rows(space: tuple[int, ...]) -> Case:
    case = _large(1031, 1, tuple(1 for _ in space))
    return replace(case, probe=np.resize(case.x[::-1] * 2, (10_007, *case.x.shape[1:])))


def _many_of_both(space: tuple[int, ...]) -> Case:
    return _large(131, 67, tuple(1 for _ in space), np.float32)


def _images(space: tuple[int, ...]) -> Case:
    sizes = ((65,), (33, 37), (9, 11, 13))[len(space) - 1] if space else ()
    return _large(3, 5, sizes, np.float32)


FORWARD = ("running.mean_recurrence", "running.variance_recurrence", "running.any_order")
"""What is asked of whole sets besides."""


def _whole_set(space: tuple[int, ...]) -> Case:
    rows, sizes = (3, ((4003,), (61, 67), (13, 17, 19))[len(space) - 1]) if space else (10_007, ())
    return replace(_case((rows, 2, *sizes)), asked_by=FORWARD)


def _large_set(space: tuple[int, ...]) -> Case:
    rows, sizes = (3, ((1367,), (37, 37), (11, 11, 13))[len(space) - 1]) if space else (4099, ())
    return replace(_case((rows, 1, *sizes)), asked_by=AGREEMENT)


def _lived(space: tuple[int, ...]) -> Case:
    return replace(_case((4, 3, *space)), asked_by=LIFE)


def _lived_single(space: tuple[int, ...]) -> Case:
    return replace(_case((5, 2, *space), np.float32), asked_by=LIFE)


def _lasting(space: tuple[int, ...]) -> Case:
    case = _case((3, 2, *(1 for _ in space)))
    return replace(case, decay=1 - 2.0**-10, asked_by=("running.thousand_steps",))


PINNED: Mapping[str, Callable[[tuple[int, ...]], Case]] = {
    "more instances than a loop was tried on, and one so far off that |u| is past 30": _tall,
    "more features than a loop was tried on, in whole vector lanes; larger images": _wide,
    "many instances, far from zero": _distant,
    "as many instances as features: a mistaken axis has the right shape": _square,
    "two values of one feature: B/(B−1) is largest": _pair,
    "one instance": _one,
    "numbers that float32 does not hold, and a momentum near its end": _fine,
    "an upstream gradient far above 1": _steep,
    "an upstream gradient far below 1": _flat,
    "a running mean opposite to the batch's: old + (1−k)(new − old) cancels": _opposed,
    "a mean large beside the spread: z·a + b cancels": _folded,
    "hundreds of features": _many_features,
    "a thousand instances, and inference on ten thousand": _many_rows,
    "blocks with a remainder in both directions": _many_of_both,
    "images as large as real ones": _images,
    "four thousand instances of each feature, and their gradients": _large_set,
    "ten thousand instances in training, of each feature": _whole_set,
    "a layer's whole life, in plain numbers": _lived,
    "the same in float32, in which modules are made": _lived_single,
    "a thousand steps": _lasting,
}
"""What each example is there for, and the case for given axes behind (N, C)."""


@lru_cache(maxsize=4)
def pinned_cases(spatial_axes: int = 0) -> tuple[Case, ...]:
    """Return the chosen cases for inputs with so many axes after (N, C)."""
    space = (2, 3, 2)[:spatial_axes]
    cases = [make(space) for make in PINNED.values()]
    return tuple(replace(case, index=_FIRST + number) for number, case in enumerate(cases))
