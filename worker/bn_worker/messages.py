"""What grader and worker say to each other, typed: a request, and the reply to it.

What a worker sends is as little to be trusted as the submission beside it: `Reply.read` takes a
message apart once, and refuses what does not fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args
from unicodedata import category

from numpy.typing import NDArray

from bn_worker.wire import Message, WireError

Failure = Literal["not_implemented", "raised", "unusable_result", "unusable"]
"""What can be wrong with a call or a result; `unusable`: the submission does not load."""

Edit = Literal["gamma", "beta", "given", "earlier"]
"""What a call can have changed: a parameter, what it was given, what an earlier call was given."""


def called(op: str) -> str:
    """Return how an operation is called in messages."""
    return {"infer_backward": "backward in inference mode"}.get(op, op.replace("_", " "))


STEPS = ("limits", "privileges", "landlock", "seccomp", "selftest")
"""What a worker does to lock itself in where a platform has it all, in this order."""

_OF_BATCHES = ("out", "dz", "dgamma", "dbeta")
QUANTITIES = frozenset(
    (*_OF_BATCHES, "running_mean", "running_var", "population_mean", "population_var")
)
"""What a call may give, or say that it is missing."""
_ANYTHING = "traced"
"""The call whose reply names its arrays as it likes."""
_FIELDS = {"lock": frozenset({"in_force"}), "load": frozenset({"present"})}
_OF_A_RESULT = frozenset({"problems", "edited"})
"""What a reply may hold beside its arrays or its error: to these calls, and to all others."""
_ALL = _OF_A_RESULT.union(*_FIELDS.values())
_MOST_TEXT = 4000
"""Characters: a message is cut before it is as long."""


class Problem(NamedTuple):
    """Why something is missing."""

    failure: Failure
    message: str


@dataclass(frozen=True)
class Request:
    """One operation that the worker is asked for."""

    op: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """Whatever JSON holds."""
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def message(self) -> Message:
        """Return it as a message."""
        return {**self.options, "op": self.op}, dict(self.arrays)

    @classmethod
    def read(cls, message: Message) -> Request:
        """Read what the grader, who is trusted, has sent."""
        header, arrays = message
        return cls(header.pop("op"), header, arrays)


@dataclass(frozen=True)
class Reply:
    """What came of one operation."""

    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    problems: Mapping[str, Problem] = field(default_factory=dict)
    """Quantities that are missing, and why."""
    edited: tuple[Edit, ...] = ()
    error: Problem | None = None
    """Why the whole operation failed."""
    present: tuple[str, ...] = ()
    """After loading: the ids of the parts that the submission defines."""
    in_force: tuple[str, ...] = ()
    """After locking: what now keeps the submission apart from the machine."""

    def message(self) -> Message:
        """Return it as a message; what is empty is left out."""
        fields: dict[str, Any] = {
            "problems": {name: _cut(each) for name, each in self.problems.items()},
            "edited": self.edited,
            "error": None if self.error is None else _cut(self.error),
            "present": self.present,
            "in_force": self.in_force,
        }
        return {name: value for name, value in fields.items() if value}, dict(self.arrays)

    @classmethod
    def read(cls, message: Message, call: str | None = None) -> Reply:
        """Read what a worker has sent: in reply to a call, as `called` calls it, or to any.

        Raises:
            WireError: a field is unknown, is none of a reply to that call, or not what it should
                be.
        """
        header, arrays = message
        allowed = _ALL if call is None else _FIELDS.get(call, _OF_A_RESULT)
        unknown = header.keys() - allowed - {"error"}
        if unknown:
            raise WireError(f"a reply has the unknown field {min(unknown)!r:.100}")
        problems = header.get("problems", {})
        if not isinstance(problems, dict):
            raise WireError("a reply's problems are no object")
        if problems.keys() & arrays.keys():
            raise WireError("a reply has a quantity, and says that it is missing")
        given = QUANTITIES if call not in _FIELDS else frozenset[str]()
        odd = {*arrays, *problems} - given if call not in (None, _ANYTHING) else None
        if odd:
            raise WireError(f"a reply gives {min(odd)!r:.100}, which nobody asks for")
        error = header.get("error")
        if error is not None and arrays:
            raise WireError("a reply has an error, and arrays")
        return cls(
            arrays,
            {_text(name): _problem(problem) for name, problem in problems.items()},
            tuple(_one_of(name, get_args(Edit)) for name in _list(header, "edited")),
            None if error is None else _problem(error),
            tuple(_text(part) for part in _list(header, "present")),
            tuple(_text(step) for step in _list(header, "in_force")),
        )


def _cut(problem: Problem) -> Problem:
    return Problem(problem.failure, problem.message[:_MOST_TEXT])


def _list(header: Mapping[str, Any], name: str) -> list[Any]:
    value = header.get(name, [])
    if not isinstance(value, list):
        raise WireError(f"a reply's {name} is no list")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise WireError(f"a reply holds {value!r:.100} where text belongs")
    if len(value) > _MOST_TEXT:
        raise WireError(f"a reply holds a text of {len(value)} characters")
    if value.isprintable():
        return value
    # Reports are written in UTF-8 and to terminals: what is neither text nor a line's end is told.
    return "".join(_told(each) if category(each)[0] == "C" else each for each in value)


def _told(character: str) -> str:
    return character if character in "\n\t" else ascii(character)[1:-1]


def _one_of(value: Any, allowed: tuple[Any, ...]) -> Any:
    if _text(value) not in allowed:
        raise WireError(f"a reply holds {value!r:.100}, but must hold one of {', '.join(allowed)}")
    return value


def _problem(value: Any) -> Problem:
    if not isinstance(value, list) or len(value) != 2:
        raise WireError("a reply's problem is no pair of a failure and a message")
    return Problem(_one_of(value[0], get_args(Failure)), _text(value[1]))
