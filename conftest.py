"""What all rooms' tests share."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if importlib.util.find_spec("torch") is not None:
        return
    if os.environ.get("BNORACLE_REQUIRE_TORCH"):
        pytest.exit("torch is required here, but is not installed", returncode=1)
    for item in items:
        if item.get_closest_marker("torch"):
            item.add_marker(pytest.mark.skip(reason="PyTorch is not installed"))


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
