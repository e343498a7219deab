"""The tester tested: every known mistake is rejected, by the property that is named for it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest
from bn_evidence.kill_matrix import COMMAND, Column, column, markdown, read
from bn_evidence.mistakes import MISTAKES, Mistake
from bn_properties.catalogue import PROPERTIES

PAGE = Path(__file__).parents[2] / "docs" / "kill-matrix.md"
AGAIN = f"regenerate it: {COMMAND}"


@lru_cache(maxsize=1)
def published() -> tuple[dict[str, Column], tuple[str, ...]]:
    columns, properties = read(PAGE.read_text("utf-8"))
    return {each.id: each for each in columns}, properties


@pytest.mark.once
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.id)
def test_a_mistake_is_rejected_by_its_property_and_by_those_that_the_page_says(
    mistake: Mistake,
) -> None:
    found = column(mistake)
    assert mistake.killed_by in found.killers
    columns, known = published()
    if mistake.id in columns:
        assert columns[mistake.id].killers == tuple(id_ for id_ in found.killers if id_ in known)


def test_the_page_knows_every_property_and_mistake_and_counts_them_right() -> None:
    columns, properties = published()
    assert [each.id for each in PROPERTIES] == list(properties), AGAIN
    mistakes = [(each.id, each.title, each.killed_by) for each in MISTAKES]
    said = [(each.id, each.title, each.killed_by) for each in columns.values()]
    assert mistakes == said, AGAIN
    assert PAGE.read_text("utf-8") == markdown(list(columns.values()), properties), AGAIN


def test_every_property_rejects_a_mistake() -> None:
    columns, properties = published()
    idle = [id_ for id_ in properties if not any(id_ in each.killers for each in columns.values())]
    assert [] == idle
