"""What failing cases have in common: told only where it is more than chance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from bn_properties.cases.case import Case
from bn_properties.cases.draw import draw_cases
from bn_properties.cases.traits import FEW, KNOWN, TRAITS, TraitName, only

CASES = draw_cases(0, 100)
ALL = frozenset(case.index for case in CASES)


def having(has: Callable[[Case], bool]) -> list[int]:
    return [case.index for case in CASES if has(case)]


def test_every_trait_has_its_words() -> None:
    assert set(TRAITS) == set(KNOWN)
    assert len(TRAITS) == len({trait.words for trait in KNOWN.values()})


@pytest.mark.parametrize("name", TRAITS)
def test_what_fails_for_all_that_have_a_trait_is_told_as_that(name: TraitName) -> None:
    failed = having(KNOWN[name].has)
    assert 0 < len(failed) <= len(CASES) - FEW, "drawn cases have it, and several have it not"
    assert name == only(CASES, ALL, failed)


def test_a_case_that_has_nothing_special_says_no() -> None:
    plain = having(lambda case: not any(trait.has(case) for trait in KNOWN.values()))
    failed = [*having(KNOWN["one_feature"].has), plain[0]]
    assert only(CASES, ALL, failed) is None


def test_one_of_many_that_have_it_is_chance() -> None:
    failed = having(KNOWN["one_feature"].has)[:1]
    assert only(CASES, ALL, failed) is None


def test_where_hardly_any_has_it_not_nothing_is_told() -> None:
    ones = having(KNOWN["one_feature"].has)
    plain = having(lambda case: case.features > 1)
    assert only(CASES, frozenset([*ones, *plain[:4]]), ones) is None
    assert only(CASES, frozenset([*ones, *plain[:5]]), ones) == "one_feature"


def test_nothing_that_fails_has_nothing_in_common() -> None:
    assert only(CASES, ALL, []) is None


def test_a_feature_that_does_not_vary_is_seen_behind_other_axes() -> None:
    case = next(case for case in draw_cases(0, 100, 2) if KNOWN["constant_feature"].has(case))
    batches = (case.x, *case.more)
    assert any((np.ptp(batch, axis=(0, 2, 3)) == 0).any() for batch in batches)


def test_many_failures_are_no_chance_even_where_others_have_the_trait() -> None:
    ones = having(KNOWN["constant_feature"].has)
    assert only(CASES, ALL, ones[: len(ones) // 3]) == "constant_feature"
    assert only(CASES, ALL, ones[:2]) is None
