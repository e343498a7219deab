"""The session's three states, with a transport that does as it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from bn_grading.courses.model import Limits
from bn_grading.subject.isolation import Isolation
from bn_grading.subject.session import MAX_RESTARTS, SEARCHED, CannotLoad, Refused, Script, Session
from bn_grading.subject.transport import room_for
from bn_properties.protocol import SubjectError
from bn_worker import wire
from bn_worker.messages import Problem, Reply, Request

TIMEOUT = SubjectError("timeout", "train takes longer than 2 s")
DEATH = SubjectError("died", "train kills its process (SIGKILL)")
LOADED = Reply(present=("layer",))
DONE = Reply()


@dataclass
class Process:
    """One process's life: what it answers, one after the other, each after so many seconds."""

    answers: list[Reply | SubjectError | wire.Frame]
    seconds: float = 0.0
    computed: float | None = 4.0
    memory: int | None = None
    asked: list[tuple[str, float]] = field(default_factory=list)
    """The name of each call, and the time that it was given."""
    sent: list[bytes] = field(default_factory=list)
    rooms: list[int] = field(default_factory=list)
    """How large each reply to a streamed scenario may be."""
    closed: bool = False


class World:
    """The processes that a session will start, in order, and a clock that they alone move."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.coming: list[Process] = []
        self.started: list[Process] = []
        self.isolated: list[Isolation] = []
        monkeypatch.setattr("bn_grading.subject.session.Transport", self._start)
        clock = SimpleNamespace(monotonic=lambda: self.now)
        monkeypatch.setattr("bn_grading.subject.session.time", clock)

    def _start(self, isolation: Isolation) -> Pretended:
        self.isolated.append(isolation)
        self.started.append(self.coming.pop(0))
        return Pretended(self, self.started[-1])

    def session(
        self, *processes: Process, limits: Limits | None = None, work: float = 1.0
    ) -> Session:
        """Return a session whose first process is loaded."""
        for process in processes:
            process.answers.insert(0, LOADED)
        self.coming = list(processes)
        session = Session(Request("load"), limits or Limits(), work)
        session.start()
        return session


class Pretended:
    """A transport whose process is pretended."""

    def __init__(self, world: World, process: Process) -> None:
        self.dead: SubjectError | None = None
        self.output = f"output {len(world.started)}"
        self._world, self._process = world, process

    def ready(self, seconds: float) -> None:
        assert not self._process.sent, "it is sent nothing before it has locked itself in"

    def send(self, frames: bytes) -> None:
        assert self.dead is None
        assert not self._process.closed
        self._process.sent.append(frames)

    def receive(self, call: str, seconds: float) -> Reply:
        found = self._next(call, seconds)
        assert isinstance(found, Reply)
        return found

    def _next(self, call: str, seconds: float) -> Reply | wire.Frame:
        if self.dead is not None:
            raise self.dead
        self._process.asked.append((call, seconds))
        if call != "load":
            self._world.now += min(self._process.seconds, seconds)
        answer = self._process.answers.pop(0)
        if isinstance(answer, SubjectError):
            self.dead = answer
            raise answer
        return answer

    def receive_frame(self, room: int, call: str, seconds: float) -> wire.Frame:
        self._process.rooms.append(room)
        found = self._next(call, seconds)
        assert isinstance(found, tuple)
        return found

    @property
    def computed(self) -> float | None:
        return self._process.computed

    @property
    def memory(self) -> int | None:
        return self._process.memory

    def close(self) -> None:
        self._process.closed = True
        self.dead = self.dead or SubjectError("died", "the process was ended")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


@dataclass
class Played:
    """The calls of one scenario, and how they were asked for."""

    names: tuple[str, ...] = ("construct", "train", "backward")
    asked: list[tuple[dict[str, SubjectError], bool]] = field(default_factory=list)

    def __call__(self, refused: Refused, together: bool) -> Script:
        self.asked.append((dict(refused), together))
        names = tuple(name for name in self.names if name not in refused)
        return Script(names, b"together" if together else b"one by one")


def texts(found: Sequence[Reply | SubjectError]) -> list[str]:
    return [each.message if isinstance(each, SubjectError) else "reply" for each in found]


def test_starting_loads_the_submission_within_its_own_limit(world: World) -> None:
    process = Process([LOADED])
    world.coming = [process]
    load = Request("load", {"source": "x = 1"})
    session = Session(load, Limits(start=7.0))
    assert ["layer"] == session.start()
    assert [wire.encode(load.message())] == process.sent
    assert [("load", 7.0)] == process.asked
    assert "output 1" == session.output


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Reply(error=Problem("unusable", "line 3 is no Python")), "line 3 is no Python"),
        (SubjectError("timeout", "load takes longer than 10 s"), "importing it takes longer than"),
        (SubjectError("died", "load prints load and ends"), "importing it prints load and ends"),
    ],
)
def test_what_does_not_load_is_unusable_and_its_process_is_ended(
    world: World, answer: Reply | SubjectError, reason: str
) -> None:
    process = Process([answer])
    world.coming = [process]
    with pytest.raises(CannotLoad, match=reason) as caught:
        Session(Request("load"), Limits()).start()
    assert process.closed
    assert "output 1" == caught.value.output


def test_why_it_is_unusable_may_come_without_output() -> None:
    assert "" == CannotLoad("it is missing").output


def test_before_it_starts_a_session_has_no_output() -> None:
    session = Session(Request("load"), Limits())
    assert "" == session.output
    session.close()


def test_all_calls_of_a_scenario_go_together_and_each_gets_its_reply(world: World) -> None:
    replies = [Reply(edited=("gamma",)), Reply(edited=("beta",)), DONE]
    process = Process([*replies])
    session, script = world.session(process, limits=Limits(call=3.0)), Played()
    refused, found = session.play(script)
    assert {} == refused
    assert replies == found
    assert [({}, True)] == script.asked
    assert b"together" == process.sent[1]
    assert ["construct", "train", "backward"] == [name for name, _ in process.asked[1:]]
    assert {3.0} == {seconds for _, seconds in process.asked[1:]}


@pytest.mark.parametrize(
    ("failure", "becomes"),
    [
        ("raised", "raised"),
        ("not_implemented", "not_implemented"),
        ("unusable_result", "unusable_result"),
        ("unusable", "raised"),
    ],
)
def test_a_call_that_fails_in_its_process_is_an_error_and_ends_nothing(
    world: World, failure: str, becomes: str
) -> None:
    wrong = Reply(error=Problem(failure, "it fails"))  # type: ignore[arg-type]
    session, script = world.session(Process([DONE, wrong, DONE])), Played()
    refused, found = session.play(script)
    assert {} == refused
    error = found[1]
    assert isinstance(error, SubjectError)
    assert (becomes, "it fails") == (error.failure, error.message)
    assert [DONE, DONE] == [found[0], found[2]]
    assert [({}, True)] == script.asked


@pytest.mark.parametrize("end", [DEATH, TIMEOUT])
def test_once_the_process_has_ended_calls_are_asked_again_one_by_one(
    world: World, end: SubjectError
) -> None:
    second = Process([DONE, end])
    session, script = world.session(Process([end]), second), Played()
    refused, found = session.play(script)
    assert {} == refused
    assert ["reply", end.message, end.message] == texts(found)
    assert [({}, True), ({}, False)] == script.asked
    assert world.started[0].closed
    assert b"one by one" == second.sent[1]


def test_what_ended_the_process_twice_is_not_asked_again_but_the_rest_is(world: World) -> None:
    dying = Process([DEATH]), Process([DONE, DONE, DEATH]), Process([DONE, DONE, DEATH])
    session = world.session(*dying, Process([DONE, DONE]))
    session.play(Played())
    assert session.learns
    script = Played()
    refused, found = session.play(script)
    assert {} == refused
    assert ["reply", "reply", DEATH.message] == texts(found)
    assert [({}, False)] == script.asked
    assert not session.learns
    script = Played()
    refused, found = session.play(script)
    assert {"backward": DEATH} == refused
    assert [DONE, DONE] == found
    assert [({"backward": DEATH}, False)] == script.asked


def test_a_call_that_goes_well_again_cost_one_scenario_alone(world: World) -> None:
    third = Process([DONE] * 6)
    session = world.session(Process([DEATH]), Process([DONE, DEATH]), third)
    session.play(Played(("construct", "train")))
    # It says nothing of a call that was not asked.
    assert ["reply"] == texts(session.play(Played(("construct",)))[1])
    assert session.learns
    assert not session.streams
    script = Played(("construct", "train"))
    refused, found = session.play(script)
    assert ({}, ["reply"] * 2) == (refused, texts(found))
    assert [({}, False)] == script.asked
    assert session.streams
    script = Played(("construct", "train"))
    session.play(script)
    assert [({}, True)] == script.asked
    assert 3 == len(world.started)


def test_another_call_that_ends_the_process_is_not_held_against_the_first(world: World) -> None:
    dying = [Process([DEATH]), Process([DONE, DEATH]), Process([DEATH])]
    session = world.session(*dying, Process([]))
    session.play(Played(("construct", "train")))
    session.play(Played(("infer",)))
    assert {} == session.play(Played(()))[0]


def test_a_call_that_always_ends_the_process_is_found_behind_another_that_did_once(
    world: World,
) -> None:
    again = SubjectError("died", "infer ends its process")
    dying = [Process([DEATH]), Process([DONE, DEATH]), Process([DONE, again])]
    session = world.session(*dying, Process([DONE, again]), Process([]))
    session.play(Played(("construct", "train")))
    for _ in range(2):
        session.play(Played(("construct", "infer")))
    assert {"infer": again} == session.play(Played(()))[0]


def test_a_call_that_ended_the_process_is_refused_for_good_for_the_first_reason(
    world: World,
) -> None:
    again = SubjectError("died", "train ends its process")
    dying = [Process([DEATH]), Process([DONE, DEATH]), Process([DONE, again]), Process([again])]
    session = world.session(*dying, Process([]))
    session.play(Played())
    session.play(Played())
    # A script that asks for it all the same: what is remembered is how it ended first.
    session.play(lambda refused, together: Script(("train",), b""))
    assert {"train": DEATH} == session.play(Played(()))[0]


def test_without_a_layer_nothing_is_asked(world: World) -> None:
    session = world.session(Process([DEATH]), Process([DEATH]), Process([DEATH]))
    session.play(Played())
    session.play(Played())
    script = Played()
    refused, found = session.play(script)
    assert {"construct": DEATH} == refused
    assert [] == found
    assert [] == script.asked
    assert 3 == len(world.started)


def test_a_process_is_started_again_so_often_and_no_more(world: World) -> None:
    """The first ending is repeated to find the call; from then on each ending counts."""
    calls = [f"call {number}" for number in range(MAX_RESTARTS + 3)]
    dying = [Process([DEATH]) for _ in range(MAX_RESTARTS + 3)]
    session = world.session(*dying)
    for name in calls[: MAX_RESTARTS + 1]:
        assert [DEATH.message] == texts(session.play(Played((name,)))[1])
    assert MAX_RESTARTS + 2 == len(world.started)
    _, found = session.play(Played((calls[-1],)))
    assert MAX_RESTARTS + 2 == len(world.started), "no further one is started"
    (error,) = found
    assert isinstance(error, SubjectError)
    assert "not_implemented" == error.failure
    assert f"ended its process {MAX_RESTARTS + 1} times" in error.message


def test_a_submission_that_does_not_load_again_has_died(world: World) -> None:
    second = Process([])
    session = world.session(Process([DEATH]), second)
    second.answers = [Reply(error=Problem("unusable", "the disk is full"))]
    _, found = session.play(Played())
    text = "the submission does not load again: the disk is full"
    assert [text, text, text] == texts(found)
    assert {"died"} == {each.failure for each in found if isinstance(each, SubjectError)}


def test_a_submission_that_never_loads_again_is_started_no_oftener_than_it_may(
    world: World,
) -> None:
    unusable = Reply(error=Problem("unusable", "the disk is full"))
    others = [Process([]) for _ in range(2 * MAX_RESTARTS)]
    session = world.session(Process([DEATH]), *others)
    for other in others:
        other.answers = [unusable]
    texts_then = [texts(session.play(Played())[1])[0] for _ in range(MAX_RESTARTS + 3)]
    assert "does not load again" in texts_then[0]
    assert "not run: the submission ended its process" in texts_then[-1]
    assert MAX_RESTARTS + 2 == len(world.started)


# Many scenarios in one stream.

FRAME = (b"header", b"payload")


def test_a_stream_announces_its_scenarios_and_gives_each_ones_frame(world: World) -> None:
    process = Process([FRAME] * 3)
    session = world.session(process)
    assert [FRAME] * 3 == list(session.stream([b"one", b"two", b"three"]))
    announced = wire.encode(({"scenarios": 3, "op": "tape"}, {}))
    assert announced + b"onetwothree" == process.sent[1]
    assert [room_for(3), room_for(3), room_for(5)] == process.rooms
    assert session.streams
    assert [] == list(session.stream([]))
    assert 2 == len(process.sent)


@pytest.mark.parametrize("end", [DEATH, TIMEOUT])
def test_a_stream_goes_on_behind_the_scenario_that_ended_the_process(
    world: World, end: SubjectError
) -> None:
    third = Process([DONE, DONE, DONE, FRAME, FRAME])
    session = world.session(Process([FRAME, end]), Process([DONE, DONE, end]), third)
    scenarios = [b"1", b"2", b"3", b"4", b"5"]
    assert [FRAME] == list(session.stream(scenarios))
    assert not session.streams
    assert ["reply", "reply", end.message] == texts(session.play(Played())[1])
    assert [] == list(session.stream(scenarios[2:])), "not before it is known to go on"
    assert session.learns
    assert ["reply"] * 3 == texts(session.play(Played())[1])
    assert session.streams
    assert [FRAME] * 2 == list(session.stream(scenarios[3:]))
    assert 3 == len(world.started)


def test_a_stream_whose_time_is_up_is_over(world: World) -> None:
    process = Process([FRAME] * 30, seconds=2.0)
    session = world.session(process, limits=Limits(call=2.0, submission=5.0))
    assert 3 == len(list(session.stream([b"1"] * 9)))
    assert process.closed
    assert not session.streams
    assert not session.learns
    assert ["the submission takes longer than 5 s in all"] == texts(session.play(Played())[1])


def test_what_sent_no_reply_is_started_again_and_looked_through(world: World) -> None:
    first = Process([FRAME, FRAME])
    session = world.session(first, Process([*[DONE] * 3 * SEARCHED]))
    assert FRAME == next(iter(session.stream([b"1", b"2"])))
    session.distrust()
    assert first.closed
    for _ in range(SEARCHED):
        assert session.learns
        assert not session.streams
        assert ["reply"] * 3 == texts(session.play(Played())[1])
    assert session.streams
    assert 2 == len(world.started)


# The time for all calls together.

SHORT = Limits(call=2.0, submission=5.0)


def test_only_the_time_that_the_submission_takes_counts(world: World) -> None:
    process = Process([DONE] * 30, seconds=0.25)
    session = world.session(process, limits=SHORT)
    for _ in range(3):
        world.now += 1000.0
        assert ["reply"] * 3 == texts(session.play(Played())[1])


def test_when_the_time_is_up_the_process_is_ended_and_nothing_more_is_asked(world: World) -> None:
    process = Process([DONE] * 30, seconds=1.25)
    session = world.session(process, limits=SHORT)
    assert ["reply"] * 3 == texts(session.play(Played())[1])
    text = "the submission takes longer than 5 s in all"
    refused, found = session.play(Played())
    assert {} == refused
    assert ["reply", text, text] == texts(found)
    assert {"unfinished"} == {each.failure for each in found if isinstance(each, SubjectError)}
    assert process.closed
    script = Played()
    assert ({}, [text]) == (session.play(script)[0], texts(session.play(script)[1]))
    assert [] == script.asked
    assert 1 == len(world.started)


def test_a_call_gets_no_more_time_than_is_left_and_then_the_time_is_up(world: World) -> None:
    late = SubjectError("timeout", "backward takes longer than 1 s")
    process = Process([DONE, DONE, late], seconds=2.0)
    session = world.session(process, limits=SHORT)
    _, found = session.play(Played())
    assert [("construct", 2.0), ("train", 2.0), ("backward", 1.0)] == process.asked[1:]
    assert ["reply", "reply", "the submission takes longer than 5 s in all"] == texts(found)
    assert 1 == len(world.started), "nothing is asked again one by one"


def test_a_call_that_hangs_with_time_left_has_hung(world: World) -> None:
    session = world.session(
        Process([TIMEOUT], seconds=2.0), Process([DONE, TIMEOUT], seconds=0.5), limits=SHORT
    )
    assert ["reply", TIMEOUT.message, TIMEOUT.message] == texts(session.play(Played())[1])


@pytest.mark.parametrize(
    ("work", "allowed"), [({}, "5 s"), ({"work": 0.5}, "5 s"), ({"work": 3.0}, "15 s")]
)
def test_more_work_gets_more_time_and_less_gets_no_less(
    world: World, work: dict[str, float], allowed: str
) -> None:
    process = Process([DONE] * 30, seconds=2.0)
    session = world.session(process, limits=SHORT, **work)
    for _ in range(4):
        _, found = session.play(Played())
    assert f"the submission takes longer than {allowed} in all" == texts(found)[0]


@pytest.mark.parametrize(
    ("computed", "told"),
    [(0.5, ", most of which it sleeps or waits"), (3.0, ""), (None, "")],
)
def test_who_slept_the_time_away_is_told_so(
    world: World, computed: float | None, told: str
) -> None:
    process = Process([DONE] * 30, seconds=1.25, computed=computed)
    session = world.session(process, limits=SHORT)
    session.play(Played())
    session.play(Played())
    session.close()
    text = f"the submission takes longer than 5 s in all{told}"
    assert [text] == texts(session.play(Played())[1])


def test_what_all_processes_have_computed_counts(world: World) -> None:
    first = Process([DONE, DONE, TIMEOUT], seconds=1.0, computed=1.0)
    second = Process([DONE] * 30, seconds=1.0, computed=0.5)
    session = world.session(first, second, limits=SHORT)
    session.play(Played())
    assert "the submission takes longer than 5 s in all" == texts(session.play(Played())[1])[-1]


def test_when_its_processor_time_is_up_nothing_more_is_asked(world: World) -> None:
    up = SubjectError("unfinished", "the submission takes more than 30 s of processor time in all")
    process = Process([DONE, up])
    session = world.session(process)
    assert ["reply", up.message, up.message] == texts(session.play(Played())[1])
    assert process.closed
    assert not session.streams
    assert [up.message] == texts(session.play(Played())[1])
    assert 1 == len(world.started)


def test_a_stream_ends_with_the_processor_time(world: World) -> None:
    up = SubjectError("unfinished", "the submission takes more than 30 s of processor time in all")
    session = world.session(Process([FRAME, up]))
    assert 1 == len(list(session.stream([b"1"] * 9)))
    assert not session.learns
    assert [up.message] == texts(session.play(Played())[1])


def test_a_worker_is_limited_as_the_course_says(world: World) -> None:
    limits = Limits(start=3.0, submission=20.0, memory=512, output=64)
    world.session(Process([]), limits=limits, work=2.0)
    (isolation,) = world.isolated
    assert (3.0, 20.0, 512, 64) == (
        isolation.start,
        isolation.seconds,
        isolation.memory,
        isolation.output,
    )
    world.session(Process([]), limits=Limits(cpu=7.0), work=0.1)
    assert 7.0 == world.isolated[-1].seconds
    world.session(Process([]))
    assert (30.0, None) == (world.isolated[-1].seconds, world.isolated[-1].memory)


def test_closing_a_session_ends_its_process_and_keeps_its_first_output(world: World) -> None:
    process = Process([])
    with world.session(process) as session:
        assert not process.closed
    assert process.closed
    assert "output 1" == session.output


def test_the_output_is_that_of_the_first_process(world: World) -> None:
    session = world.session(Process([DEATH]), Process([DONE, DONE, DONE]))
    session.play(Played())
    assert 2 == len(world.started)
    assert "output 1" == session.output


def test_a_gradient_of_inference_is_called_by_words_that_a_student_knows(world: World) -> None:
    process = Process([DONE])
    world.session(process).play(Played(("infer_backward",)))
    assert "backward in inference mode" == process.asked[1][0]


def test_the_most_memory_that_a_process_has_held_is_known_when_it_is_closed(world: World) -> None:
    process = Process([DONE] * 3, memory=70)
    session = world.session(process)
    session.play(Played())
    assert session.memory is None
    session.close()
    assert 70 == session.memory
