"""Known mistakes are named in code that shares nothing with the catalogue.

The layers here are written as people write them: in closed form, as a graph of small nodes
differentiated one by one, and in loops over one feature at a time. They compute in the dtype of
their input, float32 or float64, and sum in other orders than the catalogue does. A mistake is put
into one of them, in another form than the catalogue's; it must be named, and no other.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
from bn_diagnosis.diagnosis import Diagnosis
from bn_diagnosis.faults import BY_ID
from bn_diagnosis.reference import reference_subject
from bn_oracle.conventions import CMU_HW1P1, TORCH, Convention
from bn_properties.cases.draw import draw_cases
from bn_properties.catalogue import PROPERTIES
from bn_properties.checking import scan
from bn_properties.protocol import AnyArray, Gradient, Moment, Quantity, Setup, Statistics
from bn_properties.scenario import InProcess, Scenario
from bn_properties.transcript import Oracle, Transcript

Gradients = tuple[AnyArray, AnyArray, AnyArray]


def bessel(rows: AnyArray) -> float:
    return len(rows) / max(len(rows) - 1, 1)


def mean(rows: AnyArray) -> AnyArray:
    return np.asarray(rows.sum(axis=0) / len(rows))


def variance(rows: AnyArray) -> AnyArray:
    return mean((rows - mean(rows)) ** 2)


class ClosedForm:
    """A layer on (N, C) or (N, C, H, W) whose gradient is the closed form."""

    def __init__(self, convention: Convention, setup: Setup) -> None:
        def given(value: AnyArray | None, default: float) -> AnyArray:
            return np.full(setup.features, default) if value is None else value.reshape(-1)

        self.unbiased = convention.running_variance == "unbiased"
        self.eps = convention.eps if setup.eps is None else setup.eps
        self.decay = convention.decay(convention.momentum) if setup.decay is None else setup.decay
        self.cumulative, self.count = setup.cumulative, 0
        self.gamma, self.beta = given(setup.gamma, 1.0), given(setup.beta, 0.0)
        self.running_mean = given(setup.running_mean, convention.initial_mean)
        self.running_var = given(setup.running_var, convention.initial_var)
        self.first, self.shape = dict[str, AnyArray](), tuple[int, ...]()
        self.x = self.x_inferred = self.grad = self.out = self.u = np.zeros((0, 0))
        self.mean = self.var = self.s = np.zeros(0)

    # What a mistake may change; x and grad are (B, C).

    def spread(self, var: AnyArray, x: AnyArray) -> AnyArray:
        return var

    def root(self, var: AnyArray) -> AnyArray:
        return np.asarray(np.sqrt(var + self.eps))

    root_at_inference = root

    def forward(self, x: AnyArray) -> AnyArray:
        self.mean = np.mean(x, axis=0)
        self.var = self.spread(np.var(x, axis=0), x)
        self.s = self.root(self.var)
        self.u = (x - self.mean) / self.s
        return self.gamma * self.u + self.beta

    def gradients(self, grad: AnyArray) -> Gradients:
        n = len(grad)
        dgamma, dbeta = np.einsum("ij,ij->j", grad, self.u), np.sum(grad, axis=0)
        inner = n * grad - dbeta - self.u * dgamma
        return self.gamma / (n * self.s) * inner, dgamma, dbeta

    def share_kept(self) -> float:
        return 1 - 1 / self.count if self.cumulative and self.count else self.decay

    def collect(self, mean: AnyArray, var: AnyArray) -> None:
        share = 1 - self.share_kept()
        self.running_mean = self.running_mean + share * (mean - self.running_mean)
        self.running_var = self.running_var + share * (var - self.running_var)

    def predict(self, x: AnyArray) -> AnyArray:
        mean, s = self.fixed
        return self.gamma / s * x + (self.beta - self.gamma / s * mean)

    def predict_gradients(self, grad: AnyArray) -> Gradients:
        mean, s = self.fixed
        u = (self.x_inferred - mean) / s
        return grad * (self.gamma / s), (u * grad).sum(axis=0), grad.sum(axis=0)

    def of_all(self, batches: list[AnyArray]) -> tuple[AnyArray, AnyArray]:
        sizes = np.array([len(batch) for batch in batches])
        means = np.array([batch.mean(axis=0) for batch in batches])
        variances = np.array([variance(batch) * bessel(batch) for batch in batches])
        return sizes @ means / sizes.sum(), variances.sum(axis=0) / len(batches)

    def to_rows(self, x: AnyArray) -> AnyArray:
        self.shape = x.shape
        return x if x.ndim == 2 else x.transpose(0, 2, 3, 1).reshape(-1, x.shape[1])

    def from_rows(self, rows: AnyArray) -> AnyArray:
        n, _, *places = self.shape
        return np.moveaxis(rows.reshape(n, *places, -1), -1, 1)

    def _first(self, what: str, array: AnyArray) -> AnyArray:
        self.first.setdefault(what, array)
        return array

    def _narrow(self, x: AnyArray) -> AnyArray:
        """Compute in the input's dtype, on rows."""
        for name in ("gamma", "beta", "running_mean", "running_var"):
            setattr(self, name, getattr(self, name).astype(x.dtype))
        return self.to_rows(x)

    def train(self, x: AnyArray) -> AnyArray:
        self.x = self._narrow(x)
        self.shape_trained = self.shape
        self.count += 1
        self.out = self.forward(self.x)
        self.collect(self.mean, self.var * (bessel(self.x) if self.unbiased else 1))
        return self._first("train", self.from_rows(self.out))

    def backward(self, grad: AnyArray) -> Gradient[AnyArray]:
        self.grad, self.shape = self.to_rows(grad), self.shape_trained
        dz, dgamma, dbeta = self.gradients(self.grad)
        self.latest = dgamma, dbeta
        dz = self._first("backward", self.from_rows(dz))
        return Gradient(dz, self._first("dgamma", dgamma), self._first("dbeta", dbeta))

    def infer(self, x: AnyArray) -> AnyArray:
        self.x_inferred = self._narrow(x)
        self.fixed = self.running_mean, self.root_at_inference(self.running_var)
        return self._first("infer", self.from_rows(self.predict(self.x_inferred)))

    def infer_backward(self, grad: AnyArray) -> Gradient[AnyArray]:
        dz, dgamma, dbeta = self.predict_gradients(self.to_rows(grad))
        return Gradient(self.from_rows(dz), dgamma, dbeta)

    def population(self, batches: tuple[AnyArray, ...]) -> Statistics[AnyArray]:
        return Statistics(*self.of_all([self.to_rows(batch) for batch in batches]))

    def statistics(self) -> Statistics[AnyArray]:
        return Statistics(self.running_mean, self.running_var)

    def look_again(self, call: Moment, quantity: Quantity) -> AnyArray:
        return self.first[quantity if call == "backward" and quantity != "dz" else call]

    def descend(self) -> Statistics[AnyArray]:
        before = self.gamma, self.beta
        self.gamma, self.beta = (
            was - change for was, change in zip(before, self.latest, strict=True)
        )
        return Statistics(before[0] - self.gamma, before[1] - self.beta)

    def add_up(self, steps: tuple[tuple[AnyArray, AnyArray], ...]) -> Statistics[AnyArray]:
        found = []
        for x, grad in steps:
            self.train(x)
            found.append(self.backward(grad))
        (one, other) = found
        return Statistics(one.dgamma + other.dgamma, one.dbeta + other.dbeta)  # type: ignore[operator]

    def reload(self, *, copied: bool = False) -> None: ...

    def set_momentum(self, decay: float) -> None:
        self.decay = decay

    def other_layer(
        self,
        x: AnyArray,
        grad: AnyArray | None,
        probe: AnyArray | None,
        gamma: AnyArray | None = None,
        beta: AnyArray | None = None,
    ) -> None: ...

    def set_parameters(self, gamma: AnyArray, beta: AnyArray, *, in_place: bool) -> None:
        self.gamma, self.beta = gamma, beta

    def edited(self) -> frozenset[str]:
        return frozenset()


