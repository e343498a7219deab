"""How often the cause of a mistake is found: one-edit mutants of right files, and pairs of them.

    PYTHONPATH=evidence python -m bn_evidence.causes > docs/causes.md

grades a slice of the source mutants in full, and prints what was said of each. It takes ten
minutes.
"""

from __future__ import annotations

import ast
import difflib
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations, pairwise
from pathlib import Path

from bn_grading.case_bank import CaseBank
from bn_grading.courses.model import built_in
from bn_grading.grade import grade
from bn_properties.records import Outcome, SubmissionResult

from bn_evidence.mutants.compare import differences
from bn_evidence.mutants.edits import Mutant, mutants
from bn_evidence.mutants.judged import chosen, course_of, job
from bn_evidence.mutants.trial import submission

CORE = {
    "training.agreement": "the training output",
    "inference.affine_fold": "the inference output",
    "running.mean_recurrence": "the running mean",
    "running.variance_recurrence": "the running variance",
    "backward.gamma_gradient": "dγ",
    "backward.beta_gradient": "dβ",
    "backward.input_gradient": "dz",
}
"""The properties that fail where a formula is wrong, and what each is about."""
ONE_IN = 25
PAIRS = 4
"""At most so many pairs a file."""


@dataclass(frozen=True)
class Found:
    """What was said of one mutant, or of a pair."""

    name: str
    edits: tuple[str, ...]
    """What was changed into what."""
    edited: frozenset[int]
    """The lines that differ from the right file."""
    wrong: frozenset[str]
    """The core properties that fail for themselves."""
    causes: tuple[str, ...]
    whole: bool
    """Whether the cause reproduces all that was observed."""
    lines: tuple[int, ...]
    seconds: float
    """Of processor time."""
    source: str = field(repr=False)

    @property
    def is_named(self) -> bool:
        """Whether a cause was found."""
        return bool(self.causes)

    @property
    def tells_wrongly(self) -> bool:
        """Whether a line is told that was not edited."""
        return not self.edited.issuperset(self.lines)


def diagnosed(
    name: str, base: str, source: str, edits: tuple[str, ...], bank: CaseBank
) -> Found | None:
    """Return what is said of a source; None where no formula of the main part is wrong.

    `base` is the right file, in the same layout.
    """
    course = course_of(base, name)
    began = time.process_time()
    result = grade(submission(source, name), course, list(built_in().values()), bank)
    seconds = time.process_time() - began
    wrong = _wrong(result)
    if not wrong:
        return None
    causes = result.causes
    return Found(
        name,
        edits,
        frozenset(_edited(base, source)),
        wrong,
        tuple(each.title for each in causes),
        all(each.explained == each.observed for each in causes),
        tuple(line.number for each in causes for line in each.lines),
        seconds,
        source,
    )


def _wrong(result: SubmissionResult) -> frozenset[str]:
    """Return the core properties that fail by a wrong number, each for itself."""
    failed = {each.id: each for each in result.properties if each.status is Outcome.FAIL}
    numbers = {
        id_
        for id_, each in failed.items()
        if each.counterexample is not None and each.counterexample.comparison is not None
    }
    if failed.keys() & CORE.keys() - numbers:
        return frozenset()  # it raises, or gives something of another shape
    return frozenset(numbers & CORE.keys())


def single(path: Path, bank: CaseBank, one_in: int = ONE_IN) -> list[Found]:
    """Return what is said of a slice of a right file's mutants."""
    source, name = path.read_text("utf-8"), path.stem
    course, base = course_of(source, name), laid_out(source)
    made = [each for each in mutants(source, name) if chosen(each, one_in)]
    differ = differences(job(tuple(each.source for each in made), name, course))
    found = (
        diagnosed(each.id, base, each.source, (_edit(each),), bank)
        for each, different in zip(made, differ, strict=True)
        if different
    )
    return [each for each in found if each is not None]


def laid_out(source: str) -> str:
    """Return a file as mutants are written: without comments, a statement a line."""
    return ast.unparse(ast.parse(source))


def _edit(mutant: Mutant) -> str:
    before, after = (" ".join(text.split()) for text in (mutant.before, mutant.after))
    return f"{before} → {after or 'nothing'}"


def _edited(base: str, source: str) -> Iterator[int]:
    """Yield the numbers of the lines that differ; of what is deleted, those around it."""
    matcher = difflib.SequenceMatcher(None, base.splitlines(), source.splitlines(), autojunk=False)
    for tag, _, _, first, last in matcher.get_opcodes():
        if tag != "equal":
            yield from range(first + 1, last + 1) if last > first else (first, first + 1)


