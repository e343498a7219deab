"""The kinds of call: how each is run on a layer, what it gives, and how it is told.

A call is what a person would name as one step; it consists of *operations*, each of which is one
method of a layer and one message to a worker. A new kind of call is a new class here: nothing else
distinguishes them, but for the properties that put them into scenarios.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bn_properties.call import (
    Call,
    Operation,
    Told,
    Values,
    backward,
    differentiated,
    forward,
    told_backward,
)
from bn_properties.protocol import (
    FORWARD,
    GRADIENTS,
    POPULATION,
    SYMBOLS,
    AnyArray,
    Layer,
    Layout,
    Moment,
    Quantity,
    Statistics,
)


@dataclass(frozen=True, eq=False)
class Train(Call):
    """A training-mode forward of `x` (N, C, …), then, when `grad` is given, a backward of it."""

    x: AnyArray
    grad: AnyArray | None = None
    layout: Layout = "C"
    """How both lie in memory."""
    overwritten: bool = False
    """Whether the caller writes into the output, when the forward has given it."""
    frozen: bool = False
    """Whether the input needs no gradient: only the parameters' are asked for."""
    times: int = 1
    """How often it trains on the batch; the last time counts."""
    before: AnyArray | None = None
    """What the same array held in a forward just before, until the caller refilled it."""
    effect = "trains"
    of_batches = ("x", "grad", "before")

    def operations(self, before: Sequence[Call], after: Sequence[Call]) -> tuple[Operation, ...]:
        """Return the forward, which is told whether a backward will follow, and the backward."""
        follows = self.grad is not None or differentiated(after)
        options = {
            "layout": self.layout if self.layout != "C" else "",
            "overwritten": self.overwritten,
            "frozen": self.frozen,
            "times": self.times if self.times > 1 else 0,
        }
        given = {name: value for name, value in options.items() if value}
        asked = forward("train", self.x, follows, given, self.before)
        return (asked, *backward("backward", self.grad, given))

    def told(self) -> tuple[Told, ...]:
        """Return the forward and the backward."""
        how = "" if self.layout == "C" else f" ({self.layout} in memory)"
        how += f" {self.times} times" if self.times > 1 else ""
        train = Told(f"train{how}", {"z": self.x}, FORWARD, intermediates=True)
        if self.before is not None:
            refilled = train._replace(name="refill the same array, and train")
            return (
                Told("train", {"z": self.before}),
                refilled,
                *told_backward("backward", self.grad),
            )
        over = (Told("write into the output", {}),) if self.overwritten else ()
        return (train, *over, *told_backward("backward", self.grad, frozen=self.frozen))


@dataclass(frozen=True, eq=False)
class Infer(Call):
    """An inference-mode forward of `x` (N, C, …), then, when `grad` is given, a backward of it."""

    x: AnyArray
    grad: AnyArray | None = None
    layout: Layout = "C"
    """How both lie in memory."""
    before: AnyArray | None = None
    """What the same array held in an inference just before, until the caller refilled it."""
    of_batches = ("x", "grad", "before")

    def operations(self, before: Sequence[Call], after: Sequence[Call]) -> tuple[Operation, ...]:
        """Return the forward and the backward."""
        options = {"layout": self.layout} if self.layout != "C" else {}
        asked = forward("infer", self.x, self.grad is not None, options, self.before)
        return (asked, *backward("infer_backward", self.grad, options))

    def told(self) -> tuple[Told, ...]:
        """Return the forward and the backward."""
        how = "" if self.layout == "C" else f" ({self.layout} in memory)"
        followed = told_backward("backward in inference mode", self.grad)
        if self.before is not None:
            refilled = Told("refill the same array, and infer", {"z": self.x}, FORWARD)
            return (Told("infer", {"z": self.before}), refilled, *followed)
        return (Told(f"infer{how}", {"z": self.x}, FORWARD), *followed)


@dataclass(frozen=True, eq=False)
class Backward(Call):
    """A backward of `grad` (N, C, …), for the latest training-mode forward."""

    grad: AnyArray
    effect = "differentiates"
    of_batches = ("grad",)

    def operations(self, before: Sequence[Call], after: Sequence[Call]) -> tuple[Operation, ...]:
        """Return the one operation."""
        return backward("backward", self.grad)

    def told(self) -> tuple[Told, ...]:
        """Return it."""
        return told_backward("backward", self.grad)


