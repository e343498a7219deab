"""What can change a verdict besides the submission: the grader's version, and its libraries'."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version

from bn_properties.records import Basis, Environment, Tool

from bn_grading.case_bank import CaseBank
from bn_grading.courses.interfaces import FRAMEWORKS
from bn_grading.courses.model import Course, Part
from bn_grading.subject.isolation import Level


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Return the versions that can change what is drawn or computed."""
    return Environment(
        python=platform.python_version(),
        numpy=version("numpy"),
        hypothesis=version("hypothesis"),
        platform=platform.platform(),
    )


def installed(package: str) -> str:
    """Return a package's version; in a course whose framework is missing nothing is asked."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"


@lru_cache(maxsize=1)
def tool() -> Tool:
    """Return this grader's name and version."""
    return Tool(version=version("bnoracle"))


def basis(course: Course, parts: Sequence[Part], bank: CaseBank, level: Level) -> Basis:
    """Return everything that a verdict on these parts rests on."""
    framework = course.framework
    name, package = (FRAMEWORKS[framework], framework) if framework else ("NumPy", "numpy")
    return Basis(
        tool=tool().version,
        environment=environment(),
        runtime=f"{name} {installed(package)}",
        isolation=level.value,
        seed=bank.seed,
        examples=bank.examples,
        cases_sha256=bank.sha256({part.spatial_axes for part in parts}),
        course_sha256=course.sha256,
    )
