"""What a fault is: a known mistake, executable and explained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from bn_properties.catalogue import BY_ID as PROPERTIES

from bn_diagnosis.computing import step_of
from bn_diagnosis.faults.equations import Formula, equations, formula, of_upstream, side_by_side
from bn_diagnosis.faults.statements import STATEMENTS, Family, Statement, family_of
from bn_diagnosis.formulas import RIGHT, check_names
from bn_diagnosis.trace import Step, StepName


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


Told = Callable[[str], Fault]
"""A mistake and its equations; called with the words, it gives the fault."""


@dataclass(frozen=True)
class Kind:
    """What mistakes of one kind share. Called with an id and the wrong formulas: a mistake.

    So a fault is written `fault("id", step="formula")("title. Explanation.")`: the formula is what
    is computed, and what is shown. One that is no formula is `coded`.
    """

    family: Family | None = None
    right: str | None = None
    """The right equation in LaTeX; for the mistakes that are coded."""
    anchor: str | None = None
    killed_by: str | None = None
    form: Formula | None = None
    """The right formula of the first step, in the form that the wrong one is a slip in. Both are
    then shown of G, where they are multiples of ∂Div/∂u."""

    def __call__(self, id: str, /, **steps: Formula) -> Told:
        """Return the mistake of other formulas, still without words.

        Raises:
            ValueError: one is no formula, or is one of what there is not; it names the fault.
        """
        try:
            check_names(steps)
            if not steps.keys() <= RIGHT.keys():
                raise ValueError(f"a step that is no formula: {', '.join(steps)}")
            names = cast(Mapping[StepName, Formula], steps)
            trees = {step: formula(step, text) for step, text in names.items()}
            replaces = {step: step_of(step, tree) for step, tree in trees.items()}
        except ValueError as error:
            raise ValueError(f"fault {id}: {error}") from None
        right = {step: RIGHT[step] for step in trees}
        shown = side_by_side(trees, right)
        if self.form is None:
            wrong, right = ({step: some[step] for step in shown} for some in (trees, right))
        else:
            first = shown[0]
            wrong = {first: of_upstream(trees[first])}
            right = {first: of_upstream(formula(first, self.form))}
        return Mistake(self, id, replaces)(equations(wrong), equations(right))

    def coded(self, id: str, /, **steps: Step) -> Mistake:
        """Return what is done by functions of our own, still without an equation and words."""
        return Mistake(self, id, cast(Mapping[StepName, Step], steps))


fault = Kind()
"""A mistake of no special kind."""


def note(item: int) -> Kind:
    """Return the mistakes that an item of docs/derivation.md settles."""
    return Kind(anchor=f"note-{item}")


@dataclass(frozen=True)
class Mistake:
    """What is done; called with the equation that it amounts to, it waits for words."""

    kind: Kind
    id: str
    replaces: Mapping[StepName, Step]

    def __call__(self, wrong: str, right: str | None = None, killed_by: str | None = None) -> Told:
        """Return what makes the fault of its words; the first sentence is the title.

        What is not said is said of the first step. An equation that begins with its sign, = or ←,
        has the left side of that step's right one.
        """
        kind, first = self.kind, STATEMENTS.get(next(iter(self.replaces)), Statement())
        rejects = killed_by or kind.killed_by or first.killed_by

        def told(text: str) -> Fault:
            title, _, explanation = " ".join(text.split()).partition(". ")
            return Fault(
                id=self.id,
                replaces=self.replaces,
                title=title,
                wrong=first.completed(wrong),
                right=first.completed(right or kind.right or first.equation),
                explanation=explanation,
                family=kind.family or family_of(rejects),
                anchor=kind.anchor or first.anchor,
                killed_by=rejects,
            )

        return told
