"""Equations: LaTeX to MathML for the pages, and to one line of plain text for the terminal.

Both come from the same parse, so a fraction that a page groups rightly is grouped rightly in the
terminal, too. LaTeX that cannot be read is shown as it stands.
"""

from __future__ import annotations

import re
from functools import lru_cache
from xml.etree import ElementTree

from latex2mathml import converter
from markupsafe import Markup

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
_BINARY = frozenset("=≠≈≡<>≤≥≪≫+-−±·×∈∉→←↦⇒⇔∝∼∣≔∧∨")
_SUMS = frozenset("∑∏")
_SCRIPTED = frozenset({"msub", "munder", "msubsup", "munderover"})
_FUNCTIONS = frozenset(
    ["exp", "log", "ln", "max", "min", "sup", "inf", "det", "tr", "mean", "Var", "Cov", "std"]
)
_BRACKETED = re.compile(r"\([^()]*\)")
_ACCENTS = {"^": "\u0302", "¯": "\u0304", "‾": "\u0304", "~": "\u0303", "˜": "\u0303",
            "˙": "\u0307", "→": "\u20d7", "´": "\u0301"}  # fmt: skip
_HIGH = dict(zip("0123456789+-−=()nijkT", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ⁿⁱʲᵏᵀ", strict=True))
_LOW = dict(
    zip("0123456789+-−=()aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ", strict=True)
)


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
    """Return `latex` as one line of Unicode text, or unchanged if it cannot be read."""
    tree = _parse(latex)
    return latex if tree is None else " ".join(_text(tree).split())


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
        for name in set(node.attrib) - _ATTRIBUTES:
            del node.attrib[name]
    return tree


def _text(node: ElementTree.Element) -> str:  # noqa: PLR0911, PLR0912 - one return an element
    parts = [_text(child) for child in node]
    match node.tag:
        case "mspace":
            return " "
        case "mfrac":
            return f"{_numerator(parts[0])}/{_factor(node[1], parts[1])}"
        case "menclose":
            return f"⟦{_row(node, parts).strip()}⟧"
        case "msqrt":
            inside = _row(node, parts)
            return f"√{inside if len(inside) == 1 else f'({inside})'}"
        case "mroot":
            return f"{_script(parts[1], _HIGH, '^')}√{_factor(node[0], parts[0])}"
        case "msub" | "munder":
            return parts[0] + _script(parts[1], _LOW, "_")
        case "mover" if parts[1] in _ACCENTS:
            return parts[0] + _ACCENTS[parts[1]]
        case "msup" | "mover":
            return _factor(node[0], parts[0]) + _script(parts[1], _HIGH, "^")
        case "msubsup" | "munderover":
            return parts[0] + _script(parts[1], _LOW, "_") + _script(parts[2], _HIGH, "^")
        case "mtr":
            return ", ".join(part.strip() for part in parts)
        case "mtable":
            return "; ".join(parts)
        case "mi" | "mn" | "mo" | "mtext":
            return node.text or ""
        case _:
            return _row(node, parts)


def _row(node: ElementTree.Element, parts: list[str]) -> str:
    """Join a row: spaces around binary operators, fractions and names of several letters."""
    text = ""
    apart = named = False
    for child, part in zip(node, parts, strict=True):
        before = text.rstrip()[-1:]
        was_apart, apart = apart, _stands_apart(child, part)
        was_named, named = named, part in _FUNCTIONS
        if child.tag == "mo" and part in _BINARY:
            text += f" {part} " if before and before not in "([{," else part
        elif child.tag == "mo" and part == ",":
            text += ", "
        elif before in {"", *"([{"} or part[:1] in {*")]}|,;"}:
            text += part
        elif apart or was_apart or (was_named and part[:1].isalnum()):
            text += f" {part}"
        else:
            text += part
    return text.strip()


def _stands_apart(node: ElementTree.Element, part: str) -> bool:
    core = _core(node)
    return core.tag in {"mfrac", "mtable"} or (core.tag in _SCRIPTED and part[:1] in _SUMS)


def _core(node: ElementTree.Element) -> ElementTree.Element:
    """Unwrap rows of one."""
    while node.tag in {"mrow", "mstyle"} and len(node) == 1:
        node = node[0]
    return node


def _factor(node: ElementTree.Element, text: str) -> str:
    """Put `text` into brackets unless it is a single symbol, root, word or derivative."""
    core = _core(node)
    single = core.tag not in {"mrow", "mfrac"} or (text.isalpha() and _is_word(core))
    derivative = text.startswith("∂") and len(core) == 2
    return text if single or derivative or _is_bracketed(text) else f"({text.strip()})"


def _is_bracketed(text: str) -> bool:
    """Whether the bracket that `text` begins with is closed at its very end."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return place > 0 and place == len(text) - 1
    return False


def _is_word(node: ElementTree.Element) -> bool:
    return all(child.get("mathvariant") == "normal" for child in node)


def _numerator(text: str) -> str:
    """Put a sum or a fraction into brackets; a sign in front needs none."""
    outside = _BRACKETED.sub("", text.strip())
    compound = set(outside[1:]) & (_BINARY | {"/"}) or set(outside) & _SUMS
    return f"({text.strip()})" if compound else text


def _script(text: str, letters: dict[str, str], mark: str) -> str:
    """Raise or lower `text`: by Unicode's own small letters if it has them all, or by a mark."""
    compact = text.replace(" ", "")
    if all(character in letters for character in compact):
        return "".join(letters[character] for character in compact)
    return f"{mark}{compact}" if len(compact) == 1 else f"{mark}({compact})"
