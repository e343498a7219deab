"""The records of a grading run: what `results.json` holds and what every report reads.

The models are validated when they are built, so nothing that breaks the contract is ever
written.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from bn_properties.case_errors import unpacked
from bn_properties.protocol import Failure
from bn_properties.record_types import ArrayRecord, Digest, Number, Record, Text

SCHEMA_VERSION: Literal[3] = 3


def _whole_errors(text: str) -> str:
    """Refuse a text that cannot be unpacked."""
    if text:
        unpacked(text)
    return text


CaseErrors = Annotated[str, AfterValidator(_whole_errors)]
"""Errors over bounds, case by case, in the form of `case_errors.packed`."""


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


class Jacobian(Record):
    """How each output of one feature depends on each input: ∂ẑᵢ/∂zⱼ, a row for each output."""

    feature: int = Field(ge=0)
    z: ArrayRecord
    """The feature's batch."""
    got: ArrayRecord
    expected: ArrayRecord
    bound: ArrayRecord
    """What rounding can explain."""


class Counterexample(Record):
    """The smallest failing case found, with everything that a page shows of it."""

    seed: int
    case: int
    """The index of the drawn case from which this one was reduced."""
    regime: str
    calls: tuple[Call, ...]
    comparison: Comparison | None
    """None when a call raised, hung or died: then the last call carries the error."""
    jacobian: Jacobian | None = None
    """Where an input gradient is wrong and the batch is small. Of one instance, it is another's."""


class Common(Record):
    """What the results of one property may have alike in many submissions."""

    part: str = ""
    """The course's id of the part."""
    title: str = ""
    """The property as a sentence."""
    equation: str = ""
    """The property as LaTeX."""
    status: Outcome | None = None
    points: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    max_points: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    examples: Annotated[int, Field(ge=0)] = 0
    message: Text = ""
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
    hidden: bool = False
    """Whether a submission's own page says no more of it than its family and the hint."""
    hint: Text = ""


class PropertyResult(Common):
    """One property on one part of a submission."""

    id: str
    """`family.statement`, with `part/` before it for any part but the main one."""
    status: Outcome
    counterexample: Counterexample | None = None

    @property
    def group(self) -> str:
        """The family."""
        return self.id.rpartition("/")[2].partition(".")[0]


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
    memory: int | None = Field(default=None, ge=0)
    """MiB that its process has held at the most; None where nobody could tell."""
    graded: str = Field(default="", pattern=r"^(\d{4}-\d\d-\d\dT\d\d:\d\dZ)?$")
    """When, in UTC and to the minute; empty where nobody noted it."""
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
    conditions: dict[str, CaseErrors] = Field(default_factory=dict)
    """By part: the condition number of each case, packed as `case_errors` are; of what fails."""
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
    """A whole run: the content of `results.json`, where what is `common` stands once."""

    schema_version: Literal[3] = SCHEMA_VERSION
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
    common: dict[str, Common] = Field(default_factory=dict)
    """By the id of a property, what holds of each result that does not say otherwise. Empty once it
    is read: each result then says all of it."""

    @model_validator(mode="before")
    @classmethod
    def _spread(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("common"), dict):
            return data
        for row in _rows(data):
            of_id = data["common"].get(row.get("id"))
            for name in Common.model_fields.keys() & (of_id if isinstance(of_id, dict) else {}):
                row.setdefault(name, of_id[name])
        return data

    @field_validator("common")
    @classmethod
    def _is_spread(cls, common: dict[str, Common]) -> dict[str, Common]:
        return {}

    @model_validator(mode="after")
    def _distinct(self) -> Results:
        ids = [*(submission.id for submission in self.submissions), *self.pending]
        if len(set(ids)) != len(ids):
            _unique("submission", ids)
        return self


def _rows(data: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all results of properties in what is read, as far as it has the form of some."""
    found = []
    for each in data["submissions"] if isinstance(data.get("submissions"), list) else ():
        rows = each.get("properties") if isinstance(each, dict) else None
        found += [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return found


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of `results.json`."""
    schema = Results.model_json_schema(mode="serialization")
    # What a result shares with the others is left out of it.
    schema["$defs"]["PropertyResult"]["required"].remove("status")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
