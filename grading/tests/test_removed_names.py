"""The names that NumPy has removed: what each meant, and that nothing else is answered for."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from bn_worker.removed_names import REMOVED

GONE = [name for name in REMOVED if name not in dir(np)]

MEANT: dict[str, tuple[str, str]] = {
    "product": ("np.product([2, 3])", "6"),
    "cumproduct": ("np.cumproduct([2, 3]).tolist()", "[2, 6]"),
    "sometrue": ("np.sometrue([0, 1])", "True"),
    "alltrue": ("np.alltrue([0, 1])", "False"),
    "float": ("np.float(2)", "2.0"),
    "int": ("np.zeros(2, np.int).dtype.kind", "i"),
    "Inf": ("np.Inf", "inf"),
    "NINF": ("np.NINF", "-inf"),
    "float_": ("np.zeros(1, dtype=np.float_).dtype", "float64"),
    "asfarray": ("np.asfarray([1]).dtype", "float64"),
    "msort": ("np.msort(np.array([[2, 1], [1, 3]])).tolist()", "[[1, 1], [2, 3]]"),
    "asscalar": ("np.asscalar(np.array([3.5]))", "3.5"),
    "in1d": ("np.in1d([[1], [2]], [2]).tolist()", "[False, True]"),
    "math": ("np.math.sqrt(4)", "2.0"),
    "rank": ("np.rank(np.zeros((2, 3)))", "2"),
    "alen": ("np.alen(5)", "1"),
    "cast": ("np.cast['float32'](2).dtype", "float32"),
    "nbytes": ("np.nbytes[np.float64]", "8"),
    "disp": ("np.disp('x')", "x\nNone"),
    "issctype": ("(np.issctype(np.float32), np.issctype(3))", "(True, False)"),
    "obj2sctype": ("(np.obj2sctype(np.zeros(2)).__name__, np.obj2sctype(3))", "('float64', None)"),
    "maximum_sctype": ("np.maximum_sctype(np.int8).__name__", "int64"),
    "sctypes": ("np.sctypes['float'][-2].__name__", "float64"),
    "find_common_type": ("np.find_common_type([np.float32], [np.float64])", "float64"),
}


def supplied(code: str) -> str:
    script = f"import numpy as np; from bn_worker.removed_names import supply; supply(); {code}"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


def test_each_name_means_what_it_meant() -> None:
    asked = [name for name in MEANT if name in GONE]
    found = supplied("; ".join(f"print({MEANT[name][0]})" for name in asked))
    assert "\n".join(MEANT[name][1] for name in asked) == found


def test_every_name_is_supplied_and_may_be_imported() -> None:
    assert supplied(f"from numpy import {', '.join(GONE)}; print('ok')") == "ok"


@pytest.mark.parametrize("name", ["lookfor", "no_such_name"])
def test_what_is_not_listed_is_answered_as_numpy_does(name: str) -> None:
    assert "AttributeError" in supplied(f"np.{name}")


def test_each_has_something_to_write_instead() -> None:
    for name, removed in REMOVED.items():
        assert removed.write, name
