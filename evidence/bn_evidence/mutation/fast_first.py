"""A pytest plugin for mutmut's folder: quick tests first, for one failure ends a run; no slow ones.

A mutant that survives costs the time of all tests that call it, and the few slow ones are most of
that. What a search of some seconds alone would kill counts as survived.
"""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

STATS, SLOW = Path("mutmut-stats.json"), Path("slow-tests.json")
LIMIT = 1.0
"""Seconds, as mutmut measured them."""


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Order the tests by the time that each took, and leave out what is slow."""
    if not STATS.exists():
        return
    took = json.loads(STATS.read_text("utf-8"))["duration_by_test"]
    known = json.loads(SLOW.read_text("utf-8")) if SLOW.exists() else []
    # mutmut forgets the time of a test that it no longer sees.
    slow = set(known) | {name for name, seconds in took.items() if seconds > LIMIT}
    SLOW.write_text(json.dumps(sorted(slow)), encoding="utf-8")
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in slow])
    items[:] = sorted(
        (item for item in items if item.nodeid not in slow),
        key=lambda item: took.get(item.nodeid, 0.0),
    )


def pytest_sessionfinish() -> None:
    """Hide what is loaded from the collector, which pytest runs twice at the end of each mutant."""
    gc.freeze()
