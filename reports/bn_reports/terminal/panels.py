"""Arrays in the terminal: side by side where they fit, one below the other if not."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from bn_reports.terminal.layout import fit, side_by_side
from bn_reports.text.words import WRONG_SIGN
from bn_reports.views.arrays import BOUND, Cell, Panel

_TINY = re.compile(r"e-3\d\d$")
"""An error of which no more is allowed than this is none."""


@dataclass(frozen=True)
class SideBySide:
    """A renderable: the panels of one vector or matrix under its name, each value in full."""

    name: str
    panels: tuple[Panel, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines of the panels, chosen by the width there is."""
        across = self._columns(named=False)
        if len({len(column) for column in across}) == 1 and fit(across, options.max_width):
            yield from side_by_side(across)
            return
        for column in self._columns(named=True):
            yield from column

    def blocks(self) -> list[tuple[Text, ...]]:
        """Return the lines of each panel under its title."""
        return self._columns(named=True)

    def _columns(self, *, named: bool) -> list[tuple[Text, ...]]:
        """Return the lines of each panel: below its title, with the name in each or the first."""
        return [
            tuple(
                panel_lines(
                    panel, f"{self.name if named or not place else ''} {panel.title}".strip()
                )
            )
            for place, panel in enumerate(self.panels)
        ]


def panel_lines(panel: Panel, title: str) -> list[Text]:
    """Return the rows of `panel` with aligned columns: after its title if one, else below it."""
    shown = [[_shown(each, panel.title) for each in row] for row in panel.rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    lines = []
    for row, texts in zip(panel.rows, shown, strict=True):
        line = Text("[", overflow="fold")
        for place, (each, text, width) in enumerate(zip(row, texts, widths, strict=True)):
            line.append("  " if place else "")
            line.append(text.rjust(width), "bold red" if each.wrong else None)
        lines.append(line.append("]"))
    if len(lines) == 1:
        return [Text.assemble((f"{title} = ", "dim"), lines[0], overflow="fold")]
    return [Text(title, style="dim"), *lines]


def _shown(cell: Cell, title: str) -> str:
    if title == BOUND and _TINY.search(cell.text):
        return "exact"
    return f"{WRONG_SIGN}{cell.text}" if cell.wrong else cell.text
