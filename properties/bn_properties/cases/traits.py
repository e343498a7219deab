"""What the cases on which a property fails may have in common: it is told, and priced, as that."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np

from bn_properties.cases.case import Case

TraitName = Literal[
    "one_value",
    "one_row",
    "one_feature",
    "square",
    "zero_gamma",
    "constant_feature",
    "axis_of_one",
]
TRAITS: tuple[TraitName, ...] = get_args(TraitName)


class Trait(NamedTuple):
    """Something that a few cases have, and most have not."""

    words: str
    """Where something fails: `only for …`."""
    has: Callable[[Case], bool]


def _constant(case: Case) -> bool:
    return any(
        bool((np.ptp(batch, axis=(0, *range(2, batch.ndim))) == 0).any())
        for batch in (case.x, *case.more)
    )


def _one_value(case: Case) -> bool:
    return any(batch.size == case.features for batch in (case.x, *case.more))


def _axis_of_one(case: Case) -> bool:
    return any(1 in batch.shape for batch in (case.x, case.probe))


def _square(case: Case) -> bool:
    return bool(1 < case.features == case.x.shape[0])


def _zero_gamma(case: Case) -> bool:
    return bool((case.gamma == 0).any())


KNOWN: Mapping[TraitName, Trait] = {
    "one_value": Trait("batches of one", _one_value),
    "one_row": Trait("inference on one instance", lambda case: len(case.probe) == 1),
    "one_feature": Trait("a single feature", lambda case: case.features == 1),
    "square": Trait("as many instances as features", _square),
    "zero_gamma": Trait("a γ that is 0", _zero_gamma),
    "constant_feature": Trait("a feature that does not vary", _constant),
    "axis_of_one": Trait("an axis of length one", _axis_of_one),
}
"""All that are looked for, the narrower ones first."""
WITHIN: Mapping[TraitName, TraitName] = {
    "one_value": "axis_of_one",
    "one_row": "axis_of_one",
    "one_feature": "axis_of_one",
}
"""Which are part of a wider one."""

FEW = 5
"""How many cases without the trait must hold before it is said that only those with it fail."""
CHANCE = 1e-4
"""How likely it may be that as many failing cases as there are all have a trait by chance."""


def only(
    cases: Sequence[Case], compared: Collection[int], failed: Collection[int]
) -> TraitName | None:
    """Return what all failing cases have, and those that hold have not.

    Most of the cases that have it fail, or so many that it is no chance; and several that have it
    not hold.

    Args:
        cases: all cases.
        compared: the indices of those on which the property compared something.
        failed: of those on which it failed.
    """
    asked = [case for case in cases if case.index in compared]
    wrong = [case for case in asked if case.index in failed]
    if not wrong:
        return None
    for name, trait in KNOWN.items():
        with_it = [case for case in asked if trait.has(case)]
        if len(asked) - len(with_it) < FEW or not all(trait.has(case) for case in wrong):
            continue
        chance = (len(with_it) / len(asked)) ** len(wrong)
        if 2 * len(wrong) > len(with_it) or chance < CHANCE:
            return name
    return None
