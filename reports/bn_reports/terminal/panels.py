"""Columns of numbers in the terminal: side by side where they fit, one below the other if not."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from bn_reports.text.words import WRONG_SIGN
from bn_reports.views.arrays import Cell, Panel

_GAP = "   "


@dataclass(frozen=True)
class SideBySide:
    """A renderable: the panels of one vector or matrix under its name, each value in full."""

    name: str
    panels: tuple[Panel, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines of the panels, chosen by the width there is."""
        if len(self.panels) == 1 and not self.panels[0].title:
            yield from _lines(self.panels[0], self.name)
            return
        titles = (f"{self.name} {panel.title}" for panel in self.panels)
        columns = [_lines(*each) for each in zip(self.panels, titles, strict=True)]
        widths = [max(line.cell_len for line in column) for column in columns]
        rows = {len(column) for column in columns}
        across = sum(widths) + len(_GAP) * (len(widths) - 1) <= options.max_width
        if not across or len(rows) > 1 or rows == {1}:
            for column in columns:
                yield from column
            return
        for line in zip(*columns, strict=True):
            joined = Text()
            for part, width in zip(line, widths, strict=True):
                joined.append_text(part)
                joined.append(" " * (width - part.cell_len) + _GAP)
            joined.rstrip()
            yield joined


def _lines(panel: Panel, title: str) -> list[Text]:
    """Return the rows of `panel` with aligned columns: after its title if one, else below it."""
    columns = zip(*panel.rows, strict=True)
    widths = [max(len(_shown(each)) for each in column) for column in columns]
    lines = []
    for row in panel.rows:
        line = Text("[", overflow="fold")
        for place, (each, width) in enumerate(zip(row, widths, strict=True)):
            line.append("  " if place else "")
            line.append(_shown(each).rjust(width), "bold red" if each.wrong else None)
        lines.append(line.append("]"))
    if len(lines) == 1:
        return [Text.assemble((f"{title} = ", "dim"), lines[0], overflow="fold")]
    return [Text(title, style="dim"), *lines]


def _shown(cell: Cell) -> str:
    return f"{WRONG_SIGN}{cell.text}" if cell.wrong else cell.text