class Graph(ClosedForm):
    """Every operation a node, as in CS231n; backward goes through the nodes in reverse."""

    def forward(self, x: AnyArray) -> AnyArray:
        n = len(x)
        self.mean = 1 / n * np.sum(x, axis=0)
        self.centred = x - self.mean
        self.var = self.spread(1 / n * np.sum(self.centred**2, axis=0), x)
        self.s = self.root(self.var)
        self.inverse = 1 / self.s
        self.u = self.centred * self.inverse
        return self.gamma * self.u + self.beta

    def gradients(self, grad: AnyArray) -> Gradients:
        n, ones = len(grad), np.ones_like(grad)
        d_u = grad * self.gamma
        d_inverse = np.sum(d_u * self.centred, axis=0)
        d_root = -1 / self.s**2 * d_inverse
        d_var = 0.5 / self.s * d_root
        d_centred = d_u * self.inverse + 2 * self.centred * (1 / n * ones * d_var)
        d_mean = -np.sum(d_centred, axis=0)
        dz = d_centred + 1 / n * ones * d_mean
        return dz, np.sum(grad * self.u, axis=0), np.sum(grad, axis=0)


class Loops(ClosedForm):
    """One feature at a time, and plain sums in order."""

    def forward(self, x: AnyArray) -> AnyArray:
        n, features = x.shape
        self.mean, self.var, self.s = np.zeros((3, features), x.dtype)
        self.u, out = np.zeros((2, n, features), x.dtype)
        for c in range(features):
            self.mean[c] = sum(x[:, c]) / n
            squares = sum((value - self.mean[c]) ** 2 for value in x[:, c])
            self.var[c] = self.spread(squares / n, x[:, c])
            self.s[c] = self.root(self.var[c])
            for i in range(n):
                self.u[i, c] = (x[i, c] - self.mean[c]) / self.s[c]
                out[i, c] = self.gamma[c] * self.u[i, c] + self.beta[c]
        return out

    def gradients(self, grad: AnyArray) -> Gradients:
        n, features = grad.shape
        dz, (dgamma, dbeta) = np.zeros_like(grad), np.zeros((2, features), grad.dtype)
        for c in range(features):
            g, u = grad[:, c], self.u[:, c]
            dgamma[c], dbeta[c] = sum(g * u), sum(g)
            dz[:, c] = self.gamma[c] / self.s[c] * (g - dbeta[c] / n - u * (dgamma[c] / n))
        return dz, dgamma, dbeta


