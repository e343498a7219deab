"""The lines in which formulas go wrong: those that are told are those that were edited."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from bn_grading.case_bank import CaseBank
from bn_grading.courses.matching import match
from bn_grading.courses.model import built_in
from bn_grading.examination import Examination
from bn_grading.grade import grade
from bn_grading.intake.paths import single
from bn_properties.calls import Infer, Train
from bn_properties.protocol import Setup
from bn_properties.records import SourceLine
from bn_properties.scenario import Scenario
from bn_worker.tracing import Assigned

CORRECT = Path(__file__).parents[2] / "fixtures" / "correct"
COURSES = list(built_in().values())


@lru_cache(maxsize=1)
def bank() -> CaseBank:
    return CaseBank()


def told(base: str, right: str, wrong: str, folder: Path) -> tuple[list[int], list[SourceLine]]:
    """Return the lines that were edited, and those that are told."""
    source = (CORRECT / f"{base}.py").read_text("utf-8")
    assert source.count(right) == 1, right
    changed = source.replace(right, wrong)
    path = folder / "bn.py"
    path.write_text(changed, "utf-8")
    lines = enumerate(zip(source.splitlines(), changed.splitlines(), strict=True), 1)
    edited = [number for number, (before, after) in lines if before != after]
    result = grade(single(str(path)), None, COURSES, bank())
    assert result.causes, result.summary
    return edited, [line for cause in result.causes for line in cause.lines]


SLIPS = [
    ("cmu_handout", "np.sqrt(self.V + self.eps)", "(np.sqrt(self.V) + self.eps)"),
    ("cmu_handout", "(1 - self.alpha) * self.V", "(1 + self.alpha) * self.V"),
    ("cmu_handout", "dLdBZ * self.NZ, axis=0", "dLdBZ * self.Z, axis=0"),
    ("cmu_handout", "dLdNZ * diff * (self.V", "dLdNZ * self.NZ * (self.V"),
    ("cmu_handout", "np.sqrt(self.running_V + self.eps)", "np.sqrt(self.running_V)"),
    ("cs231n_graph", "dvar = 0.5 / sqrtvar", "dvar = 2.0 / sqrtvar"),
    ("cs231n_graph", "np.sqrt(running_var + eps)", "(running_var + eps)"),
    ("cs231n_spatial_native", "M = N * H * W", "M = N * H * H"),
]


@pytest.mark.parametrize(("base", "right", "wrong"), SLIPS)
def test_the_line_that_is_told_is_the_one_that_was_edited(
    base: str, right: str, wrong: str, tmp_path: Path
) -> None:
    edited, lines = told(base, right, wrong, tmp_path)
    assert edited == [line.number for line in lines]
    (line,) = lines
    assert wrong.split(",", maxsplit=1)[0] in line.code


UNTOLD = [
    # The line before gives what belongs elsewhere another name, or computes it.
    ("cs231n_graph", "dxhat = dgammax * gamma", "dxhat = dgammax / gamma"),
    ("cs231n_graph", "ivar = 1.0 / sqrtvar", "ivar = 1.0 * sqrtvar"),
    # The next line reads a number, an array or an attribute that is wrong already.
    ("cs231n_graph", "mu = 1.0 / N * np.sum(x, axis=0)", "mu = 1.0 / N"),
    ("cmu_properties", "np.sum(dLdBZ * self.u, axis=0)", "np.sum(dLdBZ * self.u, axis=1)"),
    ("cmu_vanishing_without_n", "D, S = self.Z - self.M,", "D, S = self.Z,"),
]


@pytest.mark.parametrize(("base", "right", "wrong"), UNTOLD)
def test_where_it_may_be_another_line_none_is_told(
    base: str, right: str, wrong: str, tmp_path: Path
) -> None:
    edited, lines = told(base, right, wrong, tmp_path)
    assert edited
    assert not lines


def followed(source: str, scenario: Scenario, folder: Path) -> tuple[Assigned, ...]:
    path = folder / "bn.py"
    path.write_text(source, "utf-8")
    found = match(single(str(path)), None, COURSES)
    with Examination(found, bank()) as examination:
        part = examination.main
        assert part is not None
        return examination._subject(part).trace(scenario)


BATCH = np.array([[1.0, 2.0], [3.0, 5.0], [4.0, 0.0]])
SCENARIO = Scenario(Setup(2), (Train(BATCH, BATCH + 1), Infer(BATCH)))


def test_every_named_array_is_followed_with_its_line(tmp_path: Path) -> None:
    source = (CORRECT / "cmu_handout.py").read_text("utf-8")
    found = followed(source, SCENARIO, tmp_path)
    lines = source.splitlines()
    means = [each for each in found if each.name == "self.M" and each.line]
    assert means
    assert np.array_equal(means[0].value, BATCH.mean(axis=0, keepdims=True))
    assert "self.M" in lines[means[0].line - 1]
    assert next(each.line for each in found if each.name == "Z") == 0


def test_a_cache_is_looked_into(tmp_path: Path) -> None:
    source = (CORRECT / "cs231n_compact.py").read_text("utf-8")
    names = {each.name for each in followed(source, SCENARIO, tmp_path)}
    assert any(name.startswith(("cache[", "return[")) for name in names)


@pytest.mark.parametrize(
    "hostile",
    [
        "import sys\nsys.settrace = None\n",
        "import threading\nthreading.settrace(lambda *a: 1 / 0)\n",
    ],
)
def test_a_file_that_meddles_with_tracing_costs_itself_the_lines(
    hostile: str, tmp_path: Path
) -> None:
    source = hostile + (CORRECT / "cmu_handout.py").read_text("utf-8")
    path = tmp_path / "bn.py"
    path.write_text(source.replace("np.sqrt(self.V + self.eps)", "np.sqrt(self.V)"), "utf-8")
    assert grade(single(str(path)), None, COURSES, bank()).causes


def test_a_file_that_is_nested_too_deeply_costs_itself_the_lines(tmp_path: Path) -> None:
    deep = f"_ = ''{'.strip()' * 400}\n"
    source = deep + (CORRECT / "cmu_handout.py").read_text("utf-8")
    path = tmp_path / "bn.py"
    path.write_text(source.replace("np.sqrt(self.V + self.eps)", "(np.sqrt(self.V) + self.eps)"))
    result = grade(single(str(path)), None, COURSES, bank())
    assert result.causes
    assert () == result.causes[0].lines
