"""What a faulty layer is: right formulas, and a mistake in what is done around them.

They complete the fault catalogue for testing the tester: a layer that edits what it is given, that
shares state, adds up its gradients, or computes by an unstable algorithm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bn_diagnosis.reference import ReferenceLayer, reference_layer, start
from bn_oracle.conventions import Convention
from bn_properties.protocol import AnyArray, Layer, Setup
from bn_properties.scenario import InProcess


class Faulty(ReferenceLayer):
    """A right layer: what a class below it does not override, it does as it should."""

    def __init__(self, convention: Convention, setup: Setup) -> None:
        """Begin as the right layer of this convention and setup."""
        super().__init__(start(convention, setup), {})
        self.convention, self.setup = convention, setup

    def twin(self) -> ReferenceLayer:
        """Return another layer that begins as this one did, and is right throughout."""
        return reference_layer({}, self.convention, self.setup)


@dataclass(frozen=True)
class FaultyLayer:
    """A mistake around the formulas: its name, what it is, and the property that must reject it."""

    id: str
    title: str
    killed_by: str
    make: Callable[[Convention, Setup], Layer[AnyArray]]

    def subject(self, convention: Convention, spatial_axes: int) -> InProcess:
        """Return its layers as a subject."""
        return InProcess(lambda setup: self.make(convention, setup), convention, spatial_axes)


def listing(
    layers: list[FaultyLayer],
) -> Callable[[str, str, str], Callable[[type[Faulty]], type[Faulty]]]:
    """Return a decorator that lists a class among `layers`: its id, its title, and the property
    that must reject it.
    """

    def faulty(id_: str, title: str, killed_by: str) -> Callable[[type[Faulty]], type[Faulty]]:
        def listed(layer: type[Faulty]) -> type[Faulty]:
            layers.append(FaultyLayer(id_, title, killed_by, layer))
            return layer

        return listed

    return faulty
