"""A submission plays a whole tape: what is regular, what is not, and what ends it in the middle."""

from __future__ import annotations

import json
import sys
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from bn_grading.case_bank import CaseBank
from bn_grading.courses.matching import match
from bn_grading.courses.model import Limits, built_in
from bn_grading.examination import Examination
from bn_grading.intake.paths import single
from bn_grading.part_examination import PartExamination
from bn_grading.subject.playing import Prepared
from bn_grading.subject.session import SEARCHED
from bn_properties.calls import Train
from bn_properties.protocol import SubjectError
from bn_properties.tape.playback import Playback
from bn_worker.wire import WireError

pytestmark = pytest.mark.once

BN = """
import os, sys, time, zlib
import numpy as np


class BatchNorm1d:
    def __init__(self, num_features, alpha=0.9):
        self.alpha, self.eps = alpha, 1e-8
        self.BW, self.Bb = np.ones((1, num_features)), np.zeros((1, num_features))
        self.dLdBW, self.dLdBb = np.zeros((1, num_features)), np.zeros((1, num_features))
        self.running_M = np.zeros((1, num_features))
        self.running_V = np.ones((1, num_features))

    def forward(self, Z, eval=False):
        # TROUBLE
        if eval:
            return self.BW * (Z - self.running_M) / np.sqrt(self.running_V + self.eps) + self.Bb
        self.M, self.V = Z.mean(axis=0), Z.var(axis=0)
        self.s = np.sqrt(self.V + self.eps)
        self.NZ = (Z - self.M) / self.s
        self.running_M = self.alpha * self.running_M + (1 - self.alpha) * self.M
        self.running_V = self.alpha * self.running_V + (1 - self.alpha) * self.V
        return self.BW * self.NZ + self.Bb

    def backward(self, dLdBZ):
        # BACK
        self.dLdBW = np.sum(dLdBZ * self.NZ, axis=0, keepdims=True)
        self.dLdBb = np.sum(dLdBZ, axis=0, keepdims=True)
        d = dLdBZ * self.BW
        return (d - d.mean(axis=0) - self.NZ * (d * self.NZ).mean(axis=0)) / self.s
"""
COURSE = built_in()["cmu-hw1p1"].model_copy(update={"limits": Limits(call=1.0, submission=60.0)})


@lru_cache
def bank() -> CaseBank:
    return CaseBank(examples=11)


def played(tmp_path: Path, **edits: str) -> tuple[Playback, PartExamination]:
    """Let a right layer with some lines put in play the tape; return that, and its examination."""
    source = BN
    for mark, line in edits.items():
        source = source.replace(f"# {mark}", line)
    path = tmp_path / "bn.py"
    path.write_text(source, encoding="utf-8")
    with Examination(match(single(str(path)), COURSE, ()), bank()) as examination:
        part = examination.part(examination.parts[0])
        playback = part.settled
        assert isinstance(playback, Playback)
        part.complete(examination.parts[0], main=True)
        return playback, part


def odd(playback: Playback) -> list[int]:
    return np.flatnonzero(~playback.regular).tolist()


def test_a_right_layer_is_regular_to_the_end(tmp_path: Path) -> None:
    playback, part = played(tmp_path)
    assert len(playback.tape.scenarios) == playback.played
    assert [] == odd(playback)
    assert {"pass", "not_applicable"} == {part.scanned(each.id).outcome for each in part.properties}


@pytest.mark.parametrize(
    "edits",
    [
        {"TROUBLE": "return self.g(Z, eval).astype(np.float32)\n\n    def g(self, Z, eval):"},
        {"TROUBLE": "return self.g(Z, eval)[:]\n\n    def g(self, Z, eval):"},
        {"TROUBLE": "print('a word', file=sys.stderr); print('and another')"},
    ],
)
def test_other_dtypes_and_prints_are_regular(tmp_path: Path, edits: dict[str, str]) -> None:
    playback, _ = played(tmp_path, **edits)
    assert [] == odd(playback)
    for number in range(0, playback.played, 17):
        start = playback.tape.starts[number]
        given = [v for call in playback.decode(number) for v in call.values.values()]
        flat = np.concatenate(
            [np.ravel(v).astype(float) for v in given if not isinstance(v, SubjectError)]
        )
        np.testing.assert_array_equal(flat, playback.values[start : start + flat.size])


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("if len(Z) == 1 and not eval: raise ValueError('one value')", "raised"),
        ("if len(Z) == 1 and not eval: return None", "not_implemented"),
        ("if len(Z) == 1 and not eval: return np.zeros(7)", "unusable_result"),
        ("if len(Z) == 1 and not eval: Z += 1", "edited"),
    ],
)
def test_what_is_irregular_stays_with_its_scenarios(tmp_path: Path, line: str, what: str) -> None:
    playback, _ = played(tmp_path, TROUBLE=line)
    assert len(playback.tape.scenarios) == playback.played
    assert 0 < len(odd(playback)) < playback.played / 2
    for number in odd(playback):
        failures = {
            value.failure
            for call in playback.decode(number)
            for value in call.values.values()
            if isinstance(value, SubjectError)
        }
        edited = {name for call in playback.decode(number) for name in call.edited}
        assert what in failures or edited


