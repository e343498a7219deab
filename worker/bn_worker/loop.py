"""The worker's loop: load one submission, then do as each message says, until the pipe closes."""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy is imported

import contextlib
import importlib
import warnings
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bn_worker import loading, packages, runtimes, wire
from bn_worker.layouts import laid
from bn_worker.lockdown import lock
from bn_worker.messages import Edit, Failure, Problem, Reply, Request, called
from bn_worker.replies import Replies
from bn_worker.results import Absent, UnusableResult, plain
from bn_worker.runtimes.base import Adapter, Spec
from bn_worker.tracing import Tracer

GRADIENTS = ("dz", "dgamma", "dbeta")
STATISTICS = ("running_mean", "running_var")


class Worker:
    """One submission and its layers, behind the operations of the protocol."""

    def __init__(self) -> None:
        """Start with nothing loaded."""
        self._names: dict[str, Any] = {}
        self._parts: dict[str, Spec] = {}
        self._filename = ""
        self._layer: Adapter | None = None
        self._other: Callable[[dict[str, Any], bool], Adapter] | None = None
        self._others: list[Adapter] = []
        self._setup: dict[str, Any] = {}
        self._differentiated = False
        """Whether the latest backward has given gradients."""
        self._overwrite: Any = None
        """An output that the caller writes into, as soon as it has been given."""
        self._tracer: Tracer | None = None
        """What follows the submission, where that is asked."""
        self._first: dict[tuple[str, str], Any] = {}
        self._lent: list[tuple[NDArray[Any], bytes]] = []
        """The arrays that the layer was given, and what was in them."""
        self._operations: dict[str, Callable[[Request], Reply]] = {
            "lock": self._lock,
            "load": self._load,
            "construct": self._construct,
            "train": self._forward,
            "infer": self._forward,
            "backward": self._differentiate,
            "infer_backward": self._differentiate,
            "population": self._population,
            "look_again": self._look_again,
            "other_layer": self._other_layer,
            "set_parameters": self._set_parameters,
            "descend": self._descend,
            "add_up": self._add_up,
            "reload": self._reload,
            "set_momentum": self._set_momentum,
            "trace": self._trace,
            "traced": self._traced,
        }

    @property
    def operations(self) -> frozenset[str]:
        """What it can be asked."""
        return frozenset(self._operations)

    def answer(self, request: Request) -> Reply:
        """Do one operation; whatever it does wrong stands in the reply."""
        call, operation = called(request.op), self._operations[request.op]
        failure: Failure = "raised"
        try:
            if self._overwrite is not None and self._layer is not None:
                self._overwrite, out = None, self._overwrite
                self._layer.overwrite(out)
            with self._tracer or contextlib.nullcontext():
                return operation(request)
        except loading.LoadError as error:
            failure, text = "unusable", str(error)
        except Absent as error:
            failure, text = "not_implemented", str(error)
        except UnusableResult as error:
            failure, text = "unusable_result", str(error)
        except NotImplementedError as error:
            failure = "not_implemented"
            text = f"{call} raises {loading.explain(error, self._filename)}"
        except SystemExit as error:
            text = f"{call} calls sys.exit({error.code!r})"
        except BaseException as error:
            text = f"{call} raises: {loading.explain(error, self._filename)}"
        return Reply(error=Problem(failure, text))

    def _lock(self, request: Request) -> Reply:
        """Import what will be needed, and then give up everything but computing."""
        options = request.options
        runtimes.prepare(options["kinds"])
        packages.keep(options["packages"], options["folders"])
        packages.name_temporary_folder()
        return Reply(in_force=lock(options["level"], options["readable"], options["bounds"]))

    def _load(self, request: Request) -> Reply:
        options = request.options
        self._filename, self._parts = options["filename"], options["parts"]
        runtimes.prepare(spec["kind"] for spec in self._parts.values())
        if options["module"]:
            try:
                self._names = vars(importlib.import_module(options["module"]))
            except ImportError as error:
                raise loading.LoadError(
                    f"{options['module']} cannot be imported: {error}"
                ) from error
        else:
            self._names = loading.load(
                options["source"], self._filename, options["others"], options["framework"]
            )
        present = (
            part for part, spec in self._parts.items() if runtimes.present(spec, self._names)
        )
        return Reply(present=tuple(present))

    def _construct(self, request: Request) -> Reply:
        self._layer = None
        spec = self._parts[request.options["part"]]
        setup = {**request.options["setup"], **request.arrays}
        self._other = lambda own, alike: runtimes.construct(
            spec, self._names, (_bare(setup) if alike else _unlike(setup)) | own
        )
        self._layer = runtimes.construct(spec, self._names, setup)
        self._first, self._lent, self._others, self._setup = {}, [], [], setup
        self._overwrite, self._differentiated = None, False
        return Reply()

    def _current(self) -> Adapter:
        if self._layer is None:
            raise Absent("there is no layer")
        return self._layer

    def _forward(self, request: Request) -> Reply:
        layer, mode, options = self._current(), request.op, request.options
        layer.prepare(request.arrays["x"].dtype)
        before = layer.parameters()
        given = laid(request.arrays["x"], options.get("layout", "C"))
        differentiable = bool(options.get("differentiable"))
        if "before" in request.arrays:
            held = request.arrays["before"].copy()
            (layer.train if mode == "train" else layer.infer)(held, differentiable=differentiable)
            held[...] = given
            given = held
        x = self._lend(given)
        if mode == "train":
            frozen = bool(options.get("frozen"))
            for _ in range(options.get("times", 1)):
                out = layer.train(x, differentiable=differentiable, frozen=frozen)
        else:
            out = layer.infer(x, differentiable=differentiable)
        arrays = {"out": plain("the output", out)}
        if options.get("overwritten"):
            self._overwrite = out
        edited = self._edited(before)
        try:
            found, problems = _collected(layer.statistics())
        except UnusableResult as error:
            found = {}
            problems = dict.fromkeys(STATISTICS, Problem("unusable_result", str(error)))
        self._first.setdefault((mode, "out"), out)
        return Reply(arrays | found, problems, edited)

    def _lend(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the array that the layer was given with the same content, or else `x` itself.

        A caller who trains on one batch again passes the same array, not a copy.
        """
        content = x.tobytes()
        usual = x.flags.c_contiguous and x.flags.writeable
        for array, lent in self._lent if usual else ():
            alike = lent == content and (array.shape, array.dtype) == (x.shape, x.dtype)
            if alike and array.tobytes() == content:
                x = array
                break
        self._lent.append((x, content))
        return x

    def _differentiate(self, request: Request) -> Reply:
        layer = self._current()
        before = layer.parameters()
        grad = laid(request.arrays["grad"], request.options.get("layout", "C"))
        self._lent.append((grad, grad.tobytes()))
        trained = request.op == "backward"
        self._differentiated = False
        gradients = (layer.backward if trained else layer.infer_backward)(grad)
        if request.options.get("frozen"):
            del gradients["dz"]
        self._differentiated = True
        for name in gradients:
            self._first.setdefault(("backward", name), gradients[name])
        arrays, problems = _collected(gradients)
        return Reply(arrays, problems, self._edited(before))

    def _edited(self, before: dict[str, bytes]) -> tuple[Edit, ...]:
        """Say which parameters the call has changed, and which arrays that the layer was given."""
        after = self._current().parameters()
        edited: list[Edit] = []
        if before.get("gamma") != after.get("gamma") and "gamma" in before:
            edited.append("gamma")
        if before.get("beta") != after.get("beta") and "beta" in before:
            edited.append("beta")
        *earlier, (latest, lent) = self._lent
        if latest.tobytes() != lent:
            edited.append("given")
        if any(array.tobytes() != content for array, content in earlier):
            edited.append("earlier")
        return tuple(edited)

    def _population(self, request: Request) -> Reply:
        batches = list(request.arrays.values())
        before = [batch.tobytes() for batch in batches]
        found = self._current().population(batches)
        edited: tuple[Edit, ...] = ()
        if before != [batch.tobytes() for batch in batches]:
            edited = ("given",)
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise UnusableResult("the population's statistics should be two things: mean, variance")
        named = dict(zip(("population_mean", "population_var"), found, strict=True))
        return Reply(*_collected(named), edited)

    def _look_again(self, request: Request) -> Reply:
        call, quantity = request.options["call"], request.options["quantity"]
        held = self._current().held(quantity) if call == "backward" else None
        again = self._first.get((call, quantity)) if held is None else held
        return Reply({quantity: plain("what was returned", again)})

    def _other_layer(self, request: Request) -> Reply:
        if self._other is None:
            raise Absent("there is no layer")
        arrays, alike = request.arrays, bool(request.options.get("alike"))
        features = arrays["x"].shape[1]
        if "gamma" in arrays:
            # An optimiser moves the parameters that it finds in a new layer.
            moved = self._other({"features": features}, alike)
            moved.prepare(arrays["x"].dtype)
            self._others.append(moved)
            moved.set_parameters(arrays["gamma"] - 1, arrays["beta"] + 1, in_place=True)
        other = self._other({"features": features}, alike)
        other.prepare(arrays["x"].dtype)
        self._others.append(other)
        if "gamma" in arrays:
            other.set_parameters(arrays["gamma"], arrays["beta"], in_place=False)
        other.train(arrays["x"], differentiable="grad" in arrays)
        if "grad" in arrays:
            other.backward(arrays["grad"])
        if "probe" in arrays:
            other.infer(arrays["probe"], differentiable=False)
        return Reply()

    def _descend(self, request: Request) -> Reply:
        if not self._differentiated:
            raise Absent("there is no gradient to subtract")
        return Reply(*_collected(self._current().descend()))

    def _add_up(self, request: Request) -> Reply:
        layer, arrays = self._current(), request.arrays
        layer.prepare(arrays["x"].dtype)
        steps = (arrays["x"], arrays["grad"]), (arrays["then_x"], arrays["then_grad"])
        return Reply(*_collected(layer.add_up(steps)))

    def _reload(self, request: Request) -> Reply:
        self._current().reload(self._setup, copied=bool(request.options.get("copied")))
        return Reply()

    def _set_momentum(self, request: Request) -> Reply:
        self._current().set_momentum(request.options["momentum"])
        return Reply()

    def _trace(self, request: Request) -> Reply:
        self._tracer = Tracer(self._filename)
        return Reply()

    def _traced(self, request: Request) -> Reply:
        tracer, self._tracer = self._tracer, None
        found = tracer.assigned if tracer is not None else []
        return Reply(
            {
                f"{number}:{each.frame}:{each.line}:{each.name}": each.value
                for number, each in enumerate(found)
            }
        )

    def _set_parameters(self, request: Request) -> Reply:
        gamma, beta = request.arrays["gamma"], request.arrays["beta"]
        self._current().set_parameters(gamma, beta, in_place=request.options["in_place"])
        return Reply()


def _collected(values: dict[str, Any]) -> tuple[dict[str, NDArray[Any]], dict[str, Problem]]:
    """Return results as plain arrays, and what is wrong with the others."""
    arrays: dict[str, NDArray[Any]] = {}
    problems: dict[str, Problem] = {}
    for name, value in values.items():
        try:
            arrays[name] = plain(name, value)
        except Absent as error:
            problems[name] = Problem("not_implemented", str(error))
        except UnusableResult as error:
            problems[name] = Problem("unusable_result", str(error))
    return arrays, problems


def _bare(setup: dict[str, Any]) -> dict[str, Any]:
    """Return the setup of a layer like this one, on which no array is set."""
    return {name: value for name, value in setup.items() if not isinstance(value, np.ndarray)}


def _unlike(setup: dict[str, Any]) -> dict[str, Any]:
    """Return another layer's setup: what is set on it has another value, and no array is."""
    other = _bare(setup)
    if setup.get("eps") is not None:
        other["eps"] = 0.625 if setup["eps"] != 0.625 else 0.3125
    if setup.get("momentum") is not None:
        other["momentum"] = 0.3125 if setup["momentum"] != 0.3125 else 0.625
    return other


def main() -> None:
    """Serve frames from standard input to standard output until the input ends."""
    # The protocol moves away from 0 and 1, so that prints cannot disturb it and reads get nothing.
    requests: BinaryIO = os.fdopen(os.dup(0), "rb")
    replies = Replies(os.fdopen(os.dup(1), "wb"))
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    packages.supply_exit()
    worker = Worker()
    while True:
        try:
            asked = [Request.read(each) for each in wire.read(requests)]
        except EOFError:
            return
        if asked[0].op == "tape":
            replies.expect(asked[0].options["scenarios"])
            continue
        # Each is packed when it is made: what happens to its arrays later does not show.
        packed = [wire.pack(*worker.answer(each).message()) for each in asked]
        replies.write(wire.frame(packed))


if __name__ == "__main__":
    main()
