"""The pages in a real browser: narrow and wide, light and dark, open and folded, in print.

Chromium is the system's, or what BNORACLE_CHROMIUM names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
from bn_evidence import samples, screenshots
from bn_evidence.browser import chromium, launched
from bn_properties.record_types import Record
from bn_properties.records import Results
from bn_reports.formats.results_json import read_results
from bn_reports.html.pages import write_html

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

REQUIRED = bool(os.environ.get("BNORACLE_REQUIRE_BROWSER"))
WIDTHS = (360, 1600)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
OPEN_ALL = "document.querySelectorAll('details').forEach(each => { each.open = true; })"
INJECTIONS = (
    "<script>window.reached = 1</script>",
    "\"><img src=x onerror='window.reached = 2'>",
    "</style><svg onload='window.reached = 3'/>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:window.reached=4",
    "</script><b>bold</b>",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start Chromium, without a network of its own."""
    path = chromium()
    if not REQUIRED:
        if path is None:
            pytest.skip("there is no Chromium; BNORACLE_CHROMIUM may name one")
        pytest.importorskip("playwright")
    assert path is not None, "there is no Chromium"
    with launched(path) as found:
        yield found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grade the samples."""
    folder = tmp_path_factory.mktemp("samples") / "report"
    samples.write(folder)
    return folder


@pytest.fixture(scope="module")
def injected(report: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the same pages of records in which every text is an injection as well."""
    folder = tmp_path_factory.mktemp("injected")
    write_html(_injected(read_results(report / "results.json")), folder)
    return folder


def _injected(results: Results) -> Results:
    turn = iter(range(10**9))

    def spoiled(value: Any) -> Any:
        if isinstance(value, Record):
            kept = {
                "id",
                "sha256",
                "status",
                "dtype",
                "part",
                "case_errors",
                "failure",
                "basis",
                "conditions",
            }
            changed = {
                name: spoiled(getattr(value, name))
                for name in type(value).model_fields
                if name not in kept
            }
            return value.model_copy(update=changed)
        if isinstance(value, tuple):
            return tuple(spoiled(each) for each in value)
        if isinstance(value, dict):
            return {key: spoiled(each) for key, each in value.items()}
        if isinstance(value, str):
            return value + INJECTIONS[next(turn) % len(INJECTIONS)]
        return value

    found = [
        spoiled(each).model_copy(update={"id": each.id + INJECTIONS[number % len(INJECTIONS)]})
        for number, each in enumerate(results.submissions)
    ]
    return results.model_copy(update={"submissions": tuple(found)})


def pages(folder: Path) -> list[Path]:
    found = [folder / "index.html", *sorted((folder / "submissions").glob("*.html"))]
    assert len(samples.MISTAKES) + 2 == len(found)
    return found


