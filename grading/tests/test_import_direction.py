"""Imports run one way: bn_oracle, bn_properties, bn_reports, bn_grading."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ORDER = {"oracle": 0, "properties": 1, "reports": 2, "grading": 3}
SOURCES = sorted(path for room in ORDER for path in ROOT.glob(f"{room}/bn_{room}/**/*.py"))


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


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_import_runs_against_the_direction(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    names = imported(path)
    later = {f"bn_{other}" for other, level in ORDER.items() if level > ORDER[room]}
    assert not names & later
    assert "relative" not in names


def test_the_oracle_imports_numpy_alone() -> None:
    names = set().union(*(imported(path) for path in SOURCES if "bn_oracle" in path.parts))
    assert {"bn_oracle", "numpy"} == names - sys.stdlib_module_names


def test_the_worker_imports_nothing_of_the_other_rooms() -> None:
    paths = [path for path in SOURCES if "worker" in path.parts]
    names = set().union(*(imported(path) for path in paths)) - sys.stdlib_module_names
    assert {"bn_grading", "numpy", "torch"} == names
    for path in paths:
        text = path.read_text("utf-8")
        assert "from bn_grading.worker" in text or "bn_grading" not in imported(path)
    for platform_bound in ("resource", "fcntl"):
        assert all(platform_bound not in imported(path) for path in SOURCES)
