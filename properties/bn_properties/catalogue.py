"""The list of all properties, in the order in which a report shows them."""

from __future__ import annotations

from bn_properties.invariant import Property
from bn_properties.invariants import (
    backward,
    gradients,
    hygiene,
    inference,
    outputs,
    population,
    running,
    stability,
    training,
)

PROPERTIES: tuple[Property, ...] = (
    *training.PROPERTIES,
    *outputs.PROPERTIES,
    *backward.PROPERTIES,
    *gradients.PROPERTIES,
    *inference.PROPERTIES,
    *running.PROPERTIES,
    *population.PROPERTIES,
    *stability.PROPERTIES,
    *hygiene.PROPERTIES,
)
"""All of them."""

BY_ID = {property_.id: property_ for property_ in PROPERTIES}
"""All of them, by id."""

FAMILIES = tuple(dict.fromkeys(property_.family for property_ in PROPERTIES))
"""The families, in order."""