@dataclass(frozen=True, eq=False)
class OtherLayer(Call):
    """Another layer of the class, as wide as `x`, trains on it; its ε and momentum may be others.

    Given them, it then differentiates with `grad`, and infers on `probe`. It is not forgotten
    behind that: several of them stand beside the layer.
    """

    x: AnyArray
    grad: AnyArray | None = None
    probe: AnyArray | None = None
    gamma: AnyArray | None = None
    """Its own parameters, (C,) each; before it, those of one more layer are written to in place."""
    beta: AnyArray | None = None
    alike: bool = False
    """Whether it has this layer's ε and momentum, as the layers of a network do."""
    of_batches = ("x", "grad", "probe")

    def operations(self, before: Sequence[Call], after: Sequence[Call]) -> tuple[Operation, ...]:
        """Return the one operation."""

        def run(layer: Layer[Any], given: Mapping[str, AnyArray]) -> Values[Any]:
            more = (given.get(name) for name in ("grad", "probe", "gamma", "beta"))
            layer.other_layer(given["x"], *more)
            return {}

        named = {name: getattr(self, name) for name in (*self.of_batches, "gamma", "beta")}
        given = {name: array for name, array in named.items() if array is not None}
        options = {"alike": True} if self.alike else {}
        return (Operation("other_layer", run, arrays=given, options=options),)

    def told(self) -> tuple[Told, ...]:
        """Return what the other layer does."""
        steps = (
            ("train another layer", "z", self.x),
            ("backward with that layer", "G", self.grad),
            ("infer with that layer", "z", self.probe),
        )
        return tuple(Told(name, {what: array}) for name, what, array in steps if array is not None)


@dataclass(frozen=True, eq=False)
class LookAgain(Call):
    """What the layer's first call of a kind gave is looked at again."""

    call: Moment = "train"
    quantity: Quantity = "out"

    def operations(self, before: Sequence[Call], after: Sequence[Call]) -> tuple[Operation, ...]:
        """Return the one operation; what gave it stands in `before`."""

        def run(layer: Layer[Any], given: Mapping[str, AnyArray]) -> Values[Any]:
            return {self.quantity: layer.look_again(self.call, self.quantity)}

        earlier = (operation for call in before for operation in call.operations((), ()))
        first = next(operation for operation in earlier if operation.name == self.call)
        options = {"call": self.call, "quantity": self.quantity}
        return (
            Operation(
                "look_again",
                run,
                (self.quantity,),
                options=options,
                like=first.like,
                essential=self.quantity,
            ),
        )

    def told(self) -> tuple[Told, ...]:
        """Return it."""
        return (Told(f"look again at {SYMBOLS[self.quantity]}", {}, (self.quantity,)),)


@dataclass(frozen=True, eq=False)
class SetParameters(Call):
    """The optimiser sets other parameters, (C,) each."""

    gamma: AnyArray
    beta: AnyArray
    in_place: bool = False
    """Whether it writes them into the arrays that the layer has, where it can."""

    def operations(self, before: Sequence[Call], after: Sequence[Call]) -> tuple[Operation, ...]:
        """Return the one operation."""

        def run(layer: Layer[Any], given: Mapping[str, AnyArray]) -> Values[Any]:
            layer.set_parameters(given["gamma"], given["beta"], in_place=self.in_place)
            return {}

        arrays = {"gamma": self.gamma, "beta": self.beta}
        options = {"in_place": self.in_place}
        return (Operation("set_parameters", run, arrays=arrays, options=options),)

    def told(self) -> tuple[Told, ...]:
        """Return it."""
        how = "write other parameters in place" if self.in_place else "set other parameters"
        return (Told(how, {"gamma": self.gamma, "beta": self.beta}),)


