"""The tester tested: every known mistake is rejected, by the property that is named for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from bn_diagnosis.faults import FAULTS, Fault
from bn_evidence.faulty import FaultyLayer
from bn_evidence.kill_matrix import Row, mistakes, needed, row
from bn_properties.catalogue import BY_ID, PROPERTIES

PAGE = Path(__file__).parents[2] / "docs" / "kill-matrix.md"


def published() -> dict[str, list[str]]:
    """Read each mistake's cells back from the page."""
    found: dict[str, list[str]] = {}
    for line in PAGE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == len(PROPERTIES) + 1:
            found[cells[0].strip("`")] = cells[1:]
    return found


@pytest.mark.parametrize("mistake", mistakes(), ids=lambda mistake: mistake.id)
def test_a_mistake_is_rejected_by_its_property_as_the_page_says(
    mistake: Fault | FaultyLayer,
) -> None:
    found = row(mistake)
    assert mistake.killed_by in found.killers
    expected = [
        ("●" if id_ == found.killed_by else "•") if id_ in found.killers else "" for id_ in BY_ID
    ]
    assert published()[mistake.id] == expected


def test_the_page_lists_every_mistake_and_no_other() -> None:
    assert {mistake.id for mistake in mistakes()} == set(published())


def test_every_property_is_needed_or_marked_as_teaching() -> None:
    rows = [
        Row(id_, "", "", tuple(p for p, cell in zip(BY_ID, cells, strict=True) if cell), "")
        for id_, cells in published().items()
    ]
    alone = needed(rows)
    text = PAGE.read_text("utf-8")
    for number, prop in enumerate(PROPERTIES, 1):
        line = next(x for x in text.splitlines() if x.startswith(f"| {number} | `{prop.id}`"))
        assert ("teaching" in line) == (not alone[prop.id])
        assert any(prop.id in each.killers for each in rows), "it rejects nothing at all"


def test_there_are_at_least_sixty_faults_and_forty_properties() -> None:
    assert len(FAULTS) >= 60
    assert len(PROPERTIES) >= 40
    for fault in FAULTS:
        assert fault.killed_by in BY_ID
