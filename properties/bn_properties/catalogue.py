"""The list of all properties, in the order in which a report shows them."""

from __future__ import annotations

from bn_properties.families import (
    backward,
    hygiene,
    inference,
    modules,
    population,
    running,
    stability,
    training,
    use,
)
from bn_properties.property import Property

_LISTED: tuple[Property, ...] = (
    *training.PROPERTIES,
    *backward.PROPERTIES,
    *inference.PROPERTIES,
    *running.PROPERTIES,
    *population.PROPERTIES,
    *stability.PROPERTIES,
    *hygiene.PROPERTIES,
    *use.PROPERTIES,
    *modules.PROPERTIES,
)

FAMILIES = tuple(dict.fromkeys(each.family for each in _LISTED))
"""The families, in order."""

PROPERTIES = tuple(sorted(_LISTED, key=lambda each: FAMILIES.index(each.family)))
"""All of them, family by family."""

BY_ID = {each.id: each for each in PROPERTIES}
"""All of them, by id."""
