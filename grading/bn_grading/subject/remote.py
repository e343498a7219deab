"""One part of a submission as a subject: scenarios become requests, replies become responses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from types import MappingProxyType
from typing import Any

import numpy as np
from bn_oracle.conventions import Convention
from bn_properties.call import EARLIER, Operation, Values
from bn_properties.protocol import AnyArray, Capability, Quantity, Refusable, Setup, SubjectError
from bn_properties.scenario import (
    Reply,
    Response,
    Scenario,
    failed,
    is_large,
    plain_result,
    ran_out,
    walk,
)
from bn_properties.tape.playback import Playback
from bn_properties.tape.tape import Tape
from bn_worker import messages, wire
from bn_worker.tracing import LARGEST, MOST, Assigned

from bn_grading.courses.model import Part
from bn_grading.subject.playing import Prepared, play
from bn_grading.subject.session import Refused, Script, Session

NO_OTHER_EPS = "the layer raises an exception when ε is set to another value than its own"


class RemoteSubject:
    """One part of a submission, as a subject."""

    def __init__(
        self, session: Session, part: Part, convention: Convention, *, fixed_eps: bool = False
    ) -> None:
        """Speak to `part` of the session's submission; with `fixed_eps`, its ε is never set."""
        self._session, self._part = session, part
        self.convention, self.fixed_eps = convention, fixed_eps

    @property
    def spatial_axes(self) -> int:
        """The part's."""
        return self._part.spatial_axes

    @property
    def offers(self) -> frozenset[Capability]:
        """What the part's interface offers."""
        return self._part.interface.offers

    @property
    def may_refuse(self) -> frozenset[Capability | Refusable]:
        """What of it a submission may do without, and at what it may raise an exception."""
        return self._part.interface.may_refuse | set(self._part.may_refuse)

    def observe(self, scenario: Scenario) -> tuple[Response[AnyArray], ...]:
        """Take a fresh layer through `scenario`."""
        if self.fixed_eps and scenario.setup.eps is not None:
            if scenario.setup.eps != self.convention.eps:
                return failed(scenario, SubjectError("raised", NO_OTHER_EPS))
            scenario = replace(scenario, setup=replace(scenario.setup, eps=None))
        large = is_large(scenario)
        if large and self._session.ran_out is not None:
            return failed(scenario, self._session.ran_out)

        def script(refused: Refused, together: bool) -> Script:
            return _script(
                scenario,
                self._part.id,
                self._part.spatial_axes,
                self.convention,
                frozenset(refused),
                together=together,
            )

        refused, found = self._session.play(script)
        errors = [each for each in found if isinstance(each, SubjectError)]
        if large and errors and ran_out(errors[0]):
            self._session.ran_out = errors[0]
        return responses(scenario, found, refused)

    def construct(self, setup: Setup) -> SubjectError | None:
        """Make a layer, and return why it cannot be made; None where it can."""
        scenario = Scenario(setup, ())

        def script(refused: Refused, together: bool) -> Script:
            asked = self._part.id, self._part.spatial_axes, self.convention
            return _script(scenario, *asked, frozenset(refused), together=together)

        refused, (*_, found) = self._session.play(script)
        return found if isinstance(found, SubjectError) else refused.get("construct")

    def trace(self, scenario: Scenario) -> tuple[Assigned, ...]:
        """Take a fresh layer through `scenario`, and return what each of its lines computed.

        What goes wrong there shows nothing.
        """

        def script(refused: Refused, together: bool) -> Script:
            asked = self._part.id, self._part.spatial_axes, self.convention
            construct, *others = requests(scenario, *asked, frozenset(refused))
            trace, traced = messages.Request("trace"), messages.Request("traced")
            return _encoded([construct, trace, *others, traced], together=together)

        _, found = self._session.play(script)
        last = found[-1] if found else None
        return _assigned(last) if isinstance(last, messages.Reply) else ()

    def play(self, prepared: Prepared) -> Playback:
        """Take fresh layers through all scenarios of a tape."""
        return play(self._session, prepared, self.observe, responses)


def encoded(tape: Tape, part: Part, convention: Convention) -> tuple[bytes, ...]:
    """Return the calls of a tape's scenarios as a worker takes them."""
    asked = (part.id, part.spatial_axes, convention, frozenset[str]())
    return tuple(_script(each, *asked, together=True).frames for each in tape.scenarios)


