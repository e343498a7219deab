"""The rooms: imports run one way, and the worker does what the grader knows to ask."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import numpy as np
import pytest
from bn_grading.courses.interfaces import RUNTIMES
from bn_properties.call import Call
from bn_properties.calls import (
    AddUp,
    Backward,
    Descend,
    Infer,
    LookAgain,
    OtherLayer,
    Population,
    Reload,
    SetMomentum,
    SetParameters,
    Train,
)
from bn_properties.protocol import Setup
from bn_properties.scenario import Scenario
from bn_worker import runtimes
from bn_worker.loop import Worker

ROOT = Path(__file__).parents[2]
MAY_IMPORT = {
    "oracle": set(),
    "worker": set(),
    "properties": {"bn_oracle"},
    "diagnosis": {"bn_oracle", "bn_properties"},
    "reports": {"bn_oracle", "bn_properties"},
    "grading": {"bn_oracle", "bn_properties", "bn_diagnosis", "bn_reports", "bn_worker"},
    "evidence": {
        "bn_oracle",
        "bn_properties",
        "bn_diagnosis",
        "bn_reports",
        "bn_worker",
        "bn_grading",
    },
}
"""For each room, the packages of the others that it may import."""
PLATFORM_BOUND = {"fcntl", "grp", "msvcrt", "pwd", "resource", "termios", "winreg"}
ISOLATION = ("worker", "grading/bn_grading/subject")
"""Where such modules may be imported, behind a check of the platform."""
SOURCES = sorted(path for room in MAY_IMPORT for path in ROOT.glob(f"{room}/bn_{room}/**/*.py"))


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
        elif isinstance(node, ast.ImportFrom):
            found.add("relative")
    return found


def of(room: str) -> list[Path]:
    return [path for path in SOURCES if path.relative_to(ROOT).parts[0] == room]


def test_every_room_is_there() -> None:
    shelves = {path.parent.name for path in ROOT.glob("*/bn_*/") if path.is_dir()}
    assert set(MAY_IMPORT) == shelves
    assert all(of(room) for room in MAY_IMPORT)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_import_runs_against_the_direction(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    names = imported(path)
    ours = {name for name in names if name.startswith("bn_")} - {f"bn_{room}"}
    assert set() == ours - MAY_IMPORT[room]
    assert "relative" not in names


def test_the_oracle_imports_numpy_alone() -> None:
    names = set().union(*map(imported, of("oracle")))
    assert {"bn_oracle", "numpy"} == names - sys.stdlib_module_names


def test_the_worker_imports_numpy_alone_and_a_runtime_its_own_framework() -> None:
    for path in of("worker"):
        allowed = {"bn_worker", "numpy"} | ({"torch"} if path.name == "torch.py" else set())
        assert set() == imported(path) - sys.stdlib_module_names - allowed, path


def test_what_one_platform_has_is_imported_for_isolation_alone() -> None:
    for path in SOURCES:
        place = path.relative_to(ROOT).as_posix()
        if not place.startswith((*ISOLATION, "evidence/bn_evidence/speed.py")):
            assert set() == imported(path) & PLATFORM_BOUND, place


def test_the_worker_does_what_the_grader_knows_to_ask() -> None:
    assert set(RUNTIMES) == set(runtimes.RUNTIMES)
    batch, vector = np.ones((2, 1)), np.ones(1)
    asked: tuple[Call, ...] = (
        Train(batch, batch),
        Infer(batch, batch),
        Backward(batch),
        OtherLayer(batch),
        LookAgain(),
        SetParameters(vector, vector),
        Population((batch,)),
        Descend(batch),
        AddUp(batch, batch, batch, batch),
        Reload(),
        SetMomentum(0.5),
    )
    assert set(Call.__subclasses__()) == {type(call) for call in asked}
    scenario = Scenario(Setup(1), asked)
    names = {each.name for operations in scenario.operations for each in operations}
    assert {"lock", "load", "construct", "trace", "traced", *names} == Worker().operations
