"""Text laid out for the width there is, without a space at the end of any line."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.text import Text

_GAP = "   "
_GLUE = "\u00a0"
_LEAST = 8
"""Columns that a text has beside a label; where there are fewer, it stands below."""


@dataclass(frozen=True)
class Hanging:
    """A text behind a label; its further lines begin where its first one does."""

    label: Text
    body: Text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines."""
        width = options.max_width - self.label.cell_len
        if self.label and width < _LEAST:
            yield from (self.label, self.body)
            return
        for place, line in enumerate(wrapped(self.body, width, console)):
            before = Text(" " * self.label.cell_len) if place else self.label
            yield Text.assemble(before, line, no_wrap=True, overflow="fold")


@dataclass(frozen=True)
class OneLine:
    """A text behind a label, cut to the width there is."""

    label: str
    text: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the line."""
        yield Text(cut(f"{self.label}{self.text}", options.max_width), no_wrap=True)


@dataclass(frozen=True)
class Equation:
    """An equation behind a label, broken before its signs where it does not fit."""

    label: Text
    text: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines."""
        width = max(options.max_width - self.label.cell_len, _LEAST)
        yield Hanging(self.label, Text("\n".join(broken(self.text, width))))


@dataclass(frozen=True)
class Indented:
    """Other renderables, moved to the right."""

    content: tuple[RenderableType, ...]
    by: int = 2

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines."""
        inner = options.update_width(max(1, options.max_width - self.by))
        for each in self.content:
            for line in console.render_lines(each, inner, pad=False):
                yield Segment(" " * self.by)
                yield from line
                yield Segment.line()


@dataclass(frozen=True)
class Flow:
    """Blocks of lines from left to right, as many as fit, the next ones below them."""

    blocks: tuple[tuple[Text, ...], ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines: higher blocks first, then those of one line."""
        high = [block for block in self.blocks if len(block) > 1]
        flat = [block for block in self.blocks if len(block) == 1]
        for blocks in (high, flat):
            row: list[Sequence[Text]] = []
            for block in blocks:
                if row and not fit([*row, block], options.max_width):
                    yield from side_by_side(row)
                    row = []
                row.append(block)
            yield from side_by_side(row)


def side_by_side(blocks: Sequence[Sequence[Text]]) -> Iterable[Text]:
    """Yield the lines of blocks beside each other."""
    height = max(map(len, blocks), default=0)
    for place in range(height):
        line = Text(overflow="fold")
        for block in blocks:
            part = block[place] if place < len(block) else Text()
            line.append_text(part).append(" " * (_width(block) - part.cell_len) + _GAP)
        line.rstrip()
        yield line


def fit(blocks: Sequence[Sequence[Text]], width: int) -> bool:
    """Whether blocks beside each other are no wider than that."""
    return sum(map(_width, blocks)) + len(_GAP) * (len(blocks) - 1) <= width


def wrapped(text: Text, width: int, console: Console) -> list[Text]:
    """Return the lines of a text."""
    lines = list(text.wrap(console, max(1, width), overflow="fold"))
    for line in lines:
        line.rstrip()
    return lines


def broken(equation: str, width: int) -> list[str]:
    """Return the lines of an equation: a break stands behind a comma, or else before a sign.

    What is in brackets is broken last.
    """
    depth, outside = 0, ""
    for character in equation:
        depth += (character in "([⟦") - (character in ")]⟧")
        outside += _GLUE if depth and character == " " else character
    lines: list[str] = []
    for part in re.split(r"(?<=,) ", outside):
        if lines and cell_len(f"{lines[-1]} {part}") <= width:
            lines[-1] += f" {part}"
        else:
            lines += _before_signs(part, width)
    return [line.replace(_GLUE, " ") for line in lines]


def _before_signs(part: str, width: int) -> list[str]:
    free = part.replace(_GLUE, " ")
    for glued in (_glued(part), _glued(free), free):
        if max(map(cell_len, glued.split(" "))) <= width:
            break
    return textwrap.wrap(glued, width) or [""]


def _glued(part: str) -> str:
    """Tie each sign to what follows it, and the factors of a term to one another."""
    return re.sub(r"(?<=[+−=·←→⇒≠≤]) | (?=·)", _GLUE, part)


def shortened(text: str, width: int) -> str:
    """Return a text that fits into `width` columns: what is too much goes from its middle."""
    if cell_len(text) <= width:
        return text
    end = ""
    for character in reversed(text):
        if cell_len(character + end) > (width - 1) // 2:
            break
        end = character + end
    start = ""
    for character in text:
        if cell_len(start + character) > width - 1 - cell_len(end):
            break
        start += character
    return f"{start}…{end}"


def cut(text: str, width: int) -> str:
    """Return a text that fits into `width` columns: what is too much goes from its end."""
    if cell_len(text) <= width:
        return text
    shown = Text(text)
    shown.truncate(max(0, width), overflow="ellipsis")
    return shown.plain


def _width(block: Sequence[Text]) -> int:
    return max(line.cell_len for line in block)
