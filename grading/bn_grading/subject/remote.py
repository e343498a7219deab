"""A submission in a worker process, behind the protocol that the properties know."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

from bn_oracle.conventions import Convention
from bn_properties.protocol import AnyArray, Capability, Gradient, Statistics, SubjectError
from bn_properties.calls import EARLIER, Backward, Infer, LookAgain, OtherLayer, Population, SetParameters, Train
from bn_properties.scenario import Response, Scenario, Step, failed, walk
from bn_worker import wire

from bn_grading.courses.model import Course, Part
from bn_grading.intake.submissions import Submission
from bn_grading.subject.transport import Request, WorkerProcess

MAX_RESTARTS = 3
"""How often a worker that a submission killed is started again."""


class Unusable(Exception):
    """The submission cannot be loaded; the message says why."""

    output = ""
    """The start of what it printed before it failed."""


class RemoteSubmission:
    """One submission's worker, started again when the submission kills it."""

    def __init__(
        self,
        submission: Submission,
        file: str | None,
        course: Course,
        parts: tuple[Part, ...],
        work: float = 1.0,
    ) -> None:
        """Prepare; `start` does the work.

        The limit on all calls together is the course's, times `work`: how much more is asked
        than the usual number of cases. Only time spent waiting for the submission counts.
        """
        self._course = course
        self._limit = course.limits.submission * max(1.0, work)
        self._waited = 0.0
        others = {
            name.rpartition("/")[2].removesuffix(".py"): source
            for name, source in submission.files.items()
            if name != file
        }
        self._load: dict[str, Any] = {
            "op": "load",
            "runtime": course.runtime,
            "module": submission.module,
            "filename": (file or "").rpartition("/")[2],
            "source": submission.files[file] if file else "",
            "others": others,
            "parts": {part.id: part.interface.model_dump(mode="json") for part in parts},
        }
        self._worker: WorkerProcess | None = None
        self._restarts = 0
        self.output = ""
        self.batched = True
        """Whether the worker may hold replies back until a scenario is through: fewer wake-ups."""
        self.fatal: dict[str, SubjectError] = {}
        """Operations that hung or ended the process: they are not tried again."""
        self.exhausted: SubjectError | None = None
        """Why it is asked nothing more."""

    def start(self) -> list[str]:
        """Start the worker, load the submission and return the ids of the parts that it holds.

        Raises:
            Unusable: it cannot be loaded.
        """
        self._worker = WorkerProcess()
        self._worker.send(wire.encode((self._load, {})))
        try:
            reply, _ = self._worker.receive("load", self._course.limits.start)
            reason = str(reply["error"][1]) if "error" in reply else None
        except SubjectError as error:
            reason = error.message.replace("load ", "importing it ", 1)
        if reason is not None:
            self.close()
            unusable = Unusable(reason)
            unusable.output = self.output
            raise unusable
        return [str(part) for part in reply["present"]]

    @property
    def ended(self) -> SubjectError | None:
        """How the submission ended its process, if it did."""
        assert self._worker is not None
        return self._worker.dead

    def forgive(self) -> None:
        """Do not count the latest end of the process: the same call will end it again."""
        self._restarts -= 1

    def send(self, frames: bytes) -> None:
        """Send the calls of one scenario; `receive` then gives their answers in order.

        Raises:
            SubjectError: the submission may not go on.
        """
        assert self._worker is not None
        if self._worker.dead is not None:
            self._restart()
        self._worker.send(frames)

    def receive(self, operation: str) -> Request:
        """Return the answer to one call.

        Raises:
            SubjectError: it failed, hung or died.
        """
        assert self._worker is not None
        left = self._limit - self._waited
        if left <= 0:
            raise self._exhausted()
        began = time.monotonic()
        try:
            call = operation.replace("infer_backward", "backward in inference mode")
            reply, results = self._worker.receive(call, min(self._course.limits.call, left))
        except SubjectError as error:
            if error.failure == "timeout" and left < self._course.limits.call:
                raise self._exhausted() from error
            if not self.batched:
                self.fatal.setdefault(operation, error)
            raise
        finally:
            self._waited += time.monotonic() - began
        if "error" in reply:
            raise _error(reply["error"])
        return reply, results

    def _exhausted(self) -> SubjectError:
        """End the submission, which would else work off what it was sent, and return why."""
        text = f"the submission takes longer than {self._limit:g} s in all"
        self.exhausted = SubjectError("unfinished", text)
        self.close()
        return self.exhausted

    def _restart(self) -> None:
        assert self._worker is not None
        assert self._worker.dead is not None
        if self._restarts >= MAX_RESTARTS:
            raise SubjectError(
                "not_implemented",
                f"not run: the submission ended its process {MAX_RESTARTS + 1} times",
            )
        self._restarts += 1
        self.close()
        try:
            self.start()
        except Unusable as error:
            raise SubjectError("died", f"the submission does not load again: {error}") from error

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.close()
            self.output = self.output or self._worker.output

    def __enter__(self) -> RemoteSubmission:
        """Return the submission, not yet started."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close it."""
        self.close()


