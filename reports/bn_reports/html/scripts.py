"""The pages' few scripts: written into the page, and the only ones that its policy lets run."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from markupsafe import Markup


class Script(NamedTuple):
    """A script, and how a Content-Security-Policy names it."""

    text: Markup
    source: str
    """The `script-src` that allows it, and nothing else."""


@cache
def script(name: str) -> Script:
    """Return the script of that name, from beside the templates."""
    text = (files("bn_reports.html") / "templates" / name).read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
    return Script(Markup(text), f"'sha256-{digest}'")  # it is ours, and holds no markup
