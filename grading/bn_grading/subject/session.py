"""One submission's worker over its whole life: loaded, asked, started again, and ended.

The session is in one of three states:

* *together*: all calls of a scenario go in one frame, and their replies come back in one; many
  scenarios may go in one stream.
* *carefully*: each call has a frame of its own. So it is when the submission has ended its process:
  which call did is lost with the replies that were held back, so the scenario is asked again,
  slowly, and those behind it. The call that ends the process costs its scenario. When it goes well
  in the next one, all go together again; when it ends the process again, it is asked no more.
* *over*: it is asked nothing more. The time for all calls is up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeVar

from bn_properties.protocol import SubjectError
from bn_worker import wire
from bn_worker.messages import Reply, Request, called

from bn_grading.courses.model import Limits
from bn_grading.subject.computed import MOSTLY_ASLEEP
from bn_grading.subject.isolation import Isolation, Level, NotIsolated
from bn_grading.subject.transport import Transport, room_for

T = TypeVar("T")

MAX_RESTARTS = 3
"""How often a worker that a submission killed is started again."""
SEARCHED = 256
"""How many scenarios are looked through for what ended a stream: more replies are never held."""


class CannotLoad(Exception):
    """The submission cannot be loaded; the message says why."""

    def __init__(self, reason: str, output: str = "") -> None:
        """Record why, and the start of what it printed before it failed."""
        super().__init__(reason)
        self.output = output


@dataclass(frozen=True, eq=False)
class Script:
    """The calls of one scenario, encoded: how many there are, and each one's name."""

    names: tuple[str, ...]
    frames: bytes


Refused = Mapping[str, SubjectError]
"""Operations that hung or ended the process, and how."""


