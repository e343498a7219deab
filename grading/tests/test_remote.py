"""Scenarios become requests, and replies become responses; the session here is pretended."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import pytest
from bn_grading.courses.model import built_in
from bn_grading.subject.remote import RemoteSubject
from bn_grading.subject.session import Refused, Script, Session
from bn_oracle.conventions import CMU_HW1P1, TORCH, Convention
from bn_properties.call import Call
from bn_properties.calls import Infer, OtherLayer, Population, SetParameters, Train
from bn_properties.protocol import AnyArray, Setup, SubjectError
from bn_properties.scenario import Response, Scenario
from bn_worker import wire
from bn_worker.messages import Problem, Reply

PART = built_in()["cmu-hw1p1"].parts[1]
"""It has two axes of space."""
X, G = np.zeros((3, 2)), np.ones((3, 2))
TWO = np.zeros(2)
WRONG = SubjectError("died", "it is gone")
MADE = Reply()
TRAINED = Reply({"out": X, "running_mean": TWO, "running_var": TWO})
DIFFERENTIATED = Reply({"dz": X, "dgamma": TWO, "dbeta": TWO})


class Pretended:
    """A session that gives the replies that it was told to."""

    def __init__(
        self,
        replies: Sequence[Reply | SubjectError],
        refused: Mapping[str, SubjectError],
        together: bool,
    ) -> None:
        self.script = Script((), b"")
        self._replies, self._refused, self._together = list(replies), refused, together

    def play(
        self, script: Callable[[Refused, bool], Script]
    ) -> tuple[Refused, list[Reply | SubjectError]]:
        self.script = script(self._refused, self._together)
        return self._refused, self._replies


def observed(
    calls: Sequence[Call],
    replies: Sequence[Reply | SubjectError],
    *,
    refused: Mapping[str, SubjectError] | None = None,
) -> tuple[Response[AnyArray], ...]:
    session = Pretended(replies, refused or {}, True)
    subject = RemoteSubject(cast(Session, session), PART, CMU_HW1P1)
    return subject.observe(Scenario(Setup(2), tuple(calls)))


Frames = list[list[tuple[dict[str, Any], dict[str, AnyArray]]]]


def asked(
    scenario: Scenario,
    *,
    refused: Mapping[str, SubjectError] | None = None,
    together: bool = True,
    convention: Convention = CMU_HW1P1,
) -> tuple[tuple[str, ...], Frames]:
    """Return the names of the requests, and the frames that carry them."""
    failing: list[Reply | SubjectError] = [WRONG]
    session = Pretended(failing, refused or {}, together)
    RemoteSubject(cast(Session, session), PART, convention).observe(scenario)
    stream, frames = io.BytesIO(session.script.frames), list[Any]()
    while stream.tell() < len(session.script.frames):
        frames.append(wire.read(stream))
    return session.script.names, frames


# What is asked.


@pytest.mark.parametrize(
    ("setup", "scalars", "arrays"),
    [
        (Setup(2), {"bare": True}, {}),
        (Setup(2, eps=0.5), {"eps": 0.5}, {}),
        (Setup(2, decay=0.75), {"momentum": 0.25}, {}),
        (Setup(2, cumulative=True), {"cumulative": True}, {}),
        (
            Setup(2, gamma=TWO + 1, beta=TWO + 2, running_mean=TWO + 3, running_var=TWO + 4),
            {},
            {"gamma": [1, 1], "beta": [2, 2], "running_mean": [3, 3], "running_var": [4, 4]},
        ),
    ],
)
def test_a_layer_is_asked_for_as_the_setup_says_in_the_conventions_momentum(
    setup: Setup, scalars: dict[str, Any], arrays: dict[str, list[float]]
) -> None:
    _, (((header, given), *_),) = asked(Scenario(setup, ()), convention=TORCH)
    assert {
        "op": "construct",
        "part": "layer2d",
        "setup": {"features": 2, "spatial_axes": 2} | scalars,
    } == header
    assert arrays == {name: array.tolist() for name, array in given.items()}


CALLS = (Train(X, G), OtherLayer(X), Infer(X))
NAMES = ("construct", "train", "backward", "other_layer", "infer")


@pytest.mark.parametrize("together", [True, False])
def test_every_operation_is_a_request_in_order_in_one_frame_or_each_in_its_own(
    together: bool,
) -> None:
    names, frames = asked(Scenario(Setup(2), CALLS), together=together)
    assert NAMES == names
    assert ([5] if together else [1] * 5) == [len(frame) for frame in frames]
    messages = [message for frame in frames for message in frame]
    assert list(NAMES) == [header["op"] for header, _ in messages]
    assert {"op": "train", "differentiable": True} == messages[1][0]
    assert G.tolist() == messages[2][1]["grad"].tolist()


@pytest.mark.parametrize(
    ("refused", "names"),
    [
        ("backward", ("construct", "train", "other_layer", "infer")),
        ("train", ("construct",)),
        ("other_layer", ("construct", "train", "backward")),
        ("infer", ("construct", "train", "backward", "other_layer")),
        ("population", NAMES),
    ],
)
def test_what_is_refused_is_left_out_with_all_that_cannot_follow_on_it(
    refused: str, names: tuple[str, ...]
) -> None:
    found, frames = asked(Scenario(Setup(2), CALLS), refused={refused: WRONG}, together=False)
    assert names == found
    assert len(names) == len(frames)


# What came of it.


def test_each_operation_gets_its_reply() -> None:
    other = Reply({"out": X + 1, "running_mean": TWO + 1, "running_var": TWO + 2})
    first, second = observed([Train(X, G), Infer(X)], [MADE, TRAINED, DIFFERENTIATED, other])
    assert {"out", "running_mean", "running_var", "dz", "dgamma", "dbeta"} == first.values.keys()
    assert 0.0 == first.array("out")[0, 0]
    assert 1.0 == second.array("out")[0, 0]
    assert [2.0, 2.0] == second.array("running_var").tolist()
    assert first.error is None
    assert second.error is None


def test_what_is_refused_takes_nobody_elses_reply() -> None:
    first, second = observed(
        [Train(X, G), Infer(X)], [MADE, TRAINED, TRAINED], refused={"backward": WRONG}
    )
    assert WRONG is first.values["dz"] is first.values["dbeta"]
    assert 0.0 == second.array("out")[0, 0]
    assert first.error is None


@pytest.mark.parametrize("refused", [{"construct": WRONG}, {}])
def test_without_a_layer_there_is_nothing(refused: Mapping[str, SubjectError]) -> None:
    first, second = observed([Train(X), Infer(X)], [] if refused else [WRONG], refused=refused)
    assert WRONG is first.error is second.error
    assert WRONG is first.values["out"] is second.values["running_mean"]


def test_a_call_that_failed_ends_the_scenario_for_that_reason() -> None:
    first, second = observed([Train(X, G), Infer(X)], [MADE, WRONG])
    assert WRONG is first.error is second.error
    assert WRONG is first.values["dz"] is second.values["out"]


@pytest.mark.parametrize(
    ("call", "replies", "words"),
    [
        (Train(X), [Reply(TRAINED.arrays, edited=("given",))], {"input"}),
        (
            Train(X, G),
            [TRAINED, Reply(DIFFERENTIATED.arrays, edited=("given", "gamma"))],
            {"upstream gradient", "gamma"},
        ),
        (
            Infer(X),
            [Reply(TRAINED.arrays, edited=("earlier", "beta"))],
            {"what an earlier call was given", "beta"},
        ),
        (Population((X,)), [Reply(edited=("given",))], {"input"}),
        (SetParameters(TWO, TWO), [Reply()], set()),
    ],
)
def test_edits_are_told_in_the_calls_words(
    call: Call, replies: Sequence[Reply], words: set[str]
) -> None:
    (only,) = observed([call], [MADE, *replies])
    assert words == only.edited


def test_a_quantity_that_is_missing_says_why() -> None:
    problems = {
        "dz": Problem("raised", "it raises"),
        "dgamma": Problem("not_implemented", "dgamma is None"),
    }
    (only,) = observed([Train(X, G)], [MADE, TRAINED, Reply(problems=problems)])
    found = {
        name: (value.failure, value.message)
        for name, value in only.values.items()
        if isinstance(value, SubjectError)
    }
    assert {
        "dz": ("raised", "it raises"),
        "dgamma": ("not_implemented", "dgamma is None"),
        "dbeta": ("died", "the reply holds no dbeta"),
    } == found


def test_a_worker_that_says_a_quantity_does_not_load_is_not_believed() -> None:
    reply = Reply(problems={"dz": Problem("unusable", "line 3")})
    (only,) = observed([Train(X, G)], [MADE, TRAINED, reply])
    error = only.values["dz"]
    assert isinstance(error, SubjectError)
    assert ("died", "the reply holds no dz") == (error.failure, error.message)


def test_what_was_not_asked_for_is_not_taken() -> None:
    reply = Reply({**TRAINED.arrays, "dz": X}, {"dgamma": Problem("raised", "no")})
    (only,) = observed([Train(X)], [MADE, reply])
    assert {"out", "running_mean", "running_var"} == only.values.keys()


def test_a_result_of_another_shape_is_refused_here_too() -> None:
    reply = Reply({**TRAINED.arrays, "out": X.T})
    (only,) = observed([Train(X)], [MADE, reply])
    error = only.values["out"]
    assert isinstance(error, SubjectError)
    assert "unusable_result" == error.failure


def test_a_part_says_what_it_offers() -> None:
    subject = RemoteSubject(cast(Session, None), PART, CMU_HW1P1)
    assert 2 == subject.spatial_axes
    assert PART.interface.offers == subject.offers
    assert PART.interface.may_refuse | set(PART.may_refuse) == subject.may_refuse
    assert not subject.fixed_eps
