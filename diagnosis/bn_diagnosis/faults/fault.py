"""What a fault is: a known mistake, executable and explained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bn_diagnosis.formulas import Step

Family = Literal["training", "backward", "inference", "running", "population", "convention"]


@dataclass(frozen=True)
class Fault:
    """A mistake that replaces some steps of a `Variation`, and what to tell who made it."""

    id: str
    """In kebab-case."""
    title: str
    """What is done, as a short clause."""
    family: Family
    wrong: str
    """The mistaken equation, in LaTeX."""
    right: str
    """The right one, in LaTeX."""
    explanation: str
    """Two sentences: why it is wrong, and what to do or how it shows."""
    anchor: str
    """The heading of docs/derivation.md that settles it."""
    killed_by: str
    """The property that must reject it."""
    replaces: Mapping[str, Step]
    """The mistaken steps, by name."""
