"""Headless Chromium: the system's, or what BNORACLE_CHROMIUM names; it has no network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str | None:
    """Return the path of a Chromium; None where there is none."""
    named = os.environ.get("BNORACLE_CHROMIUM")
    return named or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def launched(path: str) -> Iterator[Browser]:
    """Start the Chromium at `path`; it ends with the context."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 (of an extra)

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        try:
            yield found
        finally:
            found.close()
