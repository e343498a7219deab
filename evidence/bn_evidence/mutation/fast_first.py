"""A pytest plugin for mutmut's folder: the quickest tests first, as one failure ends a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

STATS = Path("mutmut-stats.json")


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Order the tests by the time that each took when mutmut measured them."""
    if STATS.exists():
        took = json.loads(STATS.read_text("utf-8"))["duration_by_test"]
        items.sort(key=lambda item: took.get(item.nodeid, 0.0))
