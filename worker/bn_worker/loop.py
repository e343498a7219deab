"""The worker's loop: load one submission, then do as each frame says, until the pipe closes."""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy is imported

import importlib
import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, BinaryIO

from numpy.typing import NDArray

from bn_worker import loading, runtimes, wire
from bn_worker.results import Absent, Unusable, plain
from bn_worker.runtimes.base import Layer, Spec


class Worker:
    """One submission and its layers, behind the operations of the protocol."""

    def __init__(self) -> None:
        """Start with nothing loaded."""
        self._names: dict[str, Any] = {}
        self._parts: dict[str, Spec] = {}
        self._filename = ""
        self._layer: Layer | None = None
        self._make: Callable[[], Layer] | None = None
        self._first: dict[str, Any] = {}
        self._given: list[tuple[NDArray[Any], bytes]] = []
        """The arrays that the layer was given, and what was in them."""

    def answer(self, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> wire.Packed:
        """Do one operation and return the message that answers it."""
        reply: dict[str, Any] = {}
        results: dict[str, NDArray[Any]] = {}
        call = header["op"].replace("infer_backward", "backward in inference mode")
        try:
            getattr(self, f"_{header['op']}")(header, arrays, reply, results)
        except loading.LoadError as error:
            reply["error"] = ["unusable", str(error)]
        except Absent as error:
            reply["error"] = ["not_implemented", str(error)]
        except Unusable as error:
            reply["error"] = ["unusable_result", str(error)]
        except NotImplementedError as error:
            text = loading.explain(error, self._filename)
            reply["error"] = ["not_implemented", f"{call} raises {text}"]
        except SystemExit as error:
            reply["error"] = ["raised", f"{call} calls sys.exit({error.code!r})"]
        except BaseException as error:
            text = loading.explain(error, self._filename)
            reply["error"] = ["raised", f"{call} raises: {text}"]
        return wire.pack(reply, results)

    def _load(
        self,
        header: dict[str, Any],
        arrays: dict[str, NDArray[Any]],
        reply: dict[str, Any],
        results: dict[str, NDArray[Any]],
    ) -> None:
        self._filename = header["filename"]
        if header.get("module"):
            try:
                self._names = vars(importlib.import_module(header["module"]))
            except ImportError as error:
                raise loading.LoadError(
                    f"{header['module']} cannot be imported: {error}"
                ) from error
        else:
            self._names = loading.load(
                header["source"], self._filename, header["others"], header["runtime"]
            )
        self._parts = header["parts"]
        reply["present"] = [
            part for part, spec in self._parts.items() if runtimes.present(spec, self._names)
        ]

    def _construct(
        self,
        header: dict[str, Any],
        arrays: dict[str, NDArray[Any]],
        reply: dict[str, Any],
        results: dict[str, NDArray[Any]],
    ) -> None:
        self._layer = None
        spec = self._parts[header["part"]]
        setup = {**header["setup"], **arrays}
        self._make = lambda: runtimes.construct(spec, self._names, _other(setup))
        self._layer = runtimes.construct(spec, self._names, setup)
        self._first, self._given = {}, []

    def _move(
        self,
        header: dict[str, Any],
        arrays: dict[str, NDArray[Any]],
        reply: dict[str, Any],
        results: dict[str, NDArray[Any]],
    ) -> None:
        in_place = bool(header.get("in_place"))
        self._current().set_parameters(arrays["gamma"], arrays["beta"], in_place=in_place)

    def _elsewhere(
        self,
        header: dict[str, Any],
        arrays: dict[str, NDArray[Any]],
        reply: dict[str, Any],
        results: dict[str, NDArray[Any]],
    ) -> None:
        if self._make is None:
            raise Absent("there is no layer")
        other = self._make()
        other.train(arrays["x"])
        if "grad" in arrays:
            other.backward(arrays["grad"])
        if "probe" in arrays:
            other.infer(arrays["probe"])

    def _reread(
        self,
        header: dict[str, Any],
        arrays: dict[str, NDArray[Any]],
        reply: dict[str, Any],
        results: dict[str, NDArray[Any]],
    ) -> None:
        what = header["what"]
        held = self._current().held(what)
        again = self._first.get(what) if held is None else held
        results["again"] = plain("what was returned", again)

    def _current(self) -> Layer:
        if self._layer is None:
            raise Absent("there is no layer")
        return self._layer

    def _train(
        self,
        header: dict[str, Any],
        arrays: dict[str, NDArray[Any]],
        reply: dict[str, Any],
        results: dict[str, NDArray[Any]],
    ) -> None:
        train = partial(self._current().train, differentiable=bool(header.get("differentiable")))
        self._first.setdefault("train", self._forward(train, arrays["x"], reply, results))

    def _infer(
        self,
        header: dict[str, Any],
        arrays: dict[str, NDArray[Any]],
        reply: dict[str, Any],
        results: dict[str, NDArray[Any]],
    ) -> None:
        infer = self._current().infer
        if header.get("differentiable"):
            infer = partial(infer, differentiable=True)
        self._first.setdefault("infer", self._forward(infer, arrays["x"], reply, results))

    def _infer_backward(
        self,
        header: dict[str, Any],
        arrays: dict[str, NDArray[Any]],
        reply: dict[str, Any],
        results: dict[str, NDArray[Any]],
    ) -> None:
        self._differentiate(self._current().infer_backward, arrays["grad"], reply, results)

    def _population(
        self,
        header: dict[str, Any],
        arrays: dict[str, NDArray[Any]],
        reply: dict[str, Any],
        results: dict[str, NDArray[Any]],
    ) -> None:
        before = [batch.tobytes() for batch in arrays.values()]
        found = self._current().population(list(arrays.values()))
        if before != [batch.tobytes() for batch in arrays.values()]:
            reply["edited"] = ["input"]
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise Unusable("the population's statistics should be two things: mean, variance")
        self._collect(dict(zip(("mean", "var"), found, strict=True)), reply, results)

    def _forward(
        self,
        call: Any,
        x: NDArray[Any],
        reply: dict[str, Any],
        results: dict[str, NDArray[Any]],
    ) -> Any:
        parameters = self._current().parameters()
        x = self._same(x)
        self._given.append((x, x.tobytes()))
        out = call(x)
        results["out"] = plain("the output", out)
        self._note_edits(parameters, reply, results)
        try:
            self._collect(self._current().statistics(), reply, results)
        except Unusable as error:
            problem = ["unusable_result", str(error)]
            reply["problems"] = {"running_mean": problem, "running_var": problem}
        return out

    def _same(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the array that the layer was given with the same content, or else `x` itself.

        A caller who trains on one batch again passes the same array, not a copy.
        """
        content = x.tobytes()
        for array, given in self._given:
            alike = (array.shape, array.dtype) == (x.shape, x.dtype)
            if alike and given == content == array.tobytes():
                return array
        return x

    def _note_edits(
        self, before: dict[str, bytes], reply: dict[str, Any], results: dict[str, NDArray[Any]]
    ) -> None:
        """Say which parameters the call has changed, and which arrays that the layer was given."""
        after = self._current().parameters()
        edited = [name for name, content in before.items() if after.get(name) != content]
        *earlier, (latest, given) = self._given
        if latest.tobytes() != given:
            results["input"] = latest
        if any(array.tobytes() != content for array, content in earlier):
            edited.append("earlier")
        if edited:
            reply["edited"] = edited

    def _backward(
        self,
        header: dict[str, Any],
        arrays: dict[str, NDArray[Any]],
        reply: dict[str, Any],
        results: dict[str, NDArray[Any]],
    ) -> None:
        self._differentiate(self._current().backward, arrays["grad"], reply, results)

    def _differentiate(
        self,
        call: Callable[[NDArray[Any]], dict[str, Any]],
        grad: NDArray[Any],
        reply: dict[str, Any],
        results: dict[str, NDArray[Any]],
    ) -> None:
        parameters = self._current().parameters()
        self._given.append((grad, grad.tobytes()))
        gradients = call(grad)
        for name, what in (("dz", "backward"), ("dgamma", "dgamma"), ("dbeta", "dbeta")):
            self._first.setdefault(what, gradients[name])
        self._collect(gradients, reply, results)
        self._note_edits(parameters, reply, results)

    @staticmethod
    def _collect(
        values: dict[str, Any], reply: dict[str, Any], results: dict[str, NDArray[Any]]
    ) -> None:
        problems: dict[str, list[str]] = {}
        for name, value in values.items():
            try:
                results[name] = plain(name, value)
            except Absent as error:
                problems[name] = ["not_implemented", str(error)]
            except Unusable as error:
                problems[name] = ["unusable_result", str(error)]
        reply["problems"] = problems


def _other(setup: dict[str, Any]) -> dict[str, Any]:
    """Return another layer's setup: what is set on it has another value."""
    other = dict(setup)
    if setup.get("eps") is not None:
        other["eps"] = 4 * setup["eps"] + 1
    if setup.get("momentum") is not None:
        other["momentum"] = 0.3125 if setup["momentum"] != 0.3125 else 0.625
    return other


def main() -> None:
    """Serve frames from standard input to standard output until the input ends."""
    # The protocol moves away from 0 and 1, so that prints cannot disturb it and reads get nothing.
    requests: BinaryIO = os.fdopen(os.dup(0), "rb")
    replies: BinaryIO = os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    worker = Worker()
    while True:
        try:
            messages = wire.read(requests)
        except EOFError:
            return
        replies.write(wire.frame([worker.answer(*message) for message in messages]))
        replies.flush()
        sys.stdout.flush()


if __name__ == "__main__":
    main()
