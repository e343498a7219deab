"""How a course speaks to a submission: which names play which part, by kind of interface."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Literal, Self, get_args

from bn_properties import naming
from bn_properties.protocol import Capability
from pydantic import BaseModel, ConfigDict, Field, model_validator


class Table(BaseModel):
    """A table of a course's file: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


FRAMEWORKS = {"torch": "PyTorch"}
"""What submissions may be written with beside NumPy: the module, and how it is called."""

RUNTIMES = {"class": "numpy", "functions": "numpy", "module": "torch"}
"""For each kind of interface, what its submissions are written with: `numpy`, or a framework.

How each is spoken to is a module of `bn_worker.runtimes`.
"""

Argument = Literal["features", "momentum", "eps"]
"""What a constructor may be given."""
Role = Literal["eps", "gamma", "beta", "dgamma", "dbeta", "running_mean", "running_var"]
"""What an attribute may hold."""
Setting = Literal["eps", "momentum", "running_mean", "running_var"]
"""What a dictionary of settings may hold."""


Names = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
"""What something goes by: at least one name; the first that is there is taken."""


class Mode(Table):
    """A forward's argument that chooses the mode, and its two values."""

    argument: str
    train: bool | str
    infer: bool | str
    default: Literal["train"] | None = None
    """What a call without the argument must do, where the course says so."""

    @model_validator(mode="after")
    def _two(self) -> Self:
        if self.train == self.infer:
            raise ValueError(f"train and infer are both {self.train!r}, but must differ")
        return self


def _all_named(what: str, given: Collection[str], needed: Sequence[str]) -> None:
    missing = [each for each in needed if each not in given]
    if missing:
        raise ValueError(f"{what}: nothing is said of {', '.join(missing)}")


class ClassInterface(Table):
    """A class with attributes (`class`), or a torch module (`module`)."""

    kind: Literal["class", "module"]
    classes: Names
    """Names the class goes by; the first that the file defines is taken."""
    arguments: tuple[Argument, ...] = ("features",)
    """What the constructor takes by position: `features`, `momentum`, `eps`."""
    keyword_arguments: dict[str, Argument] = {}
    """What it takes by keyword: the keyword, and which of the above it is."""
    forward: Names = ("forward",)
    backward: Names = ("backward",)
    mode: tuple[Mode, ...] = ()
    output: tuple[str, ...] = ()
    """Attributes that hold the output when forward returns None."""
    attributes: dict[Role, Names] = {}
    """For each role (gamma, dbeta, running_mean, …) the names it goes by."""
    inference_backward: tuple[str, ...] = ()
    """Methods that differentiate inference; a module needs none."""
    cumulative: Literal["no", "optional", "required"] = "no"
    """Whether momentum None asks for the plain average of all batches."""
    population: tuple[str, ...] = ()
    """Methods that take a list of mini-batches and return the population's mean and variance."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        held: tuple[str, ...] = get_args(Role)
        if self.kind == "module":
            held = ("gamma", "beta", "running_mean", "running_var")
        _all_named("attributes", self.attributes, held)
        if self.kind == "class" and not self.mode:
            raise ValueError("mode: a forward needs an argument that chooses between the modes")
        return self

    @property
    def takes(self) -> frozenset[str]:
        """What the constructor is given."""
        return frozenset((*self.arguments, *self.keyword_arguments.values()))

    @property
    def offers(self) -> frozenset[Capability]:
        """What it offers beyond the calls that all interfaces have."""
        has: dict[Capability, bool] = {
            "inference_gradient": self.kind == "module" or bool(self.inference_backward),
            "cumulative_average": self.cumulative != "no",
            "population": bool(self.population),
            "state_dict": self.kind == "module",
            "frozen_input": self.kind == "module",
            "changed_momentum": self.kind == "module",
            "gradients_add_up": self.kind == "module",
        }
        return frozenset(name for name, offered in has.items() if offered)

    @property
    def may_refuse(self) -> frozenset[Capability]:
        """What of it an implementation may do without."""
        optional: dict[Capability, bool] = {
            "cumulative_average": self.cumulative == "optional",
            "changed_momentum": self.kind == "module",
        }
        return frozenset(name for name, refused in optional.items() if refused)

    @property
    def called(self) -> Mapping[naming.Role, Names]:
        """Its attributes' names."""
        return {role: names for role, names in self.attributes.items()}


class FunctionInterface(Table):
    """A forward and a backward function with a dictionary of settings."""

    kind: Literal["functions"]
    forward: str
    backward: str
    identified_by: Names
    """The functions of which a file must define one for the part to be there."""
    settings: dict[str, Setting]
    """Keys of the settings, and which of eps, momentum, running_mean, running_var each is."""
    train_mode: str
    infer_mode: str
    population: str = ""
    """A function that takes a list of mini-batches and returns the population's mean and variance.
    """

    @model_validator(mode="after")
    def _whole(self) -> Self:
        _all_named("settings", self.settings.values(), get_args(Setting))
        if self.train_mode == self.infer_mode:
            raise ValueError(f"train_mode and infer_mode are both {self.train_mode!r}")
        return self

    @property
    def takes(self) -> frozenset[str]:
        """What the settings hold."""
        return frozenset(self.settings.values())

    @property
    def offers(self) -> frozenset[Capability]:
        """What it offers beyond the calls that all interfaces have."""
        return frozenset({"population"} if self.population else ())

    @property
    def may_refuse(self) -> frozenset[Capability]:
        """Nothing: what it offers, it asks for."""
        return frozenset()

    @property
    def called(self) -> Mapping[naming.Role, Names]:
        """The keys of the settings that a message is about."""
        keys: dict[naming.Role, Names] = {}
        for key, setting in self.settings.items():
            if setting != "momentum":
                keys[setting] = (key,)
        return keys
