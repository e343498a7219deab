"""Run mutants against the right answers: `python -m bn_evidence.mutants.compare`, a pickle in.

It is a process of its own, because a mutant may hang or end it. It reads a `Job` from standard
input and writes, for each source in turn, a line: empty where every answer is right within the
tolerance, else the first difference. If the process ends early, the next mutant ended it.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from bn_worker import loading, runtimes
from bn_worker.results import Absent
from numpy.typing import NDArray

if TYPE_CHECKING:
    from bn_evidence.mutants.truth import Expectations, Situation

TOLERANCE = 1e-6
SECONDS = 3.0
"""What all calls of one mutant may take."""
GRADIENTS = ("dz", "dgamma", "dbeta")


@dataclass(frozen=True)
class Job:
    """The sources to compare, and what they are asked."""

    filename: str
    sources: tuple[str, ...]
    parts: tuple[Asked, ...]


@dataclass(frozen=True)
class Asked:
    """What is asked of one part of a submission."""

    interface: dict[str, Any]
    backward_only: bool
    """Whether only its backward pass counts."""
    required: bool
    """Whether giving nothing is a difference; else it is not implemented, which is allowed."""
    situations: tuple[Situation, ...]


def differences(job: Job) -> list[str]:
    """Return for each source how it differs from batch normalization; empty where it does not."""
    found: list[str] = []
    while len(found) < len(job.sources):
        rest = Job(job.filename, job.sources[len(found) :], job.parts)
        command = [sys.executable, "-m", "bn_evidence.mutants.compare"]
        done = subprocess.run(
            command,
            input=pickle.dumps(rest),
            capture_output=True,
            check=False,
            # This package is not installed: the process finds it where this one did.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        lines = done.stdout.decode().splitlines()
        found += lines
        if len(found) < len(job.sources):
            if not lines and b"Error" in done.stderr:
                raise RuntimeError(done.stderr.decode())
            found.append("it ends the process")
    return found


class _TooLong(BaseException):
    pass


def _alarm(*_: object) -> None:
    raise _TooLong


def difference(source: str, job: Job) -> str:
    """Return the first difference of one source, or an empty string."""
    finders = list(sys.meta_path)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        names = loading.load(source, job.filename, {}, "")
        for part in job.parts:
            if runtimes.present(part.interface, names):
                found = _first(part, names)
                if found:
                    return found
    except _TooLong:
        return f"takes longer than {SECONDS:g} s"
    except (Exception, SystemExit) as error:
        return f"raises {type(error).__name__}: {' '.join(str(error).split())}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.meta_path[:] = finders
    return ""


def _first(part: Asked, names: dict[str, Any]) -> str:
    """Return the first difference of one part."""
    try:
        for situation in part.situations:
            for found in _differences(part, names, situation):
                return f"{situation.case}: {found}"
    except Absent:
        if part.required:
            raise
    return ""


def _differences(part: Asked, names: dict[str, Any], situation: Situation) -> Iterator[str]:
    spec = part.interface
    layer = runtimes.construct(spec, names, dict(situation.setup))
    out = layer.train(situation.x.copy(), differentiable=True)
    if out is None:
        raise Absent("the forward pass gives nothing")
    seen = {"out": out, **layer.statistics()}
    seen |= layer.backward(situation.grad.copy())
    if part.backward_only:
        expected = {name: situation.step[name] for name in GRADIENTS}
        yield from _unequal("train", seen, expected)
        return
    yield from _unequal("train", seen, situation.step)
    layer = runtimes.construct(spec, names, dict(situation.setup))
    out = layer.infer(situation.probe.copy(), differentiable=False)
    yield from _unequal("infer", {"out": out}, situation.inference)
    fresh = {k: v for k, v in situation.setup.items() if not k.startswith("running")}
    layer = runtimes.construct(spec, names, fresh)
    calls = [(layer.train, situation.x), (layer.infer, situation.probe)]
    calls += [(layer.train, batch) for batch in situation.batches]
    for number, ((call, x), expected) in enumerate(zip(calls, situation.sequence, strict=True)):
        seen = {"out": call(x.copy(), differentiable=False), **layer.statistics()}
        yield from _unequal(f"step {number + 1}", seen, expected)
    if situation.bare:
        sizes = {name: situation.setup[name] for name in ("features", "spatial_axes")}
        layer = runtimes.construct(spec, names, {**sizes, "bare": True})
        seen = {"out": layer.train(situation.x.copy(), differentiable=True), **layer.statistics()}
        for _ in range(2):  # what forward kept serves a second backward as well
            seen |= layer.backward(situation.grad.copy())
        yield from _unequal("with defaults", seen, situation.bare)


def _unequal(where: str, seen: dict[str, Any], expected: Expectations) -> Iterator[str]:
    for name, right in expected.items():
        if seen[name] is None:
            yield f"{where}: {name} is None"
            continue
        got = np.asarray(seen[name])
        if got.dtype.kind not in "biuf" or not _fits(got, right.value):
            yield f"{where}: {name} has dtype {got.dtype} and shape {got.shape}"
            continue
        error = np.abs(got.reshape(right.value.shape) - right.value)
        if not bool((error <= TOLERANCE * right.size).all()):
            yield f"{where}: {name} differs"


def _fits(got: NDArray[Any], value: NDArray[Any]) -> bool:
    """Whether the shape is right; one number a feature may come as (C,), (1, C), (1, C, 1, 1)."""
    if value.ndim > 1:
        return got.shape == value.shape
    features = value.size
    allowed = {(features,), (1, features), (1, features, 1, 1)}
    return got.shape in allowed or (features == 1 and got.ndim == 0)


def run(sources: Sequence[str], job: Job) -> Iterator[str]:
    """Yield each source's difference."""
    signal.signal(signal.SIGALRM, _alarm)
    warnings.simplefilter("ignore")
    with np.errstate(all="ignore"):
        for source in sources:
            yield difference(source, job)


if __name__ == "__main__":
    task: Job = pickle.loads(sys.stdin.buffer.read())
    for line in run(task.sources, task):
        print(line, flush=True)
