"""A tape: the scenarios of all properties on all cases, and what is to be compared of them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np

from bn_properties.call import Operation
from bn_properties.cases.case import Case
from bn_properties.checking import asked_about
from bn_properties.expectation import Expected
from bn_properties.property import Ask, Check, Property
from bn_properties.protocol import AnyArray, Capability, Quantity, Refusable, SubjectError
from bn_properties.scenario import Response, Scenario, proper_shape
from bn_properties.tape.program import Comparison, Program, programs
from bn_properties.tape.traced import Traced, broadcast_shape, observed, traced
from bn_properties.transcript import Oracle, Transcript


@dataclass(frozen=True)
class Slot:
    """Where the values of one result stand among those of its scenario."""

    quantity: Quantity
    like: tuple[int, ...]
    """The shape of the batch that it belongs to."""
    start: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape in its proper form: (N, C, …) or (C,)."""
        return proper_shape(self.quantity, self.like)

    @property
    def size(self) -> int:
        """How many values it has."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Form:
    """What a scenario gives, operation by operation; many scenarios have the same."""

    operations: tuple[tuple[Slot, ...], ...]

    @property
    def size(self) -> int:
        """How many values it has."""
        return sum(slot.size for slots in self.operations for slot in slots)


def form_of(scenario: Scenario) -> Form:
    """Return what a scenario gives."""
    start, found = 0, []
    for operation in (each for operations in scenario.operations for each in operations):
        slots = []
        for quantity in operation.gives:
            slots.append(Slot(quantity, operation.like, start))
            start += slots[-1].size
        found.append(tuple(slots))
    return Form(tuple(found))


@dataclass(frozen=True)
class Entry:
    """One property on one case."""

    property: str
    case: int
    """Its index."""
    scenarios: tuple[int, ...]
    """What is asked, by number."""
    traced: bool
    """Whether all its comparisons are in the programs; else it is asked as it stands."""
    compares: bool
    """Whether it compares anything on this case."""


@dataclass(frozen=True, eq=False)
class Tape:
    """Everything that is asked of one kind of subject, and how it is judged."""

    scenarios: tuple[Scenario, ...]
    """In the order in which they are asked; no two are equal."""
    forms: tuple[Form, ...]
    """Each of the forms that scenarios have, once."""
    form: tuple[int, ...]
    """The number of each scenario's form."""
    entries: tuple[Entry, ...]
    programs: tuple[Program, ...]

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Where the results of each scenario begin among all; behind the last, where all end."""
        sizes = [form.size for form in self.forms]
        return tuple(accumulate((sizes[number] for number in self.form), initial=0))

    @cached_property
    def numbers(self) -> Mapping[bytes, int]:
        """The number of each scenario, by its key."""
        return {scenario.key: number for number, scenario in enumerate(self.scenarios)}

    @cached_property
    def by_property(self) -> Mapping[tuple[str, int], int]:
        """The number of each entry, by its property's id and its case's index."""
        return {(each.property, each.case): number for number, each in enumerate(self.entries)}

    @property
    def calls(self) -> int:
        """How many calls of a layer's methods it makes."""
        return sum(len(self.forms[number].operations) for number in self.form)


def record(
    cases: Sequence[Case],
    properties: Sequence[Property],
    oracle: Oracle,
    offers: frozenset[Capability] = frozenset(),
) -> Tape:
    """Compile a tape: put every property to every case that it is asked about.

    A capability that is not among `offers` is not asked for.
    """
    recorder = _Recorder(oracle)
    for prop in properties:
        if prop.needs is None or prop.needs in offers:
            for case in asked_about(prop, cases, oracle.convention):
                recorder.record(prop, case)
    return recorder.tape()


