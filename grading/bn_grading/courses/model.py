"""Courses: TOML files that map a course's names to the protocol, and give points a property."""

from __future__ import annotations

import hashlib
import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from bn_oracle.conventions import CONVENTIONS, Convention
from bn_properties.cases.traits import TraitName
from bn_properties.catalogue import BY_ID, FAMILIES, PROPERTIES
from bn_properties.naming import Role
from bn_properties.property import Property
from bn_properties.protocol import Refusable
from pydantic import Field, ValidationError, model_validator

from bn_grading.courses.interfaces import (
    RUNTIMES,
    ClassInterface,
    FunctionInterface,
    Table,
)

Seconds = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]


class Limits(Table):
    """How much a submission may use: seconds of time, memory, what it prints."""

    start: Seconds = 10.0
    """To start the process, import NumPy and load the file."""
    call: Seconds = 2.0
    """One call."""
    submission: Seconds = 60.0
    """All calls together."""
    cpu: Seconds | None = None
    """Processor time of all calls together; without it, half of `submission`."""
    memory: int | None = Field(default=None, ge=256, le=1 << 20)
    """MiB of address space; without it, what the runtime needs and a batch norm can use."""
    output: int = Field(default=1024, ge=1, le=1 << 20)
    """KiB that it may print, of which the first 16 are kept."""

    @property
    def processor(self) -> float:
        """Seconds of processor time of all calls together."""
        return self.submission / 2 if self.cpu is None else self.cpu


class Part(Table):
    """One implementation that a submission holds."""

    id: str
    title: str
    group: str
    """Parts of one group are alternatives: the first that the file defines is the group's."""
    required: bool = True
    spatial_axes: int = Field(default=0, ge=0, le=3)
    """How many axes follow (N, C)."""
    if_taken: bool = False
    """Whether it is asked only of a class that takes such inputs, and normalises them as they
    should be; nothing is said of others."""
    families: tuple[str, ...] = FAMILIES
    """Which families of properties apply."""
    may_refuse: tuple[Refusable, ...] = ()
    """At what a layer may raise an exception: `one_value` (a training batch of one value a
    feature), `momentum_ends` (a momentum that keeps all or nothing), `other_eps` (than its own),
    `unusual_eps` (of 1 and above, or below 1e-8)."""
    interface: ClassInterface | FunctionInterface = Field(discriminator="kind")
    called: dict[Role, tuple[str, ...]] = Field(default_factory=dict)
    """What its students call the quantities, for messages: `dz = ["dx"]`. The first that a file
    has counts; what has an attribute is called like it."""

    def names_in(self, source: str) -> dict[Role, str]:
        """Return what a file calls the quantities, as far as the course knows its names."""
        words = set(re.findall(r"\w+", source))
        known: dict[Role, tuple[str, ...]] = {**self.interface.called, **self.called}
        found = {
            role: next((name for name in options if name in words), None)
            for role, options in known.items()
        }
        return {role: name for role, name in found.items() if name is not None}

    @property
    def properties(self) -> tuple[Property, ...]:
        """The properties of its families."""
        return tuple(each for each in PROPERTIES if each.family in self.families)

    def asks(self, prop: Property) -> bool:
        """Whether a property applies to it: its family, and what its interface offers."""
        offered = prop.needs is None or prop.needs in self.interface.offers
        return prop.family in self.families and offered

    @property
    def names(self) -> tuple[str, ...]:
        """The class or function names by which the part is recognised."""
        if isinstance(self.interface, FunctionInterface):
            return self.interface.identified_by
        return self.interface.classes


ONLY = 0.25
"""How much of a property's points is lost where it fails only for a few special inputs."""


