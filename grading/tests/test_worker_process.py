"""The worker: frames, loading, results, time limits."""

from __future__ import annotations

import io
import struct
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from bn_grading.case_bank import CaseBank
from bn_grading.courses.model import Limits, built_in
from bn_grading.grade import grade
from bn_grading.intake.paths import collect, single
from bn_grading.pytest_items import Subject
from bn_grading.subject.transport import Transport
from bn_properties.cases.case import Case
from bn_properties.records import Outcome, Status, SubmissionResult
from bn_worker import wire
from bn_worker.results import Absent, UnusableResult, plain

FIXTURES = Path(__file__).parents[2] / "fixtures"


def test_a_frame_reads_back_bit_for_bit() -> None:
    arrays = {
        "x": np.array([[1.5, -0.0], [np.nan, np.inf]]),
        "flags": np.array([True, False]),
        "none": np.zeros((0, 3), np.float32),
        "scalar": np.array(7),
        "columns": np.arange(6.0).reshape(2, 3).T,
    }
    other = {"x": np.arange(3)}
    data = wire.encode(({"op": "train"}, arrays), ({"op": "infer"}, other))
    (header, read), (second, last) = wire.read(io.BytesIO(data))
    assert {"op": "train"} == header
    for name, array in arrays.items():
        assert (array.dtype, array.shape) == (read[name].dtype, read[name].shape)
        assert array.tobytes() == read[name].tobytes()
        assert read[name].flags.writeable
    assert {"op": "infer"} == second
    assert [0, 1, 2] == last["x"].tolist()


def framed(header: bytes, payload: bytes = b"") -> bytes:
    return struct.pack(">II", len(header), len(payload)) + header + payload


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff\x00\x00\x00\x00",
        wire.encode(({}, {"x": np.ones(3)}))[:-8] + b"",
        b"\x00\x00\x00\x02\x00\x00\x00\x00[]",
        framed(b'{"arrays":[]}'),
        framed(b'[{"arrays":[]}]', b"x"),
        framed(b'[{"arrays":[]},3]'),
        framed(b'[{"arrays":[["x","<f8",[-1,-1]]]}]'),
        framed(b'[{"arrays":[["x","<f8",[2]]]}]', bytes(8)),
        framed(b"[" * 100_000),
        framed(b'["\xff"]'),
    ],
)
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises((wire.WireError, EOFError)):
        wire.read(io.BytesIO(data))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (np.ma.masked_array([1.0]), "MaskedArray"),
        (np.ones((1, 1)).view(np.matrix), "matrix"),
        (np.array([object()]), "dtype object"),
        (np.array([1j]), "dtype complex128"),
        (np.array([(1.0,)], [("a", float)]), "should be real numbers"),
        ("text", "str"),
        ([[1.0], [1.0, 2.0]], "does not convert"),
        (["a"], "should be real numbers"),
        ({1: 2}, "dict"),
    ],
)
def test_what_is_not_real_numbers_is_named(value: object, reason: str) -> None:
    with pytest.raises(UnusableResult, match=reason):
        plain("dz", value)


def test_what_converts_exactly_is_taken() -> None:
    assert np.float64 == plain("dz", np.longdouble(1.5)).dtype
    assert np.float64 == plain("dz", np.ones(2, ">f8")).dtype
    assert (2, 1) == plain("dz", [[1], [2]]).shape
    assert () == plain("dz", 1.5).shape
    with pytest.raises(Absent):
        plain("dz", None)


CLASS = """
import numpy as np
class BatchNorm1d:
    def __init__(self, num_features, alpha=0.9):
        self.alpha, self.eps = alpha, 1e-8
        self.BW, self.Bb = np.ones((1, num_features)), np.zeros((1, num_features))
        self.dLdBW, self.dLdBb = np.zeros((1, num_features)), np.zeros((1, num_features))
        self.running_M, self.running_V = np.zeros((1, num_features)), np.ones((1, num_features))
    def forward(self, Z, eval=False):
        {forward}
        if eval:
            return self.BW * (Z - self.running_M) / np.sqrt(self.running_V + self.eps) + self.Bb
        M, V = Z.mean(axis=0), Z.var(axis=0)
        self.running_M = self.alpha * self.running_M + (1 - self.alpha) * M
        self.running_V = self.alpha * self.running_V + (1 - self.alpha) * V
        self.s = np.sqrt(V + self.eps)
        self.u = (Z - M) / self.s
        return {out}
    def backward(self, G):
        {backward}
        self.dLdBW, self.dLdBb = (G * self.u).sum(0), G.sum(0)
        n = len(G)
        return self.BW / self.s * (G - self.dLdBb / n - self.u * self.dLdBW / n)
"""


