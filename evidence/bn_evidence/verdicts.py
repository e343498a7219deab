"""What each fixture is found to be, beside the records of it, fixtures/golden/verdicts.json.

    PYTHONPATH=evidence python -m bn_evidence.verdicts

prints what differs from the records, over the properties that they know; with `--write`, it writes
them anew, with all properties. PyTorch is needed.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from bn_grading.case_bank import CaseBank
from bn_grading.courses.model import Course, built_in, find
from bn_grading.grade import grade
from bn_grading.intake.paths import single
from bn_properties.records import Outcome, SubmissionResult

from bn_evidence.wrong_files import WrongFile, wrong_files

FOLDERS = ("correct", "unstable", "buggy", "incomplete", "unusable")
Brief = dict[str, Any]


@lru_cache(maxsize=1)
def bank() -> CaseBank:
    """Return the cases that all fixtures are judged by."""
    return CaseBank()


def written(fixtures: Path) -> dict[str, WrongFile]:
    """Return the wrong files that are made of right ones, by the key of each one's record."""
    own = sorted(path for path in (fixtures / "courses").iterdir() if path.is_dir())
    return {
        (folder / "mistakes" / wrong.name).relative_to(fixtures).as_posix(): wrong
        for folder in (fixtures, *own)
        if (folder / "mistakes").is_dir()
        for wrong in wrong_files(folder)
    }


def keys(fixtures: Path) -> list[str]:
    """Return the keys of all records: the fixtures' paths, and those of the ones that are made."""
    paths = (path for path in fixtures.rglob("*.py") if path.parent.name in FOLDERS)
    return sorted(
        {path.relative_to(fixtures).as_posix() for path in paths} | set(written(fixtures))
    )


def course(fixtures: Path, key: str) -> Course | None:
    """Return the course that a fixture belongs to, if it lies in one's folder."""
    first, _, rest = key.partition("/")
    return (
        find(str(fixtures / first / f"{rest.partition('/')[0]}.toml"))
        if (first == "courses")
        else None
    )


def judged(fixtures: Path, key: str, path: Path | None = None) -> SubmissionResult:
    """Grade a fixture; `path` is where one that is made was written."""
    subject = single(str(path or fixtures / key))
    return grade(subject, course(fixtures, key), list(built_in().values()), bank())


def recorded(fixtures: Path) -> dict[str, Brief]:
    """Read what each fixture was found to be when the records were made."""
    path = fixtures / "golden" / "verdicts.json"
    found: dict[str, Brief] = json.loads(path.read_text("utf-8"))
    return found


def known(records: Mapping[str, Brief]) -> frozenset[str]:
    """Return the properties that there were when records were made: each is named somewhere."""
    kinds = ("fail", "error", "not_run", "blocked")
    named = {id_ for each in records.values() for kind in kinds for id_ in each.get(kind, ())}
    return frozenset(id_.rpartition("/")[2] for id_ in named)


def brief(result: SubmissionResult, among: frozenset[str] | None = None) -> Brief:
    """Return a verdict as the records hold it: every property, those that hold as their number.

    A property that is not `among` those named is in none of the numbers.
    """
    rows = [
        each for each in result.properties if among is None or each.id.rpartition("/")[2] in among
    ]
    by: dict[str, list[str]] = {}
    for each in rows:
        by.setdefault(each.status, []).append(each.id)
    found: Brief = {
        "status": str(result.status),
        "score": result.score,
        "causes": [cause.fault for cause in result.causes],
        "pass": len(by.get("pass", [])),
        "not_applicable": len(by.get("not_applicable", [])),
    }
    found |= {name: by[name] for name in ("fail", "error", "not_run") if name in by}
    blocked = {p.id: p.blocked_by for p in rows if p.status is Outcome.BLOCKED}
    return found | ({"blocked": blocked} if blocked else {})


def _found(fixtures: Path, among: frozenset[str] | None, key: str) -> tuple[str, Brief]:
    made = written(fixtures).get(key)
    with tempfile.TemporaryDirectory() as folder:
        path = made.write(Path(folder)) if made is not None else None
        return key, brief(judged(fixtures, key, path), among)


def differences(old: Mapping[str, Brief], new: Mapping[str, Brief]) -> Iterator[str]:
    """Yield a line for each thing that differs."""
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if before is None or after is None:
            yield f"{key}: {'new' if before is None else 'gone'}"
            continue
        for field in sorted({*before, *after}):
            if before.get(field) != after.get(field):
                yield f"{key}: {field}: {before.get(field)} -> {after.get(field)}"


def main(arguments: list[str], fixtures: Path = Path("fixtures")) -> None:
    """Print what differs, and write it where that is asked for."""
    records, anew = recorded(fixtures), "--write" in arguments
    among = None if anew else known(records)
    with multiprocessing.get_context("fork").Pool() as pool:
        found = dict(pool.imap_unordered(partial(_found, fixtures, among), keys(fixtures), 4))
    print(*differences(records, found), sep="\n")
    if anew:
        lines = (
            f" {json.dumps(key)}: {json.dumps(found[key], ensure_ascii=False)}"
            for key in sorted(found)
        )
        text = "{\n" + ",\n".join(lines) + "\n}\n"
        (fixtures / "golden" / "verdicts.json").write_text(text, "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