class Session:
    """The worker of one submission."""

    def __init__(
        self,
        load: Request,
        limits: Limits,
        work: float = 1.0,
        isolation: Isolation | None = None,
        levels: Sequence[Level] = (Level.NONE,),
    ) -> None:
        """Prepare; `start` does the work.

        The worker is kept apart at the first of `levels` at which it starts, and at no other after
        that.

        The limits on all calls together are the course's, times `work`: how much more is asked
        than the usual number of cases. Only time spent waiting for the submission counts.
        """
        self._load, self._limits = load, limits
        self._allowed = limits.submission * max(1.0, work)
        self._waited = 0.0
        self._levels = tuple(levels)
        self._isolation = replace(
            isolation or Isolation(),
            level=levels[-1],
            start=limits.start,
            seconds=limits.processor * max(1.0, work),
            memory=limits.memory,
            output=limits.output,
        )
        self._worker: Transport | None = None
        self._counted: Transport | None = None
        self._computed: float | None = 0.0
        """For how many seconds the workers that have ended had computed; None: not known."""
        self.memory: int | None = None
        """MiB that a worker has held at the most, of those that lived to their end."""
        self._restarts = 0
        self._state: Literal["together", "carefully", "over"] = "together"
        self._up = SubjectError(
            "unfinished", f"the submission takes longer than {self._allowed:g} s in all"
        )
        self._suspect: tuple[str, SubjectError] | None = None
        """The call that ended the process last, and has not gone well since."""
        self._searched = 0
        self.ran_out: SubjectError | None = None
        """How it ran out of time or memory on a large batch: no further one is asked of it."""
        self._refused: dict[str, SubjectError] = {}
        self._output = ""

    @property
    def output(self) -> str:
        """The start of what the submission printed."""
        return self._output or (self._worker.output if self._worker is not None else "")

    def start(self, meanwhile: Callable[[], object] = lambda: None) -> list[str]:
        """Start the worker, load the submission and return the ids of the parts that it holds.

        While the process starts, and before it is given the submission, `meanwhile` is called.

        Raises:
            CannotLoad: it cannot be loaded.
            NotIsolated: its process cannot be kept apart as it should be.
        """
        self._worker = self._isolated(meanwhile)
        self._worker.send(wire.encode(self._load.message()))
        try:
            reply = self._worker.receive("load", self._limits.start)
            reason = reply.error.message if reply.error is not None else None
        except SubjectError as error:
            reason = error.message.replace("load ", "importing it ", 1)
        if reason is not None:
            self.close()
            raise CannotLoad(reason, self.output)
        unknown = set(reply.present).difference(self._load.options.get("parts", reply.present))
        if unknown:
            self.close()
            raise CannotLoad(f"it forges the reply to its import: {min(unknown)!r:.60}")
        return list(reply.present)

    def _isolated(self, meanwhile: Callable[[], object]) -> Transport:
        """Return a worker that has locked itself in."""
        for level in self._levels:
            self._isolation = replace(self._isolation, level=level)
            try:
                worker = Transport(self._isolation)
                meanwhile()
                worker.ready(self._limits.start)
            except NotIsolated:
                if level == self._levels[-1]:
                    raise
            else:
                self._levels = (level,)
                return worker
        raise AssertionError("there is no level")

    @property
    def level(self) -> Level:
        """How the worker is kept apart; before it has started, how at least."""
        return self._isolation.level

    def play(
        self, script: Callable[[Refused, bool], Script]
    ) -> tuple[Refused, list[Reply | SubjectError]]:
        """Ask for the calls of one scenario; return what was not asked, and what came of the rest.

        `script` gives the calls without those that are refused, together in one frame or one by
        one. A call that hangs or ends the process fails those behind it, too; see above for when
        it is asked again.
        """
        if self._state == "over":
            return {}, [self._up]
        if self._state == "together":
            found = self._attempt(script({}, True))
            if self._alive.dead is None or self._over():
                return {}, found
            self._grow_careful()
        refused = dict(self._refused)
        if "construct" in refused:
            return refused, []
        asked = script(refused, False)
        found = self._attempt(asked)
        if self._alive.dead is None:
            self._went_well(asked.names)
        return refused, found

    def _grow_careful(self) -> None:
        """Go on call by call: what ended the process will end it again, and count then."""
        self._state, self._searched = "carefully", 0
        self._restarts -= 1

    def _went_well(self, names: tuple[str, ...]) -> None:
        """Note that the calls of a scenario have not ended the process."""
        self._searched += 1
        cleared = self._suspect is not None and self._suspect[0] in names
        nothing_found = self._suspect is None and self._searched >= SEARCHED
        if (cleared or nothing_found) and not self._refused:
            self._state, self._suspect = "together", None

    def stream(self, scenarios: Sequence[bytes]) -> Iterator[wire.Frame]:
        """Send many scenarios' encoded calls in one go, and give each one's reply as it comes.

        It ends early where the submission ends its process, sends what is no reply (see
        `distrust`), or has no time left. The scenario at which it ended can then be asked for with
        `play`, and what comes behind it be streamed again, if `streams` says so.
        """
        if not self.streams or not scenarios:
            return
        head = wire.encode(Request("tape", {"scenarios": len(scenarios)}).message())
        try:
            self._send(b"".join((head, *scenarios)))
            for asked in scenarios:
                receive = partial(self._alive.receive_frame, room_for(len(asked)), "a scenario")
                yield self._within(receive)
        except SubjectError:
            if not self._over():
                self._grow_careful()

    @property
    def streams(self) -> bool:
        """Whether many scenarios can go in one stream."""
        return self._state == "together"

    @property
    def learns(self) -> bool:
        """Whether scenarios go one by one only until it is known which call ends the process."""
        return self._state == "carefully" and not self._refused

    def distrust(self) -> None:
        """End the process: a frame that came of `stream` is no reply."""
        self._alive.close()
        self._grow_careful()

    def _over(self) -> bool:
        return self._state == "over"

    def _attempt(self, script: Script) -> list[Reply | SubjectError]:
        found: list[Reply | SubjectError] = []
        try:
            self._send(script.frames)
            for name in script.names:
                found.append(answered(self._receive(name)))
        except SubjectError as error:
            found += [error] * (len(script.names) - len(found))
        return found

    def _send(self, frames: bytes) -> None:
        assert self._worker is not None
        if self._worker.dead is not None:
            self._restart()
        self._worker.send(frames)

    def _receive(self, name: str) -> Reply:
        """Return the reply to one call; a hang, a death or the end of the time ends the rest."""
        try:
            return self._within(lambda seconds: self._alive.receive(called(name), seconds))
        except SubjectError as error:
            if self._state == "carefully" and error is not self._up:
                if self._suspect is None or self._suspect[0] != name:
                    self._suspect = (name, error)
                else:
                    self._refused.setdefault(*self._suspect)
            raise

    def _within(self, receive: Callable[[float], T]) -> T:
        """Return what is received within the limit on a call, and what is left of that on all."""
        left = self._allowed - self._waited
        if left <= 0:
            self._end()
            raise self._up
        began = time.monotonic()
        try:
            return receive(min(self._limits.call, left))
        except SubjectError as error:
            if error.failure == "unfinished":  # its processor time is up
                self._state, self._up = "over", error
                self.close()
            elif error.failure in ("timeout", "slept") and left < self._limits.call:
                self._end()
                raise self._up from error
            raise
        finally:
            self._waited += time.monotonic() - began

    @property
    def _alive(self) -> Transport:
        assert self._worker is not None
        return self._worker

    def _end(self) -> None:
        """End the submission, which would else work off what it was sent."""
        self._state = "over"
        self.close()
        if self._computed is not None and self._computed < MOSTLY_ASLEEP * self._allowed:
            text = f"{self._up.message}, most of which it sleeps or waits"
            self._up = SubjectError("unfinished", text)

    def _restart(self) -> None:
        if self._restarts >= MAX_RESTARTS:
            raise SubjectError(
                "not_implemented",
                f"not run: the submission ended its process {MAX_RESTARTS + 1} times",
            )
        self._restarts += 1
        self.close()
        try:
            self.start()
        except CannotLoad as error:
            raise SubjectError("died", f"the submission does not load again: {error}") from error

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.close()
            self._output = self._output or self._worker.output
            self._count(self._worker)

    def _count(self, worker: Transport) -> None:
        """Add up for how long the workers have computed, each once, as far as that is known."""
        if worker is not self._counted:
            self._counted = worker
            self.memory = max(self.memory or 0, worker.memory or 0) or None
            before, its = self._computed, worker.computed
            self._computed = None if before is None or its is None else before + its

    def __enter__(self) -> Session:
        """Return the session, not yet started."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close it."""
        self.close()


def answered(reply: Reply) -> Reply | SubjectError:
    """Return a reply, or the error that it is."""
    if reply.error is None:
        return reply
    failure, message = reply.error
    return SubjectError("raised" if failure == "unusable" else failure, message)
