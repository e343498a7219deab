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

from bn_properties.cases import Case
from bn_properties.checking import Failing, Observations, OracleAnswers, allowed, try_case
from bn_properties.invariant import Property
from bn_properties.subject import AnyArray

MAX_TRIALS = 1500
"""How many cases one reduction may try: about a second with a small submission."""

Fails = Callable[[Case], bool]


def reduce(case: Case, fails: Fails, max_trials: int = MAX_TRIALS) -> Case:
    """Return the simplest case found on which `fails` still holds; `fails(case)` must hold."""
    trials = 0
    changed = True
    while changed:
        changed = False
        for simplify in _PASSES:
            advanced = True
            while advanced:
                advanced = False
                for candidate in simplify(case):
                    trials += 1
                    if trials > max_trials:
                        return case
                    if fails(candidate):
                        case, advanced, changed = candidate, True, True
                        break
    return case


def minimise(failing: Failing, property_: Property, seen: Observations) -> Failing:
    """Return the simplest way found in which `property_` fails on the subject of `seen`.

    A time-out or a death is left as it is: replaying it hundreds of times would help nobody.
    """
    kind = failing.error.failure if failing.error else None
    if kind in ("timeout", "died"):
        return failing
    # What is tried on the way is not kept: a reduction asks hundreds of questions once.
    trial_seen = Observations(seen.subject)
    trial_answers = OracleAnswers(seen.subject.convention)

    def fails(case: Case) -> bool:
        if not allowed(case, seen.subject.convention):
            return False
        found, _ = try_case(property_, case, trial_seen, trial_answers)
        return found is not None and (found.error.failure if found.error else None) == kind

    smallest = reduce(failing.case, fails)
    found, _ = try_case(property_, smallest, trial_seen, trial_answers)
    return found or failing


def _fewer_rows(case: Case) -> Iterator[Case]:
    rows = len(case.x)
    for size in (1, 2, 4, rows // 2):
        if 0 < size < rows - 1:
            yield replace(case, x=case.x[:size], grad=case.grad[:size])
    if rows > 1:
        for row in range(rows):
            yield replace(case, x=_without(case.x, row), grad=_without(case.grad, row))


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
        for keep in range(1, case.x.shape[axis]):
            cut = (slice(None),) * axis + (slice(0, keep),)
            yield replace(
                case,
                x=case.x[cut],
                grad=case.grad[cut],
                more=tuple(batch[cut] for batch in case.more),
                probe=case.probe[cut],
            )


def _shorter_others(case: Case) -> Iterator[Case]:
    if len(case.probe) > 1:
        for row in range(len(case.probe)):
            yield replace(case, probe=_without(case.probe, row))
    if len(case.more) > 1:
        for index in range(len(case.more)):
            yield replace(case, more=case.more[:index] + case.more[index + 1 :])
    for index, batch in enumerate(case.more):
        if len(batch) > 1:
            for row in range(len(batch)):
                yield replace(case, more=_with(case.more, index, _without(batch, row)))


def _neutral_parameters(case: Case) -> Iterator[Case]:
    neutral = {"gamma": 1.0, "beta": 0.0, "running_mean": 0.0, "running_var": 1.0}
    for name, value in neutral.items():
        array = getattr(case, name)
        if (array != value).any():
            yield replace(case, **{name: np.full_like(array, value)})
    for eps in (1.0, 3.0, 0.25, 1e-5, 1e-8):
        if _cost(eps) < _cost(case.eps):
            yield replace(case, eps=eps)
    if case.keep != 0.5:
        yield replace(case, keep=0.5)
    if case.x.dtype != np.float64:
        yield replace(
            case,
            x=case.x.astype(np.float64),
            grad=case.grad.astype(np.float64),
            more=tuple(batch.astype(np.float64) for batch in case.more),
            probe=case.probe.astype(np.float64),
        )


def _simpler_arrays(case: Case) -> Iterator[Case]:
    """Whole arrays at once: all zero, all one, or all rounded."""
    for name, array, put in _arrays(case):
        options = [np.zeros_like(array), np.ones_like(array), np.rint(array)]
        if name == "running_var":
            options = options[1:]
        for option in options:
            if _total(option) < _total(array):
                yield put(option)


def _simpler_numbers(case: Case) -> Iterator[Case]:
    for name, array, put in _arrays(case):
        for index in np.ndindex(array.shape):
            value = float(array[index])
            for simpler in _simpler(value):
                if name == "running_var" and simpler <= 0:
                    continue
                changed = array.copy()
                changed[index] = simpler
                if float(changed[index]) == simpler:
                    yield put(changed)


def _arrays(case: Case) -> Iterator[tuple[str, AnyArray, Callable[[AnyArray], Case]]]:
    for name in ("x", "grad", "gamma", "beta", "running_mean", "running_var", "probe"):
        yield name, getattr(case, name), lambda a, name=name: replace(case, **{name: a})  # type: ignore[misc]
    for index, batch in enumerate(case.more):
        yield (
            "more",
            batch,
            lambda a, index=index: replace(case, more=_with(case.more, index, a)),  # type: ignore[misc]
        )


def _cost(value: float) -> tuple[int, float, bool]:
    """Order numbers by how hard they are to work with: digits, then size, then sign."""
    digits = repr(abs(value)).removesuffix(".0").strip("0").replace(".", "")
    return (0 if value == 0 else len(digits), abs(value), value < 0)


def _simpler(value: float) -> Iterator[float]:
    tries = (0.0, 1.0, -1.0, 2.0, -2.0, 3.0, float(np.rint(value)), float(np.rint(value / 2)))
    for candidate in dict.fromkeys(tries):
        if _cost(candidate) < _cost(value):
            yield candidate


def _total(array: AnyArray) -> tuple[int, float]:
    costs = [_cost(float(value)) for value in array.ravel()]
    return (sum(cost[0] for cost in costs), sum(cost[1] for cost in costs))


def _without(array: AnyArray, row: int) -> AnyArray:
    return np.delete(array, row, axis=0)


def _with(batches: tuple[AnyArray, ...], index: int, batch: AnyArray) -> tuple[AnyArray, ...]:
    return (*batches[:index], batch, *batches[index + 1 :])


_PASSES = (
    _fewer_rows,
    _fewer_features,
    _less_space,
    _shorter_others,
    _neutral_parameters,
    _simpler_arrays,
    _simpler_numbers,
)
