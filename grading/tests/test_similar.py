"""Submissions that differ in names and formatting alone are found; others are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from bn_grading.classroom.similar import normal_form, similar

FIRST = '''
import numpy as np

class BatchNorm1d:
    """The layer of the homework."""

    def __init__(self, num_features, alpha=0.9):
        self.gamma = np.ones(num_features)  # scale
        self.alpha: float = alpha

    def forward(self, Z, eval=False):
        mean = np.mean(Z, axis=0)
        spread = np.mean((Z - mean) ** 2, axis=0)
        return self.gamma * (Z - mean) / np.sqrt(spread + 1e-8)
'''
RENAMED = """
import numpy as xp
class BatchNorm1d:
    def __init__(me, width, a = .9):
        me.BW = xp.ones(width)
        me.a: float = a
    def forward(me, inputs, test=False):
        "Normalise."
        m = xp.mean(inputs, axis=0)
        v = xp.mean((inputs-m)**2, axis=0)
        return (me.BW
                * (inputs-m) / xp.sqrt(v+1e-8))
"""


def test_names_comments_and_formatting_make_no_difference() -> None:
    assert normal_form(FIRST) == normal_form(RENAMED) is not None
    class_ = {"eve": RENAMED, "bob": FIRST.replace("1e-8", "0"), "ada": FIRST}
    assert [("ada", "eve")] == similar(class_)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("1e-8", "1e-7"),
        ("np.sqrt(", "np.exp("),
        ("axis=0)\n        spread", "axis=1)\n        spread"),
        ("(Z - mean) / np", "(mean - Z) / np"),
        ("(Z - mean) ** 2", "(Z - Z) ** 2"),
        ("import numpy as np", "import cupy as np"),
    ],
)
def test_what_computes_something_else_is_another(before: str, after: str) -> None:
    assert before in FIRST
    assert normal_form(FIRST) != normal_form(FIRST.replace(before, after))


def test_what_is_short_or_broken_says_nothing() -> None:
    for source in ("class BatchNorm1d: pass\n", "def f(:\n", "x = " + "(" * 500 + ")" * 500):
        assert normal_form(source) is None
    assert normal_form("x = 0\n" * 50_000) is None
    assert [] == similar(dict.fromkeys(("ada", "bob"), "class BatchNorm1d: pass\n"))


TRICKY = """
import numpy as np
count = 0

class Layer:
    def forward(self, x):
        global count
        count += 1
        self.mean = np.mean(x, axis=0)
        self.var = x.var(axis=0)
        try:
            out = (x - self.mean) / np.sqrt(self.var)
        except ValueError as problem:
            raise RuntimeError(str(problem))
        return self.scaled(out, factor=2) + x.mean()

    def scaled(self, out, factor):
        return factor * out
"""


def test_a_name_that_a_library_has_too_is_renamed_where_it_is_the_files_own() -> None:
    renamed = TRICKY
    for before, after in (
        ("self.mean", "self.mu"),
        ("self.var", "self.sigma2"),
        ("count", "calls"),
        ("problem", "e"),
        ("scaled", "times"),
        ("factor", "by"),
        ("out", "y: float"),
    ):
        renamed = renamed.replace(before, after)
    for before in ("y: float,", "(y: float", "* y: float"):  # an annotation stands elsewhere
        renamed = renamed.replace(before, before.replace(": float", ""))
    assert normal_form(TRICKY) == normal_form(renamed) is not None
    other = TRICKY.replace("np.mean", "np.sum").replace("self.mean", "self.sum")
    assert normal_form(TRICKY) != normal_form(other)
    other = TRICKY.replace("x.var(", "x.std(").replace("self.var", "self.std")
    assert normal_form(TRICKY) != normal_form(other)
    other = TRICKY.replace("x.mean()", "x.sum()")
    assert normal_form(TRICKY) != normal_form(other)


def test_copies_to_the_byte_are_found_however_many_they_are() -> None:
    assert [("ada", "bob", "eve")] == similar(dict.fromkeys(("eve", "ada", "bob"), FIRST))


def test_the_right_fixtures_differ_from_each_other(fixtures_folder: Path) -> None:
    files = sorted((fixtures_folder / "correct").glob("*.py"))
    assert [] == similar({path.stem: path.read_text("utf-8") for path in files})
