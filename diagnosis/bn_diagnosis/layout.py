"""What is expected of a mistake in how the rows are laid out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from bn_oracle.conventions import Convention
from bn_properties.protocol import AnyArray
from bn_properties.scenario import Scenario

from bn_diagnosis.matching import Asked, Expects, Measure, asked
from bn_diagnosis.reference import start
from bn_diagnosis.trace import Step


class Layout:
    """A mistake in how rows are made, and what is expected of the rows that it makes.

    Such a mistake is batch norm of rows in which the values of several features stand in one
    column, and rounds as it does: with their size, their spread, and the γ of that column.
    """

    def __init__(self, rows: Step, convention: Convention, expectation: Expects) -> None:
        """Remember what is expected of each scenario so laid out."""
        self._rows, self._convention, self._expectation = rows, convention, expectation
        self._measures: dict[Asked, Measure | None] = {}

    def measure(self, scenario: Scenario) -> Measure | None:
        """Measure by the mistaken rows; None where they are no batch of as many features."""
        key = asked(scenario)
        if key not in self._measures:
            try:
                self._measures[key] = Measure(self._expectation(self._laid_out(scenario)))
            except (ValueError, IndexError):
                self._measures[key] = None
        return self._measures[key]

    def _laid_out(self, scenario: Scenario) -> Scenario:
        """Return the scenario with the rows that the mistake makes of each batch."""
        fresh = start(self._convention, scenario.setup)

        def laid_out(batch: AnyArray) -> AnyArray:
            return np.asarray(self._rows(replace(fresh, x=batch)))

        calls = (call.with_batches(laid_out) for call in scenario.calls)
        return Scenario(scenario.setup, tuple(calls))
