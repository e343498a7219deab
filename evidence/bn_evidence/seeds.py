"""Whether the seed decides: each wrong file is examined under twenty seeds.

    PYTHONPATH=evidence python -m bn_evidence.seeds [FILE...] > docs/seeds.md

prints the page. It takes a quarter of an hour; more files can be named. PyTorch is needed.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from bn_grading.case_bank import CaseBank
from bn_grading.courses.matching import NoMatch, match
from bn_grading.courses.model import Course, built_in
from bn_grading.examination import Examination
from bn_grading.intake.paths import single
from bn_grading.subject.session import CannotLoad
from bn_properties.records import Outcome

from bn_evidence.verdicts import course, keys, written

SEEDS = 20
FOLDERS = ("buggy", "mistakes")


def is_wrong_file(key: str) -> bool:
    """Whether a fixture is a file that must be refused, judging by its folder."""
    return key.split("/")[-2] in FOLDERS


def refused(path: Path, course: Course | None, bank: CaseBank) -> bool:
    """Whether a property fails on a submission, or it cannot be used."""
    try:
        with Examination(match(single(str(path)), course, list(built_in().values())), bank) as one:
            return any(
                part.scanned(each.id).outcome is Outcome.FAIL
                for part in map(one.part, one.parts)
                for each in part.properties
            )
    except (NoMatch, CannotLoad):
        return True


def under(seed: int, fixtures: Path, more: Sequence[str] = ()) -> dict[str, bool]:
    """Return which wrong files are refused under a seed, by the key of each, or its path."""
    bank, found = CaseBank(seed), dict[str, bool]()
    made = written(fixtures)
    with tempfile.TemporaryDirectory() as folder:
        for key in filter(is_wrong_file, keys(fixtures)):
            path = made[key].write(Path(folder)) if key in made else fixtures / key
            found[key] = refused(path, course(fixtures, key), bank)
    return found | {path: refused(Path(path), None, bank) for path in more}


def markdown(found: Sequence[Mapping[str, bool]]) -> str:
    """Return the page: what is refused under every seed, and what is not."""
    counts = {key: sum(each[key] for each in found) for key in found[0]}
    always = sum(count == len(found) for count in counts.values())
    lines = [
        "# Seeds",
        "",
        "Each wrong fixture is examined under several seeds: what is refused under one must be",
        "refused under all, or luck decides. Made by",
        "`PYTHONPATH=evidence python -m bn_evidence.seeds > docs/seeds.md`",
        "from the checkout's root.",
        "",
        f"{len(counts)} wrong files, {len(found)} seeds: {always} are refused under every seed.",
    ]
    by_luck = {key: count for key, count in counts.items() if 0 < count < len(found)}
    never = [key for key, count in counts.items() if not count]
    lines += [f"- `{key}`: under {count} of {len(found)}" for key, count in by_luck.items()]
    lines += [f"- `{key}`: under none" for key in never]
    return "\n".join(lines) + "\n"


def main(more: Sequence[str], fixtures: Path = Path("fixtures"), seeds: int = SEEDS) -> None:
    """Examine everything under each seed, and print the page."""
    ask = partial(under, fixtures=fixtures, more=more)
    with multiprocessing.get_context("fork").Pool(maxtasksperchild=1) as pool:
        print(markdown(pool.map(ask, range(seeds), 1)), end="")


if __name__ == "__main__":
    main(sys.argv[1:])