class Opened:
    """A page, and what it asked for and complained of."""

    def __init__(self, browser: Browser, path: Path, **context: Any) -> None:
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self._context = browser.new_context(**context)
        self.page: Page = self._context.new_page()
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda said: self.complaints.append(said.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.page.goto(path.as_uri())

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_a_page_is_accessible_quiet_and_no_wider_than_the_screen(
    browser: Browser, report: Path, width: int, scheme: Literal["light", "dark"]
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    axe = Axe()
    screen = {"width": width, "height": 900}
    for path in pages(report):
        with Opened(browser, path, viewport=screen, color_scheme=scheme) as opened:
            for folds in ("as they are", "open"):
                if folds == "open":
                    opened.page.evaluate(OPEN_ALL)
                found = axe.run(opened.page).response["violations"]
                told = [(each["id"], each["nodes"][0]["html"][:200]) for each in found]
                assert [] == told, (path.name, folds)
                size = opened.page.evaluate("document.documentElement.scrollWidth")
                assert size <= width, (path.name, folds)
            assert [path.as_uri()] == opened.asked
            assert [] == opened.complaints


@pytest.mark.parametrize("script", [True, False])
def test_nothing_that_a_submission_says_is_more_than_text(
    browser: Browser, injected: Path, script: bool
) -> None:
    for path in pages(injected):
        with Opened(browser, path, java_script_enabled=script) as opened:
            assert [path.as_uri()] == opened.asked
            assert [] == opened.complaints
            if script:
                opened.page.evaluate(OPEN_ALL)
                assert opened.page.evaluate("window.reached === undefined"), path.name
                assert 0 == opened.page.locator("img, iframe, object, embed").count()
                assert 0 == opened.page.locator("[onload], [onerror], b b").count()
                links = "Array.from(document.links).map(each => each.protocol)"
                assert {"file:"} >= set(opened.page.evaluate(links))


def test_a_page_without_script_says_the_same(browser: Browser, report: Path) -> None:
    for path in pages(report):
        texts = []
        for script in (True, False):
            with Opened(browser, path, java_script_enabled=script) as opened:
                texts.append(set(opened.page.locator("main").inner_text().split()))
        with_it, without = texts
        assert without <= with_it, path.name
        offered = with_it - without
        assert len(offered) < 40, "script offers a few controls, and no content"


def test_what_is_linked_is_there(report: Path) -> None:
    html5lib = pytest.importorskip("html5lib")
    for path in pages(report):
        text = path.read_text("utf-8")
        parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
        tree = parser.parse(text)  # raises at what is not valid
        ids = {each.get("id") for each in tree.iter() if each.get("id")}
        for link in tree.iter("a"):
            file, _, fragment = str(link.get("href")).partition("#")
            if file:
                assert (path.parent / file).is_file(), (path.name, file)
            elif fragment:
                assert fragment in ids, (path.name, fragment)


def test_a_page_is_read_with_the_keyboard(browser: Browser, report: Path) -> None:
    for path in pages(report)[:2]:
        with Opened(browser, path, viewport={"width": 360, "height": 800}) as opened:
            opened.page.keyboard.press("Tab")
            first = opened.page.evaluate("document.activeElement.getAttribute('href')")
            assert "#content" == first, "the first stop skips to the content"
            for _ in range(12):
                opened.page.keyboard.press("Tab")
                if opened.page.evaluate("document.activeElement === document.body"):
                    break  # past the end
                outlined = opened.page.evaluate(
                    "getComputedStyle(document.activeElement).outlineStyle !== 'none'"
                )
                assert outlined, "where one is can be seen"


def test_a_page_can_be_printed(browser: Browser, report: Path) -> None:
    for path in pages(report)[:3]:
        with Opened(browser, path) as opened:
            assert opened.page.pdf().startswith(b"%PDF-")
            opened.page.emulate_media(media="print")
            hidden = opened.page.locator(".skip").is_visible()
            assert not hidden, "what is for the screen alone is not printed"


def test_the_readmes_pictures_are_taken(browser: Browser, report: Path, tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    screenshots.take(report, tmp_path / "new", browser)
    for name in screenshots.PICTURES:
        assert (tmp_path / "new" / name).read_bytes().startswith(b"\x89PNG")
        assert f"(docs/images/{name})" in readme


def test_a_class_is_sorted_and_filtered(browser: Browser, report: Path) -> None:
    def names(opened: Opened) -> list[str]:
        cells = opened.page.locator("#list tbody tr:visible th")
        return [text.replace("\u200b", "") for text in cells.all_inner_texts()]

    with Opened(browser, report / "index.html") as opened:
        everyone = names(opened)
        assert len(samples.MISTAKES) + 1 == len(everyone)
        heads = opened.page.locator("#list thead button")
        heads.nth(0).click()
        assert sorted(everyone) == names(opened)
        heads.nth(0).click()
        assert sorted(everyone, reverse=True) == names(opened)
        words, status = opened.page.locator("#filter input"), opened.page.locator("#filter select")
        words.fill("spatial")
        assert ["cs231n_spatial_reshape"] == names(opened)
        words.fill("")
        status.select_option(index=status.locator("option").count() - 1)
        assert ["cmu_handout"] == names(opened)
        assert [] == opened.complaints
