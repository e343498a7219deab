"""The list of all properties, in the order in which a report shows them."""

from __future__ import annotations

from bn_properties.families import (
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
from bn_properties.property import Property

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

BY_ID = {prop.id: prop for prop in PROPERTIES}
"""All of them, by id."""

FAMILIES = tuple(dict.fromkeys(prop.family for prop in PROPERTIES))
"""The families, in order."""
