"""A failing call step by step: the first step that the submission's own results contradict.

The steps are the oracle's, of one feature: the one that is worst. A submission shows its results
alone; what they say of what lies between is `implied`, and where that leaves several steps, a cause
that is known tells which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Literal

import numpy as np
from bn_oracle.arrays import Array, to_rows
from bn_properties.naming import Role
from bn_properties.record_types import ArrayRecord
from bn_properties.records import Call, Cause, Counterexample

from bn_reports.text.numbers import apart, brief
from bn_reports.views import implied
from bn_reports.views.counterexamples import calls, leading, strictly
from bn_reports.views.implied import Implied
from bn_reports.views.quantities import Layer, Measured, Named
from bn_reports.views.steps import Feature, Step, Symbol, bracketed

Kind = Literal["train", "infer", "backward", "running"]

_SHOWS: Final[dict[str, tuple[Symbol, ...]]] = {
    "mean": ("μ",), "var": ("σ²",), "s": ("s",), "u": ("s", "u"), "y": ("ẑ",),
    "infer_s": ("s",), "infer": ("s", "u", "ẑ"), "dgamma": ("dγ",), "dbeta": ("dβ",),
    "du": ("du",), "dvar": ("dσ²",), "dmean": ("dμ",), "dz": ("dσ²", "dμ", "dz"),
    "next_mean": ("M′",), "next_var": ("V′",),
}  # fmt: skip
"""As which steps here a mistaken step of a layer may show."""


@dataclass(frozen=True)
class Trace:
    """The calculation of a call's results, for one feature."""

    kind: Kind
    feature: int
    row: int
    size: int
    """B: of how many values the feature has."""
    steps: tuple[Step, ...]

    @property
    def first(self) -> Step:
        """The first step that the results contradict."""
        return next(step for step in self.steps if step.first)


def trace(example: Counterexample, named: Named, causes: Sequence[Cause]) -> Trace | None:
    """Return the steps of the wrong call; None where the record does not hold what they take."""
    example, shown = strictly(example), calls(example)
    wrong = [n for n in leading(example) if shown[n].wrong]
    if not wrong:
        return None
    call, begin = example.calls[wrong[-1]], leading(example).start
    layer = Layer.before(example.calls[begin : wrong[-1]], named)
    if not layer.certain or layer.eps is None:
        return None
    worst = next((each.worst for each in shown[wrong[-1]].outputs if each.worst), (0,))
    sets = [_SHOWS.get(step, ()) for cause in causes[:1] for step in cause.steps]
    found = _Tracing(layer, call, worst, sets)
    try:
        with np.errstate(all="ignore"):  # results may be NaN, infinite or huge
            told = found.told()
    except (ArithmeticError, ValueError):  # no batch that the rule is defined for, or can be told
        return None
    if told is None:
        return None
    kind, steps = told
    first = next((n for n, each in enumerate(steps) if each.verdict == "differs"), None)
    if first is None:
        return None
    marked = tuple(replace(each, first=n == first) for n, each in enumerate(steps))
    return Trace(kind, found.feature, found.row, found.size, marked)


