"""The reducer: from a failing case to one small enough to check by hand.

It knows the problem. Rows, features and further batches are dropped while the property still
fails, parameters go to their neutral values, and numbers to small integers. It is deterministic,
and each step it takes is strictly simpler, so it ends: at a case from which no row, feature,
parameter or digit can be dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from bn_properties.cases.case import Case
from bn_properties.checking import Failing, allowed, try_case
from bn_properties.property import Property
from bn_properties.protocol import AnyArray
from bn_properties.transcript import Oracle, Transcript

MAX_TRIALS = 1000
"""How many cases one reduction may try: most need a hundred. A large one counts for several."""
FEW = 64
"""Up to so many rows, each is tried to be left out; up to so many numbers, each to be simplified.
What is larger is not checked by hand, and only its size is reduced."""
_COUNTED_ONCE = 4096
"""Numbers of a batch that one trial may have."""

Fails = Callable[[Case], bool]


class _Trials:
    """Tries simpler cases one after the other, and stops when there were too many."""

    def __init__(self, case: Case, fails: Fails, most: int) -> None:
        self.case = case
        self.left = most
        self._fails = fails

    def take(self, candidate: Case) -> bool:
        """Go on from `candidate` if it still fails."""
        if self.left <= 0:
            return False
        self.left -= 1 + candidate.x.size // _COUNTED_ONCE
        if not self._fails(candidate):
            return False
        self.case = candidate
        return True


def reduce(case: Case, fails: Fails, max_trials: int = MAX_TRIALS) -> Case:
    """Return the simplest case found on which `fails` still holds; `fails(case)` must hold."""
    trials = _Trials(case, fails, max_trials)
    while trials.left > 0:
        before = trials.case
        for structural in _STRUCTURAL:
            # Each candidate drops something, so this ends; what remains is asked again.
            while any(trials.take(candidate) for candidate in structural(trials.case)):
                pass
        _simplify_numbers(trials)
        if trials.case is before:
            break
    return trials.case


def minimise(failing: Failing, prop: Property, transcript: Transcript) -> Failing:
    """Return the simplest way found in which `prop` fails on the transcript's subject.

    A time-out or a death is left as it is: replaying it hundreds of times would help nobody.
    """
    kind = failing.error.failure if failing.error else None
    if kind in ("timeout", "slept", "died", "unfinished"):
        return failing
    # What is tried on the way is not kept: a reduction asks hundreds of questions once.
    trials = Transcript(transcript.subject)
    oracle = Oracle(transcript.subject.convention)

    def fails(case: Case) -> bool:
        if not allowed(case, transcript.subject.convention):
            return False
        found, _ = try_case(prop, case, trials, oracle)
        return found is not None and (found.error.failure if found.error else None) == kind

    smallest = reduce(failing.case, fails)
    found, _ = try_case(prop, smallest, trials, oracle)
    return found or failing


def _fewer_rows(case: Case) -> Iterator[Case]:
    rows = len(case.x)
    few = (size for size in (1, 2, 4, rows // 2) if 0 < size < rows - 1)
    for keep in (*(slice(size) for size in few), *_fewer(rows)):
        yield replace(case, x=case.x[keep], grad=case.grad[keep])


def _fewer(rows: int) -> Iterator[slice | list[int]]:
    """Yield what to keep of so many rows: all but one, or of many, most of them."""
    for size in _most_of(rows):
        yield slice(size)
    for row in range(rows if 1 < rows <= FEW else 0):
        yield [*range(row), *range(row + 1, rows)]


def _most_of(count: int) -> Iterator[int]:
    """Yield half of a large number, three quarters, and so on to all but one."""
    part = count // 2 if count > FEW else 0
    while part:
        yield count - part
        part //= 2


def _fewer_features(case: Case) -> Iterator[Case]:
    if case.features > 1:
        for feature in range(case.features):
            yield _select(case, [i for i in range(case.features) if i != feature])


def _select(case: Case, features: list[int]) -> Case:
    return replace(
        case,
        x=case.x[:, features],
        grad=case.grad[:, features],
        gamma=case.gamma[features],
        beta=case.beta[features],
        running_mean=case.running_mean[features],
        running_var=case.running_var[features],
        more=tuple(batch[:, features] for batch in case.more),
        probe=case.probe[:, features],
    )


def _less_space(case: Case) -> Iterator[Case]:
    for axis in range(2, case.x.ndim):
        size = case.x.shape[axis]
        for keep in (*range(1, min(size, FEW)), *_most_of(size)):
            cut = (slice(None),) * axis + (slice(0, keep),)
            yield replace(
                case,
                x=case.x[cut],
                grad=case.grad[cut],
                more=tuple(batch[cut] for batch in case.more),
                probe=case.probe[cut],
            )


def _shorter_others(case: Case) -> Iterator[Case]:
    for keep in _fewer(len(case.probe)):
        yield replace(case, probe=case.probe[keep])
    for index in range(len(case.more)):
        yield replace(case, more=case.more[:index] + case.more[index + 1 :])
    for index, batch in enumerate(case.more):
        for keep in _fewer(len(batch)):
            yield replace(case, more=_with(case.more, index, batch[keep]))


def _neutral_parameters(case: Case) -> Iterator[Case]:
    for eps in (1.0, 3.0, 0.25, 1e-5, 1e-8):
        if _cost(eps) < _cost(case.eps):
            yield replace(case, eps=eps)
    if case.decay != 0.5:
        yield replace(case, decay=0.5)
    if case.x.dtype != np.float64:
        yield replace(
            case,
            x=case.x.astype(np.float64),
            grad=case.grad.astype(np.float64),
            more=tuple(batch.astype(np.float64) for batch in case.more),
            probe=case.probe.astype(np.float64),
        )


def _simplify_numbers(trials: _Trials) -> None:
    """Whole arrays at once first, then number by number, each from the simplest value up."""
    for name, index in _names(trials.case):
        neutral = 1.0 if name in _FACTORS else 0.0
        for option in (neutral, 1.0):
            array = _get(trials.case, name, index)
            if (array == option).all():
                break
            if all(_cost(float(value)) <= _cost(option) for value in array.ravel()):
                continue  # nothing in it is harder than what would take its place
            simpler = np.full_like(array, option)
            if trials.take(_put(trials.case, name, index, simpler)):
                break
        array = _get(trials.case, name, index)
        for where in np.ndindex(array.shape) if array.size <= FEW else ():
            for value in _simpler(float(_get(trials.case, name, index)[where])):
                if name in _FACTORS and value <= 0:
                    continue  # nothing shows through a zero, and a variance is positive
                changed = _get(trials.case, name, index).copy()
                changed[where] = value
                if float(changed[where]) == value and trials.take(
                    _put(trials.case, name, index, changed)
                ):
                    break


_FACTORS = ("gamma", "running_var")
"""Arrays whose neutral value is one."""


def _names(case: Case) -> list[tuple[str, int]]:
    plain = ("grad", "beta", "running_mean", "running_var", "gamma", "x", "probe")
    return [(name, 0) for name in plain] + [("more", index) for index in range(len(case.more))]


def _get(case: Case, name: str, index: int) -> AnyArray:
    array: AnyArray = case.more[index] if name == "more" else getattr(case, name)
    return array


def _put(case: Case, name: str, index: int, array: AnyArray) -> Case:
    if name == "more":
        return replace(case, more=_with(case.more, index, array))
    return replace(case, **{name: array})  # type: ignore[arg-type]


def _cost(value: float) -> tuple[int, float, bool]:
    """Order numbers by how hard they are to work with: digits, then size, then sign."""
    digits = repr(abs(value)).removesuffix(".0").strip("0").replace(".", "")
    return (0 if value == 0 else len(digits), abs(value), value < 0)


def _simpler(value: float) -> Iterator[float]:
    tries = (0.0, 1.0, -1.0, 2.0, -2.0, 3.0, float(np.rint(value)), float(np.rint(value / 2)))
    for candidate in dict.fromkeys(tries):
        if _cost(candidate) < _cost(value):
            yield candidate


def _with(batches: tuple[AnyArray, ...], index: int, batch: AnyArray) -> tuple[AnyArray, ...]:
    return (*batches[:index], batch, *batches[index + 1 :])


_STRUCTURAL = (
    _fewer_rows,
    _fewer_features,
    _less_space,
    _shorter_others,
    _neutral_parameters,
)