def judged(tmp_path: Path, text: str, name: str = "bn.py") -> SubmissionResult:
    path = tmp_path / name
    path.write_text(text)
    return grade(single(str(path)), None, list(built_in().values()), CaseBank(0, 22))


def written(forward: str = "", out: str = "self.BW * self.u + self.Bb", backward: str = "") -> str:
    return CLASS.format(forward=forward or "pass", out=out, backward=backward or "pass")


def test_the_class_that_the_other_tests_spoil_is_correct(tmp_path: Path) -> None:
    result = judged(tmp_path, written(forward="print('hello')"))
    assert Status.CORRECT == result.status, result.summary
    assert result.output.startswith("hello")


def test_a_class_that_keeps_its_parameters_in_float32_is_correct(tmp_path: Path) -> None:
    text = written().replace("np.zeros((1, num_features))", "np.zeros((1, num_features), 'f')")
    short = text.replace("np.ones((1, num_features))", "np.ones((1, num_features), dtype='f')")
    assert short.count("'f'") == 6
    result = judged(tmp_path, short)
    assert Status.CORRECT == result.status, result.summary


@pytest.mark.once
@pytest.mark.parametrize(
    ("spoiled", "message"),
    [
        (written(out="np.ma.masked_array(self.BW * self.u + self.Bb)"), "MaskedArray"),
        (written(out="(self.BW * self.u + self.Bb) + 0j"), "complex128"),
        (written(out="(self.BW * self.u + self.Bb)[:1]"), "shape"),
        (written(out="(self.BW * self.u + self.Bb) * np.nan"), "nan"),
        (written(forward="raise KeyError('lost')"), "KeyError: 'lost'"),
        (written(forward="import sys; sys.exit(0)"), "sys.exit"),
        (written(backward="import os; os._exit(0)"), "backward ends its process"),
        (written(backward="import os; os.kill(os.getpid(), 9)"), "SIGKILL"),
        (written(backward="import time; time.sleep(30)"), "backward takes longer than 2 s"),
        (written(forward="import os; os.write(1, b'x' * 3_000_000)"), "1 MiB"),
        (written(forward="import bn_oracle"), "No module named 'bn_oracle'"),
        (written(forward="np.lookfor(1)"), "NumPy 2 removed this name"),
    ],
)
def test_what_a_call_does_wrong_is_the_submissions_own(
    tmp_path: Path, spoiled: str, message: str
) -> None:
    result = judged(tmp_path, spoiled)
    assert Status.INCORRECT == result.status
    failing = [p for p in result.properties if p.status is Outcome.FAIL]
    assert any(message in p.message for p in failing), [p.message for p in failing]
    assert Outcome.ERROR not in {p.status for p in result.properties}


@pytest.mark.once
@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells how long a process has computed")
def test_what_went_wrong_is_told_apart(tmp_path: Path) -> None:
    """A wrong number, an exception, too much memory, a sleep, a slow call, a crash, an end."""
    for spoiled, failure, words in (
        (written(out="self.u"), None, "should be"),
        (written(backward="raise KeyError"), "raised", "KeyError"),
        (written(backward="np.ones(10**12)"), "raised", "MemoryError"),
        (written(backward="import time; time.sleep(60)"), "slept", "in which it sleeps or waits"),
        (written(backward="\n        while True: pass"), "timeout", "in which it computes"),
        (written(backward="import os; os.abort()"), "died", "crashes its process (SIGABRT)"),
        (written(backward="import os; os._exit(3)"), "died", "ends its process (exit status 3)"),
    ):
        result = judged(tmp_path, spoiled)
        assert Status.INCORRECT == result.status
        failing = [each for each in result.properties if each.status is Outcome.FAIL]
        assert any(failure == each.failure and words in each.message for each in failing), words


