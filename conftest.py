"""What all rooms' tests share."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent
_REQUIRED = pytest.StashKey[str]()
"""Why a test cannot be run that must be."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    _look_for_torch(items)
    _look_for_levels(items)


def _look_for_torch(items: list[pytest.Item]) -> None:
    if importlib.util.find_spec("torch") is not None:
        return
    if os.environ.get("BNORACLE_REQUIRE_TORCH"):
        pytest.exit("torch is required here, but is not installed", returncode=1)
    for item in items:
        if item.get_closest_marker("torch"):
            item.add_marker(pytest.mark.skip(reason="PyTorch is not installed"))


def _look_for_levels(items: list[pytest.Item]) -> None:
    """Skip what is for a level of isolation that is not there; or fail, where it must be there.

    `BNORACLE_REQUIRE_SANDBOX` names the level up to which all must be: `full` or `lockdown`.
    """
    asked = [(each, level) for each in items if (level := _level(each)) is not None]
    if not asked:
        return
    from bn_grading.subject.levels import Level, lacking  # noqa: PLC0415 (most rooms do without)

    required = os.environ.get("BNORACLE_REQUIRE_SANDBOX")
    needed = list(Level)[list(Level).index(Level(required)) :] if required else []
    for item, level in asked:
        reason = lacking(level)
        if reason is not None and level in needed:
            item.stash[_REQUIRED] = f"isolation {level} is required here: {reason}"
        elif reason is not None:
            item.add_marker(pytest.mark.skip(reason=f"no isolation {level} here: {reason}"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if _REQUIRED in item.stash:
        pytest.fail(item.stash[_REQUIRED], pytrace=False)


def _level(item: pytest.Item) -> Any:
    """Return the level of isolation that a test is for."""
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get("level")


@pytest.fixture(scope="session")
def fixtures_folder() -> Path:
    """The sample submissions."""
    return ROOT / "fixtures"


@pytest.fixture(autouse=True)
def nothing_fails_in_silence(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test in which the grader has logged a failure of its own."""
    yield
    for when in ("setup", "call"):
        failures = [each.getMessage() for each in caplog.get_records(when) if each.exc_info]  # type: ignore[arg-type]
        assert not failures, failures
