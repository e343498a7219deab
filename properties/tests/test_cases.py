"""The cases are the same everywhere, and cover what they should."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from bn_properties.cases import REGIMES, cases, digest, draw_cases
from hypothesis import strategies as st

DIGESTS = {
    0: "93c4d3cd5196c03693db2053adcecc57fc627885e641d6adc3f922b3126f9cb7",
    2: "49b00da358e9ebc5a94d07e959ccc18991e0ac9dd004a64433cbbba6f13c0809",
}


@pytest.mark.parametrize("spatial_axes", [0, 2])
def test_the_cases_of_a_seed_are_the_same_on_every_python(spatial_axes: int) -> None:
    """The digests were taken once; another Python, import or entry point must give them too."""
    assert DIGESTS[spatial_axes] == digest(draw_cases(0, 100, spatial_axes))


def test_the_cases_do_not_depend_on_what_is_imported() -> None:
    """Hypothesis mixes constants that it finds in imported modules into some draws."""
    script = "from bn_properties.cases import digest, draw_cases; print(digest(draw_cases(0, 100)))"
    alone = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd="/"
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
    strategy: st.SearchStrategy[object] = cases(**arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        strategy.example()