def test_imports_that_are_not_there_get_stand_ins(tmp_path: Path) -> None:
    text = (
        "from cs231n.layers import *\nfrom .utils import thing\nimport matplotlib.pyplot as plt\n"
        "from mytorch.nn import Module\nimport torch\nclass Other(Module):\n    pass\n"
    )
    assert Status.CORRECT == judged(tmp_path, text + written()).status


def test_the_other_files_of_a_folder_are_found(tmp_path: Path) -> None:
    folder = tmp_path / "student"
    folder.mkdir()
    (folder / "helpers.py").write_text("import numpy as np\ndef root(v):\n    return np.sqrt(v)\n")
    text = "from helpers import root\n" + written().replace("np.sqrt(V", "root(V")
    (folder / "batchnorm.py").write_text(text)
    (submission,) = collect([str(folder.parent)]).submissions
    assert "student" == submission.id
    result = grade(submission, None, list(built_in().values()), CaseBank(0, 22))
    assert Status.CORRECT == result.status, result.summary


def test_two_files_that_define_the_class_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "student"
    folder.mkdir()
    (folder / "old.py").write_text(written())
    (folder / "new.py").write_text(written())
    result = grade(single(str(folder)), None, list(built_in().values()), CaseBank(0, 22))
    assert Status.UNUSABLE == result.status
    assert "new.py, old.py" in result.summary


def test_ids_that_collide_become_paths(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "bn.py").write_text(written())
    found = collect([str(tmp_path / "a"), str(tmp_path / "b" / "bn.py")]).submissions
    assert [str(tmp_path / "a" / "bn"), str(tmp_path / "b" / "bn")] == [s.id for s in found]


@pytest.mark.once
def test_the_limit_on_all_calls_grows_with_what_is_asked_and_counts_the_submissions_time_alone(
    tmp_path: Path,
) -> None:
    course = built_in()["cmu-hw1p1"]
    hurried = course.model_copy(update={"limits": Limits(submission=2.0)})
    path = tmp_path / "bn.py"
    path.write_text(written(forward="import time; time.sleep(0.05)"))
    slow = grade(single(str(path)), hurried, [hurried], CaseBank(0, 250))
    assert Status.INCOMPLETE == slow.status, "nothing that it showed is wrong"
    assert "Not finished: the submission takes longer than 5 s in all" in slow.summary
    assert Outcome.FAIL not in {each.status for each in slow.properties}
    path.write_text(written(forward="import time; time.sleep(0.05)", out="self.u"))
    wrong = grade(single(str(path)), hurried, [hurried], CaseBank(0, 250))
    assert Status.INCORRECT == wrong.status, "what was found before stands"
    path.write_text(written())
    started = time.monotonic()
    swift = grade(single(str(path)), hurried, [hurried], SlowBank(0, 22))
    assert time.monotonic() - started > 3.0
    assert Status.CORRECT == swift.status, swift.summary


def test_a_part_that_was_not_asked_for_lack_of_time_does_not_count_as_right(tmp_path: Path) -> None:
    course = built_in()["cs231n"]
    hurried = course.model_copy(update={"limits": Limits(submission=2.0)})
    path = tmp_path / "layers.py"
    text = (FIXTURES / "correct" / "cs231n_layers.py").read_text()
    head = "def batchnorm_backward_alt(dout, cache):"
    assert head in text
    path.write_text(text.replace(head, f"{head}\n    import time; time.sleep(0.1)"))
    result = grade(single(str(path)), hurried, [hurried], CaseBank(0, 100))
    assert Status.INCOMPLETE == result.status, result.summary
    assert "Not finished" in result.summary


class SlowBank(CaseBank):
    """A grader that takes its time, which is not the submission's."""

    def cases(self, spatial_axes: int) -> tuple[Case, ...]:
        time.sleep(3.0)
        return super().cases(spatial_axes)


def test_a_worker_that_defines_nothing_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bn.py"
    path.write_text("class BatchNorm1d:\n    pass\n\n\ndel BatchNorm1d\n")
    closed: list[Transport] = []
    close = Transport.close

    def closing(transport: Transport) -> None:
        closed.append(transport)
        close(transport)

    monkeypatch.setattr(Transport, "close", closing)
    with pytest.raises(ValueError, match="does not define BatchNorm1d"):
        Subject(str(path), "cmu-hw1p1", seed=0, examples=11, search=False)
    assert 1 == len(closed)
