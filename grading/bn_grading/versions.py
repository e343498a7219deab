"""What can change a verdict besides the submission: the grader's version, and its libraries'."""

from __future__ import annotations

import platform
from importlib.metadata import version

import hypothesis
import numpy as np
from bn_properties.records import Environment, Tool


def environment() -> Environment:
    """Return the versions that can change what is drawn or computed."""
    return Environment(
        python=platform.python_version(),
        numpy=np.__version__,
        hypothesis=hypothesis.__version__,
        platform=platform.platform(),
    )


def tool() -> Tool:
    """Return this grader's name and version."""
    return Tool(version=version("bnoracle"))
