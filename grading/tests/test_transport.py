"""The transport against processes that do not do as they should: each ends within its limit."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
import pytest
from bn_grading.subject.isolation import Isolation
from bn_grading.subject.pipes import PolledPipes, ThreadedPipes, pipes
from bn_grading.subject.transport import Transport
from bn_properties.protocol import SubjectError
from bn_worker import wire
from bn_worker.messages import Problem, Reply, Request

LONG = 60.0
"""Seconds: what is answered, or ends, at once gets them; nothing here needs them."""
SHORT = 0.3
"""Seconds: what never answers gets them."""

LATE = ("timeout", "slept")
NAMED = "import ctypes; ctypes.CDLL(None).prctl(15, b'a) S 1 1 (', 0, 0, 0)"
"""Names the process so that who takes its description apart carelessly reads nonsense."""

CHILD = """
import json, os, select, signal, struct, sys, time
def say(data):
    while data:
        data = data[os.write(1, data):]
def reply(*headers, body=b"", arrays=()):
    text = json.dumps([{"arrays": list(arrays), **header} for header in headers]).encode()
    say(struct.pack(">II", len(text), len(body)) + text + body)
def hear(size):
    data = b""
    while len(data) < size:
        part = os.read(0, min(size - len(data), 1 << 16))
        if not part:
            sys.exit(9)
        data += part
    return data
def request():
    header, body = struct.unpack(">II", hear(8))
    return hear(header + body)
