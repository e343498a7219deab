"""What a fault is: a known mistake, executable and explained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bn_properties.catalogue import BY_ID as PROPERTIES

from bn_diagnosis.faults.statements import STATEMENTS, Family, Statement, family_of
from bn_diagnosis.formulas import Step, StepName, check_names


@dataclass(frozen=True, eq=False)
class Fault:
    """A mistake that replaces some steps of a layer, and what to tell who made it."""

    id: str
    """In kebab-case."""
    replaces: Mapping[StepName, Step]
    """The mistaken steps, by name."""
    title: str
    """What is done, as a short clause."""
    wrong: str
    """The mistaken equation, in LaTeX."""
    right: str
    """The right one, in LaTeX."""
    explanation: str
    """One to three sentences: why it is wrong, and what to do or how it shows."""
    family: Family
    anchor: str
    """The heading of docs/derivation.md that settles it."""
    killed_by: str
    """The property that must reject it."""

    def __post_init__(self) -> None:
        """Refuse a step or a property that there is not.

        Raises:
            ValueError: it names the fault, and what it misnames.
        """
        try:
            check_names(self.replaces)
        except ValueError as error:
            raise ValueError(f"fault {self.id}: {error}") from None
        if self.killed_by not in PROPERTIES:
            raise ValueError(f"fault {self.id}: no such property: {self.killed_by}")


_UNKNOWN = Statement("", "training.agreement")
"""Of a step that there is not; the fault refuses it."""


@dataclass(frozen=True)
class Mistake:
    """What is done; called with what is said about it, it gives the fault."""

    id: str
    replaces: Mapping[StepName, Step]
    kind: Kind

    def __call__(
        self,
        title: str,
        wrong: str,
        explanation: str,
        *,
        right: str | None = None,
        anchor: str | None = None,
        killed_by: str | None = None,
    ) -> Fault:
        """Return the fault; what neither it nor its kind says is said of its first step.

        Raises:
            ValueError: there is no such step, or no such property.
        """
        kind, default = self.kind, STATEMENTS.get(next(iter(self.replaces)), _UNKNOWN)
        own = killed_by or kind.killed_by or default.killed_by
        return Fault(
            id=self.id,
            replaces=self.replaces,
            title=title,
            wrong=wrong,
            right=right or kind.right or default.equation,
            explanation=explanation,
            family=kind.family or family_of(own),
            anchor=anchor or kind.anchor or default.anchor,
            killed_by=own,
        )


@dataclass(frozen=True)
class Kind:
    """What mistakes of one kind share. Called with an id and the mistaken steps: a mistake.

    So a fault is written `fault("id", {"step": formula})("title", "wrong equation", "why")`: first
    what is done, then what is told.
    """

    family: Family | None = None
    right: str | None = None
    anchor: str | None = None
    killed_by: str | None = None

    def __call__(
        self,
        id: str,
        replaces: Mapping[StepName, Step],
    ) -> Mistake:
        """Return what is done, still without words."""
        return Mistake(id, replaces, self)


fault = Kind()
"""A mistake of no special kind."""
