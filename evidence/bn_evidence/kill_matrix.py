"""The kill matrix: which property rejects which known mistake.

Run as a module, it prints the page docs/kill-matrix.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from bn_oracle.conventions import Convention
from bn_properties.cases.draw import draw_cases
from bn_properties.cases.pinned import pinned_cases
from bn_properties.catalogue import PROPERTIES
from bn_properties.checking import scan
from bn_properties.records import Outcome
from bn_properties.transcript import Oracle, Transcript

from bn_evidence.mistakes import MISTAKES, SETTINGS, Mistake, subject_of

EXAMPLES = 100
SEED = 0
COMMAND = "PYTHONPATH=evidence python -m bn_evidence.kill_matrix > docs/kill-matrix.md"
NAMED, OTHER, NONE = "●", "•", "·"


@dataclass(frozen=True)
class Column:
    """One mistake, and the properties that reject it."""

    id: str
    title: str
    killed_by: str
    """The property that is named for it."""
    killers: tuple[str, ...]

    def mark(self, prop: str) -> str:
        """Return what stands in a property's row for this mistake."""
        if prop not in self.killers:
            return NONE
        return NAMED if prop == self.killed_by else OTHER


@lru_cache(maxsize=8)
def _expected(convention: Convention) -> Oracle:
    return Oracle(convention)


def column(mistake: Mistake, examples: int = EXAMPLES) -> Column:
    """Put every property to one mistake, in the first setting in which anything rejects it."""
    killers: tuple[str, ...] = ()
    for setting in SETTINGS:
        convention, spatial_axes = setting
        seen = Transcript(subject_of(mistake, setting))
        cases = (*draw_cases(SEED, examples, spatial_axes), *pinned_cases(spatial_axes))
        killers = tuple(
            prop.id
            for prop in PROPERTIES
            if scan(prop, cases, seen, _expected(convention)).outcome is Outcome.FAIL
        )
        if killers:
            break
    return Column(mistake.id, mistake.title, mistake.killed_by, killers)


def markdown(columns: Sequence[Column], properties: Iterable[str]) -> str:
    """Return the matrix as a page: a row a property, a mark a mistake."""
    lines = [
        "# Kill matrix",
        "",
        f"Every property against every known mistake, on {EXAMPLES} cases of seed {SEED} and the "
        "chosen ones. Made by",
        f"`{COMMAND}`",
        "from the checkout's root; a test holds it to the code, mistake by mistake.",
        "",
        "## Properties",
        "",
        f"A mark a mistake, in the order of the list below, ten to a group: {NAMED} a rejection by",
        f"the property that is named for the mistake, {OTHER} by any other, {NONE} none. *Alone*",
        "counts the mistakes that no other property rejects; a property without any is there for",
        "what it says.",
        "",
        "| property | rejects | alone | mistakes |",
        "|---|---|---|---|",
    ]
    for prop in properties:
        rejected = [each for each in columns if prop in each.killers]
        alone = sum(len(each.killers) == 1 for each in rejected)
        marks = "".join(each.mark(prop) for each in columns)
        groups = " ".join(marks[start : start + 10] for start in range(0, len(marks), 10))
        lines.append(f"| `{prop}` | {len(rejected)} | {alone or '–'} | `{groups}` |")
    lines += ["", "## Mistakes", ""]
    lines += [
        f"{number}. `{each.id}`: {each.title} (`{each.killed_by}`)"
        for number, each in enumerate(columns, 1)
    ]
    return "\n".join(lines) + "\n"


def read(page: str) -> tuple[tuple[Column, ...], tuple[str, ...]]:
    """Return what a page says: its mistakes, and the properties that it knows."""
    rows: dict[str, str] = {}
    mistakes: list[tuple[str, str, str]] = []
    for line in page.splitlines():
        if line.startswith("| `"):
            prop, _, _, groups = (cell.strip(" `") for cell in line.strip("|").split("|"))
            rows[prop] = groups.replace(" ", "")
        elif line[:1].isdigit():
            _, id_, rest = line.split("`", 2)
            title, killed_by = rest.removeprefix(": ").removesuffix("`)").rsplit(" (`", 1)
            mistakes.append((id_, title, killed_by))
    columns = tuple(
        Column(*mistake, tuple(prop for prop, marks in rows.items() if marks[place] != NONE))
        for place, mistake in enumerate(mistakes)
    )
    return columns, tuple(rows)


if __name__ == "__main__":
    found = [column(mistake) for mistake in MISTAKES]
    print(markdown(found, (prop.id for prop in PROPERTIES)), end="")