request()
reply({"in_force": ["limits"]})
"""


class Start(Protocol):
    """Starts a transport to a process that runs a script instead of the worker."""

    def __call__(self, script: str, isolation: Isolation | None = None) -> Transport: ...


@pytest.fixture(params=[PolledPipes, ThreadedPipes], ids=["polled", "threaded"])
def start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Return what starts a transport to a process that runs a script instead of the worker."""
    if request.param is PolledPipes and not hasattr(__import__("select"), "poll"):
        pytest.skip("this system has no poll")
    started: list[Transport] = []

    def started_with(script: str, isolation: Isolation | None = None) -> Transport:
        def popen(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
            assert Isolation().command() == command
            return subprocess.Popen([sys.executable, "-I", "-c", CHILD + script], **options)

        monkeypatch.setattr(
            "bn_grading.subject.transport.subprocess",
            SimpleNamespace(
                Popen=popen,
                PIPE=subprocess.PIPE,
                TimeoutExpired=subprocess.TimeoutExpired,
            ),
        )
        started.append(Transport(isolation))
        started[-1].ready(LONG)
        return started[-1]

    monkeypatch.setattr("bn_grading.subject.transport.pipes", request.param)
    yield started_with
    for transport in started:
        transport.close()


def asked(megabytes: int = 0) -> bytes:
    """Return one request, with so much in it."""
    body = {"x": np.zeros((megabytes << 20) // 8)}
    return wire.encode(Request("train", arrays=body).message())


def ended(transport: Transport, seconds: float = LONG) -> SubjectError:
    """Return how the next call ends the process; after that there is no process."""
    with pytest.raises(SubjectError) as caught:
        transport.receive("train", seconds)
    error = caught.value
    assert error is transport.dead
    with pytest.raises(SubjectError) as again:
        transport.send(asked())
    assert error is again.value
    with pytest.raises(SubjectError) as again:
        transport.receive("train", LONG)
    assert error is again.value
    return error


def test_a_process_that_does_as_it_should(start: Start) -> None:
    transport = start("request(); reply({'present': ['layer']}); request(); reply({})")
    transport.send(asked())
    assert Reply(present=("layer",)) == transport.receive("load", LONG)
    transport.send(asked(1))
    assert Reply() == transport.receive("train", LONG)
    assert transport.dead is None


def test_the_replies_of_one_frame_come_one_by_one(start: Start) -> None:
    transport = start("request(); reply({'edited': ['gamma']}, {'error': ['raised', 'no']}, {})")
    transport.send(asked())
    assert Reply(edited=("gamma",)) == transport.receive("train", LONG)
    assert Reply(error=Problem("raised", "no")) == transport.receive("train", LONG)
    assert Reply() == transport.receive("train", LONG)


def test_a_reply_that_nobody_asked_for_is_not_taken_for_the_next_ones(start: Start) -> None:
    transport = start("request(); reply({}, {'edited': ['beta']}); request(); reply({})")
    transport.send(asked())
    assert Reply() == transport.receive("train", LONG)
    transport.send(asked())
    assert Reply() == transport.receive("train", LONG)


@pytest.mark.parametrize("megabytes", [0, 8])
def test_a_process_that_reads_nothing_is_given_up(start: Start, megabytes: int) -> None:
    """Megabytes are more than any pipe holds: who waited for them to go would wait for ever."""
    transport = start("time.sleep(3600)")
    transport.send(asked(megabytes))
    error = ended(transport, SHORT)
    assert error.failure in LATE
    assert error.message.startswith("train takes longer than 0.3 s")


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells how long a process has computed")
@pytest.mark.parametrize(
    ("script", "failure", "told"),
    [
        ("time.sleep(3600)", "slept", "in which it sleeps or waits"),
        ("os.kill(os.getpid(), signal.SIGSTOP)", "slept", "in which it sleeps or waits"),
        ("while True: pass", "timeout", "in which it computes"),
        ("os.fork()\nwhile True: pass", "timeout", "in which it computes"),
        (f"{NAMED}\nwhile True: pass", "timeout", "in which it computes"),
    ],
)
def test_who_sleeps_is_told_from_who_is_too_slow(
    start: Start, script: str, failure: str, told: str
) -> None:
    transport = start(f"request()\n{script}")
    transport.send(asked())
    error = ended(transport, 1.0)
    assert (failure, f"train takes longer than 1 s, {told}") == (error.failure, error.message)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_who_has_started_a_thousand_processes_is_ended_all_the_same(start: Start) -> None:
    chain = "for _ in range(1100):\n    if os.fork():\n        signal.pause()"
    transport = start(f"request()\n{chain}\nsignal.pause()")
    transport.send(asked())
    assert ended(transport, 1.0).failure in LATE


def test_what_comes_unasked_waits_in_the_pipe(start: Start) -> None:
    transport = start("while True: say(bytes(1 << 16))")
    if isinstance(transport._pipes, ThreadedPipes):
        time.sleep(SHORT)
        assert transport._pipes._replies.qsize() <= 16
    transport.close()
    assert not [each for each in threading.enumerate() if each.name.endswith("(_read)")]


def test_what_the_system_does_not_tell_is_not_told(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bn_grading.subject.transport.computed", lambda pid: None)
    transport = start("time.sleep(3600)")
    transport.send(asked())
    error = ended(transport, SHORT)
    assert ("timeout", "train takes longer than 0.3 s") == (error.failure, error.message)
    assert transport.computed is None


def test_a_process_that_answers_before_it_reads_does_not_hang(start: Start) -> None:
    """Both pipes are full: who only wrote, or only read, would wait for ever."""
    size = 1 << 20
    large = f"reply({{}}, arrays=[['out', '|u1', [{size}]]], body=bytes({size}))"
    transport = start(f"{large}; request(); reply({{}})")
    transport.send(asked(8))
    assert size == transport.receive("train", LONG).arrays["out"].size
    assert Reply() == transport.receive("train", LONG)


def test_bytes_that_dribble_in_do_not_put_off_the_limit(start: Start) -> None:
    transport = start(
        "say(struct.pack('>II', 4000, 0))\nwhile True:\n    say(b' ')\n    time.sleep(0.05)"
    )
    transport.send(asked())
    assert ended(transport, SHORT).failure in LATE


def test_a_reply_that_comes_too_late_is_never_read(start: Start) -> None:
    transport = start("request(); select.select([0], [], [], 3600); reply({})")
    transport.send(asked())
    assert ended(transport, SHORT).failure in LATE


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("say(b'hello, world\\n' * 10)", "disturbs the pipe"),
        ("say(struct.pack('>II', 5, 0) + b'hello')", "disturbs the pipe"),
        ("say(struct.pack('>II', 1 << 31, 0))", "is too large"),
        ("say(struct.pack('>II', (1 << 19) + 1, 0))", "is too large"),
        ("reply({'edited': 'gamma'})", "edited is no list"),
        ("reply({'edited': ['all']})", "'all'"),
        ("reply({'problems': {'dz': 3}})", "no pair"),
        ("reply({'odd': 1})", "unknown field 'odd'"),
        ("reply({'present': ['layer']})", "unknown field 'present'"),
        ("reply({'in_force': ['seccomp']})", "unknown field 'in_force'"),
        ("reply({'problems': {'dz': ['raised', 'x' * 5000]}})", "a text of 5000 characters"),
        ("reply({}, arrays=[['out', '<f8', [1 << 80]]])", "shape"),
        ("reply({}, arrays=[['out', '<f8', [0] * 40]])", "shape"),
        ("reply({}, arrays=[['out', '|b1', [2]]], body=bytes([1, 2]))", "truth values"),
        ("reply({}, arrays=[['out', '<f8', [3]]])", "does not fit its frame"),
        ("reply({}, arrays=[['out', '|O', [0]]])", "an array's dtype is '|O'"),
        ("reply(*[{}] * 513)", "a frame holds 513 messages"),
    ],
)
def test_what_is_no_reply_ends_the_process(start: Start, script: str, message: str) -> None:
    transport = start(f"request(); {script}; time.sleep(3600)")
    transport.send(asked())
    error = ended(transport)
    assert "died" == error.failure
    assert error.message.startswith("train disturbs the pipe to the grader: ")
    assert message in error.message


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("sys.exit(3)", "train ends its process (exit status 3)"),
        ("say(struct.pack('>II', 9, 9)); os._exit(0)", "train ends its process (exit status 0)"),
    ],
)
def test_a_process_that_ends_says_how(start: Start, script: str, message: str) -> None:
    transport = start(f"request(); {script}")
    transport.send(asked())
    error = ended(transport)
    assert ("died", message) == (error.failure, error.message)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("SIGSEGV", "train crashes its process (SIGSEGV)"),
        ("SIGABRT", "train crashes its process (SIGABRT)"),
        ("SIGKILL", "train kills its process (SIGKILL)"),
        ("SIGXCPU", "train kills its process (SIGXCPU)"),
    ],
)
def test_a_process_that_is_killed_says_by_what(start: Start, name: str, told: str) -> None:
    """Who sends itself the signal for too much processor time has not used that much."""
    transport = start(f"request(); os.kill(os.getpid(), signal.{name})")
    transport.send(asked())
    error = ended(transport)
    assert ("died", told) == (error.failure, error.message)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits nothing")
