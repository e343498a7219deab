"""The records of a grading run: what `results.json` holds and what every report reads.

The models are validated when they are built, so nothing that breaks the contract is ever
written. Arrays are written as dtype, shape and a flat list of values that read back bit for bit;
NaN and the infinities are strings, because JSON has no such numbers.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)

from bn_properties.case_errors import unpacked
from bn_properties.protocol import Failure

SCHEMA_VERSION: Literal[2] = 2

_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def _write_number(value: float) -> float | str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


_NUMBER_SCHEMA = {"anyOf": [{"type": "number"}, {"enum": sorted(_NON_FINITE)}]}


def _read_number(value: Any) -> Any:
    return _NON_FINITE.get(value, value) if isinstance(value, str) else value


Number = Annotated[
    float,
    BeforeValidator(_read_number),
    PlainSerializer(_write_number, when_used="json"),
    WithJsonSchema(_NUMBER_SCHEMA, mode="serialization"),
]
"""A float; in JSON, NaN and the infinities are the strings "NaN", "Infinity", "-Infinity"."""


NonFinite = Annotated[str, Field(pattern=r"^(NaN|Infinity|-Infinity|NaN:([0-9a-f]{2})+)$")]
"""The name of a NaN or infinity; a NaN other than the ordinary one carries its bits."""


def _printable(text: str) -> str:
    """Escape lone surrogates: a submission can put them into a message, UTF-8 cannot hold them."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256."""

Text = Annotated[str, AfterValidator(_printable)]
"""Text that may come from a submission."""


def _whole_errors(text: str) -> str:
    """Refuse a text that cannot be unpacked."""
    if text:
        unpacked(text)
    return text


CaseErrors = Annotated[str, AfterValidator(_whole_errors)]
"""Errors over bounds, case by case, in the form of `case_errors.packed`."""


class Record(BaseModel):
    """Base of every record: immutable, and refuses fields that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=True)


class Status(StrEnum):
    """What a submission is, in the order in which one status outweighs the next."""

    UNGRADED = "ungraded"
    """The grader itself failed on it."""
    UNUSABLE = "unusable"
    """It cannot be loaded or constructed."""
    INCORRECT = "incorrect"
    """A property that counts fails, or a call hangs, dies or raises."""
    INCOMPLETE = "incomplete"
    """Something required is not implemented, or the time was up, and all that was shown holds."""
    UNSTABLE = "unstable"
    """Only numerical-stability properties fail."""
    CORRECT = "correct"


class Outcome(StrEnum):
    """What came of one property."""

    PASS = "pass"
    FAIL = "fail"
    """The submission's doing: a wrong number, an exception, a time-out, a death."""
    ERROR = "error"
    """The grader's doing."""
    BLOCKED = "blocked"
    """Fails, and so does a property that it presupposes."""
    NOT_RUN = "not_run"
    """What it would check is not implemented, or the worker could not go on, or its time was up."""
    NOT_APPLICABLE = "not_applicable"
    """The interface has nothing that it could check."""


class ArrayRecord(Record):
    """An array as text: dtype name, shape and row-major values that read back bit for bit."""

    dtype: Literal[
        "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
        "float16", "float32", "float64",
    ]  # fmt: skip
    shape: tuple[Annotated[int, Field(ge=0)], ...]
    values: tuple[bool | int | float | NonFinite, ...]

    @model_validator(mode="after")
    def _whole(self) -> ArrayRecord:
        if len(self.values) != math.prod(self.shape):
            raise ValueError(f"{len(self.values)} values do not fill the shape {self.shape}")
        return self

    @classmethod
    def of(cls, array: NDArray[Any]) -> ArrayRecord:
        """Write `array` (bool, integer or float dtype) down."""
        flat = array.ravel()
        values: list[float | int | bool | str]
        if array.dtype.kind == "f":
            values = [
                value if math.isfinite(value) else _write_non_finite(element)
                for element, value in zip(flat, flat.astype(np.float64).tolist(), strict=True)
            ]
        else:
            values = flat.tolist()
        return cls(dtype=array.dtype.name, shape=array.shape, values=tuple(values))  # type: ignore[arg-type]

    def array(self) -> NDArray[Any]:
        """Read the array back."""
        dtype = np.dtype(self.dtype)
        result = np.empty(len(self.values), dtype)
        for index, value in enumerate(self.values):
            result[index] = _read_value(value, dtype)
        return result.reshape(self.shape)


