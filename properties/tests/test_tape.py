"""A tape asks and judges what the properties themselves ask and judge, case by case."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import pytest
from bn_oracle.conventions import CONVENTIONS, Convention
from bn_properties.cases.case import Case
from bn_properties.cases.draw import draw_cases
from bn_properties.cases.pinned import pinned_cases
from bn_properties.catalogue import PROPERTIES
from bn_properties.checking import asked_about, scan, try_case
from bn_properties.expectation import Expected
from bn_properties.property import Ask, Check, Checks, Property
from bn_properties.protocol import (
    CAPABILITIES,
    AnyArray,
    Capability,
    Quantity,
    Refusable,
    SubjectError,
)
from bn_properties.scenario import Response, Scenario
from bn_properties.tape import storage
from bn_properties.tape.playback import Playback
from bn_properties.tape.tape import Slot, Tape, form_of, record
from bn_properties.transcript import Oracle, Responses, Transcript

CONVENTION = CONVENTIONS["torch"]
OFFERS = frozenset(CAPABILITIES)


@lru_cache
def oracle(convention: Convention = CONVENTION) -> Oracle:
    return Oracle(convention)


@lru_cache
def cases(axes: int) -> tuple[Case, ...]:
    return (*pinned_cases(axes), *draw_cases(77, 22, axes))


@lru_cache
def tape(axes: int = 0) -> Tape:
    return record(cases(axes), PROPERTIES, oracle(), OFFERS)


class Near:
    """A subject that gives what the oracle expects, each number off by a share of its bound."""

    def __init__(
        self, share: float = 0.0, spoilt: Quantity | None = None, off: float = 1.0
    ) -> None:
        self.convention, self.spatial_axes = CONVENTION, 0
        self.offers, self.may_refuse = OFFERS, frozenset[Capability | Refusable]()
        self.fixed_eps = False
        self._share, self._spoilt, self._off = share, spoilt, off

    def observe(self, scenario: Scenario) -> Responses:
        slots = iter(form_of(scenario).operations)
        return tuple(
            Response({slot.quantity: self._value(slot, call) for _ in each for slot in next(slots)})
            for call, each in zip(oracle()(scenario), scenario.operations, strict=True)
        )

    def _value(self, slot: Slot, call: Expected) -> AnyArray:
        if slot.quantity not in call.values:
            return np.zeros(slot.shape)
        value, bound = call.values[slot.quantity], call.bound(slot.quantity)
        room = np.where(np.isfinite(bound), bound, 0.0)
        sign = np.where(np.arange(value.size).reshape(value.shape) % 2, 1.0, -1.0)
        moved = value + self._share * sign * room
        return moved + (self._off if slot.quantity == self._spoilt else 0.0)


def played(subject: Near, axes: int = 0, upto: int | None = None) -> Playback:
    """Put every scenario of the tape to a subject, as a worker would be."""
    found = tape(axes)
    values, regular = np.full(found.starts[-1], np.nan), np.zeros(len(found.scenarios), bool)
    shown = [subject.observe(each) for each in found.scenarios[:upto]]
    for number, responses in enumerate(shown):
        given = [value for call in responses for value in call.values.values()]
        slots = [slot for each in found.forms[found.form[number]].operations for slot in each]
        if len(given) == len(slots):
            regular[number] = True
            for slot, value in zip(slots, given, strict=True):
                assert not isinstance(value, SubjectError)
                at = found.starts[number] + slot.start
                values[at : at + slot.size] = np.ravel(value)
    return Playback(found, len(shown), values, regular, shown.__getitem__)


def alike(first: float | None, second: float | None) -> bool:
    """Whether two worst errors over bound are the same, but for the order in which sums round."""
    if first is None or second is None:
        return first is second
    return first == second or abs(first - second) <= 0.2 + 1e-6 * abs(first)


def test_no_scenario_comes_twice_and_all_that_is_asked_is_there() -> None:
    asked = Transcript(Near())
    for prop in PROPERTIES:
        for case in asked_about(prop, cases(0), CONVENTION):
            try_case(prop, case, asked, oracle())
    keys = [scenario.key for scenario in tape().scenarios]
    assert len(set(keys)) == len(keys)
    assert {scenario.key for scenario, _ in asked.observed} == set(keys)


@pytest.mark.parametrize("axes", [0, 2])
def test_no_gradient_is_asked_for_which_a_whole_jacobian_does_not_fit(axes: int) -> None:
    """A right layer may write out d out/d z: B×B numbers a feature."""
    most = 0
    for scenario in tape(axes).scenarios:
        sizes = [
            operation.arrays["x"].size // operation.arrays["x"].shape[1]
            for operations in scenario.operations
            for operation in operations
            if "x" in operation.arrays
        ]
        names = {each.name for operations in scenario.operations for each in operations}
        if not names.isdisjoint({"backward", "infer_backward", "add_up"}):
            most = max(most, *sizes)
    assert 4000 < most <= 4107


@pytest.mark.parametrize("axes", [0, 2])
@pytest.mark.parametrize(
    "subject",
    [
        Near(),
        Near(0.2),
        Near(0.9),
        *(Near(0.1, name) for name in ("out", "dz", "dgamma", "running_mean", "running_var")),
        Near(0.0, "out", 1e-9),
        Near(0.0, "running_var", np.nan),
        Near(0.0, "dz", np.inf),
    ],
    ids=lambda subject: f"{subject._share}-{subject._spoilt}-{subject._off}",
)
def test_every_property_on_every_case_is_judged_as_it_stands(subject: Near, axes: int) -> None:
    """Where the tape says that a property holds, so does the property; and it says so of all that
    hold but those that need a closer look.
    """
    playback, transcript = played(subject, axes), Transcript(subject)
    settled = left = 0
    for prop in PROPERTIES:
        for case in asked_about(prop, cases(axes), CONVENTION):
            failing, worst = try_case(prop, case, transcript, oracle())
            holds = playback.holds(prop, case)
            if holds:
                assert failing is None, prop.id
                found = playback.settle(prop, case)
                assert alike(worst, found), prop.id
            settled += holds
            left += failing is None and not holds
    slow = {entry.property for entry in tape(axes).entries if not entry.traced}
    assert slow == set(), "asked case by case: what `test_traced.py` does not list, is not compiled"
    if subject._spoilt is None:
        assert left == 0
    assert settled > 0


@pytest.mark.parametrize("subject", [Near(), Near(0.1, "dgamma"), Near(0.1, "running_mean")])
@pytest.mark.parametrize("upto", [None, 0, 40])
def test_a_scan_finds_the_same_with_a_playback_and_without(subject: Near, upto: int | None) -> None:
    playback = played(subject, upto=upto)
    with_it, without = Transcript(subject, playback), Transcript(subject)
    for prop in PROPERTIES:
        first = scan(prop, cases(0), with_it, oracle(), playback)
        second = scan(prop, cases(0), without, oracle())
        assert (first.outcome, first.examples, first.message) == (
            second.outcome,
            second.examples,
            second.message,
        )
        assert alike(first.worst, second.worst)
        assert (first.failing is None) == (second.failing is None)
        if first.failing is not None and second.failing is not None:
            assert first.failing.case.index == second.failing.case.index
    observed = {scenario.key for scenario, _ in with_it.observed}
    assert observed == {scenario.key for scenario, _ in without.observed}


def _branching(case: Case, ask: Ask) -> Iterator[Check]:
    out = ask.response(case.training)[0].array("out")
    if float(np.asarray(out).flat[0]) >= 0:
        yield Check("sign", out, np.abs(np.asarray(out)), None)
    ask.response(case.sequence)


def _failing(case: Case, ask: Ask) -> Iterator[Check]:
    yield Check("sign", ask.response(case.training)[0].array("out"), np.zeros(()), None)
    raise ZeroDivisionError


@pytest.mark.parametrize("checks", [_branching, _failing])
def test_a_property_that_cannot_be_written_down_is_asked_as_it_stands(checks: Checks) -> None:
    prop = Property("training.made", "made", "it is off", "", "", (), 1, None, checks)
    case = cases(0)[-1]
    found = record([case], [prop], oracle())
    (entry,) = found.entries
    assert not entry.traced
    assert () == found.programs
    asked = {found.scenarios[number].key for number in entry.scenarios}
    wanted = {case.training.key} | ({case.sequence.key} if checks is _branching else set())
    assert wanted == asked
    values = np.zeros(found.starts[-1])
    regular = np.ones(len(found.scenarios), bool)
    shown = [Near().observe(each) for each in found.scenarios]
    assert not Playback(found, len(shown), values, regular, shown.__getitem__).holds(prop, case)


def test_what_the_interface_lacks_is_not_asked() -> None:
    found = record(cases(0), PROPERTIES, oracle())
    assert {each.property for each in found.entries} == {
        prop.id
        for prop in PROPERTIES
        if prop.needs is None and any(asked_about(prop, cases(0), CONVENTION))
    }
    assert len(found.scenarios) < len(tape().scenarios)


def test_a_scenario_that_was_irregular_leaves_what_asked_it_to_a_closer_look() -> None:
    playback = played(Near())
    odd = playback.tape.entries[0].scenarios[0]
    playback.regular[odd] = False
    by_id = {prop.id: prop for prop in PROPERTIES}
    by_index = {case.index: case for case in cases(0)}
    for entry in playback.tape.entries:
        if odd in entry.scenarios:
            assert not playback.holds(by_id[entry.property], by_index[entry.case])


def test_a_form_has_a_place_for_each_result() -> None:
    for scenario in tape().scenarios:
        form = form_of(scenario)
        starts = [slot.start for each in form.operations for slot in each]
        sizes = [slot.size for each in form.operations for slot in each]
        assert starts == [sum(sizes[:number]) for number in range(len(sizes))]
        assert form.size == sum(sizes)
        assert form == tape().forms[tape().form[tape().numbers[scenario.key]]]


def test_what_is_stored_comes_back_bit_for_bit() -> None:
    content = (cases(0), tape(), b"bytes", None, True, 0.1, -3, "ẑ")
    stored = storage.write(content)
    again = storage.read(stored)
    assert storage.write(again) == stored
    assert again[2:] == content[2:]
    found = again[1]
    assert tuple(each.key for each in found.scenarios) == tuple(tape().numbers)
    assert (found.entries, found.forms, found.form) == (tape().entries, tape().forms, tape().form)
    for first, second in zip(cases(0), again[0], strict=True):
        assert first.training.key == second.training.key
        assert first.interrupted.key == second.interrupted.key
        assert (first.index, first.pinned, first.regime) == (
            second.index,
            second.pinned,
            second.regime,
        )
        assert not second.x.flags.writeable
    values = played(Near(0.3)).values
    with np.errstate(all="ignore"):
        for mine, theirs in zip(tape().programs, found.programs, strict=True):
            np.testing.assert_array_equal(mine.worst(values), theirs.worst(values))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda stored: stored[:20], "too short"),
        (lambda stored: b"", "too short"),
        (lambda stored: stored[:-1], "damaged"),
        (lambda stored: stored + b"\0", "damaged"),
        (lambda stored: stored[:100] + bytes([stored[100] ^ 1]) + stored[101:], "damaged"),
        (lambda stored: b"another program's file" * 10, "no tape"),
        (lambda stored: stored[:14] + b"9" + stored[15:], "no tape"),
    ],
)
def test_what_is_damaged_is_refused(spoil: object, reason: str) -> None:
    assert callable(spoil)
    stored = storage.write((np.arange(5.0), "text"))
    with pytest.raises(storage.NotStored, match=reason):
        storage.read(spoil(stored))


def test_what_may_not_be_stored_is_refused() -> None:
    for content in (object(), {"a": 1}, np.array([object()]), np.array(["text"])):
        with pytest.raises(TypeError, match="may not be stored"):
            storage.write(content)
