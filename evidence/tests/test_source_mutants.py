"""Every one-edit mutant of a right file that is not batch norm any more is rejected.

`BNORACLE_MUTANTS=all` takes every mutant; without it, a slice that the ids determine.
"""

from __future__ import annotations

import ast
import os
from functools import lru_cache
from pathlib import Path

import pytest
from bn_evidence.mistakes import MISTAKES
from bn_evidence.mutants.__main__ import HEAD, page
from bn_evidence.mutants.compare import differences
from bn_evidence.mutants.edits import mutants
from bn_evidence.mutants.equivalents import explain
from bn_evidence.mutants.judged import REFUSES, Judged, course_of, job, judge
from bn_evidence.power import markdown, measure
from bn_grading.case_bank import CaseBank
from bn_grading.courses.model import built_in

pytestmark = pytest.mark.once
ROOT = Path(__file__).parents[2]
FILES = sorted(
    path for path in (ROOT / "fixtures" / "correct").glob("*.py") if path.stem not in REFUSES
)
ONE_IN = 1 if os.environ.get("BNORACLE_MUTANTS") == "all" else 97

LAYER = """
import numpy as np

class BatchNorm1d:
    def __init__(self, num_features, alpha=0.9):
        self.BW = np.ones(num_features)

    def forward(self, Z, eval=False):
        return 2 * Z.mean(axis=0)
"""

OTHER_COURSEWORK = """
def relu(x):
    return x * (x > 0)

def rows(x):
    return x.shape[0]

def batchnorm_forward(x, gamma, beta, bn_param):
    return x / rows(x)
"""


@lru_cache(maxsize=1)
def bank() -> CaseBank:
    return CaseBank()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_differs_from_batch_norm_is_rejected(path: Path) -> None:
    found = judge(path, bank(), ONE_IN, equivalent=False)
    passing = [each.mutant.id for each in found if each.difference and not each.rejected_by]
    assert [] == passing


@pytest.mark.parametrize("course", ["cmu-hw1p1", "cs231n"])
def test_no_right_file_is_itself_found_different(course: str) -> None:
    sources = {path.stem: path.read_text("utf-8") for path in FILES}
    chosen = [name for name, source in sources.items() if course == course_of(source, name).id]
    assert chosen
    task = job(tuple(sources[name] for name in chosen), course, built_in()[course])
    assert dict.fromkeys(chosen, "") == dict(zip(chosen, differences(task), strict=True))
    assert all(part.situations for part in task.parts)


def test_the_same_source_gives_the_same_mutants_under_distinct_ids() -> None:
    first, second = mutants(LAYER, "layer"), mutants(LAYER, "layer")
    assert first == second
    assert len(first) == len({each.id for each in first})
    assert len(first) == len({each.source for each in first})
    assert {"layer:9:15:operator swapped", "layer:9:15:constant minus one"} <= {
        each.id for each in first
    }


def test_each_mutant_is_a_program_with_one_edit() -> None:
    original = ast.unparse(ast.parse(LAYER)) + "\n"
    for mutant in mutants(LAYER, "layer"):
        ast.parse(mutant.source)
        pairs = zip(original.splitlines(), mutant.source.splitlines(), strict=True)
        assert 1 == sum(before != after for before, after in pairs), mutant.id


def test_what_the_grader_sets_and_what_is_not_batch_norm_stays() -> None:
    assert {9} == {each.line for each in mutants(LAYER, "layer")}
    assert {6, 9} == {each.line for each in mutants(OTHER_COURSEWORK, "layers")}


def test_a_mutant_that_hangs_or_ends_the_process_is_different() -> None:
    right = FILES[0].read_text("utf-8")
    hangs = right.replace(
        "        if eval:", "        while True:\n            pass\n        if eval:"
    )
    ends = "import os\n" + right.replace(
        "        if eval:", "        os._exit(0)\n        if eval:"
    )
    task = job((hangs, ends, right), FILES[0].stem, course_of(right, FILES[0].stem))
    assert ["takes longer than 3 s", "it ends the process", ""] == differences(task)


def test_a_mutant_that_changes_nothing_is_explained() -> None:
    handout = next(path for path in FILES if path.stem == "cmu_handout")
    found = {each.id: each for each in mutants(handout.read_text("utf-8"), handout.stem)}
    expected = {
        "cmu_handout:17:8:minus added": "minus zero",
        "cmu_handout:31:17:keepdims dropped": "broadcasts",
        "cmu_handout:32:26:operands swapped": "sign cancels",
        "cmu_handout:38:8:statement deleted": "read from the object",
        "cmu_handout:48:19:constant plus one": "vanishing term",
    }
    assert expected == {id_: explain(found[id_]) for id_ in expected}


def test_the_published_page_says_what_is_done_now() -> None:
    assert (ROOT / "docs" / "mutants.md").read_text("utf-8").startswith(HEAD)


def test_the_page_counts_and_names_what_passes() -> None:
    first, second, third, *_ = mutants(LAYER, "layer")
    text = page({"layer": [Judged(first, "out", "p.q"), Judged(second, "out", "")]})
    assert "| **all** | 2 | 2 | 1 | 0 |" in text
    assert "## Different, and not rejected" in text
    assert second.id in text
    assert first.id not in text
    assert "| `layer` | 1 | 0 | 0 | 1 |" in page({"layer": [Judged(third, "", "")]})


def test_detection_power_is_measured_over_seeds() -> None:
    chosen = MISTAKES[::40]
    powers = measure(chosen, range(1, 3))
    assert [each.id for each in chosen] == [each.mistake for each in powers]
    assert {1.0} == {each.rejected for each in powers}
    assert f"{len(chosen)} mistakes; mean power 1.0000" in markdown(powers)
    assert [0.0] == [each.rejected for each in measure(chosen[:1], range(1, 3), examples=0)]
