"""What the tester is tested with: the catalogue's faults and the faulty layers, as subjects."""

from __future__ import annotations

from bn_diagnosis.faults import FAULTS, Fault
from bn_diagnosis.reference import reference_subject
from bn_oracle.conventions import CMU_HW1P1, TORCH, Convention
from bn_properties.scenario import InProcess

from bn_evidence.faulty import FaultyLayer
from bn_evidence.faulty_layers import FAULTY_LAYERS

Mistake = Fault | FaultyLayer

MISTAKES: tuple[Mistake, ...] = (*FAULTS, *FAULTY_LAYERS)
"""All of them."""

Setting = tuple[Convention, int]
"""A convention, and how many axes follow (N, C)."""

SETTINGS: tuple[Setting, ...] = ((CMU_HW1P1, 0), (CMU_HW1P1, 2), (TORCH, 0))
"""Tried in this order: some mistakes show only on images, some only where the course keeps the
other variance."""


def subject_of(mistake: Mistake, setting: Setting) -> InProcess:
    """Return layers that make one mistake, and no other, in one setting."""
    if isinstance(mistake, FaultyLayer):
        return mistake.subject(*setting)
    return reference_subject(mistake.replaces, *setting)