class _Recorder:
    """Collects scenarios and comparisons."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self._numbers: dict[bytes, int] = {}
        self._scenarios: list[Scenario] = []
        self._forms: dict[Form, int] = {}
        self._form: list[int] = []
        self._responses: list[tuple[Response[AnyArray], ...]] = []
        self._size = 0
        self._entries: list[Entry] = []
        self._comparisons: list[Comparison] = []

    def tape(self) -> Tape:
        return Tape(
            tuple(self._scenarios),
            tuple(self._forms),
            tuple(self._form),
            tuple(self._entries),
            programs(self._comparisons),
        )

    def record(self, prop: Property, case: Case) -> None:
        """Run a property on a case with values that are not there yet."""
        ask = Ask(Transcript(_Answers(self)), self._oracle)
        entry, found, compares = len(self._entries), list[Comparison](), False
        traced_ = True
        try:
            with np.errstate(all="ignore"):
                for check in prop.checks(case, ask):
                    compares = True
                    found += _comparison(entry, check)
        except Exception:
            # It needs the numbers themselves, or is at fault itself: that shows when it is asked.
            traced_, found = False, []
            ask = Ask(Transcript(_Ideal(self, self._oracle)), self._oracle)
            with np.errstate(all="ignore"), contextlib.suppress(Exception):
                compares = any([True for _ in prop.checks(case, ask)])
        asked = tuple(dict.fromkeys(self._numbers[each.key] for each in ask.scenarios))
        self._entries.append(Entry(prop.id, case.index, asked, traced_, compares))
        self._comparisons += found

    def number(self, scenario: Scenario) -> int:
        """Return a scenario's number; it gets one when it is asked first."""
        if scenario.key not in self._numbers:
            self._numbers[scenario.key] = len(self._scenarios)
            self._scenarios.append(scenario)
            self._responses.append(self._observed(scenario))
        return self._numbers[scenario.key]

    def response(self, scenario: Scenario) -> tuple[Response[AnyArray], ...]:
        """Return what a subject will show."""
        return self._responses[self.number(scenario)]

    def _observed(self, scenario: Scenario) -> tuple[Response[AnyArray], ...]:
        form = form_of(scenario)
        self._form.append(self._forms.setdefault(form, len(self._forms)))
        following, responses = iter(form.operations), []
        for operations in scenario.operations:
            values: dict[Quantity, AnyArray | SubjectError] = {}
            for slot in (slot for _ in operations for slot in next(following)):
                places = np.arange(slot.size, dtype=np.int64) + (self._size + slot.start)
                values[slot.quantity] = observed(places.reshape(slot.shape))
            responses.append(Response(values))
        self._size += form.size
        return tuple(responses)


class _Answers:
    """A subject whose values are not there yet."""

    def __init__(self, recorder: _Recorder) -> None:
        self._recorder = recorder
        self.convention = recorder._oracle.convention
        self.spatial_axes = 0
        self.offers = frozenset[Capability]()
        self.may_refuse = frozenset[Capability | Refusable]()
        self.fixed_eps = False

    def observe(self, scenario: Scenario) -> tuple[Response[AnyArray], ...]:
        return self._recorder.response(scenario)


class _Ideal(_Answers):
    """A subject that gives what the oracle expects: it asks what a right one would be asked."""

    def __init__(self, recorder: _Recorder, oracle: Oracle) -> None:
        super().__init__(recorder)
        self._oracle = oracle

    def observe(self, scenario: Scenario) -> tuple[Response[AnyArray], ...]:
        self._recorder.number(scenario)
        pairs = zip(self._oracle(scenario), scenario.operations, strict=True)
        return tuple(Response(_ideal(expected, operations)) for expected, operations in pairs)


def _ideal(
    expected: Expected, operations: Sequence[Operation]
) -> dict[Quantity, AnyArray | SubjectError]:
    """Return what is expected; zeros where anything may come."""
    given = ((each, quantity) for each in operations for quantity in each.gives)
    return {
        quantity: expected.values[quantity]
        if quantity in expected.values
        else np.zeros(proper_shape(quantity, operation.like))
        for operation, quantity in given
    }


def _comparison(entry: int, check: Check) -> list[Comparison]:
    """Return a comparison to be computed; none where there is nothing to compare."""
    got, expected = traced(check.got), traced(check.expected)
    shape = broadcast_shape(got, expected)
    bound = np.zeros(shape) if check.bound is None else check.bound
    if bound.shape != shape:
        bound = np.broadcast_to(bound, shape)
    if not bound.size:
        return []
    got, expected = _broadcast(got, shape), _broadcast(expected, shape)
    room = bound.reshape(-1).astype(np.float64)
    return [Comparison(entry, got.flat(), expected.flat(), room)]


def _broadcast(array: Traced, shape: tuple[int, ...]) -> Traced:
    if array.shape == shape:
        return array
    return Traced(array.node, np.broadcast_to(array.index, shape))
