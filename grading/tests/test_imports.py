"""What a file cannot do without, and what it imports if it can."""

from __future__ import annotations

import ast

import pytest
from bn_worker.loading import imports

SUPPRESSED = "import contextlib\nwith contextlib.suppress(ImportError):\n  import numba\n"
LOOKED_FOR = "from importlib.util import find_spec\nif find_spec('numba'):\n  import numba\n"
TWICE = "try:\n  import numba\nexcept ImportError:\n  pass\nimport numba\n"


@pytest.mark.parametrize(
    ("source", "needed", "if_it_can"),
    [
        ("import numba\n", {"numba"}, set()),
        ("import os, numba.core\n", {"numba"}, set()),
        ("def f():\n  from cupy import x\n", {"cupy"}, set()),
        ("try:\n  import numba\nexcept ImportError:\n  numba = None\n", set(), {"numba"}),
        ("try:\n  import numba\nexcept (OSError, ImportError):\n  pass\n", set(), {"numba"}),
        ("try:\n  import numba\nexcept:\n  pass\n", set(), {"numba"}),
        ("try:\n  import numba\nexcept ValueError:\n  pass\n", {"numba"}, set()),
        ("try:\n  pass\nexcept ImportError:\n  import cupy\n", {"cupy"}, set()),
        ("try:\n  import numba\nfinally:\n  pass\n", {"numba"}, set()),
        (TWICE, {"numba"}, set()),
        (SUPPRESSED, set(), {"numba"}),
        (LOOKED_FOR, set(), {"numba"}),
        ("with open('x') as f:\n  import numba\n", {"numba"}, set()),
        ("if x:\n  import numba\n", {"numba"}, set()),
        ("from . import layers\nfrom .x import y\n", set(), set()),
    ],
)
def test_an_import_is_needed_unless_its_failure_is_expected(
    source: str, needed: set[str], if_it_can: set[str]
) -> None:
    assert (needed, if_it_can) == tuple(map(set, imports(ast.parse(source))))