class Course(Table):
    """What a course asks for, how it names things and what each property is worth."""

    id: str
    title: str
    profile: str
    """The convention's name in `bn_oracle.conventions`."""
    runtime: Literal["numpy", "torch"] = "numpy"
    charge: Literal["once", "each"] = "once"
    """Whether properties that fail only because another one failed keep their points (`once`)."""
    otherwise: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """What the failure of a property that earns no points takes off, in a part that is required."""
    only: dict[TraitName, float] = Field(default_factory=dict)
    """How much of a property's points is lost where it fails only for some inputs, 0 to 1 each:
    `one_value`, `one_row`, `one_feature`, `square`, `zero_gamma`, `constant_feature`,
    `axis_of_one`; ¼ where nothing is said.
    """
    hidden: dict[str, str] = Field(default_factory=dict)
    """Properties of which a submission's own page says nothing but the family and this hint, which
    may be empty; by id, as in `points`."""
    limits: Limits = Limits()
    parts: tuple[Part, ...] = Field(min_length=1)
    points: dict[str, float]
    """Points by property id; with `part/` before it for any part but the main one."""

    @model_validator(mode="after")
    def _consistent(self) -> Course:
        if self.profile not in CONVENTIONS:
            raise ValueError(
                f"profile is {self.profile!r}, but must be one of {_list(CONVENTIONS)}"
            )
        names = [part.id for part in self.parts]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"parts: the id {name!r} is there twice, but must be there once")
        self._check_names()
        for part in self.parts:
            for family in part.families:
                if family not in FAMILIES:
                    raise ValueError(f"families: {family!r} is none of {_list(FAMILIES)}")
            if "momentum" not in part.interface.takes:
                raise ValueError(
                    f"part {part.id!r}: nothing takes the momentum, which every case sets: it must "
                    "be among arguments, keyword_arguments or settings"
                )
            needed = RUNTIMES[part.interface.kind]
            if needed != self.runtime:
                raise ValueError(
                    f"part {part.id!r} has kind {part.interface.kind!r} and the course runtime "
                    f"{self.runtime!r}, but that kind needs runtime {needed!r}"
                )
        for key, points in self.points.items():
            self._check_points(key, points)
        for key in self.hidden:
            self._check_key("hidden", key)
        for trait, share in self.only.items():
            if not 0 <= share <= 1:
                raise ValueError(f"only: {trait} is {share}, but must be from 0 to 1")
        return self

    def _check_names(self) -> None:
        """Refuse two parts that go by one name and take inputs of the same axes."""
        taken: dict[tuple[str, int], str] = {}
        for part in self.parts:
            for name in part.names:
                other = taken.setdefault((name, part.spatial_axes), part.id)
                if other != part.id:
                    raise ValueError(f"parts: {other!r} and {part.id!r} both go by {name}")

    def share(self, trait: TraitName | None) -> float:
        """Return how much of a property's points its failure costs; None: it fails anywhere."""
        return 1.0 if trait is None else self.only.get(trait, ONLY)

    def _check_key(self, table: str, key: str) -> tuple[str, str]:
        """Return a part's id, empty for the main one, and a property's; refuse what is neither."""
        id_, _, name = key.rpartition("/")
        if name not in BY_ID:
            raise ValueError(f"{table}: {name!r} is not a property")
        ids = [part.id for part in self.parts]
        if id_ and id_ not in ids:
            raise ValueError(f"{table}: {id_!r} is not a part; the parts are {_list(ids)}")
        if id_ == ids[0]:
            raise ValueError(
                f"{table}: {key} names the first part, whose properties need no prefix"
            )
        return id_, name

    def _check_points(self, key: str, points: float) -> None:
        """Refuse points for what is no property, or what no part can earn."""
        id_, name = self._check_key("points", key)
        if not 0 <= points < float("inf"):
            raise ValueError(f"points: {key} is worth {points}, but must be worth at least 0")
        earning = [p for p in self.parts if (p.id == id_ if id_ else p.group == self.main_group)]
        if not any(part.asks(BY_ID[name]) for part in earning):
            raise ValueError(f"points: {key} is asked of no part, so nobody could earn them")

    @property
    def sha256(self) -> str:
        """The digest of everything that it says."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    @property
    def convention(self) -> Convention:
        """How its running statistics are kept."""
        return CONVENTIONS[self.profile]

    @property
    def names(self) -> tuple[str, ...]:
        """Every class or function name by which the course is recognised."""
        return tuple(dict.fromkeys(name for part in self.parts for name in part.names))

    @property
    def framework(self) -> str:
        """What its submissions are written with beside NumPy; empty for nothing."""
        return "" if self.runtime == "numpy" else self.runtime

    @property
    def main_names(self) -> tuple[str, ...]:
        """The names of the parts that carry the plain property ids."""
        main = (part for part in self.parts if part.group == self.main_group)
        return tuple(dict.fromkeys(name for part in main for name in part.names))

    @property
    def main_group(self) -> str:
        """The group whose part carries the plain property ids."""
        return self.parts[0].group

    @property
    def max_score(self) -> float:
        """The sum of all points; fixed, whatever a submission holds."""
        return sum(self.points.values())


class CourseError(ValueError):
    """A course that does not exist or whose file is wrong; the message is one line."""


def _list(names: object) -> str:
    return ", ".join(sorted(names))  # type: ignore[call-overload]


def built_in() -> dict[str, Course]:
    """Return the courses that come with the package, by id."""
    folder = resources.files("bn_grading.courses")
    found = [
        parse(entry.read_text("utf-8"), entry.name)
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    ]
    return {course.id: course for course in sorted(found, key=lambda course: course.id)}


def find(name: str) -> Course:
    """Return the course of that name, or read it if `name` ends in .toml.

    Raises:
        CourseError: there is none, or its file is wrong.
    """
    if name.endswith(".toml"):
        path = Path(name)
        try:
            return parse(path.read_text("utf-8"), name)
        except (OSError, UnicodeDecodeError) as error:
            raise CourseError(f"the course file {name} cannot be read: {error}") from error
    courses = built_in()
    if name not in courses:
        raise CourseError(
            f"there is no course {name!r}; there are {_list(courses)}, auto, or a .toml file"
        )
    return courses[name]


def parse(text: str, name: str) -> Course:
    """Read a course from TOML.

    Raises:
        CourseError: the text is not TOML, or a field is missing, unknown or out of range.
    """
    try:
        return Course.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise CourseError(f"the course file {name} is not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        said = first["msg"].removeprefix("Value error, ")
        raise CourseError(f"the course file {name} is wrong: {where}: {said}") from error
