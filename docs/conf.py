"""The site: the pages of this folder, the README and ARCHITECTURE.md, by Sphinx.

    tox -e docs

Equations become MathML, as on the report pages: no script and no network is needed to read them.
"""

from __future__ import annotations

import re
import shutil
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bn_reports.formats.results_json import read_results
from bn_reports.html.pages import INDEX, influence_diagram, page_path
from bn_reports.text.equations import mathml
from markupsafe import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docutils.nodes import Node
    from sphinx.application import Sphinx
    from sphinx.writers.html5 import HTML5Translator

HERE = Path(__file__).parent
SAMPLES = HERE / "samples"
"""Pages of sample submissions: `python -m bn_evidence.samples docs/samples` makes them."""

project = "bnoracle"
author = "the authors of bnoracle"
version = release = installed("bnoracle")
extensions = ["myst_parser"]
exclude_patterns = ["_build", "samples"]
html_theme = "furo"
html_title = f"bnoracle {version}"
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
myst_dmath_double_inline = True


def visit_math(self: HTML5Translator, node: Node) -> None:
    """Write an equation within a line."""
    self.body.append(_written(node.astext(), "inline"))
    _skip()


def visit_math_block(self: HTML5Translator, node: Node) -> None:
    """Write an equation that stands alone; a wide one is scrolled."""
    self.body.append(f'<div class="math" tabindex="0">{_written(node.astext(), "block")}</div>')
    _skip()


def _written(latex: str, display: str) -> str:
    found = mathml(latex)
    if found is None:
        raise ValueError(f"this equation cannot be written as MathML: {latex}")
    return str(found).replace('display="inline"', f'display="{display}"')


def _skip() -> None:
    from docutils.nodes import SkipNode  # noqa: PLC0415 (Sphinx alone has it)

    raise SkipNode


WHOLE = {"index": "README.md", "architecture": "ARCHITECTURE.md"}
"""Pages that are files of the checkout's root, before what else stands in them."""
_ANCHORED = re.compile(r'^(#+ )<a id="([\w-]+)"></a>', re.MULTILINE)
_DRAWN = re.compile(r"^```text\n[^`]*direct[^`]*```$", re.MULTILINE)
STYLE = """<style>
.diagram { width: 100%; max-width: 30rem; } .diagram text { fill: currentColor; font-size: 14px;
text-anchor: middle; } .diagram .aside { font-size: 11px; } .node, .edge { fill: none; stroke:
currentColor; stroke-width: 1.5; } .tip { fill: currentColor; }
</style>"""
_FILE = re.compile(r"\[([^]]+)\]\(fixtures/[^)]+\)")


def read(app: Sphinx, page: str, content: list[str]) -> None:
    """Take over the root's files, whose links are from there, and anchors before headings."""
    if page in WHOLE:
        text = (HERE.parent / WHOLE[page]).read_text("utf-8")
        text = text.replace("](docs/", "](").replace("](ARCHITECTURE.md", "](architecture.md")
        content[0] = _FILE.sub(r"`\1`", text) + "\n" + content[0]
    if page == "samples" and SAMPLES.is_dir():
        content[0] += "\n".join(sample_pages())
    if page == "derivation":
        content[0], count = _DRAWN.subn(lambda _: diagrams(), content[0])
        assert count == 1, "the influence diagram is drawn in letters once"
    content[0] = _ANCHORED.sub(r"(\2)=\n\1", content[0])


def diagrams() -> str:
    """Return the influence diagram as figures, forward and backward."""
    figures = (influence_diagram(backward=backward) for backward in (False, True))
    plain = (re.sub(r"\n\s*", "\n", str(each)).strip() for each in figures)
    return "\n\n".join((STYLE, *plain))


def sample_pages() -> Iterator[str]:
    """Yield a line for each page of the samples."""
    results = read_results(SAMPLES / "results.json")
    yield f'- <a href="samples/{INDEX}">The class</a>: {len(results.submissions)} submissions'
    for each in results.submissions:
        where = f"samples/{page_path(each.id)}"
        yield f'- <a href="{where}"><code>{escape(each.id)}</code></a>: {escape(each.summary)}'


def copy_samples(app: Sphinx, failed: Exception | None) -> None:
    """Put the sample pages beside the site's own."""
    if failed is None and SAMPLES.is_dir():
        shutil.copytree(SAMPLES, Path(app.outdir) / "samples", dirs_exist_ok=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Take equations and sample pages over."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    app.connect("source-read", read)
    app.connect("build-finished", copy_samples)
    return {"parallel_read_safe": True}


html_math_renderer = "mathml"
