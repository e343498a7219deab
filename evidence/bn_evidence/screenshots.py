"""The README's pictures: the first screen of the sample class, and of one submission.

PYTHONPATH=evidence python -m bn_evidence.screenshots docs/images
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bn_reports.html.pages import INDEX, page_path

from bn_evidence import samples
from bn_evidence.browser import chromium, launched

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PICTURES = {"class.png": INDEX, "submission.png": page_path("cmu_root_plus_eps")}
"""What is taken of which page."""


def take(report: Path, folder: Path, browser: Browser) -> None:
    """Take the pictures of a report of the samples."""
    folder.mkdir(parents=True, exist_ok=True)
    page = browser.new_page(viewport={"width": 1120, "height": 760}, color_scheme="light")
    for name, shown in PICTURES.items():
        page.goto((report / shown).as_uri())
        page.screenshot(path=folder / name)


if __name__ == "__main__":
    path = chromium()
    if path is None:
        sys.exit("there is no Chromium; BNORACLE_CHROMIUM may name one")
    with tempfile.TemporaryDirectory() as made, launched(path) as chrome:
        report_folder = Path(made) / "report"
        samples.write(report_folder)
        take(report_folder, Path(sys.argv[1]), chrome)
