"""Torch modules that go without something are judged on what they have, and on what they take."""

from __future__ import annotations

from pathlib import Path

import pytest
from bn_grading.api import check
from bn_properties.records import Outcome, Status, SubmissionResult

pytest.importorskip("torch")

HEAD = """from torch import nn
class Layer(nn.BatchNorm1d):
    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        super().__init__(num_features, eps, momentum, {option})
"""


def judged(tmp_path: Path, option: str, rest: str = "") -> SubmissionResult:
    path = tmp_path / "less.py"
    path.write_text(HEAD.format(option=option) + rest, "utf-8")
    return check(f"{path}:Layer", course="torch")


def outcomes(found: SubmissionResult) -> dict[str, Outcome]:
    return {each.id: each.status for each in found.properties}


def test_without_parameters_it_is_judged_on_the_rest(tmp_path: Path) -> None:
    found = judged(tmp_path, "affine=False")
    assert found.status is Status.INCOMPLETE
    assert "has no weight" in found.summary
    by_id = outcomes(found)
    assert Outcome.FAIL not in by_id.values()
    for name in ("training.agreement", "backward.input_gradient", "inference.affine_fold"):
        assert by_id[name] is Outcome.PASS
    for name in ("backward.gamma_gradient", "hygiene.current_parameters", "backward.frozen_input"):
        assert by_id[name] is Outcome.NOT_RUN


def test_without_parameters_what_is_wrong_is_found(tmp_path: Path) -> None:
    wrong = "    def forward(self, x): return super().forward(x) * 1.01\n"
    found = judged(tmp_path, "affine=False", wrong)
    assert found.status is Status.INCORRECT
    assert outcomes(found)["training.agreement"] is Outcome.FAIL


def test_without_a_bias_alone_the_gradient_of_the_weight_is_asked(tmp_path: Path) -> None:
    bare = "        self.register_parameter('bias', None)\n"
    by_id = outcomes(judged(tmp_path, "", bare))
    assert by_id["backward.gamma_gradient"] is Outcome.PASS
    assert by_id["backward.beta_gradient"] is Outcome.NOT_RUN


def test_without_running_statistics_training_is_judged(tmp_path: Path) -> None:
    found = judged(tmp_path, "track_running_stats=False")
    assert found.status is Status.INCOMPLETE
    by_id = outcomes(found)
    assert Outcome.FAIL not in by_id.values()
    assert by_id["training.agreement"] is by_id["backward.input_gradient"] is Outcome.PASS
    assert by_id["inference.affine_fold"] is by_id["running.mean_recurrence"] is Outcome.NOT_RUN


def test_a_setting_that_is_not_taken_is_told_as_such(tmp_path: Path) -> None:
    fixed = (
        "    @property\n"
        "    def eps(self):\n"
        "        import torch\n"
        "        return torch.tensor(self._eps)\n"
        "    @eps.setter\n"
        "    def eps(self, value): self._eps = float(value)\n"
    )
    found = judged(tmp_path, "", fixed)
    assert found.status is Status.INCORRECT
    assert "eps was set to" in found.summary
    assert "does not read as that" in found.summary


def test_three_axes_are_asked_only_where_they_are_taken() -> None:
    folder = Path(__file__).parents[2] / "fixtures/torch"
    taken = check(str(folder / "correct/torch_sequence.py"))
    assert {each.part for each in taken.properties} == {"layer", "layer1d"}
    assert taken.status is Status.CORRECT
    refused = check(str(folder / "correct/torch_function_closed.py"))
    assert {each.part for each in refused.properties} == {"layer"}
    assert refused.status is Status.CORRECT
    by_position = check(str(folder / "correct/torch_mixins.py"))  # written for (N, C)
    assert {each.part for each in by_position.properties} == {"layer", "layer2d"}
    assert by_position.status is Status.CORRECT
    wrong = check(str(folder / "buggy/torch_sequence_count.py"))
    assert (wrong.status, wrong.optional, wrong.score) == (Status.INCORRECT, True, 20.0)