ENDS = {
    "dies": ("os._exit(3)", "died"),
    "is killed": ("os.kill(os.getpid(), 9)", "died"),
    "hangs": ("time.sleep(9)", "slept" if sys.platform == "linux" else "timeout"),
}


def once() -> str:
    """Return a condition that holds in one scenario alone: a batch with twice its γ."""
    tape = bank().tape(COURSE.parts[0], COURSE.convention).tape
    entries = (each for each in tape.entries if each.property == "training.linear_in_parameters")
    scenarios = (tape.scenarios[each.scenarios[1]] for each in entries)
    scenario = next(each for each in scenarios if np.all(each.setup.gamma))
    (call,), gamma = scenario.calls, scenario.setup.gamma
    assert isinstance(call, Train)
    assert gamma is not None
    sum_ = zlib.crc32(call.x.tobytes() + gamma.tobytes())
    first = "not hasattr(self, 'NZ')"
    return f"if {first} and zlib.crc32(Z.tobytes() + self.BW.tobytes()) == {sum_}: "


def errors_in(playback: Playback, number: int) -> list[SubjectError]:
    values = (value for call in playback.decode(number) for value in call.values.values())
    return [value for value in values if isinstance(value, SubjectError)]


@pytest.mark.parametrize("how", ENDS)
def test_what_ends_it_in_the_middle_costs_one_scenario_and_the_tape_goes_on(
    tmp_path: Path, how: str
) -> None:
    what, failure = ENDS[how]
    playback, part = played(tmp_path, TROUBLE=once() + what)
    assert len(playback.tape.scenarios) == playback.played
    # Those whose replies were held back with its own are asked alone, and the next one is.
    assert len(odd(playback)) <= SEARCHED
    errors = [each for number in odd(playback) for each in errors_in(playback, number)]
    assert [failure] == list(dict.fromkeys(error.failure for error in errors))
    assert 1 == sum(bool(errors_in(playback, number)) for number in odd(playback))
    failing = {each.id for each in part.properties if part.scanned(each.id).outcome == "fail"}
    assert {"training.linear_in_parameters"} == failing


@pytest.mark.parametrize("how", ENDS)
def test_what_ends_it_every_time_is_found_and_the_rest_is_judged(tmp_path: Path, how: str) -> None:
    what, failure = ENDS[how]
    playback, part = played(tmp_path, BACK=what)
    assert playback.played <= SEARCHED
    found = part.scanned("backward.input_gradient").failing
    assert found is not None
    assert found.error is not None
    assert failure == found.error.failure
    for id_ in ("training.shift_invariance", "inference.affine_fold", "running.mean_recurrence"):
        assert "pass" == part.scanned(id_).outcome


def test_what_writes_to_the_pipe_has_disturbed_it(tmp_path: Path) -> None:
    line = "[os.write(fd, b'x' * 99) for fd in (4, 5, 6) if os.path.exists(f'/dev/fd/{fd}')]"
    playback, _ = played(tmp_path, TROUBLE=once() + line)
    assert len(playback.tape.scenarios) == playback.played
    errors = [each for number in odd(playback) for each in errors_in(playback, number)]
    assert {"died"} == {error.failure for error in errors}
    assert "disturbs the pipe" in errors[0].message


def test_what_is_no_header_of_replies_is_refused() -> None:
    prepared = bank().tape(COURSE.parts[0], COURSE.convention)
    for irregular in (b'[{"arrays": []}]', b'[{"arrays": [], "edited": ["gamma"]}]'):
        assert prepared.layout(0, irregular) is None
    made = b'[{"arrays": []}, '
    for damaged in (b"", b"[]", b"{}", b"[3]", made + b"3]", made + b'{"arrays": 3}]', b"\xff"):
        with pytest.raises(WireError):
            prepared.layout(0, damaged)
    assert {"out", "running_mean", "running_var"} == {
        slot.quantity for slot in prepared.tape.forms[0].operations[0]
    }
    for array in (
        b"3",
        b'["out"]',
        b'[3, "<f8", []]',
        b'["out", "|O", []]',
        b'["out", "<f8", [-1]]',
    ):
        three = b", ".join([array] * 3)
        with pytest.raises(WireError):
            prepared.layout(0, made + b'{"arrays": [' + three + b']}, {"arrays": []}]')


def test_what_is_remembered_of_headers_does_not_grow_with_what_is_made_up() -> None:
    prepared = Prepared(bank().tape(COURSE.parts[0], COURSE.convention).tape, ())
    form = prepared.tape.forms[prepared.tape.form[0]]
    replies = [
        {"arrays": [[slot.quantity, "<f8", list(slot.shape)] for slot in slots]}
        for slots in form.operations
    ]
    header = json.dumps([{"arrays": []}, *replies])
    assert prepared.layout(0, header.encode()) is not None
    assert 1 == len(prepared._layouts)
    for number in range(9):
        odd = json.dumps([{"arrays": []}, *replies, {"arrays": [], "present": [str(number)]}])
        assert prepared.layout(0, odd.encode()) is None
        assert prepared.layout(0, (header + " " * (5000 + number)).encode()) is not None
    assert 1 == len(prepared._layouts)
