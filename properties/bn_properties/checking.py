"""One property on one subject: scan the cases, judge each comparison, keep the worst."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from bn_oracle.arrays import Array
from bn_oracle.conventions import Convention

from bn_properties.cases.case import Case
from bn_properties.cases.traits import TraitName, only
from bn_properties.property import Ask, Check, Property
from bn_properties.protocol import CAPABILITIES, UNANSWERED, AnyArray, SubjectError
from bn_properties.records import Outcome
from bn_properties.scenario import Response, Scenario, is_large, ran_out, refusable
from bn_properties.transcript import Oracle, Transcript


@dataclass(frozen=True)
class Judgement:
    """One comparison, measured."""

    ratio: float
    """The worst error over its bound; more than 1 is a failure. Infinite for NaN or a miss of
    equality.
    """
    index: tuple[int, ...] | None
    """Where; None, and the errors 0, when the comparison holds."""
    absolute: float
    relative: float

    @property
    def failed(self) -> bool:
        """Whether rounding cannot explain the difference."""
        return self.ratio > 1.0


_EXACT = np.zeros(())


def judge(check: Check) -> Judgement:
    """Measure one comparison against its bound.

    Elements with an infinite bound are left out; a NaN or infinity elsewhere is infinitely wrong.
    """
    with np.errstate(all="ignore"):
        return _judge(check)


def _judge(check: Check) -> Judgement:
    """Do so where floating-point warnings are off."""
    got = np.asarray(check.got, np.float64)
    expected = check.expected
    if got.size == 0:
        return Judgement(0.0, None, 0.0, 0.0)
    bound = _EXACT if check.bound is None else check.bound
    error = np.abs(got - expected)
    ratio: Array = error / bound
    worst = float(np.maximum.reduce(ratio, axis=None))
    if worst <= 1.0:
        return Judgement(worst, None, 0.0, 0.0)
    # Too large, or NaN: look closely.
    if np.isnan(bound).any():
        raise ArithmeticError(f"{check.quantity}: the bound is NaN")
    error = np.where(np.isfinite(got) & np.isfinite(expected), error, np.inf)
    ratio = np.where(error == 0.0, 0.0, error / bound)
    ratio = np.where(np.isinf(np.broadcast_to(bound, ratio.shape)), 0.0, ratio)
    # A NaN of the submission's own is nothing to compare with; what should be a number says so.
    ratio = np.where(np.isnan(expected), 0.0, ratio)
    worst = float(ratio.max())
    if worst <= 1.0:
        return Judgement(worst, None, 0.0, 0.0)
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(ratio)), ratio.shape))
    size, absolute = abs(float(expected[index])), float(error[index])
    return Judgement(worst, index, absolute, absolute / size if size else np.inf)


@dataclass(frozen=True, eq=False)
class Failing:
    """A case on which a property fails, and how."""

    case: Case
    check: Check | None
    judgement: Judgement | None
    error: SubjectError | None
    """Set when a call failed; then there is no comparison."""
    asked: tuple[Scenario, ...]
    """What the property asked, in order, up to the failure."""


@dataclass(frozen=True, eq=False)
class Finding:
    """What came of one property on all cases."""

    property: Property
    outcome: Outcome
    examples: int
    """On how many cases the property compared something."""
    worst: float | None
    """The worst error over bound."""
    failing: Failing | None
    """The simplest failing case among the drawn ones."""
    message: str
    errors: Mapping[int, float] = field(default_factory=dict)
    """The worst error over bound by the index of each case on which the property compared
    something; infinite where a call failed."""
    only: TraitName | None = None
    """What all cases on which it fails have in common, and no other."""


_OFTEN = 2
"""A property that is put to every case, or to every second one, is put to the pinned cases too."""

_STOPPING = ("timeout", "slept", "died", "not_implemented")


def try_case(
    prop: Property, case: Case, transcript: Transcript, oracle: Oracle
) -> tuple[Failing | None, float | None]:
    """Return how `prop` fails on `case`, if it does, and the worst error over bound.

    The second is None when nothing was compared.
    """
    ask = Ask(transcript, oracle)
    worst: float | None = None
    worst_check: tuple[Check, Judgement] | None = None
    try:
        with np.errstate(all="ignore"):  # a submission may give NaN, infinities, huge numbers
            for check in prop.checks(case, ask):
                measured = _judge(check)
                if worst is None or measured.ratio > worst:
                    worst, worst_check = measured.ratio, (check, measured)
                if measured.failed:
                    break
    except SubjectError as error:
        if _excused(prop, error, ask, transcript):
            return None, worst
        return Failing(case, None, None, error, tuple(ask.scenarios)), worst
    if worst_check is not None and worst_check[1].failed:
        return Failing(case, *worst_check, None, tuple(ask.scenarios)), worst
    return None, worst


def _excused(prop: Property, error: SubjectError, ask: Ask, transcript: Transcript) -> bool:
    """Whether an exception fails nothing, or another property than this one.

    It is raised at what a layer may be asked that some refuse: the course allows it, or another
    property is about it; or the layer ran out of time or memory on a large batch. What the layer
    refused is then taken back: nothing need explain it.
    """
    if ran_out(error):
        # Of a thousand instances, that shows nothing.
        failed = [each for each in ask.scenarios if any(found.errors for found in transcript(each))]
        if not failed or not all(map(is_large, failed)):
            return False
        for scenario in failed:
            transcript.retract(scenario)
        return True
    if error.failure != "raised":
        return False
    subject = transcript.subject
    own_eps = subject.convention.eps if subject.fixed_eps else None
    refused = {each: what for each in ask.scenarios if (what := refusable(each, own_eps))}
    raising = [each for each in ask.scenarios if refused and _raises(transcript(each))]
    for scenario in raising:
        what = refused.get(scenario, frozenset())
        # Where it is asked for two such things at once, which one it raised at is not known.
        if not what or (what <= set(prop.about) and not what & subject.may_refuse):
            return False
    for scenario in raising:
        transcript.retract(scenario)
    return bool(raising)


def _raises(responses: Iterable[Response[AnyArray]]) -> bool:
    return any(error.failure == "raised" for each in responses for error in each.errors)


def allowed(case: Case, convention: Convention) -> bool:
    """Whether `convention` defines what a layer does with every batch of `case`."""
    if convention.single_value == "normalises":
        return True
    values = [array.size // case.features for array in (case.x, *case.more)]
    return min(values) > 1


def asked_about(prop: Property, cases: Sequence[Case], convention: Convention) -> Iterator[Case]:
    """Return those of `cases` that a property is asked about: its share of what was drawn.

    Pinned cases are for the properties that are asked often; they compare every quantity, and
    the others would ask much more of a case that was chosen for what those compare.
    """
    for case in cases:
        if _is_asked(prop, case) and allowed(case, convention):
            yield case


def _is_asked(prop: Property, case: Case) -> bool:
    if case.asked_by is not None:
        return prop.id in case.asked_by
    if not prop.stride:
        return False
    return prop.stride <= _OFTEN if case.pinned else case.index % prop.stride == 0


class Settled(Protocol):
    """What is known of properties on cases before they are looked at one by one: a playback."""

    def holds(self, prop: Property, case: Case) -> bool:
        """Whether a property holds on a case, so that nothing need be looked at more closely."""
        ...

    def settle(self, prop: Property, case: Case) -> float | None:
        """Count what a property that holds asks on a case as asked.

        Returns the worst error over bound; None: it compares nothing.
        """
        ...


def scan(
    prop: Property,
    cases: Sequence[Case],
    transcript: Transcript,
    oracle: Oracle,
    settled: Settled | None = None,
) -> Finding:
    """Put `prop` to the subject on every case but those that are `settled`.

    A time-out, a death or a missing method ends the scan: more cases would tell no more. When the
    time for all calls is up, what was found before stands.
    """
    needs, subject = prop.needs, transcript.subject
    if needs is not None and needs not in subject.offers:
        return _not_applicable(prop, f"the interface has no {CAPABILITIES[needs]}")
    errors, ratios = dict[int, float](), list[float]()
    simplest: Failing | None = None
    for case in asked_about(prop, cases, oracle.convention):
        failing, ratio = (
            (None, settled.settle(prop, case))
            if settled is not None and settled.holds(prop, case)
            else try_case(prop, case, transcript, oracle)
        )
        ratios += [] if ratio is None else [ratio]
        if ratio is not None or failing is not None:
            errors[case.index] = np.inf if failing and failing.error else ratio or 0.0
        if failing is None:
            continue
        failure = failing.error.failure if failing.error else None
        if failure == "unfinished":
            simplest = simplest or failing
            break
        if failing.error and ratio is None and needs in subject.may_refuse:
            for scenario in failing.asked:
                transcript.retract(scenario)
            return _not_applicable(prop, f"it has none: {failing.error.message}")
        if simplest is None or _simpler(failing, simplest):
            simplest = failing
        if failure in _STOPPING:
            simplest = failing
            break
    worst = max(ratios) if ratios else None
    if simplest is None:
        if not errors:
            return _not_applicable(prop, "no drawn case can show this")
        return Finding(prop, Outcome.PASS, len(errors), worst, None, "", errors)
    missing = simplest.error is not None and simplest.error.failure in UNANSWERED
    outcome = Outcome.NOT_RUN if missing else Outcome.FAIL
    where = only(cases, errors, [index for index, error in errors.items() if not error <= 1])
    message = describe(simplest)
    return Finding(prop, outcome, len(errors), worst, simplest, message, errors, where)


def _not_applicable(prop: Property, message: str) -> Finding:
    return Finding(prop, Outcome.NOT_APPLICABLE, 0, None, None, message)


def _simpler(first: Failing, second: Failing) -> bool:
    """Prefer a wrong number to an exception, and fewer numbers to more."""

    def rank(failing: Failing) -> tuple[bool, int, int]:
        return (failing.error is not None, failing.case.x.size, failing.case.index)

    return rank(first) < rank(second)


def describe(failing: Failing) -> str:
    """Say in one line what was got and what it should have been."""
    if failing.error is not None:
        return failing.error.message
    check, judgement = failing.check, failing.judgement
    assert check is not None
    assert judgement is not None
    index = judgement.index or ()
    where = f"[{', '.join(map(str, index))}]" if index else ""
    got, expected = float(np.asarray(check.got)[index]), float(check.expected[index])
    text = f"{check.quantity}{where} = {got:.9g}, but should be {expected:.9g}"
    if f"{got:.9g}" == f"{expected:.9g}":
        text = f"{check.quantity}{where} = {got!r}, but should be {expected!r}"
    if check.bound is None or np.isinf(judgement.ratio):
        return text
    return f"{text}; the error is {judgement.ratio:.2g} times what rounding can explain"


def blocked_by(finding: Finding, findings: Mapping[str, Finding]) -> str | None:
    """Return the first failed property that `finding`'s presupposes, if it has failed itself.

    It presupposes what its presuppositions presuppose, whether they hold or not.
    """
    if finding.outcome is not Outcome.FAIL:
        return None
    return _first_failed(finding.property, findings)


def _first_failed(prop: Property, findings: Mapping[str, Finding]) -> str | None:
    for id_ in prop.presupposes:
        other = findings.get(id_)
        if other is None:
            continue
        deeper = _first_failed(other.property, findings)
        if deeper is not None:
            return deeper
        if other.outcome is Outcome.FAIL:
            return id_
    return None
