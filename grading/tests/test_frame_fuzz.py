"""Whatever comes through the pipe: it is read, or refused by the errors that say so; nothing else.

An error of another kind would be the grader's own, and leave the submission ungraded.
"""

from __future__ import annotations

import io
import json
import struct

import numpy as np
import pytest
from bn_grading.case_bank import CaseBank
from bn_grading.courses.model import built_in
from bn_grading.subject.playing import Prepared, _placed, _replies
from bn_grading.subject.remote import _assigned, encoded, responses
from bn_grading.subject.session import answered
from bn_oracle.conventions import CMU_HW1P1
from bn_properties.calls import Backward, Infer, LookAgain, OtherLayer, SetParameters, Train
from bn_properties.protocol import Setup, SubjectError
from bn_properties.scenario import Scenario
from bn_properties.tape.tape import record
from bn_properties.transcript import Oracle
from bn_worker import wire
from bn_worker.messages import Problem, Reply
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

many = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

NAMES = ("out", "running_mean", "running_var", "dz", "dgamma", "dbeta", "x", "\ud800", "0:1:2:u")
DTYPES = ("<f8", "<f4", "<f2", "|b1", "<i8", "|u1", "|O", ">f8", "<c16", "|S3", "<M8[s]")

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**80), 2**80)
    | st.floats()
    | st.text()
    | st.sampled_from(("\ud800", "raised", "gamma", *NAMES)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
lengths = st.integers(0, 4) | st.sampled_from((-1, 2**31, 2**63, 2**80, True, 1.0, "3"))
listed = st.lists(
    st.tuples(
        st.sampled_from(NAMES) | json_values,
        st.sampled_from(DTYPES) | json_values,
        st.lists(lengths, max_size=4) | json_values,
    ).map(list)
    | json_values,
    max_size=4,
)
problem = st.tuples(
    st.sampled_from(("raised", "not_implemented", "unusable", "unusable_result", "timeout")),
    st.text() | st.just("\ud800\x1b"),
).map(list)
headers = st.fixed_dictionaries(
    {"arrays": listed | json_values},
    optional={
        "problems": st.dictionaries(st.sampled_from(NAMES), problem | json_values) | json_values,
        "edited": st.lists(st.sampled_from(("gamma", "beta", "given", "odd"))) | json_values,
        "error": problem | json_values,
        "present": st.lists(st.text()) | json_values,
        "in_force": json_values,
        "odd": json_values,
    },
)
header_bytes = st.one_of(
    st.lists(headers | json_values, max_size=4).map(lambda each: json.dumps(each).encode()),
    json_values.map(lambda each: json.dumps(each).encode()),
    st.binary(),
)


def framed(header: bytes, payload: bytes) -> bytes:
    return struct.pack(">II", len(header), len(payload)) + header + payload


def read(data: bytes) -> list[Reply]:
    """Read a frame's replies as the grader does; none where it is refused."""
    try:
        messages = wire.unfold(wire.read_frame(io.BytesIO(data), lambda: 1 << 16, 1 << 16))
        return [Reply.read(each, "train") for each in messages]
    except (EOFError, wire.WireError) as error:
        refused = str(error)
    assert len(refused) < 400
    return []


def can_be_written_down(reply: Reply) -> None:
    texts = [problem.message for problem in reply.problems.values()]
    texts += [*reply.problems, *reply.edited, *reply.present]
    texts += [] if reply.error is None else [reply.error.message]
    for text in texts:
        text.encode()
        assert not set(text) & {"\x1b", "\0", "\x07", "\u202e"}


@many
@given(st.binary(max_size=200))
def test_bytes(data: bytes) -> None:
    assert read(data) == [] or data[8:].startswith(b"[")


@many
@given(header_bytes, st.binary(max_size=64))
def test_headers(header: bytes, payload: bytes) -> None:
    for reply in read(framed(header, payload)):
        can_be_written_down(reply)


@many
@given(st.data())
def test_a_good_frame_of_which_a_few_bytes_are_others(data: st.DataObject) -> None:
    x = np.arange(6.0).reshape(2, 3)
    good = wire.encode(
        Reply({"out": x, "flags": x > 2}, edited=("gamma",)).message(),
        Reply(error=Problem("raised", "line 3: café")).message(),
    )
    changed = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(changed) - 1))
        changed[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    for reply in read(bytes(changed)):
        can_be_written_down(reply)


SCENARIO = Scenario(
    Setup(3),
    (
        Train(np.ones((4, 3)) * np.arange(4.0)[:, None]),
        Backward(np.ones((4, 3))),
        LookAgain(),
        SetParameters(np.ones(3), np.zeros(3)),
        OtherLayer(np.ones((2, 3))),
        Infer(np.ones((2, 3))),
    ),
)
PART = built_in()["cmu-hw1p1"].parts[0]
ANY_ARRAY = arrays_of.arrays(
    st.sampled_from(("f8", "f4", "f2", "?", "i8", "u1")),
    st.sampled_from(((), (0,), (3,), (1, 3), (4, 3), (2, 3), (3, 1), (0, 2**20), (1,) * 20)),
)
ANY_REPLY = st.one_of(
    st.builds(
        Reply,
        st.dictionaries(st.sampled_from(NAMES), ANY_ARRAY, max_size=6),
        st.dictionaries(
            st.sampled_from(NAMES),
            st.builds(Problem, st.sampled_from(("raised", "unusable_result")), st.text()),
            max_size=3,
        ),
        st.lists(st.sampled_from(("gamma", "beta", "given", "earlier"))).map(tuple),
    ),
    st.builds(lambda text: Reply(error=Problem("raised", text)), st.text()),
)


@many
@given(st.data())
def test_any_replies_are_responses(data: st.DataObject) -> None:
    count = 1 + sum(len(each) for each in SCENARIO.operations)
    replies = data.draw(st.lists(ANY_REPLY, min_size=count, max_size=count))
    found = responses(SCENARIO, [answered(each) for each in replies])
    assert len(SCENARIO.calls) == len(found)
    for each in replies:
        _assigned(each)


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    """A tape of one case, ready to be played."""
    cases = CaseBank(0, 11).cases(0)[:1]
    tape = record(cases, PART.properties, Oracle(CMU_HW1P1), PART.interface.offers)
    return Prepared(tape, encoded(tape, PART, CMU_HW1P1))


@many
@given(header=header_bytes, payload=st.binary(max_size=64), number=st.integers(0, 5))
def test_a_frame_in_a_stream(
    prepared: Prepared, header: bytes, payload: bytes, number: int
) -> None:
    tape = prepared.tape
    number %= len(tape.scenarios)
    values = np.zeros(tape.starts[-1])
    try:
        if not _placed(prepared, number, (header, payload), values):
            found = _replies((header, payload), tape.forms[tape.form[number]])
            responses(tape.scenarios[number], found)
    except wire.WireError:
        assert not values.any()


@many
@given(data=st.data())
def test_a_stream_of_replies_that_fit_the_form(prepared: Prepared, data: st.DataObject) -> None:
    """As many as were asked for, whatever is in them."""
    tape = prepared.tape
    number = data.draw(st.integers(0, len(tape.scenarios) - 1))
    form = tape.forms[tape.form[number]]
    count = len(form.operations)
    replies = [Reply(), *data.draw(st.lists(ANY_REPLY, min_size=count, max_size=count))]
    frame = wire.read_frame(io.BytesIO(wire.encode(*(each.message() for each in replies))))
    values = np.zeros(tape.starts[-1])
    try:
        if not _placed(prepared, number, frame, values):
            found = responses(tape.scenarios[number], _replies(frame, form))
            assert all(not isinstance(each, SubjectError) for each in found)
    except wire.WireError:
        pass
