"""What a page tells of one failing property: the example, its steps, all cases, and a script."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import PurePath

from bn_properties.records import Counterexample, PropertyResult, SubmissionResult

from bn_reports.text.numbers import exact
from bn_reports.views import meter, overview, routes
from bn_reports.views.arrays import Quantity, compared
from bn_reports.views.counterexamples import CallView, calls, worst
from bn_reports.views.quantities import Named
from bn_reports.views.reproduce import script
from bn_reports.views.trace import Trace, trace
from bn_reports.views.trimmed import trimmed

_NO_FORMULA = "hygiene"
"""The family whose properties fail by what is done with arrays, whatever is computed."""
WHOLE = 3
"""Of how many failures the example is shown; those that follow have their message alone."""


@dataclass(frozen=True)
class Failing:
    """A property that fails of itself."""

    property: PropertyResult
    blocked: tuple[PropertyResult, ...]
    """What cannot be judged before it is mended."""
    calls: tuple[CallView, ...] = ()
    worst: tuple[tuple[str, str], ...] = ()
    """How large the error is, and may be: what its message does not say."""
    trace: Trace | None = None
    broken: frozenset[str] = frozenset()
    """The edges of the influence diagram that are wrong."""
    points: tuple[meter.Point, ...] = ()
    jacobian: Quantity | None = None
    """How outputs depend on inputs, as it is and as it should be."""
    batch: str = ""
    """The batch on which they do."""
    script: str | None = None
    command: str = ""
    """What asks about the example's case alone."""
    left_out: bool = False
    """Whether there is an example that is not shown."""


def failing(submission: SubmissionResult) -> tuple[Failing, ...]:
    """Return the failures of a submission, the root failure first."""
    return tuple(
        _failing(submission, each, whole=number < WHOLE)
        for number, each in enumerate(overview.failures(submission))
    )


def _failing(submission: SubmissionResult, failure: overview.Failure, *, whole: bool) -> Failing:
    found, example = failure.property, failure.property.counterexample
    if example is None or not whole:
        return Failing(found, failure.blocked, left_out=example is not None)
    named = Named(submission.names.get(found.part, {}))
    steps, text = None, None
    if found.group != _NO_FORMULA:
        steps = trace(example, named, submission.causes)
        text = script(example, named, submission.calling.get(found.part))
    return Failing(
        found,
        failure.blocked,
        calls=calls(trimmed(example)),
        worst=_sizes(example),
        jacobian=_jacobian(example),
        batch=_batch(example),
        trace=steps,
        broken=frozenset() if steps is None else routes.broken(steps),
        points=meter.points(found, submission.conditions.get(found.part, "")),
        script=text,
        command=_command(submission, example),
    )


def _jacobian(example: Counterexample) -> Quantity | None:
    found = example.jacobian
    if found is None:
        return None
    return compared("∂ẑ/∂z", found.got, found.expected, found.bound)


def _batch(example: Counterexample) -> str:
    if example.jacobian is None:
        return ""
    values = ", ".join(exact(value) for value in example.jacobian.z.array())
    return f"feature {example.jacobian.feature}, z = ({values})"


_USUAL = 100
"""Cases that are drawn where nothing is said."""


def _command(submission: SubmissionResult, example: Counterexample) -> str:
    parts = ["bnoracle", "check", shlex.quote(PurePath(submission.path).name)]
    parts += ["--case", str(example.case)]
    if example.seed:
        parts += ["--seed", str(example.seed)]
    if submission.basis is not None and submission.basis.examples != _USUAL:
        parts += ["--examples", str(submission.basis.examples)]
    return " ".join(parts)


def _sizes(example: Counterexample) -> tuple[tuple[str, str], ...]:
    if example.comparison is None:
        return ()
    said = ("quantity", "worst at index", "got there", "expected there", "error over bound")
    return tuple((name, value) for name, value in worst(example.comparison) if name not in said)