def _write_non_finite(element: Any) -> str:
    """Name a NaN or infinity; a NaN other than the ordinary one carries its bits."""
    word = _write_number(float(element))
    if word == "NaN" and element.tobytes() != np.array(np.nan, element.dtype).tobytes():
        return f"NaN:{element.tobytes().hex()}"
    return str(word)


def _read_value(value: float | int | bool | str, dtype: np.dtype[Any]) -> Any:
    if isinstance(value, str):
        if value.startswith("NaN:"):
            return np.frombuffer(bytes.fromhex(value[4:]), dtype)[0]
        return _NON_FINITE[value]
    return value


class Comparison(Record):
    """One quantity, measured beside what it should have been."""

    quantity: str
    """What was compared, e.g. `dz` or `running variance after step 2`."""
    got: ArrayRecord | None
    """None when there was nothing to compare (an exception, a wrong shape)."""
    expected: ArrayRecord
    bound: ArrayRecord | None
    """What rounding can explain, element by element; None where equality is exact."""
    worst_index: tuple[int, ...] | None
    absolute_error: Number
    relative_error: Number
    error_over_bound: Number

    @model_validator(mode="after")
    def _fits(self) -> Comparison:
        for name, other in (("got", self.got), ("bound", self.bound)):
            if other is not None and other.shape != self.expected.shape:
                raise ValueError(f"{name} has shape {other.shape}, not {self.expected.shape}")
        if self.worst_index is not None and (
            len(self.worst_index) != len(self.expected.shape)
            or any(i >= n for i, n in zip(self.worst_index, self.expected.shape, strict=True))
        ):
            raise ValueError(f"worst_index {self.worst_index} lies outside {self.expected.shape}")
        return self


class Call(Record):
    """One call of the submission: its inputs, what it gave and what it should have given."""

    call: str
    """`construct`, `train`, `backward`, `infer` or `read statistics`."""
    inputs: dict[str, ArrayRecord | int | Number | None]
    got: dict[str, ArrayRecord]
    expected: dict[str, ArrayRecord]
    bound: dict[str, ArrayRecord]
    """What rounding can explain, one for each of `expected`; infinite where nothing is judged."""
    intermediates: dict[str, ArrayRecord]
    """The oracle's mean, variance, s = √(σ²+ε) and normalised values."""
    error: Text | None = None
    """What went wrong in the call itself, if anything."""


class Counterexample(Record):
    """The smallest failing case found, with everything that a page shows of it."""

    seed: int
    case: int
    """The index of the drawn case from which this one was reduced."""
    regime: str
    calls: tuple[Call, ...]
    comparison: Comparison | None
    """None when a call raised, hung or died: then the last call carries the error."""


class PropertyResult(Record):
    """One property on one part of a submission."""

    id: str
    """`family.statement`, with `part/` before it for any part but the main one."""
    part: str
    """The course's id of the part."""
    group: str
    """The family."""
    title: str
    """The property as a sentence."""
    equation: str
    """The property as LaTeX."""
    status: Outcome
    points: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    max_points: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    examples: Annotated[int, Field(ge=0)]
    message: Text
    blocked_by: str | None = None
    error_over_bound: Number | None = None
    """The worst error over the bound, over all examples; on a pass, at most 1."""
    case_errors: CaseErrors = ""
    """The same for each case, packed: see `bn_properties.case_errors`. Empty: nothing was asked."""
    cause: str | None = None
    """The mistake that explains the failure, where one alone explains all that was seen of the
    part."""
    failure: Failure | None = None
    """How a call failed, where one did; None: nothing fails, or a number is wrong."""
    only: Text = ""
    """Where alone it fails, if that can be told: `batches of one`."""
    penalty: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """What its failure takes off the sum of all points, where it earns none itself."""
    charged_to: str | None = None
    """What took the points that it lost, or the penalty: a cause, or a property that failed."""
    counterexample: Counterexample | None = None


class SourceLine(Record):
    """A line of a submission."""

    number: int = Field(ge=1)
    code: str
    """The statement that stands there, in one line; a long one is cut."""


