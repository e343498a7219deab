"""Submissions that differ in names and formatting alone are found; others are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from bn_grading.classroom.similar import normal_form, similar
from bn_grading.intake.submission import Submission

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


def of(**files: str) -> list[Submission]:
    return [Submission(name, name, {"bn.py": text}, "0" * 64) for name, text in files.items()]


def test_names_comments_and_formatting_make_no_difference() -> None:
    assert normal_form(FIRST) == normal_form(RENAMED) is not None
    assert [("ada", "eve")] == similar(of(eve=RENAMED, bob=FIRST.replace("1e-8", "0"), ada=FIRST))


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
    assert [] == similar(of(ada="class BatchNorm1d: pass\n", bob="class BatchNorm1d: pass\n"))


def test_what_was_handed_out_to_the_class_says_nothing() -> None:
    class_ = [
        Submission(name, name, {"handout.py": FIRST, "bn.py": own}, "0" * 64)
        for name, own in (("ada", RENAMED), ("bob", ""), ("eve", ""), ("fay", RENAMED))
    ]
    assert [("ada", "fay")] == similar(class_)


def test_the_right_fixtures_differ_from_each_other(fixtures_folder: Path) -> None:
    files = sorted((fixtures_folder / "correct").glob("*.py"))
    assert [] == similar(of(**{path.stem: path.read_text("utf-8") for path in files}))