@dataclass(frozen=True)
class _Tracing:
    layer: Layer
    call: Call
    worst: tuple[int, ...]
    blamed: Sequence[tuple[Symbol, ...]]
    """What the cause replaces: as which steps each may show."""

    @property
    def feature(self) -> int:
        return self.worst[1] if len(self.worst) > 1 else self.worst[0]

    @property
    def size(self) -> int:
        found = self.column(self.call, "z")
        trained = self.layer.trained
        if found is None and trained is not None:
            found = self.column(trained, "z")
        return 0 if found is None else len(found)

    @cached_property
    def row(self) -> int:
        """Which of the feature's values is worst, as a row."""
        given = self.layer.named.given(self.call, "z") or self.layer.named.given(self.call, "G")
        if not isinstance(given, ArrayRecord) or len(given.shape) != len(self.worst):
            return 0
        places = np.arange(np.prod(given.shape), dtype=np.float64).reshape(given.shape)
        return int(np.argmax(to_rows(places)[:, self.feature] == places[self.worst]))

    def told(self) -> tuple[Kind, list[Step]] | None:
        named = self.layer.named
        kind, out = named.what(self.call), named.key("out")
        measured = Measured.of(self.call, out)
        right = measured is not None and measured.right
        steps: list[Step] | None = None
        if kind == "backward":
            steps = self._backward()
            return None if steps is None else ("backward", steps)
        if kind == "train" and right:
            steps = self._running()
            return None if steps is None else ("running", steps)
        if kind == "train":
            steps = self._training()
            return None if steps is None else ("train", steps)
        if kind == "infer" and not right:
            steps = self._inference()
            return None if steps is None else ("infer", steps)
        return None

    def column(self, call: Call, role: Role) -> Array | None:
        """Return the feature's values (B,) of what a call was given."""
        given = self.layer.named.given(call, role)
        if not isinstance(given, ArrayRecord) or len(given.shape) < 2:
            return None
        column: Array = to_rows(given.array().astype(np.float64))[:, self.feature]
        return column if np.isfinite(column).all() else None

    def measured(self, role: Role, call: Call | None = None) -> Measured | None:
        """Return a quantity of the feature; None where it cannot be compared."""
        found = Measured.of(call or self.call, self.layer.named.key(role))
        return None if found is None or not found.got.shape else found.of_feature(self.feature)

    def _feature(self, z: Array) -> Feature:
        layer = self.layer
        gamma, beta = (
            default if values is None else float(values[self.feature])
            for values, default in ((layer.gamma, 1.0), (layer.beta, 0.0))
        )
        return Feature(layer.named, z, gamma, beta, layer.eps or 0.0, self.row)

    def _misshapen(self, role: Role) -> str:
        """Return which shape a result has, if it is another than it should have."""
        key = self.layer.named.key(role)
        got, expected = self.call.got.get(key), self.call.expected.get(key)
        wrong = got is not None and expected is not None and got.shape != expected.shape
        return f"shape {got.shape}" if wrong and got is not None else ""

    def _training(self) -> list[Step] | None:
        z = self.column(self.call, "z")
        if z is None:
            return None
        feature = self._feature(z)
        mean, _, std = feature.statistics
        right: set[Symbol] = set()
        if self.layer.momentum not in (None, 0.0, 1.0):  # what is kept, and what is new, counts
            statistics: tuple[tuple[Symbol, Role], ...] = (
                ("μ", "running_mean"), ("σ²", "running_var"),
            )  # fmt: skip
            for symbol, role in statistics:
                told = self.measured(role)
                if told is not None and told.right:
                    right.add(symbol)
        return self._of_output(feature.training(), feature, mean, std, right)

    def _inference(self) -> list[Step] | None:
        z, layer = self.column(self.call, "z"), self.layer
        if z is None or layer.running_mean is None or layer.running_var is None:
            return None
        mean, var = float(layer.running_mean[self.feature]), float(layer.running_var[self.feature])
        if var + (layer.eps or 0.0) <= 0:
            return None
        feature = self._feature(z)
        std = float(np.sqrt(var + feature.eps))
        return self._of_output(feature.inference(mean, var), feature, mean, std, set())

    def _of_output(
        self, steps: list[Step], feature: Feature, mean: float, std: float, right: set[Symbol]
    ) -> list[Step]:
        """Judge the steps of a forward by its output."""
        out = self.measured("out")
        if out is None:
            shape = self._misshapen("out")
            last = replace(steps[-1], yours=shape, verdict="differs" if shape else "")
            return [*steps[:-1], last]
        there = [each.symbol for each in steps]
        got = float(out.got[feature.row])
        yours: Implied = {"ẑ": got}
        first: Symbol = "ẑ"
        blamed = self._sure(there)
        if not implied.lacks_parameters(out, feature, mean, std):
            found = implied.of_output(out, feature, mean, std)
            found = {k: each for k, each in found.items() if k in there and k not in right}
            if blamed == "s" and not found:
                found = implied.root_of_one(got, feature, mean)
            if feature.gamma and np.isfinite(got):
                found.setdefault("u", (got - feature.beta) / feature.gamma)
            yours |= found
            first = next((each for each in there if each in yours), "ẑ")
        if blamed is not None:
            first = blamed
        return self._judged(steps, yours, there[there.index(first) :], right)

    def _sure(self, there: Sequence[Symbol]) -> Symbol | None:
        """Return the earliest of these steps that the cause replaces for certain."""
        sure = {each[0] for each in self.blamed if len(each) == 1}
        return next((each for each in there if each in sure), None)

    def _running(self) -> list[Step] | None:
        z, k, layer = self.column(self.call, "z"), self.layer.momentum, self.layer
        if z is None or k is None:
            return None
        feature = self._feature(z)
        mean, var, _ = feature.statistics
        size = len(z)
        steps = [replace(each, verdict="agrees") for each in feature.centring()[:2]]
        unbiased = var * size / max(size - 1, 1)
        kept: tuple[tuple[Symbol, Role, Array | None, dict[str, float], tuple[float, ...]], ...] = (
            ("M′", "running_mean", layer.running_mean, {r"\mu": mean}, (0.0,)),
            ("V′", "running_var", layer.running_var,
             {r"\sigma^2": var, r"\frac{B}{B-1}\,\sigma^2": unbiased}, (1.0, 0.0)),
        )  # fmt: skip
        for symbol, role, old, batch, initial in kept:
            told = self.measured(role)
            if told is None or told.right:
                continue
            before = initial if old is None else (float(old[self.feature]),)
            step = self._averaged(feature, symbol, told, before, batch, k)
            if step is None:
                return None
            steps.append(step)
        return steps

    @staticmethod
    def _averaged(
        feature: Feature, symbol: Symbol, told: Measured, before: tuple[float, ...],
        batch: dict[str, float], k: float,
    ) -> Step | None:  # fmt: skip
        """Return the step of a running statistic, by those weights that give what is expected."""
        want, letter = float(told.expected[0]), symbol[0]
        weights = ((k, "m", "(1-m)"), (1 - k, "(1-m)", "m"))
        for latex, new in batch.items():
            for old in before:
                for keep, of_old, of_new in weights:
                    value = keep * old + (1 - keep) * new
                    if abs(value - want) <= float(told.bound[0]) + 1e-12 * abs(want):
                        rule = rf"{letter}' = {of_old}\,{letter} + {of_new}\,{latex}"
                        parts = (keep, old), (1 - keep, new)
                        worked = " + ".join(f"{brief(a)} · {bracketed(b)}" for a, b in parts)
                        step = feature.step(symbol, rule, worked, want)
                        mine = apart(float(told.got[0]), want)[0]
                        return replace(step, yours=mine, verdict="differs")
        return None

    def _backward(self) -> list[Step] | None:
        trained, g = self.layer.trained, self.column(self.call, "G")
        z = None if trained is None else self.column(trained, "z")
        if z is None or g is None or len(g) != len(z):
            return None
        feature = self._feature(z)
        before, steps = feature.centring(), feature.backward(g)
        forward = self.measured("out", trained)
        if forward is not None and forward.right:
            before = [replace(each, verdict="agrees") for each in before]
        yours: Implied = {}
        wrong: list[Symbol] = []
        right: set[Symbol] = set()
        shapes: dict[Symbol, str] = {}
        gradients: tuple[tuple[Symbol, Role], ...] = (
            ("dβ", "dbeta"), ("dγ", "dgamma"), ("dz", "dz"),
        )  # fmt: skip
        for symbol, role in gradients:
            told = self.measured(role)
            shapes[symbol] = self._misshapen(role)
            if told is not None:
                yours[symbol] = float(told.got[feature.row if symbol == "dz" else 0])
                if told.right:
                    right.add(symbol)
            if shapes[symbol] or (told is not None and not told.right):
                wrong.append(symbol)
                wrong += self._within(told, feature, steps, yours) if symbol == "dz" else []
        judged = self._judged(steps, yours, wrong, right)
        return [*before, *(replace(e, yours=shapes.get(e.symbol, "") or e.yours) for e in judged)]

    def _within(
        self, dz: Measured | None, feature: Feature, steps: list[Step], yours: Implied
    ) -> list[Symbol]:
        """Return what on the way to dz is wrong, and put its value into `yours`."""
        blamed = self._sure([each.symbol for each in steps if each.symbol in _ON_THE_WAY])
        if blamed == "du" or dz is None or not np.isfinite(dz.got).all():
            return [blamed] if blamed else []
        right = {each.symbol: each.number for each in steps}
        d = feature.z - feature.statistics[0]
        found = implied.of_gradient(dz, d, right["dσ²"], right["dμ"])
        yours |= found
        return [*found] or ([blamed] if blamed else [])

    @staticmethod
    def _judged(
        steps: list[Step], yours: Implied, wrong: Sequence[Symbol], right: set[Symbol]
    ) -> list[Step]:
        judged = []
        for each in steps:
            if each.symbol in right:
                judged.append(replace(each, verdict="agrees"))
            elif each.symbol in wrong:
                mine = yours.get(each.symbol)
                text = "" if mine is None else apart(mine, each.number)[0]
                judged.append(replace(each, yours=text, verdict="differs"))
            else:
                judged.append(each)
        return judged


_ON_THE_WAY: Final = ("du", "dσ²", "dμ")