def test_too_much_processor_time_ends_the_submission_whatever_it_does(start: Start) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_CPU, (1, 2))"
    transport = start(f"request(); {limit}\nwhile True: pass", Isolation(seconds=0.5))
    transport.send(asked())
    error = ended(transport)
    assert ("unfinished", "the submission takes more than 0.5 s of processor time in all") == (
        error.failure,
        error.message,
    )


def test_a_process_that_ends_while_megabytes_wait_for_it_has_died(start: Start) -> None:
    transport = start("hear(100); os._exit(4)")
    transport.send(asked(8))
    assert "train ends its process (exit status 4)" == ended(transport).message


def test_a_process_that_closes_its_pipe_has_died_though_it_lives_on(start: Start) -> None:
    transport = start("request(); os.close(1); time.sleep(3600)")
    transport.send(asked())
    assert "died" == ended(transport).failure


def test_a_reply_may_be_as_large_as_what_was_asked_allows(start: Start) -> None:
    """So much more than what was sent, and a floor: that leaves room for every honest reply."""
    frame = asked()
    most = 4096 + 16 * len(frame)
    for size, fits in ((most, True), (most + 1, False)):
        transport = start(
            f"request(); reply({{}}, arrays=[['out', '|u1', [{size}]]], body=bytes({size}))"
        )
        transport.send(frame)
        if fits:
            assert size == transport.receive("train", LONG).arrays["out"].size
        else:
            message = ended(transport).message
            assert message.startswith("train returns results that are too large: 0.00")