Changes = Callable[[type[ClosedForm]], type[ClosedForm]]


def instead(method: str, form: Callable[..., object]) -> Changes:
    """Another form in place of a method's."""
    return lambda way: type(way.__name__, (way,), {method: form})


def after(method: str, form: Callable[..., object]) -> Changes:
    """`form`, of the layer and what the method gives, in place of what it gives."""

    def change(way: type[ClosedForm]) -> type[ClosedForm]:
        def changed(self: ClosedForm, *given: AnyArray) -> object:
            found = getattr(way, method)(self, *given)
            return form(self, *(found if isinstance(found, tuple) else (found,)))

        return instead(method, changed)(way)

    return change


grads, out = partial(after, "gradients"), partial(after, "forward")
root, infer_root = partial(instead, "root"), partial(instead, "root_at_inference")
spread, kept = partial(instead, "spread"), partial(instead, "share_kept")
predict, of_all = partial(instead, "predict"), partial(instead, "of_all")


def inner(form: Callable[[Any, AnyArray], AnyArray]) -> Changes:
    """Other parentheses of the closed form, whose factor is γ/s."""
    return grads(lambda t, _, *others: (t.gamma / t.s * form(t, t.grad), *others))


def u(form: Callable[[Any], AnyArray]) -> Changes:
    """Other normalised values, for the output and dγ; what backward keeps besides is right."""

    def forward(t: ClosedForm, _: AnyArray) -> AnyArray:
        t.u = form(t)
        return t.gamma * t.u + t.beta

    return after("forward", forward)


def roots(form: Callable[[Any, AnyArray], object]) -> tuple[Changes, Changes]:
    return root(form), infer_root(form)


def both(form: Callable[[float, AnyArray, AnyArray], object]) -> Changes:
    """Both running statistics by one rule: of the share kept, the old value and the new."""

    def collect(t: ClosedForm, mean: AnyArray, var: AnyArray) -> None:
        t.running_mean = np.asarray(form(t.share_kept(), t.running_mean, mean))
        t.running_var = np.asarray(form(t.share_kept(), t.running_var, var))

    return instead("collect", collect)


