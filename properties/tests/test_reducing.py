"""The reducer: what it drops, what it never tries, and that it ends; and what it leaves alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from bn_oracle.conventions import CMU_HW1P1, TORCH, Convention
from bn_properties.cases.case import Case
from bn_properties.checking import Failing, judge
from bn_properties.property import Ask, Check, Checks, Property
from bn_properties.protocol import AnyArray, Capability, Failure, Refusable, SubjectError
from bn_properties.reducing import minimise, reduce
from bn_properties.scenario import Response, Scenario
from bn_properties.transcript import Transcript


def case(rows: int = 5, features: int = 3, dtype: str = "float64", **fields: object) -> Case:
    """Return a case in which no number is simple, and no two of a batch are alike."""

    def numbers(*shape: int, start: float) -> AnyArray:
        return (np.arange(np.prod(shape)).reshape(shape) / 7 + start).astype(dtype)

    whole = Case(
        index=3,
        regime="ordinary",
        x=numbers(rows, features, start=1.7),
        grad=numbers(rows, features, start=2.7),
        gamma=np.arange(features) + 1.3,
        beta=np.arange(features) + 2.3,
        eps=7.3,
        decay=0.9,
        running_mean=np.arange(features) + 3.3,
        running_var=np.arange(features) + 4.3,
        more=(numbers(3, features, start=5.7), numbers(2, features, start=6.7)),
        probe=numbers(4, features, start=7.7),
    )
    return replace(whole, **fields)  # type: ignore[arg-type]


SPATIAL = case(
    x=np.arange(48.0).reshape(2, 2, 3, 4) + 0.5,
    grad=np.arange(48.0).reshape(2, 2, 3, 4) + 0.25,
    gamma=np.full(2, 1.5),
    beta=np.full(2, 1.5),
    running_mean=np.full(2, 1.5),
    running_var=np.full(2, 1.5),
    more=(np.full((2, 2, 3, 4), 1.5),),
    probe=np.full((2, 2, 3, 4), 1.5),
)


@pytest.mark.parametrize("start", [case(), case(dtype="float32"), SPATIAL])
def test_what_fails_everywhere_becomes_the_simplest_case_of_all(start: Case) -> None:
    small = reduce(start, lambda case: True)
    one = (1,) * start.x.ndim
    assert one == small.x.shape == small.grad.shape == small.probe.shape
    assert () == small.more
    assert np.float64 == small.x.dtype == small.grad.dtype == small.probe.dtype
    for array in (small.x, small.grad, small.probe, small.beta, small.running_mean):
        assert [0.0] == array.ravel().tolist()
    assert [1.0] == small.gamma.tolist() == small.running_var.tolist()
    assert (1.0, 0.5) == (small.eps, small.decay)
    assert (start.index, start.regime) == (small.index, small.regime)


NEUTRAL = {"rows": 1, "features": 1, "more": [], "probe": 1, "eps": 1.0, "decay": 0.5}


@pytest.mark.parametrize(
    ("needs", "kept"),
    [
        (lambda case: len(case.x) >= 3, {"rows": 3}),
        (lambda case: len(case.x) == 5, {"rows": 5}),
        (lambda case: case.features >= 2, {"features": 2}),
        (lambda case: len(case.more) == 2, {"more": [1, 1]}),
        (lambda case: len(case.more) >= 1, {"more": [1]}),
        (lambda case: len(case.more) == 2 and len(case.more[1]) == 2, {"more": [1, 2]}),
        (lambda case: len(case.probe) >= 3, {"probe": 3}),
        (lambda case: case.eps > 1.0, {"eps": 3.0}),
        (lambda case: case.eps == 7.3, {"eps": 7.3}),
        (lambda case: case.eps < 1.0 or case.eps == 7.3, {"eps": 0.25}),
        (lambda case: case.decay == 0.9, {"decay": 0.9}),
    ],
)
def test_what_a_failure_needs_is_kept_and_all_else_goes(
    needs: Callable[[Case], bool], kept: dict[str, object]
) -> None:
    start = case()
    assert needs(start)
    small = reduce(start, needs)
    assert NEUTRAL | kept == {
        "rows": len(small.x),
        "features": small.features,
        "more": [len(batch) for batch in small.more],
        "probe": len(small.probe),
        "eps": small.eps,
        "decay": small.decay,
    }


@pytest.mark.parametrize(
    ("name", "needs", "becomes"),
    [
        ("beta", lambda array: array.max() > 2.2, 3.0),
        ("gamma", lambda array: array.max() > 1.2, 2.0),
        ("running_var", lambda array: array.max() != 1.0, 2.0),
        ("running_mean", lambda array: array.min() != 0.0, 1.0),
        ("x", lambda array: (array != np.rint(array)).any(), 1.7),
        ("grad", lambda array: (abs(array) == 2).any() or array.max() > 2.2, 2.0),
        ("probe", lambda array: array.min() > 1.0 or array.min() < 0.0, -1.0),
    ],
)
def test_a_number_becomes_the_simplest_that_still_shows_it(
    name: str, needs: Callable[[AnyArray], bool], becomes: float
) -> None:
    start = case(1, 1, probe=np.array([[7.7]]))
    assert needs(getattr(start, name))
    small = reduce(start, lambda case: bool(needs(getattr(case, name))))
    assert [becomes] == getattr(small, name).ravel().tolist()


def test_rows_of_a_batch_and_of_its_gradient_go_together() -> None:
    start = case(5, 1, grad=case(5, 1).x + 100)
    x, grad = float(start.x[3, 0]), float(start.grad[3, 0])
    small = reduce(start, lambda case: x in case.x and grad in case.grad)
    assert ([[x]], [[grad]]) == (small.x.tolist(), small.grad.tolist())


def test_a_feature_goes_from_all_arrays_at_once() -> None:
    def column(case: Case, feature: int) -> list[float]:
        batches = (case.x, case.grad, case.probe, *case.more)
        vectors = (case.gamma, case.beta, case.running_mean, case.running_var)
        return [float(b[0, feature]) for b in batches] + [float(v[feature]) for v in vectors]

    start = case(1, 3, probe=case(1, 3).x + 50)
    wanted = column(start, 1)

    def fails(case: Case) -> bool:
        whole = len(case.more) == 2
        return whole and any(wanted == column(case, i) for i in range(case.features))

    small = reduce(start, fails)
    assert 1 == small.features
    assert wanted == column(small, 0)


def test_scales_stay_positive_however_simple_zero_would_be() -> None:
    def fails(tried: Case) -> bool:
        assert (tried.gamma > 0).all()
        assert (tried.running_var > 0).all()
        assert tried.eps > 0
        return True

    reduce(case(), fails)


def test_a_reduction_tries_no_more_cases_than_it_may() -> None:
    tried: list[Case] = []

    def fails(case: Case) -> bool:
        tried.append(case)
        return len(tried) % 3 == 0

    for most in (0, 1, 7):
        tried.clear()
        start = case()
        small = reduce(start, fails, most)
        assert most == len(tried)
        if most < 3:
            assert small is start


def test_what_nothing_simpler_shows_is_returned_as_it_is() -> None:
    start = case()
    assert start is reduce(start, lambda case: False)


# A property's failure on a subject.


class Silent:
    spatial_axes = 0
    offers: frozenset[Capability] = frozenset()
    may_refuse: frozenset[Capability | Refusable] = frozenset()
    fixed_eps: bool = False

    def __init__(self, convention: Convention = CMU_HW1P1) -> None:
        self.convention = convention

    def observe(self, scenario: Scenario) -> tuple[Response[AnyArray], ...]:
        return (Response({}),)


def minimised(
    judged: Checks, failing: Failing, convention: Convention = CMU_HW1P1
) -> tuple[Failing, Transcript]:
    prop = Property("a.b", "It holds.", "it fails", "", "", (), 1, None, judged)
    seen = Transcript(Silent(convention))
    return minimise(failing, prop, seen), seen


def wrong_number() -> Check:
    return Check("q", np.array([3.0]), np.zeros(1), np.ones(1))


def failed(case: Case, failure: Failure | None = None) -> Failing:
    if failure is not None:
        return Failing(case, None, None, SubjectError(failure, "first"), ())
    return Failing(case, wrong_number(), judge(wrong_number()), None, ())


def test_a_wrong_number_is_brought_down_and_the_transcript_is_left_as_it_was() -> None:
    def judged(case: Case, ask: Ask) -> Iterator[Check]:
        ask.response(case.training)
        if len(case.x) >= 2:
            yield wrong_number()

    small, seen = minimised(judged, failed(case()))
    assert (2, 1) == small.case.x.shape
    assert small.check is not None
    assert small.judgement is not None
    assert small.judgement.ratio == 3.0
    assert [small.case.training] == list(small.asked)
    assert [] == seen.observed


@pytest.mark.parametrize("failure", ["timeout", "slept", "died", "unfinished"])
def test_what_hung_or_died_is_not_asked_again(failure: Failure) -> None:
    def judged(case: Case, ask: Ask) -> Iterator[Check]:
        raise AssertionError("it is asked")

    start = failed(case(), failure)
    small, _ = minimised(judged, start)
    assert start is small


@pytest.mark.parametrize("failure", ["raised", "unusable_result", None])
def test_a_failure_stays_of_its_kind(failure: Failure | None) -> None:
    """Of one row or feature, it fails in another way: that is another failure."""

    def judged(case: Case, ask: Ask) -> Iterator[Check]:
        kind = failure
        if len(case.x) < 2:
            kind = "raised" if failure != "raised" else "not_implemented"
        elif case.features < 2:
            kind = None if failure is not None else "raised"
        if kind is not None:
            raise SubjectError(kind, "then")
        yield wrong_number()

    small, _ = minimised(judged, failed(case(), failure))
    assert (2, 2) == small.case.x.shape
    assert failure == (small.error.failure if small.error else None)


@pytest.mark.parametrize(("convention", "rows"), [(CMU_HW1P1, 1), (TORCH, 2)])
def test_what_the_convention_does_not_define_is_not_tried(
    convention: Convention, rows: int
) -> None:
    def judged(case: Case, ask: Ask) -> Iterator[Check]:
        assert len(case.x) >= rows
        yield wrong_number()

    small, _ = minimised(judged, failed(case()), convention)
    assert (rows, 1) == small.case.x.shape


def test_what_cannot_be_shown_again_stands_as_it_was_seen() -> None:
    def judged(case: Case, ask: Ask) -> Iterator[Check]:
        yield from ()

    start = failed(case())
    small, _ = minimised(judged, start)
    assert start is small


@pytest.mark.parametrize("most", [4096, 5003, 9999])
def test_a_large_case_is_cut_to_size_in_few_trials(most: int) -> None:
    rows = case(10_007, 2)
    trials = list[int]()

    def fails(case: Case) -> bool:
        trials.append(len(case.x))
        return len(case.x) > most

    start = replace(rows, probe=rows.x, more=(rows.x,))
    small = reduce(start, fails)
    assert (most + 1, 1) == small.x.shape
    assert (1, 1) == small.probe.shape
    assert () == small.more
    assert len(trials) < 200
