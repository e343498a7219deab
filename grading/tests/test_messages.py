"""What grader and worker say to each other: whatever is not as it should be is refused."""

from __future__ import annotations

import io
from typing import Any, get_args

import numpy as np
import pytest
from bn_properties.protocol import Quantity
from bn_worker import messages, wire
from bn_worker.messages import Problem, Reply, Request
from bn_worker.wire import WireError


def sent(header: dict[str, Any]) -> Reply:
    """Return a reply with that header as it arrives: through a frame."""
    (message,) = wire.read(io.BytesIO(wire.encode((header, {}))))
    return Reply.read(message)


FULL: dict[str, Any] = {
    "problems": {"dz": ["raised", "it raises"]},
    "edited": ["gamma", "beta", "given", "earlier"],
    "error": ["unusable", "line 3"],
    "present": ["layer", "spatial"],
}


def test_what_is_as_it_should_be_is_read() -> None:
    assert Reply() == sent({})
    assert Reply(
        problems={"dz": Problem("raised", "it raises")},
        edited=("gamma", "beta", "given", "earlier"),
        error=Problem("unusable", "line 3"),
        present=("layer", "spatial"),
    ) == sent(FULL)


def test_a_reply_reads_back_as_it_was_written() -> None:
    x = np.arange(3.0)
    for reply in (Reply(), sent(FULL), Reply({"out": x}, present=("layer",))):
        (message,) = wire.read(io.BytesIO(wire.encode(reply.message())))
        read = Reply.read(message)
        assert list(reply.arrays) == list(read.arrays)
        for name, array in reply.arrays.items():
            assert array.tolist() == read.arrays[name].tolist()
        for name in ("problems", "edited", "error", "present"):
            assert getattr(reply, name) == getattr(read, name)


def test_what_is_empty_is_not_sent() -> None:
    assert ({}, {}) == Reply().message()


@pytest.mark.parametrize(
    "header",
    [
        {"odd": 1},
        {**FULL, "arrays2": []},
        {"problems": []},
        {"problems": "raised"},
        {"problems": None},
        {"problems": {"dz": None}},
        {"problems": {"dz": "raised"}},
        {"problems": {"dz": "ab"}},
        {"problems": {"dz": {"failure": "raised"}}},
        {"problems": {"dz": []}},
        {"problems": {"dz": ["raised"]}},
        {"problems": {"dz": ["raised", "it raises", 1]}},
        {"problems": {"dz": ["odd", "it raises"]}},
        {"problems": {"dz": ["timeout", "it raises"]}},
        {"problems": {"dz": [1, "it raises"]}},
        {"problems": {"dz": [["raised"], "it raises"]}},
        {"problems": {"dz": ["raised", 1]}},
        {"problems": {"dz": ["raised", None]}},
        {"problems": {"dz": ["raised", ["it"]]}},
        {"edited": "gamma"},
        {"edited": {"gamma": 1}},
        {"edited": None},
        {"edited": 3},
        {"edited": ["odd"]},
        {"edited": [1]},
        {"edited": [None]},
        {"edited": [["gamma"]]},
        {"edited": ["gamma", "odd"]},
        {"error": "it raises"},
        {"error": {}},
        {"error": False},
        {"error": ["raised"]},
        {"error": ["odd", "it raises"]},
        {"error": ["raised", 3]},
        {"present": "layer"},
        {"present": {"layer": 1}},
        {"present": None},
        {"present": [1]},
        {"present": [None]},
        {"present": ["layer", ["spatial"]]},
    ],
    ids=repr,
)
def test_a_field_that_is_not_as_it_should_be_is_refused(header: dict[str, Any]) -> None:
    with pytest.raises(WireError, match="a reply"):
        sent(header)


def test_a_refusal_quotes_no_more_than_a_little() -> None:
    for header in ({"x" * 10_000: 1}, {"edited": ["x" * 10_000]}, {"present": [[1] * 10_000]}):
        with pytest.raises(WireError) as caught:
            sent(header)
        assert len(str(caught.value)) < 250


def test_a_request_reads_back_as_it_was_written() -> None:
    x = np.arange(3.0)
    request = Request("train", {"differentiable": True}, {"x": x})
    (message,) = wire.read(io.BytesIO(wire.encode(request.message())))
    read = Request.read(message)
    assert ("train", {"differentiable": True}) == (read.op, read.options)
    assert ["x"] == list(read.arrays)
    assert x.tolist() == read.arrays["x"].tolist()
    assert {"differentiable": True} == request.options, "the request itself stays as it is"


def test_an_option_does_not_take_the_operations_place() -> None:
    assert "train" == Request("train", {"op": "infer"}).message()[0]["op"]


def test_a_reply_gives_what_calls_give_and_nothing_else() -> None:
    assert frozenset(get_args(Quantity)) == messages.QUANTITIES
    array = np.zeros(2)
    for header, arrays, call in (
        ({}, {"loot": array}, "train"),
        ({"problems": {"loot": ["raised", "no"]}}, {}, "train"),
        ({}, {"out": array, "0:1:2:x": array}, "scenario"),
        ({}, {"out": array}, "load"),
        ({}, {"out": array}, "lock"),
    ):
        with pytest.raises(WireError, match="which nobody asks for"):
            Reply.read((dict(header), dict(arrays)), call)
    assert {"out"} == Reply.read(({}, {"out": array}), "train").arrays.keys()
    assert {"0:1:2:x"} == Reply.read(({}, {"0:1:2:x": array}), "traced").arrays.keys()


def test_each_call_has_fields_of_its_own() -> None:
    for header, call in (
        ({"present": ["layer"]}, "load"),
        ({"in_force": ["limits"]}, "lock"),
        ({"edited": ["gamma"], "problems": {"dz": ["raised", "no"]}}, "train"),
    ):
        message: wire.Message = (header, {})
        Reply.read(message, call)
        for other in {"load", "lock", "train"} - {call}:
            with pytest.raises(WireError, match="unknown field"):
                Reply.read(message, other)
        assert Problem("raised", "no") == Reply.read(({"error": ["raised", "no"]}, {}), call).error


def test_what_a_report_or_a_terminal_could_not_take_is_told() -> None:
    text = "it's é – 漢\u3000字\n\t\x1b[31m \ud800 \0 \u202e"
    found = sent({"error": ["raised", text]}).error
    assert found is not None
    assert "it's é – 漢\u3000字\n\t\\x1b[31m \\ud800 \\x00 \\u202e" == found.message
    found.message.encode()


def test_a_long_message_is_cut_by_who_sends_it_and_refused_by_who_gets_it() -> None:
    reply = Reply(error=Problem("raised", "x" * 10_000))
    (message,) = wire.read(io.BytesIO(wire.encode(reply.message())))
    read = Reply.read(message).error
    assert read is not None
    assert "x" * 4000 == read.message
    with pytest.raises(WireError, match="a text of 4001 characters"):
        sent({"error": ["raised", "x" * 4001]})