def test_the_start_of_what_is_printed_is_kept_whatever_it_is(start: Start) -> None:
    transport = start("os.write(2, b'caf\\xe9 ' + b'x' * 100_000); request(); reply({})")
    transport.send(asked())
    transport.receive("train", LONG)
    transport.close()
    assert transport.output.startswith("caf\\xe9 xxx")
    assert 16 * 1024 + 3 == len(transport.output), "one byte in it is written as four"


def test_a_flood_of_printing_ends_the_process(start: Start) -> None:
    transport = start("request()\nwhile True:\n    os.write(2, b'x' * 65536)")
    transport.send(asked())
    error = ended(transport)
    assert ("died", "train prints more than 1 MiB") == (error.failure, error.message)


def test_how_much_may_be_printed_can_be_said(start: Start) -> None:
    flood = "while True:\n    os.write(2, b'x')"
    most = "os.write(2, b'x' * 100 * 1024); reply({}); request()"
    transport = start(f"request(); {most}\n{flood}", Isolation(output=100))
    transport.send(asked())
    assert Reply() == transport.receive("train", LONG)
    transport.send(asked())
    assert "train prints more than 100 KiB" == ended(transport).message


def test_a_process_sees_little_of_the_graders_environment(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_SECRET", "hush")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    transport = start("request(); reply({'present': sorted(os.environ)})")
    transport.send(asked())
    seen = transport.receive("load", LONG).present
    assert "A_SECRET" not in seen
    assert {"OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS", "PYTHONIOENCODING"} <= set(seen)


def test_closing_ends_a_process_that_would_go_on(start: Start) -> None:
    transport = start("request(); reply({'present': [str(os.getpid())]}); time.sleep(3600)")
    transport.send(asked())
    transport.receive("load", LONG)
    transport.close()
    transport.close()
    assert transport._process.poll() is not None


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells what a process has held")
def test_what_a_process_has_held_is_known_when_it_is_closed(start: Start) -> None:
    process = start("request(); held = b'x' * (80 << 20); held = None; reply({}); hear(1)")
    process.send(asked())
    process.receive("train", LONG)
    assert process.memory is None
    process.close()
    assert process.memory is not None
    assert 80 <= process.memory < 400


def test_this_system_gets_the_pipes_that_it_can_wait_for() -> None:
    import select

    with subprocess.Popen(
        [sys.executable, "-I", "-c", ""], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        found = pipes(process.stdin, process.stdout)
    assert (PolledPipes if hasattr(select, "poll") else ThreadedPipes) is type(found)
    found.close()


def test_what_is_closed_takes_and_gives_nothing_more(start: Start) -> None:
    transport = start("request(); reply({}); time.sleep(60)")
    transport.send(wire.encode(Request("load").message()))
    transport.receive("load", LONG)
    transport.close()
    with pytest.raises(SubjectError, match="was ended"):
        transport.send(wire.encode(Request("load").message()))
    with pytest.raises(SubjectError, match="was ended"):
        transport.receive("load", LONG)


def test_who_answers_without_reading_is_ended_before_requests_pile_up(start: Start) -> None:
    transport = start("while True: reply({})")

    def go_on() -> None:
        for _ in range(100):
            transport.send(asked(1))
            transport.receive("train", LONG)

    with pytest.raises(SubjectError, match="requests that were not read") as caught:
        go_on()
    assert "died" == caught.value.failure
