"""The catalogue of known mistakes: each replaces some of the oracle's steps, and is explained."""

from __future__ import annotations

from bn_diagnosis.faults import (
    backward,
    closed_form,
    convention,
    divisors,
    epsilon,
    inference,
    parameters,
    population,
    running,
    spatial,
    training,
)
from bn_diagnosis.faults.fault import Fault
from bn_diagnosis.faults.statements import Family

__all__ = ["BY_ID", "FAULTS", "Family", "Fault"]

FAULTS: tuple[Fault, ...] = (
    *training.FAULTS,
    *epsilon.FAULTS,
    *parameters.FAULTS,
    *backward.FAULTS,
    *divisors.FAULTS,
    *closed_form.FAULTS,
    *inference.FAULTS,
    *running.FAULTS,
    *population.FAULTS,
    *spatial.FAULTS,
    *convention.FAULTS,
)
"""All of them."""

BY_ID = {fault.id: fault for fault in FAULTS}
"""All of them, by id."""
