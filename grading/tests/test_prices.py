"""What a mistake costs: once, its own points, and no mistake makes another one free."""

from __future__ import annotations

from pathlib import Path

import pytest
from bn_grading.api import check
from bn_properties.records import Outcome, SubmissionResult

pytestmark = pytest.mark.once

BUGGY = Path(__file__).parents[2] / "fixtures" / "buggy"


def points(found: SubmissionResult) -> dict[str, tuple[float, float]]:
    return {each.id: (each.points, each.max_points) for each in found.properties if each.max_points}


def test_two_mistakes_cost_their_own_points_each() -> None:
    found = check(str(BUGGY / "cmu_two_mistakes.py"))
    lost = {name for name, (got, most) in points(found).items() if got < most}
    assert "backward.input_gradient" in lost
    assert lost & {"backward.gamma_gradient", "backward.beta_gradient"}
    (cause,) = found.causes
    assert {"swapped-parameter-gradients", "mean-route-missing"} == set(cause.fault.split(" + "))


def test_a_wrong_forward_does_not_make_an_unwritten_backward_free() -> None:
    found = check(str(BUGGY / "cmu_wrong_and_unwritten.py"))
    by_id = {each.id: each for each in found.properties}
    for name in ("training.agreement", "backward.input_gradient", "backward.gamma_gradient"):
        assert by_id[name].status is Outcome.FAIL, name
        assert by_id[name].points == 0.0
    (cause,) = found.causes
    assert {"dbeta-zero", "dgamma-zero", "dz-zero"} < set(cause.fault.split(" + "))
    assert cause.explained == cause.observed


def test_an_exception_at_large_batches_costs_once_and_one_everywhere_costs_all(
    tmp_path: Path,
) -> None:
    source = (BUGGY.parent / "correct" / "cmu_handout.py").read_text("utf-8")
    start = source.index("    def forward(")
    place = source.index("\n", start) + 1
    for condition, low, high in (("len(Z) > 1000", 12.0, 19.0), ("True", 0.0, 5.0)):
        path = tmp_path / "raises.py"
        path.write_text(
            source[:place] + f"        assert not ({condition})\n" + source[place:], "utf-8"
        )
        assert low <= check(str(path)).score <= high, condition
