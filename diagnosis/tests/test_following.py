"""Where the arrays come from that a statement reads: given, called otherwise, or computed."""

from __future__ import annotations

import ast
from typing import NamedTuple

import numpy as np
import pytest
from bn_diagnosis.following import Origin, computed, origin_of

SMALL = np.array([1.0, 2.0, 3.0])
OTHER = np.array([4.0, 5.0, 7.0])


class Seen(NamedTuple):
    frame: int
    line: int
    name: str
    value: np.ndarray


@pytest.mark.parametrize(
    ("code", "name", "origin"),
    [
        ("var = x.var(axis=0)", "var", "computed"),
        ("self.V = V", "self.V", "given"),
        ("self.V = M", "self.V", "renamed"),
        ("std = cache['std']", "std", "given"),
        ("std = cache['var']", "std", "renamed"),
        ("mean = bn_param.get('mean', 0)", "mean", "given"),
        ("xhat = cache[0]", "xhat", "given"),
        ("N = x.shape[0]", "N", "computed"),
        ("x, std = cache", "std", "given"),
        ("self.x, self.std = x, std", "self.std", "given"),
        ("self.x, self.std = x, mean", "self.std", "renamed"),
        ("D, S = x - mean, var + eps", "S", "computed"),
    ],
)
def test_a_value_is_given_renamed_or_computed(code: str, name: str, origin: Origin) -> None:
    assert origin_of(ast.parse(code).body[0], name) == origin


def read_in(source: str, *seen: Seen) -> dict[int, tuple[Origin, ...]]:
    """Return the origins of what the statement of each line reads, in alphabetical order."""
    return {
        each.statement.lineno: tuple(sorted(one.origin for one in each.read))
        for each in computed(seen, source)
    }


def test_what_was_handed_to_the_first_function_is_given() -> None:
    source = "def f(x):\n    y = x * 2\n"
    assert read_in(source, Seen(0, 0, "x", SMALL), Seen(0, 2, "y", OTHER)) == {2: ("given",)}


def test_what_is_unpacked_under_a_name_that_another_array_had_is_renamed() -> None:
    source = "def f(x):\n    var = x\n    std = x\ndef b(c):\n    std, var = c\n    return std\n"
    forward = Seen(0, 2, "var", SMALL), Seen(0, 3, "std", OTHER)
    right = Seen(1, 5, "std", OTHER), Seen(1, 6, "return", OTHER)
    wrong = Seen(1, 5, "std", SMALL), Seen(1, 6, "return", SMALL)
    assert read_in(source, *forward, *right)[6] == ("given",)
    assert read_in(source, *forward, *wrong)[6] == ("renamed",)


def test_what_a_function_returns_under_another_name_is_renamed() -> None:
    source = "def g(s):\n    return s.gamma\ndef f(x):\n    mean = g(x)\n    return x - mean\n"
    gamma = Seen(0, 0, "self.gamma", SMALL)
    handed, end = Seen(0, 4, "mean", SMALL), Seen(0, 5, "return", OTHER)
    assert "renamed" in read_in(source, gamma, handed, end)[5]
    computed_there = Seen(0, 4, "mean", OTHER)
    assert "renamed" not in read_in(source, gamma, computed_there, end)[5]


def test_a_long_statement_is_cut() -> None:
    source = "y = " + " + ".join(["x"] * 200) + "\n"
    (only,) = computed([Seen(0, 1, "y", SMALL)], source)
    line = only.line(source)
    assert line.number == 1
    assert line.code.endswith("…")
    assert len(line.code) < 130