def _error(parts: Any) -> SubjectError:
    failure, message = (str(part) for part in parts)
    if failure not in ("not_implemented", "raised", "unusable_result"):
        failure = "raised"
    return SubjectError(failure, message)  # type: ignore[arg-type]


class RemoteSubject:
    """One part of a submission, as a subject."""

    def __init__(self, submission: RemoteSubmission, part: Part, convention: Convention) -> None:
        """Speak to `part` of `submission`."""
        self._submission, self._part, self._convention = submission, part, convention

    @property
    def convention(self) -> Convention:
        """The course's."""
        return self._convention

    @property
    def spatial_axes(self) -> int:
        """The part's."""
        return self._part.spatial_axes

    @property
    def offers(self) -> frozenset[Capability]:
        """What the part's interface offers."""
        return self._part.interface.offers

    @property
    def may_refuse(self) -> frozenset[Capability]:
        """What of it a submission may do without."""
        return self._part.interface.may_refuse

    def observe(self, scenario: Scenario) -> tuple[Response, ...]:
        """Take a fresh layer through `scenario`: all calls sent at once, answers read in turn."""
        fatal = self._submission.fatal
        ending = self._submission.exhausted or fatal.get("construct")
        if ending is not None:
            return failed(scenario, ending)
        asked = (scenario, self._part.id, self._part.spatial_axes, self._convention)
        if self._submission.batched:
            seen = self._attempt(scenario, *_frames(*asked, frozenset(fatal), hold=True))
            if self._submission.ended is None or self._submission.exhausted is not None:
                return seen
            # Which call it was is lost with the replies that were held back: ask again, slowly.
            self._submission.batched = False
            self._submission.forgive()
        return self._attempt(scenario, *_frames(*asked, frozenset(fatal), hold=False))

    def _attempt(
        self, scenario: Scenario, operations: tuple[str, ...], frames: bytes
    ) -> tuple[Response, ...]:
        layer = RemoteLayer(self._submission, list(operations))
        try:
            self._submission.send(frames)
            layer.constructed()
        except SubjectError as error:
            layer.drain()
            return failed(scenario, error)
        seen = walk(layer, scenario)
        layer.drain()
        return seen


def _requests(step: Step, later: bool) -> list[Request]:
    """Return the operations of one step, in order; `later` tells of a backward in a later step."""
    match step:
        case Train(x, grad) if grad is not None:
            requests = [_differentiable("train", x), _request("backward", grad=grad)]
        case Train(x):
            requests = [_differentiable("train", x) if later else _request("train", x=x)]
        case Infer(x, grad) if grad is not None:
            requests = [_differentiable("infer", x), _request("infer_backward", grad=grad)]
        case Infer(x):
            requests = [_request("infer", x=x)]
        case Backward(grad):
            requests = [_request("backward", grad=grad)]
        case OtherLayer(x, grad, probe):
            named = {"x": x, "grad": grad, "probe": probe}
            requests = [
                _request("elsewhere", **{n: each for n, each in named.items() if each is not None})
            ]
        case SetParameters(gamma, beta, in_place):
            parameters: dict[str, AnyArray] = {"gamma": gamma, "beta": beta}
            requests = [({"op": "move", "in_place": in_place}, parameters)]
        case Population(batches):
            numbered = {f"batch{number}": batch for number, batch in enumerate(batches)}
            requests = [_request("population", **numbered)]
        case LookAgain(what):
            requests = [({"op": "reread", "what": what}, {})]
    return requests


def _differentiable(operation: str, x: AnyArray) -> Request:
    return {"op": operation, "differentiable": True}, {"x": x}


def _request(operation: str, **arrays: AnyArray) -> Request:
    return {"op": operation}, arrays


def _following(steps: tuple[Step, ...]) -> Step | None:
    """Return the next step after the first that trains or differentiates, if there is one."""
    return next((step for step in steps[1:] if isinstance(step, Train | Backward)), None)


