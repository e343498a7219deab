"""Small records, for what is made of them."""

from __future__ import annotations

from typing import Any

import pytest
from bn_properties.records import (
    Cause,
    Environment,
    Outcome,
    PropertyResult,
    Results,
    Status,
    SubmissionResult,
    Tool,
)

HOSTILE = (
    "=1+1 <script>alert('x')</script>{{7*7}}|`*_[x](http://e.vil) @all #1 \x1b[31m\x00\u202e\n# h"
)
"""A formula, markup of several kinds, a mention and what a terminal obeys, in one string."""


class Make:
    """Makes records of what matters in them."""

    hostile = HOSTILE

    def property(self, name: str, status: str, **changes: Any) -> PropertyResult:
        """Return a result; `part/` before its name is its part."""
        passed = status == "pass"
        part = name.rpartition("/")[0]
        fields: dict[str, Any] = {
            "id": name,
            "part": part or "main",
            "title": f"The statement of {name} holds.",
            "equation": "a = b",
            "status": Outcome(status),
            "points": 2.0 if passed else 0.0,
            "max_points": 2.0,
            "examples": 100,
            "message": "" if passed else "the results differ",
        }
        return PropertyResult(**(fields | changes))

    def properties(self, **statuses: str) -> tuple[PropertyResult, ...]:
        """Return results of the family `f`, by name."""
        return tuple(self.property(f"f.{name}", status) for name, status in statuses.items())

    def cause(self, fault: str, title: str = "", wrong: str = "w", right: str = "r") -> Cause:
        """Return a cause that explains all."""
        return Cause(
            fault=fault,
            title=title or f"the mistake {fault}",
            wrong=wrong,
            right=right,
            explanation="It matters.",
            explained=9,
            observed=9,
        )

    def submission(self, name: str, status: str = "incorrect", **changes: Any) -> SubmissionResult:
        """Return a submission's record."""
        fields: dict[str, Any] = {
            "id": name,
            "path": f"{name}.py",
            "sha256": "0" * 64,
            "course": "demo",
            "status": Status(status),
            "score": 4.0,
            "max_score": 10.0,
            "seconds": 1.5,
            "summary": f"The finding on {name}.",
        }
        return SubmissionResult(**(fields | changes))

    def run(self, *submissions: SubmissionResult, **changes: Any) -> Results:
        """Return a run."""
        fields: dict[str, Any] = {
            "tool": Tool(version="0.1.0"),
            "environment": Environment(
                python="3.12", numpy="2.2", hypothesis="6.130", platform="Linux"
            ),
            "seed": 7,
            "examples": 100,
            "isolation": "full",
            "submissions": submissions,
        }
        return Results(**(fields | changes))


@pytest.fixture(scope="session")
def make() -> Make:
    """Return what makes records."""
    return Make()
