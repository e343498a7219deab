"""A submission's properties as pytest items: what the plugin runs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from bn_properties.cases.case import Case
from bn_properties.cases.draw import cases
from bn_properties.cases.pinned import pinned_cases
from bn_properties.catalogue import PROPERTIES
from bn_properties.checking import Failing, Finding, allowed, describe, try_case
from bn_properties.records import Outcome
from bn_properties.transcript import Oracle, Transcript
from hypothesis import HealthCheck, Phase, example, given, seed, settings, target

from bn_grading.case_bank import DEFAULT_EXAMPLES, CaseBank
from bn_grading.courses.matching import match
from bn_grading.courses.model import Part, built_in, find
from bn_grading.examination import CannotExamine, Examination
from bn_grading.intake.paths import single
from bn_grading.part_examination import PartExamination
from bn_grading.subject.isolation import NotIsolated
from bn_grading.subject.levels import candidates, wanted
from bn_grading.subject.session import CannotLoad

SEARCH_EXAMPLES = 500
"""How far the `thorough` profile searches for the worst error of each property."""


@dataclass(frozen=True)
class Item:
    """One property of one part."""

    part: Part
    id: str
    examination: PartExamination | None
    """None where the submission does not define the part."""

    @property
    def finding(self) -> Finding | None:
        """What came of it; None where it was not asked."""
        return None if self.examination is None else self.examination.finding(self.id)


class Subject:
    """A submission in its worker, with an item for each property of each part."""

    def __init__(
        self,
        subject: str,
        course: str,
        *,
        seed: int,
        examples: int,
        search: bool,
        isolation: str = "auto",
    ) -> None:
        """Start the subject's worker.

        Raises:
            ValueError: no such subject, course or level of isolation, or it cannot be loaded.
        """
        chosen = None if course == "auto" else find(course)
        found = match(single(subject), chosen, list(built_in().values()))
        bank = CaseBank(seed, examples)
        levels = candidates(wanted(isolation))
        searched = len(PROPERTIES) * SEARCH_EXAMPLES / DEFAULT_EXAMPLES if search else 0.0
        try:
            self._examination = Examination(found, bank, bank.work + searched, levels)
            self._examination.start()
        except (CannotExamine, CannotLoad, NotIsolated) as error:
            raise ValueError(str(error)) from error
        self._seed, self._search = seed, search
        self.items = dict(self._named_items())

    def _named_items(self) -> list[tuple[str, Item]]:
        """Return the items by the ids that their results have in a record."""
        found: list[tuple[str, Item]] = []
        present, main = self._examination.parts, self._examination.main
        groups = {part.group for part in present}
        for part in self._examination.match.parts:
            if part not in present and part.group in groups:
                continue  # an alternative of one that is there
            asked = self._examination.part(part) if part in present else None
            first = part is main or (main is None and part is self._examination.match.parts[0])
            found += [
                (each.id if first else f"{part.id}/{each.id}", Item(part, each.id, asked))
                for each in PROPERTIES
                if each.family in part.families
            ]
        return found

    def settle(self, name: str) -> None:
        """Pass, or leave by the pytest outcome that what came of an item calls for."""
        __tracebackhide__ = True
        item = self.items[name]
        examination, finding = item.examination, item.finding
        if examination is None or finding is None:
            missing = f"the file does not define {item.part.names[0]}"
            if item.part.required:
                pytest.fail(f"not run: {missing}", pytrace=False)
            pytest.skip(missing)
        outcome, message = finding.outcome, finding.message
        if outcome is Outcome.NOT_APPLICABLE:
            pytest.skip(message)
        if outcome is Outcome.NOT_RUN:
            pytest.fail(f"not run: {message}", pytrace=False)
        if outcome is Outcome.ERROR:
            pytest.fail(message, pytrace=False)
        root = examination.blocked_by(item.id)
        if root is not None:
            pytest.xfail(f"blocked by {root}: {message}")
        if outcome is Outcome.FAIL:
            if finding.failing is not None:
                _show(finding.failing, finding, examination)
            pytest.fail(f"{finding.property.finding}\n{message}", pytrace=False)
        if self._search and finding.property.stride:
            # What is put to chosen cases alone asks too much of any other.
            _search(finding, examination, self._seed)

    def close(self) -> None:
        """End the worker."""
        self._examination.close()


def _show(failing: Failing, finding: Finding, examination: PartExamination) -> None:
    """Let Hypothesis report the failing case in its own words."""
    prop, transcript = finding.property, examination.transcript

    @settings(database=None, deadline=None, phases=[Phase.explicit], print_blob=True)
    @example(case=failing.case)
    @given(case=cases(spatial_axes=transcript.subject.spatial_axes))
    def holds(case: Case) -> None:
        again, _ = try_case(prop, case, transcript, examination.oracle)
        assert again is None, f"{prop.finding}\n{describe(again)}"

    holds()


def _search(finding: Finding, examination: PartExamination, start: int) -> None:
    """Search for a case on which rounding comes closest to the bound, or past it."""
    __tracebackhide__ = True
    prop, subject = finding.property, examination.transcript.subject

    @seed(start)
    @settings(
        max_examples=SEARCH_EXAMPLES,
        database=None,
        deadline=None,
        derandomize=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases(spatial_axes=subject.spatial_axes))
    def holds(case: Case) -> None:
        if not allowed(case, subject.convention):
            return
        # Neither what is seen nor what is expected is worth keeping: no case comes twice.
        failing, ratio = try_case(prop, case, Transcript(subject), Oracle(subject.convention))
        assert failing is None, f"{prop.finding}\n{describe(failing)}"
        if ratio:
            target(math.log10(ratio), label="log10 of error over bound")

    for pinned in pinned_cases(subject.spatial_axes):
        holds = example(case=pinned)(holds)
    holds()