@lru_cache(maxsize=40_000)
def _frames(
    scenario: Scenario,
    part: str,
    spatial_axes: int,
    convention: Convention,
    without: frozenset[str],
    *,
    hold: bool,
) -> tuple[tuple[str, ...], bytes]:
    """Return a scenario's operations, and their frames: a single one with `hold`, answered as one.

    Operations in `without` are not sent, nor is what would follow on a missing forward.
    """
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
    requests: list[Request] = [({"op": "construct", "part": part, "setup": scalars}, arrays)]
    for number, step in enumerate(scenario.calls):
        asked = _requests(step, isinstance(_following(scenario.calls[number:]), Backward))
        if asked[0][0]["op"] in without and not isinstance(step, Backward):
            break
        requests += [request for request in asked if request[0]["op"] not in without]
    together = [requests] if hold else [[request] for request in requests]
    frames = b"".join(wire.encode(*messages) for messages in together)
    return tuple(str(header["op"]) for header, _ in requests), frames


class RemoteLayer:
    """The worker's current layer; each method reads the answer to a call already sent."""

    def __init__(self, submission: RemoteSubmission, operations: list[str]) -> None:
        """Expect answers to `operations`, in order."""
        self._submission, self._pending = submission, operations
        self._edited: frozenset[str] = frozenset()
        self._statistics = Statistics(*[SubjectError("not_implemented", "no step yet")] * 2)

    def _next(self, operation: str) -> Request:
        fatal = self._submission.fatal.get(operation)
        if fatal is not None:
            raise fatal
        return self._submission.receive(self._pending.pop(0))

    def constructed(self) -> None:
        """Wait until the layer is there."""
        self._next("construct")

    def drain(self) -> None:
        """Read what was sent but is no longer wanted, because an earlier call failed."""
        while self._pending:
            try:
                self._submission.receive(self._pending.pop(0))
            except SubjectError as error:
                if error.failure in ("timeout", "died", "unfinished"):
                    return

    def train(self, x: AnyArray) -> AnyArray:
        """Forward in training mode."""
        return self._forward("train", x)

    def infer(self, x: AnyArray) -> AnyArray:
        """Forward in inference mode."""
        return self._forward("infer", x)

    def _forward(self, operation: str, x: AnyArray) -> AnyArray:
        reply, results = self._next(operation)
        _write_back(x, results)
        self._edited = _edited(reply)
        self._statistics = Statistics(
            _value(reply, results, "running_mean"), _value(reply, results, "running_var")
        )
        out = _value(reply, results, "out")
        if isinstance(out, SubjectError):
            raise out
        return out

    def backward(self, grad: AnyArray) -> Gradient:
        """Differentiate the latest training forward."""
        return self._gradient("backward", grad)

    def infer_backward(self, grad: AnyArray) -> Gradient:
        """Differentiate the latest inference."""
        return self._gradient("infer_backward", grad)

    def population(self, batches: tuple[AnyArray, ...]) -> Statistics:
        """Ask for the statistics of the population."""
        reply, results = self._next("population")
        self._edited = _edited(reply)
        return Statistics(_value(reply, results, "mean"), _value(reply, results, "var"))

    def _gradient(self, operation: str, grad: AnyArray) -> Gradient:
        reply, results = self._next(operation)
        _write_back(grad, results)
        self._edited = _edited(reply)
        return Gradient(*(_value(reply, results, name) for name in ("dz", "dgamma", "dbeta")))

    def statistics(self) -> Statistics:
        """Return the statistics that came with the latest forward."""
        return self._statistics

    def look_again(self, what: str) -> AnyArray:
        """Ask for what the first call of a kind gave, as it is now."""
        reply, results = self._next("reread")
        again = _value(reply, results, "again")
        if isinstance(again, SubjectError):
            raise again
        return again

    def other_layer(
        self, x: AnyArray, grad: AnyArray | None = None, probe: AnyArray | None = None
    ) -> None:
        """Have another layer of the submission's train on `x`."""
        self._next("elsewhere")

    def set_parameters(self, gamma: AnyArray, beta: AnyArray, *, in_place: bool = False) -> None:
        """Set other parameters."""
        self._next("move")

    def edited(self) -> frozenset[str]:
        """Return which parameters the latest call has changed."""
        return self._edited


_EDITED = {name: name for name in ("gamma", "beta", "input")} | {"earlier": EARLIER}
"""What a worker may say was edited, and how it is called."""


def _edited(reply: dict[str, Any]) -> frozenset[str]:
    named = map(str, reply.get("edited") or ())
    return frozenset(_EDITED[name] for name in named if name in _EDITED)


def _write_back(given: AnyArray, results: dict[str, AnyArray]) -> None:
    """Show an edit of the input to the caller, as it would show in one process."""
    edited = results.get("input")
    if edited is not None and edited.shape == given.shape and edited.dtype == given.dtype:
        given[...] = edited


def _value(
    reply: dict[str, Any], results: dict[str, AnyArray], name: str
) -> AnyArray | SubjectError:
    if name in results:
        return results[name]
    problem = (reply.get("problems") or {}).get(name)
    if problem is None:
        return SubjectError("died", f"the reply holds no {name}")
    return _error(problem)
