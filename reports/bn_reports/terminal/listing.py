"""Lists for the terminal: the properties and the known mistakes, with what they say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from bn_properties.property import Property
from rich.console import Group, RenderableType
from rich.text import Text

from bn_reports.terminal.layout import Equation, Hanging, Indented
from bn_reports.text.equations import equations


class Mistake(Protocol):
    """A known mistake, as far as a list shows it."""

    @property
    def id(self) -> str:
        """In kebab-case."""
        ...

    @property
    def title(self) -> str:
        """What is done."""
        ...

    @property
    def wrong(self) -> str:
        """The mistaken equation, in LaTeX."""
        ...

    @property
    def right(self) -> str:
        """The right one."""
        ...

    @property
    def explanation(self) -> str:
        """Why it is wrong."""
        ...

    @property
    def killed_by(self) -> str:
        """The property that rejects it."""
        ...


def property_list(properties: Iterable[Property]) -> RenderableType:
    """Return each property with its sentence, its equation and where it comes from."""
    return Group(
        *(
            _entry(each.id, each.title, [*_labelled("", each.equation), f"Source: {each.source}."])
            for each in properties
        )
    )


def fault_list(faults: Iterable[Mistake]) -> RenderableType:
    """Return each mistake with its equations, its explanation and the property that rejects it."""
    return Group(
        *(
            _entry(
                each.id,
                each.title,
                [
                    *_labelled("It computes   ", each.wrong),
                    *_labelled("It should be  ", each.right),
                    each.explanation,
                    f"Rejected by {each.killed_by}.",
                ],
            )
            for each in faults
        )
    )


def _labelled(label: str, latex: str) -> Iterator[Equation]:
    for place, text in enumerate(equations(latex)):
        yield Equation(Text(" " * len(label) if place else label), text)


def _entry(id_: str, title: str, lines: Iterable[str | Equation]) -> RenderableType:
    told = (
        Hanging(Text(), Text(line, style="dim")) if isinstance(line, str) else line
        for line in lines
    )
    return Group(Text(id_, style="bold"), Indented((Hanging(Text(), Text(title)), *told)), Text())
