"""The pytest plugin: `pytest --bn-subject my_bn.py` runs each property as one test.

Verdicts are those of `bnoracle check` with the same seed. A property that is blocked by another's
failure is an expected failure (the other fails); one that does not apply is skipped with its
reason; what is not implemented fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from bn_grading.pytest_items import Subject

_SUBJECT: pytest.StashKey[Subject] = pytest.StashKey()
PROFILES = {"quick": 33, "default": 100, "thorough": 400}
"""How many cases each profile draws; `thorough` also searches for the worst error."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options; without --bn-subject the plugin does nothing."""
    group = parser.getgroup("bnoracle", "batch normalization against an oracle")
    group.addoption(
        "--bn-subject",
        metavar="PATH_OR_IMPORT",
        help="what to test: a file, its folder, file.py:Class or package.Class",
    )
    group.addoption(
        "--bn-course", metavar="NAME", default="auto", help="a course, a .toml file, or auto"
    )
    group.addoption(
        "--bn-profile",
        choices=list(PROFILES),
        default="default",
        help="how many cases: quick, default or thorough",
    )
    group.addoption(
        "--bn-isolation",
        choices=["auto", "full", "lockdown", "none"],
        default="auto",
        help="how the subject is kept apart from this machine",
    )
    group.addoption("--bn-seed", type=int, default=0, help="the seed of the cases")


def pytest_configure(config: pytest.Config) -> None:
    """Where no path is named beside --bn-subject, collect the properties alone."""
    if config.getoption("--bn-subject") is None:
        return
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = []


def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add one item a property."""
    subject = config.getoption("--bn-subject")
    if subject is None:
        return
    # Hypothesis, pydantic and the oracle are imported only where they are asked for.
    from bn_grading.pytest_items import Subject  # noqa: PLC0415

    try:
        found = Subject(
            subject,
            config.getoption("--bn-course"),
            seed=config.getoption("--bn-seed"),
            examples=PROFILES[config.getoption("--bn-profile")],
            search=config.getoption("--bn-profile") == "thorough",
            isolation=config.getoption("--bn-isolation"),
        )
    except ValueError as error:
        raise pytest.UsageError(f"--bn-subject {subject}: {error}") from error
    config.stash[_SUBJECT] = found
    items += [
        PropertyItem.from_parent(session, name=name, nodeid=f"bnoracle::{name}")
        for name in found.items
    ]


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the worker process."""
    subject = config.stash.get(_SUBJECT, None)
    if subject is not None:
        subject.close()


class PropertyItem(pytest.Item):
    """One property of the subject."""

    def runtest(self) -> None:
        """Scan the property; fail with the smallest counterexample."""
        subject = self.config.stash[_SUBJECT]
        finding = subject.items[self.name].finding
        if finding is not None:
            self.user_properties.append(("error_over_bound", finding.worst))
            self.user_properties.append(("examples", finding.examples))
        subject.settle(self.name)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *args: Any) -> str:
        """Show the sentence and the example, not the plugin's own frames."""
        notes = getattr(excinfo.value, "__notes__", [])
        return "\n".join([str(excinfo.value), *notes])

    def reportinfo(self) -> tuple[str, int | None, str]:
        """Name the item in reports."""
        return "bnoracle", None, self.name