def paired(path: Path, singles: Sequence[Found], bank: CaseBank) -> list[Found]:
    """Return what is said of pairs of mutants whose mistakes are in different observables."""
    base, found = laid_out(path.read_text("utf-8")), list[Found]()
    for one, other in combinations(singles, 2):
        if len(found) == PAIRS:
            break
        both = None if one.wrong & other.wrong else merged(base, one.source, other.source)
        if both is None:
            continue
        edits = (*one.edits, *other.edits)
        said = diagnosed(f"{one.name} and {other.name}", base, both, edits, bank)
        found += [said] if said is not None else []
    return found


def merged(source: str, one: str, other: str) -> str | None:
    """Return a text with the changes of two others in it; None where they touch the same lines."""
    lines = source.splitlines()
    changes = [*_changes(lines, one), *_changes(lines, other)]
    changes.sort(key=lambda each: -each[0])
    for (later, _, _), (_, end, _) in pairwise(changes):
        if end > later:
            return None
    for start, end, new in changes:
        lines[start:end] = new
    return "\n".join((*lines, ""))


def _changes(lines: list[str], changed: str) -> Iterator[tuple[int, int, list[str]]]:
    theirs = changed.splitlines()
    matcher = difflib.SequenceMatcher(None, lines, theirs, autojunk=False)
    for tag, start, end, first, last in matcher.get_opcodes():
        if tag != "equal":
            yield start, end, theirs[first:last]


def markdown(singles: Sequence[Found], pairs: Sequence[Found], one_in: int = ONE_IN) -> str:
    """Return the page."""
    lines = [
        "# Causes",
        "",
        "How often the grader finds what a wrong file computes. Right files are edited in one",
        f"place (one in {one_in} of the [source mutants](mutants.md)), and in two places whose",
        "mistakes are in different observables; each file is graded in full. Only those count in",
        "which a formula gives a wrong number. Made by",
        f"`PYTHONPATH=evidence python -m bn_evidence.causes {one_in} > docs/causes.md`",
        "from the checkout's root.",
        "",
        "A cause counts where what it computes is what the file computes, on at least 95% of the",
        "numbers of every observable that it is about, and mostly on all; a line counts as wrong",
        "where it is told and was not edited.",
        "",
        "| | files | with a cause | of them reproduced to the last number | with a line | a wrong "
        "line | processor time: median | 95% |",
        "|---|---|---|---|---|---|---|---|",
        _row("one edit", singles),
        _row("two edits", pairs),
        "",
    ]
    for title, found in (("One edit", singles), ("Two edits", pairs)):
        lines += [f"## {title}: no cause", ""]
        lines += [_listed(each) for each in found if not each.is_named] or ["None."]
        lines += ["", f"## {title}: a line that was not edited", ""]
        lines += [_listed(each) for each in found if each.tells_wrongly] or ["None."]
        lines.append("")
    return "\n".join(lines)


def _row(title: str, found: Sequence[Found]) -> str:
    if not found:
        return f"| {title} | 0 | | | | | | |"
    named = [each for each in found if each.is_named]
    whole, lined = sum(each.whole for each in named), sum(bool(each.lines) for each in named)
    wrongly = sum(each.tells_wrongly for each in named)
    seconds = sorted(each.seconds for each in found)
    median, most = seconds[len(seconds) // 2], seconds[int(len(seconds) * 0.95)]
    return (
        f"| {title} | {len(found)} | {len(named)} ({len(named) / len(found):.1%}) | {whole} "
        f"| {lined} | {wrongly} | {median:.2f} s | {most:.2f} s |"
    )


def _listed(found: Found) -> str:
    edits = "; ".join(f"`{change}`" for change in found.edits)
    lines = ", ".join(map(str, sorted(found.edited)))
    told = f"; line {lines} is edited, {found.lines} told" if found.lines else ""
    return f"- `{found.name}`: {edits}{told}"


def of_file(path: Path, one_in: int) -> tuple[list[Found], list[Found]]:
    """Return what is said of a file's mutants, and of pairs of them."""
    bank = CaseBank()
    singles = single(path, bank, one_in)
    return singles, paired(path, singles, bank)


def main(one_in: int = ONE_IN, folder: Path = Path("fixtures/correct")) -> None:
    """Grade, and print the page."""
    paths = sorted(folder.glob("*.py"))
    with multiprocessing.get_context("fork").Pool() as pool:
        found = pool.map(partial(of_file, one_in=one_in), paths, 1)
    singles = [each for one, _ in found for each in one]
    print(markdown(singles, [each for _, pairs in found for each in pairs], one_in), end="")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ONE_IN)
