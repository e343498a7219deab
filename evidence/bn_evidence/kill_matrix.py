"""The kill matrix: which property rejects which known mistake.

Run as a module, it prints the table that is published in docs/kill-matrix.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from bn_diagnosis.faults import FAULTS, Fault
from bn_diagnosis.reference import reference_subject
from bn_oracle.conventions import CMU_HW1P1, TORCH, Convention
from bn_properties.cases.draw import draw_cases
from bn_properties.catalogue import PROPERTIES
from bn_properties.checking import ExpectedResponses, Transcript, scan
from bn_properties.records import Outcome
from bn_properties.scenario import Subject

from bn_evidence.faulty import FAULTY_LAYERS, FaultyLayer

SETTINGS: tuple[tuple[Convention, int], ...] = ((CMU_HW1P1, 0), (CMU_HW1P1, 2), (TORCH, 0))
"""Conventions and spatial axes, tried in this order: some mistakes show only on images, some only
where the course keeps the other variance."""

EXAMPLES = 100
SEED = 0


@dataclass(frozen=True)
class Row:
    """One mistake, and the properties that reject it."""

    id: str
    title: str
    killed_by: str
    """The property that is named for it."""
    killers: tuple[str, ...]
    setting: str


@lru_cache(maxsize=8)
def _answers(convention: Convention) -> ExpectedResponses:
    return ExpectedResponses(convention)


def mistakes() -> tuple[Fault | FaultyLayer, ...]:
    """Return all faults of the catalogue, then the bad habits."""
    return (*FAULTS, *FAULTY_LAYERS)


def row(mistake: Fault | FaultyLayer, examples: int = EXAMPLES) -> Row:
    """Put every property to one mistake, in the first setting in which anything rejects it."""
    for convention, spatial_axes in SETTINGS:
        subject: Subject
        if isinstance(mistake, FaultyLayer):
            subject = mistake.subject(convention, spatial_axes)
        else:
            subject = reference_subject(mistake.replaces, convention, spatial_axes)
        seen = Transcript(subject)
        cases = draw_cases(SEED, examples, spatial_axes)
        killers = tuple(
            prop.id
            for prop in PROPERTIES
            if scan(prop, cases, seen, _answers(convention)).outcome is Outcome.FAIL
        )
        if killers:
            where = f"{convention.name}, {'(N, C, H, W)' if spatial_axes else '(N, C)'}"
            return Row(mistake.id, mistake.title, mistake.killed_by, killers, where)
    return Row(mistake.id, mistake.title, mistake.killed_by, (), "")


def needed(rows: Iterable[Row]) -> dict[str, list[str]]:
    """Return, for each property, the mistakes that it alone rejects."""
    alone: dict[str, list[str]] = {prop.id: [] for prop in PROPERTIES}
    for each in rows:
        if len(each.killers) == 1:
            alone[each.killers[0]].append(each.id)
    return alone


def markdown(rows: list[Row]) -> str:
    """Return the matrix as a page."""
    numbers = {prop.id: number for number, prop in enumerate(PROPERTIES, 1)}
    alone = needed(rows)
    lines = [
        "# Kill matrix",
        "",
        f"Every property against every known mistake, on {EXAMPLES} cases of seed {SEED}. Made by",
        "`python -m bn_evidence.kill_matrix > docs/kill-matrix.md`; a test holds it to the code.",
        "",
        "A ● is a rejection by the property that is named for the mistake, a • any other. A",
        "*teaching* property rejects nothing that no other rejects: it is there for what it says.",
        "",
        "## Properties",
        "",
        "| # | property | rejects | alone | |",
        "|---|---|---|---|---|",
    ]
    for prop in PROPERTIES:
        count = sum(prop.id in each.killers for each in rows)
        mark = "" if alone[prop.id] else "teaching"
        lines.append(
            f"| {numbers[prop.id]} | `{prop.id}` | {count} | {len(alone[prop.id])} | {mark} |"
        )
    header = " | ".join(str(number) for number in numbers.values())
    lines += ["", "## Mistakes", "", f"| mistake | {header} |", "|---" * (len(numbers) + 1) + "|"]
    for each in rows:
        cells = [
            ("●" if id_ == each.killed_by else "•") if id_ in each.killers else ""
            for id_ in numbers
        ]
        lines.append(f"| `{each.id}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown([row(mistake) for mistake in mistakes()]), end="")
