"""Equations: LaTeX to MathML for the pages, and to lines of plain text for the terminal.

Both come from the same parse, so a fraction that a page groups rightly is grouped rightly in the
terminal, too. LaTeX that cannot be read is shown as it stands.
"""

from __future__ import annotations

from functools import lru_cache
from xml.etree import ElementTree

from latex2mathml import converter
from markupsafe import Markup

from bn_reports.text.linear import lines

_TAGS = frozenset(
    (
        "math", "mrow", "mi", "mn", "mo", "mtext", "mspace", "mfrac", "msqrt", "mroot", "msub",
        "msup", "msubsup", "munder", "mover", "munderover", "mtable", "mtr", "mtd", "mstyle",
        "mpadded", "menclose",
    )
)  # fmt: skip
_ATTRIBUTES = frozenset(
    (
        "display", "mathvariant", "stretchy", "fence", "form", "accent", "accentunder",
        "columnalign", "width", "separator", "displaystyle", "scriptlevel", "linethickness",
        "minsize", "maxsize",
    )
)  # fmt: skip


@lru_cache(maxsize=4096)
def mathml(latex: str) -> Markup | None:
    """Return `latex` as a MathML element, or None if it cannot be converted.

    Only MathML's presentation elements and their harmless attributes are let through, so the
    result needs no escaping whatever the LaTeX was.
    """
    tree = _parse(latex)
    if tree is None:
        return None
    for marked in tree.iter("menclose"):
        # Browsers draw no box round a formula by themselves.
        marked.tag, marked.attrib = "mrow", {"class": "changed"}
    tree.set("xmlns", "http://www.w3.org/1998/Math/MathML")
    return Markup(ElementTree.tostring(tree, encoding="unicode"))  # the tree is an allow-list


@lru_cache(maxsize=4096)
def plain(latex: str) -> str:
    """Return `latex` as one line of Unicode text, or unchanged if it cannot be read.

    Equations that stand side by side on a page have a semicolon between them.
    """
    return "; ".join(equations(latex))


@lru_cache(maxsize=4096)
def equations(latex: str) -> tuple[str, ...]:
    """Return `latex` as `plain` does, but each of the equations side by side for itself."""
    tree = _parse(latex)
    return (latex,) if tree is None else lines(tree)


def _parse(latex: str) -> ElementTree.Element | None:
    """Read `latex` into a tree of allowed elements; None if any part of it is not understood."""
    try:
        tree = ElementTree.fromstring(converter.convert(latex))
    except Exception:  # the converter raises IndexError, KeyError and its own kinds on bad LaTeX
        return None
    for node in tree.iter():
        node.tag = node.tag.rpartition("}")[2]
        if node.tag not in _TAGS or "\\" in (node.text or ""):
            return None
        if node.tag == "mfrac" and len(node) != 2:
            return None
        # \epsilon and \varepsilon are one letter here, and that of all our sentences.
        node.text = node.text and node.text.replace("ϵ", "ε")
        for name in set(node.attrib) - _ATTRIBUTES:
            del node.attrib[name]
    return tree
