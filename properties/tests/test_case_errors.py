"""Errors over bounds, case by case, in a byte each."""

from __future__ import annotations

import base64
import math
import zlib

import pytest
from bn_properties.case_errors import MOST_CASES, packed, unpacked
from hypothesis import given
from hypothesis import strategies as st

ERRORS = st.dictionaries(st.integers(0, 110), st.floats(0, math.inf))


@given(ERRORS)
def test_each_comes_back_to_a_quarter_of_an_octave(errors: dict[int, float]) -> None:
    found = unpacked(packed(errors, 111))
    assert errors.keys() == found.keys()
    for number, ratio in errors.items():
        if ratio == 0.0 or math.isinf(ratio):
            assert ratio == found[number]
        else:
            within = min(max(math.log2(ratio), -63.0), 63.0)
            assert abs(math.log2(found[number]) - within) <= 0.25


def test_what_reaches_the_bound_is_on_the_right_side_of_it() -> None:
    assert {0: 1.0} == unpacked(packed({0: 1.0}, 1))
    assert unpacked(packed({0: 1.3}, 1))[0] > 1.0
    assert {0: math.inf, 2: math.inf} == unpacked(packed({0: math.nan, 2: math.inf}, 3))


def test_nothing_compared_is_nothing_told() -> None:
    assert {} == unpacked(packed({}, 111))
    assert len(packed({3: 0.5}, 111)) < 40


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "====",
        "aGFsbG8=",
        packed({0: 1.0}, 5)[:-4],
        base64.b64encode(zlib.compress(bytes(MOST_CASES + 1), wbits=-15)).decode(),
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no errors over bounds"):
        unpacked(text)
