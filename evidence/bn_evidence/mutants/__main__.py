"""Make docs/mutants.md; the page says by which command."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from bn_grading.case_bank import CaseBank

from bn_evidence.mutants.equivalents import CLASSES, explain
from bn_evidence.mutants.judged import REFUSES, Judged, judge

HEAD = """# Source mutants

Each right NumPy file in `fixtures/correct/`, but one that refuses a batch of one, is edited in one
place at a time, in every way that `bn_evidence/mutants/operators.py` knows: operators and
constants exchanged, signs, axes, `keepdims`, factors, terms, divisors and exponents dropped, names
and arguments swapped, statements deleted, conditions negated, mean for sum, n − 1 for n. Code that
is not batch norm stays.

What counts as *different* is settled without the properties: `bn_evidence/mutants/truth.py`
computes the right answers to 40 digits with mpmath (in the extra `test`) for well-conditioned
cases of a seed of its own: training output, dz, dγ, dβ and running statistics of one step;
inference with set statistics; training, inference, training, training from a fresh layer; training
and two backward passes of a layer on which nothing was set. A mutant
differs when an answer is off by more than 1e-6 of the quantity's size, has a shape that is not
allowed, or does not come. Every mutant that differs must be rejected by the grader at its default
seed and number of cases.

From the checkout's root,

    PYTHONPATH=evidence python -m bn_evidence.mutants fixtures/correct/*.py > docs/mutants.md
    BNORACLE_MUTANTS=all python -m pytest -q -n 2 evidence/tests/test_source_mutants.py

make this page, and put every mutant to the test. Without the variable, the test takes about one
mutant in a hundred. The comparison needs `signal.setitimer`, which Windows has not.
"""


def page(judged: Mapping[str, Sequence[Judged]]) -> str:
    """Return the page for the mutants of every file."""
    lines = [
        HEAD,
        "## Figures",
        "",
        "| file | mutants | different | of these rejected | not different |",
        "|---|---|---|---|---|",
    ]
    for name, found in judged.items():
        lines.append(_row(f"`{name}`", found))
    everything = [each for found in judged.values() for each in found]
    lines += [_row("**all**", everything), ""]
    passing = [each for each in everything if each.difference and not each.rejected_by]
    if passing:
        lines += ["## Different, and not rejected", "", *map(_item, passing), ""]
    first = Counter(each.rejected_by for each in everything if each.difference)
    lines += [
        "## What rejects them first",
        "",
        "The agreement properties are asked first, because one rejection is enough; most of the",
        "others would reject as well.",
        "",
        "| property | mutants |",
        "|---|---|",
        *(f"| `{name}` | {count} |" for name, count in first.most_common() if name),
        "",
    ]
    return "\n".join(lines + _equivalent(everything)) + "\n"


def _row(name: str, found: Sequence[Judged]) -> str:
    different = [each for each in found if each.difference]
    rejected = sum(bool(each.rejected_by) for each in different)
    return (
        f"| {name} | {len(found)} | {len(different)} | {rejected} | {len(found) - len(different)} |"
    )


def _item(each: Judged) -> str:
    before, after = (
        " ".join(text.split()) for text in (each.mutant.before, each.mutant.after or "(nothing)")
    )
    return f"- {each.mutant.id}: `{before}` → `{after}`"


def _equivalent(everything: Sequence[Judged]) -> list[str]:
    same = [each for each in everything if not each.difference]
    lines = ["## Not different, yet rejected", ""]
    lines.append("Their numbers are right; what they do besides is not, or they lose accuracy.")
    lines.append("")
    lines += [f"{_item(each)}: by `{each.rejected_by}`" for each in same if each.rejected_by]
    lines += ["", "## Equivalent", ""]
    passing = [each for each in same if not each.rejected_by]
    by_class: dict[str, list[Judged]] = {}
    for each in passing:
        by_class.setdefault(explain(each.mutant), []).append(each)
    for name in (*CLASSES, "unexplained"):
        if name in by_class:
            lines += [f"### {name.capitalize()}: {len(by_class[name])}", ""]
            lines += [CLASSES.get(name, ""), "", *map(_item, by_class[name]), ""]
    return lines[:-1]


if __name__ == "__main__":
    files = [path for path in map(Path, sys.argv[1:]) if path.stem not in REFUSES]
    with ProcessPoolExecutor() as pool:
        found = pool.map(partial(judge, bank=CaseBank()), files)
        print(page(dict(zip((file.stem for file in files), found, strict=True))), end="")
