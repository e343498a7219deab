"""The cases are the same everywhere, and cover what they should."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bn_properties.cases.case import REGIMES, digest
from bn_properties.cases.draw import cases, draw_cases

DIGESTS = {
    0: "6d994319969cb2d7ffc6104c4585026b0138353d93818fcfc2d29270772b40db",
    2: "2f2f572ee09f8c283a7e9a194c3a5466f04b1042dd40212b22a578dc0ea55835",
}


@pytest.mark.parametrize("spatial_axes", [0, 2])
def test_the_cases_of_a_seed_are_the_same_on_every_python(spatial_axes: int) -> None:
    """The digests were taken once; another Python, import or entry point must give them too."""
    assert DIGESTS[spatial_axes] == digest(draw_cases(0, 100, spatial_axes))


def test_the_cases_do_not_depend_on_what_is_imported(tmp_path: Path) -> None:
    """Hypothesis mixes constants that it finds in imported modules into some draws."""
    # A number of our own that fits the draws, in a module that is not installed anywhere.
    (tmp_path / "constants.py").write_text("VALUES = [41, 57, 83, 4242, 31337, 2.5]\n")
    script = (
        "import constants; from bn_properties.cases.case import digest;"
        "from bn_properties.cases.draw import draw_cases;"
        "print(digest(draw_cases(0, 100)))"
    )
    alone = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert DIGESTS[0] == alone.stdout.strip()


@pytest.mark.parametrize("spatial_axes", [0, 2])
def test_the_cases_are_distinct_and_cover_every_regime(spatial_axes: int) -> None:
    drawn = draw_cases(0, 100, spatial_axes)
    assert 100 == len(drawn) == len({case.training.key for case in drawn})
    assert set(REGIMES) == {case.regime for case in drawn}
    assert {"float32", "float64"} == {case.x.dtype.name for case in drawn}
    assert {1, 2, 3} <= {case.features for case in drawn}
    assert any(case.batch_size == 1 for case in drawn)
    assert any(len(case.x) == case.features > 1 for case in drawn)
    for case in drawn:
        assert all(np.isfinite(array).all() for array in case.arrays())
        assert (case.running_var > 0).all()
        assert case.eps > 0


def test_another_seed_gives_other_cases() -> None:
    assert digest(draw_cases(0, 22)) != digest(draw_cases(1, 22))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"spatial_axes": 4}, "spatial_axes is 4"), ({"regime": "odd"}, "regime is 'odd'")],
)
def test_bad_arguments_are_refused_by_name(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cases(**arguments)  # type: ignore[arg-type]