def entering(form: Callable[[Any, AnyArray, AnyArray], Any]) -> Changes:
    """Other values that enter the running statistics."""
    return instead("collect", lambda t, *batch: ClosedForm.collect(t, *form(t, *batch)))


def own(t: Any, x: AnyArray) -> AnyArray:
    return np.asarray(t.gamma * (x - mean(x)) / np.sqrt(variance(x) + t.eps) + t.beta)


def learn(t: Any, found: AnyArray) -> AnyArray:
    t.collect(mean(t.x_inferred), variance(t.x_inferred))
    return found


def biased(t: Any, batches: list[AnyArray]) -> tuple[AnyArray, AnyArray]:
    return mean(np.concatenate(batches)), mean(np.stack([variance(x) for x in batches]))


def memory_order(t: Any, x: AnyArray) -> AnyArray:
    t.shape = x.shape
    return x.reshape(-1, x.shape[1])


in_memory_order = (
    instead("to_rows", memory_order),
    instead("from_rows", lambda t, rows: rows.reshape(t.shape)),
)
share, all_of = ClosedForm.share_kept, ClosedForm.of_all

MISTAKES: tuple[tuple[str, type[ClosedForm], *tuple[Changes, ...]], ...] = (
    ("bessel-everywhere", Graph, spread(lambda t, var, x: var * bessel(x))),
    ("no-root", ClosedForm, u(lambda t: (t.x - t.mean) / t.s**2)),
    ("no-root-in-training-output", Graph, u(lambda t: t.centred * t.inverse**2)),
    ("no-root-everywhere", Loops, *roots(lambda t, var: var + t.eps)),
    ("second-moment-everywhere", ClosedForm, spread(lambda t, var, x: mean(x * x))),
    ("variance-not-averaged", Loops, spread(lambda t, var, x: var * len(x))),
    ("mean-not-subtracted", Graph, u(lambda t: t.x * t.inverse)),
    ("training-precedence", Graph, u(lambda t: t.x - t.mean * t.inverse)),
    ("beta-before-scaling", Loops, out(lambda t, y: t.gamma * t.u + t.gamma * t.beta)),
    ("affine-omitted-in-training", Graph, out(lambda t, y: t.u)),
    ("root-plus-eps-everywhere", Graph, *roots(lambda t, var: np.sqrt(var) + t.eps)),
    ("eps-omitted", ClosedForm, *roots(lambda t, var: var**0.5)),
    ("eps-omitted-at-inference", Loops, infer_root(lambda t, var: np.sqrt(var))),
    ("eps-hardcoded-1e-5-in-training", Loops, root(lambda t, var: np.sqrt(var + 1e-5))),
    ("eps-as-floor", Graph, *roots(lambda t, var: np.maximum(np.sqrt(var), t.eps**0.5))),
    ("reshape-without-moving-channels", Graph, *in_memory_order),
    ("swapped-parameter-gradients", Graph, grads(lambda t, z, g, b: (z, b, g))),
    ("gamma-gradient-averaged", Loops, grads(lambda t, z, g, b: (z, g / len(z), b))),
    ("beta-gradient-times-b", Graph, grads(lambda t, z, g, b: (z, g, b * len(z)))),
    ("parameter-gradients-scalar", Loops, grads(lambda t, z, g, b: (z, g.sum(), b.sum()))),
    ("gamma-gradient-from-du", ClosedForm, grads(lambda t, z, g, b: (z, t.gamma * g, b))),
    ("gamma-applied-twice", Loops, grads(lambda t, z, g, b: (t.gamma * z, g, b))),
    ("statistics-constant", Loops, inner(lambda t, g: g)),
    ("mean-route-missing", ClosedForm, inner(lambda t, g: g - t.u * mean(g * t.u))),
    ("variance-route-missing", Graph, inner(lambda t, g: g - mean(g))),
    ("variance-route-sign", Loops, inner(lambda t, g: g - mean(g) + t.u * mean(g * t.u))),
    ("factor-two-missing", Graph, inner(lambda t, g: g - mean(g) - t.u / 2 * mean(g * t.u))),
    ("exponent-minus-one", Graph, inner(lambda t, g: g - mean(g) - t.u * mean(g * t.centred))),
    ("compact-without-root", Loops, grads(lambda t, z, g, b: (z * t.s, g, b))),
    ("projection-without-factor", ClosedForm, inner(lambda t, g: g - mean(g + g * t.u))),
    ("diagonal-jacobian", Loops, inner(lambda t, g: g - (1 + t.u**2) * g / len(g))),
    ("inference-not-normalised", Loops, predict(lambda t, x: t.beta + x * t.gamma)),
    ("inference-divides-by-variance", Graph, infer_root(lambda t, var: var + t.eps)),
    ("inference-uses-batch-statistics", ClosedForm, predict(own)),
    ("inference-updates-running", Graph, after("predict", learn)),
    ("mode-ignored", ClosedForm, predict(own), after("predict", learn)),
    ("running-last-batch-only", Loops, both(lambda k, old, new: new)),
    ("hardcoded-momentum", Graph, both(lambda k, old, new: old + 0.1 * (new - old))),
    ("running-not-decayed", ClosedForm, both(lambda k, old, new: old + new - k * new)),
    ("two-updates", Loops, both(lambda k, old, new: k**2 * old + (1 - k**2) * new)),
    ("running-statistics-swapped", Graph, entering(lambda t, mu, var: (var, mu))),
    ("running-std", Graph, entering(lambda t, mu, var: (mu, t.s))),
    ("running-variance-plus-eps", Loops, entering(lambda t, mu, var: (mu, var + t.eps))),
    ("running-of-output", Loops, entering(lambda t, *_: (mean(t.out), variance(t.out)))),
    ("cumulative-keeps-the-latest", Graph, kept(lambda t: 0 if t.cumulative else t.decay)),
    ("population-variance-biased", Loops, of_all(biased)),
    ("population-mean-of-last-batch", Graph, of_all(lambda t, b: (mean(b[-1]), all_of(t, b)[1]))),
    ("running-variance-unbiased", Graph, entering(lambda t, mu, var: (mu, var * bessel(t.x)))),
    ("running-variance-biased", Loops, entering(lambda t, mu, var: (mu, t.var))),
    ("momentum-swapped", ClosedForm, kept(lambda t: share(t) if t.cumulative else 1 - t.decay)),
)
"""A fault of the catalogue, a way of writing batch norm, and what is changed in it."""

