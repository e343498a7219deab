"""The catalogue of known mistakes: each replaces some of the oracle's steps, and is explained."""

from __future__ import annotations

from bn_diagnosis.faults import backward, inference, running, spatial, training
from bn_diagnosis.faults.fault import Fault
from bn_diagnosis.faults.statements import Family

__all__ = ["BY_ID", "FAULTS", "Family", "Fault"]

FAULTS: tuple[Fault, ...] = (
    *training.FAULTS,
    *backward.FAULTS,
    *inference.FAULTS,
    *running.FAULTS,
    *spatial.FAULTS,
    *running.CONVENTIONS,
)
"""All of them."""

BY_ID = {fault.id: fault for fault in FAULTS}
"""All of them, by id."""
