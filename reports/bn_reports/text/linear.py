"""A formula as lines of Unicode text, in which no reader groups what the formula does not.

What stands behind a fraction is set off by a dot (`γ/s · (Gᵢ − mean(G))`), for 1/s G might be
1/(sG); a sign that is no subtraction stands in brackets (`∑ᵢ (−1/s)`), and what is only set beside
another equation on a page becomes a line of its own.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final, Literal, NamedTuple
from xml.etree.ElementTree import Element

_RELATIONS: Final = frozenset("=≠≈≡<>≤≥≪≫∈∉→←↦⇒⇔∝∼∣≔")
_SIGNS: Final = frozenset("+-−±")
_OPERATORS: Final = _SIGNS | frozenset("×·∧∨⊕⊗∘")
_SUMS: Final = frozenset("∑∏")
_OPEN, _CLOSE, _STOPS = frozenset("([{⟨"), frozenset(")]}⟩"), frozenset(",;:")
_SCRIPTED: Final = frozenset({"msub", "munder", "msubsup", "munderover"})
_FUNCTIONS: Final = frozenset(
    ["exp", "log", "ln", "max", "min", "sup", "inf", "det", "tr", "mean", "Var", "Cov", "std"]
)
_OVERLINES: Final = frozenset("―‾")
_ACCENTS: Final = {"^": "\u0302", "¯": "\u0304", "~": "\u0303", "˜": "\u0303", "˙": "\u0307",
                   "→": "\u20d7", "´": "\u0301"}  # fmt: skip
_HIGH: Final = {
    **dict(zip("0123456789+-−=()", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾", strict=True)),
    **dict(zip("abcdefghijklmnoprstuvwxyz", "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ", strict=True)),
    "T": "ᵀ", "⊤": "ᵀ", "K": "ᴷ", "N": "ᴺ", "B": "ᴮ", "D": "ᴰ", "′": "′",
}  # fmt: skip
_LOW: Final = dict(
    zip("0123456789+-−=()aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ", strict=True)
)
_BRACKETED: Final = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
_BREAK: Final = "\n"
"""Stands where the next equation begins."""
_WIDE: Final = 2.0
"""How many em set two equations apart."""

_Kind = Literal["", "sign", "between", "sum", "fraction", "name", "factor"]
"""What came last in a row: nothing that is a factor (the beginning, a relation, a stop, an open
bracket, words), a sign, another operator, a Σ, a fraction, a name, or any other factor."""


def lines(tree: Element) -> tuple[str, ...]:
    """Return the formula that `tree` (MathML) holds, each equation as a line."""
    text = unicodedata.normalize("NFC", _text(tree))
    return tuple(" ".join(line.split()) for line in text.split(_BREAK) if line.strip())


def _text(node: Element) -> str:  # noqa: PLR0911, PLR0912 - one return an element
    parts = [_text(child) for child in node]
    match node.tag:
        case "mspace":
            return _BREAK if float(node.get("width", "0em").rstrip("em") or 0) >= _WIDE else " "
        case "mfrac":
            return f"{_numerator(parts[0])}/{_factor(node[1], parts[1])}"
        case "menclose":
            return f"⟦{_row(node, parts)}⟧"
        case "msqrt":
            inside = _row(node, parts)
            return f"√{inside if len(inside) == 1 else f'({inside})'}"
        case "mroot":
            return f"{_script(parts[1], _HIGH, '^')}√{_factor(node[0], parts[0])}"
        case "msub" | "munder":
            return parts[0] + _script(parts[1], _LOW, "_")
        case "mover" if parts[1] in _OVERLINES:
            return f"mean({parts[0]})"
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


class _Line(NamedTuple):
    """A row as far as it is written."""

    text: str = ""
    last: _Kind = ""
    pending: bool = False
    """Whether a space was asked for."""
    held: int = 0
    """How many brackets are open since one that the formula does not have, with it."""

    def closed(self) -> _Line:
        """Close the bracket that the formula does not have, if what is in it ends here."""
        return self._replace(text=self.text.rstrip() + ")", held=0) if self.held == 1 else self

    def then(self, text: str, last: _Kind, held: int = 0) -> _Line:
        """Go on."""
        return _Line(self.text + text, last, held=self.held + held)


def _row(node: Element, parts: list[str]) -> str:
    line = _Line()
    for child, part in zip(node, parts, strict=True):
        line = _added(line, child, part)
    return line.closed().text.strip()


def _added(line: _Line, node: Element, part: str) -> _Line:  # noqa: PLR0911 - one return a kind
    """Write one more element of a row down."""
    if part == _BREAK:
        return _Line(line.closed().text + _BREAK)
    if node.tag == "mspace":
        return line._replace(pending=True)
    if node.tag == "mtext":
        return _worded(line, part)
    if part in _SIGNS:
        return _signed(line, part)
    if part in _OPERATORS:
        return line.then(f" {part} ", "between")
    if part in _RELATIONS:
        return line.closed().then(f" {part} ", "")
    if part in _STOPS:
        return line.closed().then(f"{part} ", "")
    if part in _CLOSE:
        closed = line.closed()
        return closed.then(part, "factor", held=-bool(closed.held))
    kind = _kind(node, part)
    if part[:1] in _SIGNS and line.last:
        part = f"({part})"  # a fraction whose numerator begins with a sign
    held = bool(line.held) if part in _OPEN else 0
    return line.then(_between(line, kind, part) + part, kind, held)


def _worded(line: _Line, words: str) -> _Line:
    """Write words down, or a name."""
    held = line.closed()
    apart = " " if line.pending or held.last in {"factor", "fraction"} else ""
    stop = words.strip()[:1] in _STOPS
    return held.then("" if stop else apart, "").then(words, "name" if words[-1:].strip() else "")


def _signed(line: _Line, sign: str) -> _Line:
    """Write a sign down: between two terms, before the first, or before what is no term."""
    if line.last in {"sum", "between", "sign"} and not line.held:
        return line._replace(text=line.text.rstrip()).then(f" ({sign}", "", held=1)
    if not line.last:
        return line.then(sign, "")
    return line.closed().then(f" {sign} ", "sign")


def _kind(node: Element, part: str) -> _Kind:
    core = _core(node)
    if core.tag == "mfrac":
        return "fraction"
    if part[:1] in _SUMS and (core.tag in _SCRIPTED or core.tag == "mo"):
        return "sum"
    if core.tag == "mo" and part in _OPEN:
        return ""
    if part in _FUNCTIONS or (part.isalpha() and len(part) > 1 and _is_word(core)):
        return "name"
    return "factor"


def _between(line: _Line, kind: _Kind, part: str) -> str:
    """Return what stands between a row and its next factor."""
    if line.last in {"", "sign", "between"}:
        return ""
    if line.last == "fraction":
        return " · "
    if line.last == "sum" or kind == "sum":
        return " "
    if kind == "fraction":
        return " · " if part[:1].isdigit() else " "
    named = line.last == "name" and part[:1].isalnum()
    return " " if named or line.pending else ""


def _core(node: Element) -> Element:
    """Unwrap rows of one."""
    while node.tag in {"mrow", "mstyle"} and len(node) == 1:
        node = node[0]
    return node


def _factor(node: Element, text: str) -> str:
    """Put `text` into brackets unless it is a single symbol, root, word or derivative."""
    core = _core(node)
    single = core.tag not in {"mrow", "mfrac"} or (text.isalpha() and _is_word(core))
    derivative = text.startswith("∂") and (len(core) == 2 or _is_bracketed(text[1:]))
    absolute = re.fullmatch(r"\|[^|]*\|", text)
    return text if single or derivative or absolute or _is_bracketed(text) else f"({text.strip()})"


def _is_bracketed(text: str) -> bool:
    """Whether the bracket that `text` begins with is closed at its very end."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return place > 0 and place == len(text) - 1
    return False


def _is_word(node: Element) -> bool:
    return all(child.get("mathvariant") == "normal" for child in node)


def _numerator(text: str) -> str:
    """Put a sum or a fraction into brackets; a sign in front needs none."""
    outside, before = text.strip(), ""
    while outside != before:
        outside, before = _BRACKETED.sub("", outside), outside
    compound = set(outside[1:]) & (_RELATIONS | _OPERATORS | {"/"}) or set(outside) & _SUMS
    return f"({text.strip()})" if compound else text


def _script(text: str, letters: dict[str, str], mark: str) -> str:
    """Raise or lower `text`: by Unicode's own small letters if it has them all, or by a mark."""
    compact = text.replace(" ", "")
    if all(character in letters for character in compact):
        return "".join(letters[character] for character in compact)
    return f"{mark}{compact}" if len(compact) == 1 else f"{mark}({compact})"
