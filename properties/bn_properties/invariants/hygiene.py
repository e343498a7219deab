"""Good manners: what a layer must leave alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bn_properties.cases import Case
from bn_properties.invariant import Ask, Check, invariant


@invariant(
    "hygiene.input_unmodified",
    equation=r"z \text{ after the call} = z \text{ before}",
    source="the caller still needs its arrays",
)
def input_unmodified(case: Case, ask: Ask) -> Iterator[Check]:
    """Forward and backward leave the arrays that they are given as they were."""
    for scenario in (case.training, case.inference):
        seen = ask.seen(scenario)[0]
        seen.array("out")
        yield Check(
            "number of calls that edited their input",
            np.array([float(seen.edited)]),
            np.zeros(1),
            None,
        )


PROPERTIES = (input_unmodified,)