SETTINGS = ((CMU_HW1P1, 0), (CMU_HW1P1, 2), (TORCH, 0))
"""Some mistakes show only on images, some only where the course keeps the other variance."""


@cache
def diagnosis(convention: Convention, axes: int) -> tuple[Diagnosis, list[Scenario]]:
    """A diagnosis, and the scenarios that batch norm itself is put through by all properties."""
    expected = Oracle(convention)
    right = Transcript(reference_subject({}, convention, axes))
    for prop in PROPERTIES:
        scan(prop, draw_cases(0, 22, axes), right, expected)
    further = [case.training for case in draw_cases(1, 22, axes)]
    return Diagnosis(convention, axes, expected, further), [each for each, _ in right.observed]


def named(layer: type[ClosedForm], convention: Convention, axes: int) -> list[str]:
    found, scenarios = diagnosis(convention, axes)
    subject = InProcess(lambda setup: layer(convention, setup), convention, axes)
    with np.errstate(all="ignore"):
        transcript = [(each, subject.observe(each)) for each in scenarios]
        return [cause.fault for cause in found.causes(transcript, subject.observe)]


@pytest.mark.parametrize("way", [ClosedForm, Graph, Loops])
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda each: f"{each[0].name}, {each[1]}")
def test_a_right_layer_has_no_cause(way: type[ClosedForm], setting: tuple[Convention, int]) -> None:
    assert [] == named(way, *setting)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda each: each[0])
def test_a_mistake_is_named_and_no_other(
    mistake: tuple[str, type[ClosedForm], *tuple[Changes, ...]],
) -> None:
    fault, layer, *changes = mistake
    for change in changes:
        layer = change(layer)
    shown = (found for setting in SETTINGS if (found := named(layer, *setting)))
    assert [fault] == next(shown, [])


def test_mistakes_of_every_family_are_tried() -> None:
    assert {fault.family for fault in BY_ID.values()} == {
        BY_ID[each[0]].family for each in MISTAKES
    }