class Cause(Record):
    """A known mistake, and how much of what was observed it reproduces."""

    fault: str
    title: str
    wrong: str
    """The equation that the submission seems to compute, as LaTeX."""
    right: str
    """The equation that it should compute, as LaTeX."""
    explanation: str
    explained: int = Field(ge=0)
    observed: int = Field(ge=0)
    properties: tuple[str, ...] = ()
    """The properties that reject it for itself; what else it fails follows from them."""
    steps: tuple[str, ...] = ()
    """The quantities that it computes in a wrong way: `s`, `dvar`, `next_mean`, …"""
    points: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """How many points it took."""
    lines: tuple[SourceLine, ...] = ()
    """Where it is made, as far as that can be told: in each, what is read is right, and what is
    computed is not."""


class Tool(Record):
    """Which grader."""

    name: str = "bnoracle"
    version: str


class Environment(Record):
    """Where it ran: versions that can change what is drawn or computed."""

    python: str
    numpy: str
    hypothesis: str
    platform: str


class Basis(Record):
    """What can change a verdict besides the submission: the same again gives the same again."""

    tool: str
    """The grader's version."""
    environment: Environment
    runtime: str
    """What the submission is written with, and its version: `NumPy 2.4.1`, `PyTorch 2.13.0`."""
    isolation: str
    """How the submission was kept apart from the machine."""
    seed: int
    examples: Annotated[int, Field(ge=1)]
    """How many cases were drawn for each shape of input."""
    cases_sha256: Digest
    """Of all cases, over all parts that the submission defines."""
    course_sha256: Digest
    """Of everything that the course says: names, limits, points."""


class Calling(Record):
    """How a part of a submission is called: what a script needs to call it again."""

    file: Text
    kind: Literal["class", "functions"]
    make: Text
    """The class, or the forward function."""
    forward: Text = "forward"
    backward: Text = "backward"
    """The methods of the class; for functions, `backward` is the backward function."""
    arguments: tuple[Text, ...] = ()
    """What the constructor is given by position: `features`, `momentum`, `eps`."""
    keywords: dict[Text, Text] = Field(default_factory=dict)
    """What it is given by keyword."""
    mode: Text = ""
    """The argument, or the key among the settings, that chooses the mode."""
    train: bool | Text = True
    infer: bool | Text = False
    output: Text = ""
    """Where a forward leaves its output, if it returns none."""
    held: dict[Text, Text] = Field(default_factory=dict)
    """The attributes, or the keys of the settings, by what they hold: `eps`, `running_mean`, …"""


class SubmissionResult(Record):
    """All that was found out about one submission."""

    id: Text
    path: Text
    sha256: Digest
    course: str
    basis: Basis | None = None
    """None where no course was recognised, so that nothing was asked."""
    status: Status
    score: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    max_score: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    summary: Text
    """One sentence."""
    causes: tuple[Cause, ...] = ()
    properties: tuple[PropertyResult, ...] = ()
    output: Text = ""
    """The start of what the submission printed."""
    optional: bool = False
    """Whether nothing but optional parts is wrong."""
    names: dict[str, dict[str, Text]] = Field(default_factory=dict)
    """By part: what its file calls our symbols, as messages do; equations keep the symbols."""
    calling: dict[str, Calling] = Field(default_factory=dict)
    """By part, where an example shows that it is wrong: how it is called."""
    notes: tuple[Text, ...] = ()
    """What is no mistake and worth knowing: old names that had to be supplied."""

    @model_validator(mode="after")
    def _distinct(self) -> SubmissionResult:
        _unique("property", [result.id for result in self.properties])
        return self


def _unique(what: str, ids: list[str]) -> None:
    for id_ in ids:
        if ids.count(id_) > 1:
            raise ValueError(f"two results have the {what} id {id_!r}")


class Results(Record):
    """A whole run: the content of `results.json`."""

    schema_version: Literal[2] = SCHEMA_VERSION
    tool: Tool
    environment: Environment
    seed: int
    examples: Annotated[int, Field(ge=1)]
    isolation: str
    submissions: tuple[SubmissionResult, ...]
    pending: tuple[Text, ...] = ()
    """The ids of submissions that are not graded yet: the run was interrupted, or left them out."""
    similar: tuple[tuple[Text, ...], ...] = ()
    """Groups of ids whose files differ in names and formatting alone; nothing is judged by it."""

    @model_validator(mode="after")
    def _distinct(self) -> Results:
        ids = [*(submission.id for submission in self.submissions), *self.pending]
        if len(set(ids)) != len(ids):
            _unique("submission", ids)
        return self


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of `results.json`."""
    schema = Results.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