def responses(
    scenario: Scenario,
    replies: Sequence[messages.Reply | SubjectError],
    refused: Refused = MappingProxyType({}),
) -> tuple[Response[AnyArray], ...]:
    """Return replies as responses; what is in `refused` was not asked."""
    following = iter(replies)
    construct = refused.get("construct") or next(following)
    if isinstance(construct, SubjectError):
        return failed(scenario, construct)
    return tuple(walk(scenario, _Replies(following, refused), plain_result))


class _Replies:
    """Gives an operation the worker's reply to it: they come in the order of the requests."""

    def __init__(self, replies: Iterator[messages.Reply | SubjectError], refused: Refused) -> None:
        self._replies, self._refused = replies, refused

    def __call__(self, operation: Operation) -> Reply[AnyArray]:
        error = self._refused.get(operation.name)
        if error is not None:
            return Reply(error=error)
        reply = next(self._replies)
        if isinstance(reply, SubjectError):
            return Reply(error=reply)
        words = {"given": operation.lends, "earlier": EARLIER}
        edited = frozenset(words.get(name, name) for name in reply.edited)
        return Reply(_values(operation, reply), edited)


def _values(operation: Operation, reply: messages.Reply) -> Values[AnyArray]:
    values: dict[Quantity, AnyArray | SubjectError] = {}
    for quantity in operation.gives:
        problem = reply.problems.get(quantity)
        if quantity in reply.arrays:
            values[quantity] = reply.arrays[quantity]
        elif problem is None or problem.failure == "unusable":
            values[quantity] = SubjectError("died", f"the reply holds no {quantity}")
        else:
            values[quantity] = SubjectError(problem.failure, problem.message)
    return values


@lru_cache(maxsize=512)
def _script(
    scenario: Scenario,
    part: str,
    spatial_axes: int,
    convention: Convention,
    refused: frozenset[str],
    *,
    together: bool,
) -> Script:
    """Return a scenario's requests, encoded."""
    asked = requests(scenario, part, spatial_axes, convention, refused)
    return _encoded(asked, together=together)


_ASSIGNED = re.compile(r"\d+:(\d{1,9}):(\d{1,9}):(.{1,100})")


def _assigned(reply: messages.Reply) -> tuple[Assigned, ...]:
    """Read a trace; what does not fit is left out."""
    found = list[Assigned]()
    for key, value in islice(reply.arrays.items(), MOST):
        named = _ASSIGNED.fullmatch(key)
        if named is not None and value.dtype == np.float64 and value.size <= LARGEST:
            frame, line, name = named.groups()
            found.append(Assigned(int(frame), int(line), name, value))
    return tuple(found)


def _encoded(asked: Sequence[messages.Request], *, together: bool) -> Script:
    packed = [request.message() for request in asked]
    frames = [packed] if together else [[message] for message in packed]
    return Script(
        tuple(request.op for request in asked),
        b"".join(wire.encode(*each) for each in frames),
    )


def requests(
    scenario: Scenario,
    part: str,
    spatial_axes: int,
    convention: Convention,
    refused: frozenset[str] = frozenset(),
) -> list[messages.Request]:
    """Return a scenario's requests, but for those in `refused` and what would follow on one."""
    found = [_construct(scenario, part, spatial_axes, convention)]
    for operation in (each for operations in scenario.operations for each in operations):
        if operation.name not in refused:
            found.append(_request(operation, convention))
        elif not operation.goes_on:
            break
    return found


def _request(operation: Operation, convention: Convention) -> messages.Request:
    options = dict(operation.options)
    if "decay" in options:
        options["momentum"] = convention.momentum_for(float(options.pop("decay")))
    return messages.Request(operation.name, options, operation.arrays)


def _construct(
    scenario: Scenario, part: str, spatial_axes: int, convention: Convention
) -> messages.Request:
    setup = scenario.setup
    scalars: dict[str, Any] = {"features": setup.features, "spatial_axes": spatial_axes}
    if setup.bare:
        scalars["bare"] = True
    if setup.cumulative:
        scalars["cumulative"] = True
    if setup.eps is not None:
        scalars["eps"] = setup.eps
    if setup.decay is not None:
        scalars["momentum"] = convention.momentum_for(setup.decay)
    arrays = {
        name: value
        for name in ("gamma", "beta", "running_mean", "running_var")
        if (value := getattr(setup, name)) is not None
    }
    return messages.Request("construct", {"part": part, "setup": scalars}, arrays)
