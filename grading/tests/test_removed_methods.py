"""The methods that NumPy has taken from its arrays: what each did, and all else as it is."""

from __future__ import annotations

import ast
from typing import Any

import numpy as np
import pytest
from bn_grading.intake.old_names import old_names
from bn_worker.removed_methods import HELPER, METHODS, asking, method

CODE: dict[str, tuple[str, Any]] = {
    "ptp": ("np.array([[1.0, 5.0], [2.0, 2.0]]).ptp(axis=0).tolist()", [1.0, 3.0]),
    "itemset": (
        "[a := np.zeros(3), a.itemset(1, 2.0), a.itemset((2,), 3.0), a.tolist()][-1]",
        [0, 2, 3],
    ),
    "newbyteorder": ("np.array([1], '<i2').newbyteorder().tolist()", [256]),
}


def run(code: str) -> Any:
    tree = asking(ast.parse(f"found = {code}"), code)
    names = {"np": np, HELPER: method}
    exec(compile(tree, "code", "exec"), names)
    return names["found"]


@pytest.mark.parametrize("name", METHODS)
def test_each_method_does_what_it_did(name: str) -> None:
    code, expected = CODE[name]
    assert expected == run(code)


def test_a_class_that_has_such_a_method_keeps_it() -> None:
    assert run("type('Own', (), {'ptp': lambda self: 7})().ptp()") == 7


def test_what_has_none_raises_as_ever() -> None:
    with pytest.raises(AttributeError, match="'list' object has no attribute 'ptp'"):
        run("[1, 2].ptp()")


def test_a_file_without_them_is_left_as_it_is() -> None:
    tree = ast.parse("found = np.ptp")
    assert asking(tree, "found = np.zeros") is tree


def test_the_record_says_what_to_write() -> None:
    (note,) = old_names("import numpy as np\nspread = z.ptp(axis=0) + np.ptp(z)\n")
    assert "write np.ptp" in note