@dataclass(frozen=True, eq=False)
class Descend(Call):
    """The optimiser subtracts the latest gradients from γ and β, in place.

    What it gives as dγ and dβ is by how much γ and β have changed.
    """

    like: AnyArray
    """The batch that they belong to."""

    def operations(self, before: Sequence[Call], after: Sequence[Call]) -> tuple[Operation, ...]:
        """Return the one operation."""

        def run(layer: Layer[Any], given: Mapping[str, AnyArray]) -> Values[Any]:
            moved: Statistics[Any] = layer.descend()
            return {"dgamma": moved.mean, "dbeta": moved.var}

        return (Operation("descend", run, GRADIENTS[1:], like=self.like.shape),)

    def told(self) -> tuple[Told, ...]:
        """Return it."""
        return (Told("subtract dγ and dβ from γ and β, in place", {}, GRADIENTS[1:]),)


@dataclass(frozen=True, eq=False)
class AddUp(Call):
    """Two training steps without an optimiser's step between them: dγ and dβ add up."""

    x: AnyArray
    grad: AnyArray
    then_x: AnyArray
    then_grad: AnyArray
    effect = "trains"
    of_batches = ("x", "grad", "then_x", "then_grad")

    def operations(self, before: Sequence[Call], after: Sequence[Call]) -> tuple[Operation, ...]:
        """Return the one operation."""

        def run(layer: Layer[Any], given: Mapping[str, AnyArray]) -> Values[Any]:
            first, second = (given["x"], given["grad"]), (given["then_x"], given["then_grad"])
            sums: Statistics[Any] = layer.add_up((first, second))
            return {"dgamma": sums.mean, "dbeta": sums.var}

        arrays = {name: getattr(self, name) for name in self.of_batches}
        return (Operation("add_up", run, GRADIENTS[1:], arrays, like=self.x.shape),)

    def told(self) -> tuple[Told, ...]:
        """Return both steps; the sums stand at the second."""
        train = "train", {"z": self.x}
        steps = Told(*train), Told("backward", {"G": self.grad}), Told("train", {"z": self.then_x})
        return (*steps, Told("backward, nothing cleared", {"G": self.then_grad}, GRADIENTS[1:]))


@dataclass(frozen=True, eq=False)
class Reload(Call):
    """The state is saved, and another layer loads it and goes on; or a copy of the layer does."""

    copied: bool = False
    """Whether the layer is copied whole."""

    def operations(self, before: Sequence[Call], after: Sequence[Call]) -> tuple[Operation, ...]:
        """Return the one operation."""

        def run(layer: Layer[Any], given: Mapping[str, AnyArray]) -> Values[Any]:
            layer.reload(copied=self.copied)
            return {}

        return (Operation("reload", run, options={"copied": True} if self.copied else {}),)

    def told(self) -> tuple[Told, ...]:
        """Return it."""
        how = "copy the layer, and go on with the copy"
        return (Told(how if self.copied else "save the state, and load it into another layer", {}),)


@dataclass(frozen=True, eq=False)
class SetMomentum(Call):
    """The momentum is changed after construction."""

    decay: float
    """The weight of the old average from now on."""

    def operations(self, before: Sequence[Call], after: Sequence[Call]) -> tuple[Operation, ...]:
        """Return the one operation."""

        def run(layer: Layer[Any], given: Mapping[str, AnyArray]) -> Values[Any]:
            layer.set_momentum(self.decay)
            return {}

        return (Operation("set_momentum", run, options={"decay": self.decay}),)

    def told(self) -> tuple[Told, ...]:
        """Return it."""
        return (Told(f"set the weight of the old average to {self.decay:g}", {}),)


@dataclass(frozen=True, eq=False)
class Population(Call):
    """The statistics of the population are asked for, of which these are mini-batches."""

    batches: tuple[AnyArray, ...]
    of_batches = ("batches",)

    def operations(self, before: Sequence[Call], after: Sequence[Call]) -> tuple[Operation, ...]:
        """Return the one operation."""

        def run(layer: Layer[Any], given: Mapping[str, AnyArray]) -> Values[Any]:
            found = layer.population(tuple(given.values()))
            return {"population_mean": found.mean, "population_var": found.var}

        like = self.batches[0].shape
        named = self._named()
        return (Operation("population", run, POPULATION, named, like=like, lends="input"),)

    def told(self) -> tuple[Told, ...]:
        """Return it."""
        return (Told("population statistics", self._named(), POPULATION),)

    def _named(self) -> dict[str, AnyArray]:
        return {f"batch {number}": batch for number, batch in enumerate(self.batches, 1)}
