"""The list of all properties, in the order in which a report shows them."""

from __future__ import annotations

from bn_properties.families import (
    backward,
    hygiene,
    inference,
    population,
    running,
    stability,
    training,
)
from bn_properties.property import Property

PROPERTIES: tuple[Property, ...] = (
    *training.PROPERTIES,
    *backward.PROPERTIES,
    *inference.PROPERTIES,
    *running.PROPERTIES,
    *population.PROPERTIES,
    *stability.PROPERTIES,
    *hygiene.PROPERTIES,
)
"""All of them."""

BY_ID = {each.id: each for each in PROPERTIES}
"""All of them, by id."""

FAMILIES = tuple(dict.fromkeys(each.family for each in PROPERTIES))
"""The families, in order."""
