"""The catalogue of mistakes: each one is different from batch norm, and from every other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from itertools import combinations
from typing import Any, get_args

import numpy as np
import pytest
from bn_diagnosis.computing import step_of
from bn_diagnosis.faults import BY_ID, FAULTS, Fault
from bn_diagnosis.faults.combining import in_parameters
from bn_diagnosis.faults.fault import Kind, fault
from bn_diagnosis.faults.statements import STATEMENTS
from bn_diagnosis.formulas import RIGHT, STEPS
from bn_diagnosis.recovery.notation import parsed
from bn_diagnosis.reference import ReferenceLayer, reference_layer
from bn_diagnosis.trace import Step, StepName, Trace
from bn_oracle.arrays import Array, to_rows
from bn_oracle.backward import backward
from bn_oracle.conventions import CMU_HW1P1, TORCH, Convention
from bn_oracle.forward import forward
from bn_oracle.inference import infer, infer_backward
from bn_oracle.population import mean_of_means, unbiased_variance
from bn_oracle.running import batch_variance, update
from bn_properties.protocol import Gradient, Setup, Statistics, SubjectError

EPS, DECAY = 0.5, 0.7
SHAPES = ((6, 3), (3, 2, 2, 4), (5, 3), (2, 3, 3))
CONVENTIONS = (CMU_HW1P1, TORCH)
RELATIVE = 1e-6
"""Far above the rounding of these small, well-conditioned batches, which is below 1e-12."""


def _trace(
    features: int, convention: Convention, scale: float = 1.0, *, cumulative: bool = False
) -> Trace:
    rng = np.random.default_rng(features)
    return Trace(
        gamma=rng.normal(size=features) + 2.0,
        beta=rng.normal(size=features),
        eps=EPS * scale**2,
        decay=DECAY,
        convention=convention,
        running_mean=scale * rng.normal(size=features),
        running_var=scale**2 * rng.uniform(0.3, 3.0, size=features),
        cumulative=cumulative,
    )


def _batch(shape: tuple[int, ...], number: int, scale: float = 1.0) -> Array:
    rng = np.random.default_rng((number, *shape))
    column = (-1, *[1] * (len(shape) - 2))
    spread = np.reshape(np.arange(1.0, shape[1] + 1), column)
    return np.asarray(scale * (1.5 + spread * rng.normal(size=shape)))


def _numbers(found: Gradient[Any] | Statistics[Any]) -> Iterator[Any]:
    """Each array in turn; all that a reference layer gives are arrays."""
    yield from (getattr(found, each.name) for each in fields(found))


def _run(
    replaced: Mapping[StepName, Step],
    shape: tuple[int, ...],
    convention: Convention,
    scale: float,
) -> Iterator[Any]:
    """Infer, train, backward, train, infer, train; yield every output and statistic."""
    asked = ReferenceLayer(_trace(shape[1], convention, scale), replaced)
    yield asked.infer(_batch(shape, 1, scale))
    yield from _numbers(asked.infer_backward(_batch(shape, 9)))
    yield from _numbers(asked.statistics())
    equal = tuple(_batch(shape, number, scale) for number in (30, 31, 32))
    yield from _numbers(asked.population(equal))
    yield from _numbers(asked.population((*equal, _batch((1, *shape[1:]), 33, scale))))
    average = ReferenceLayer(_trace(shape[1], convention, scale, cumulative=True), replaced)
    for batch in equal:
        average.train(batch)
        yield from _numbers(average.statistics())
    fresh = reference_layer(replaced, convention, Setup(shape[1], decay=convention.decay(0.0)))
    yield from _numbers(fresh.statistics())
    fresh.train(_batch(shape, 40))
    yield from _numbers(fresh.statistics())
    layer = ReferenceLayer(_trace(shape[1], convention, scale), replaced)
    for number in range(3):
        x = _batch((shape[0] + number, *shape[1:]), 2 + number, scale)
        yield layer.train(x)
        yield from _numbers(layer.backward(_batch(x.shape, 10 + number)))
        yield from _numbers(layer.statistics())
        if number:
            yield layer.infer(_batch(shape, 20 + number, scale))
            yield from _numbers(layer.statistics())


@cache
def _shown(identity: str | None) -> tuple[Any, ...]:
    """Return what a fault, or batch norm itself, gives in all scenarios; None after a crash."""
    replaced: Mapping[StepName, Step] = {} if identity is None else BY_ID[identity].replaces
    shown: list[Any] = []
    for shape in SHAPES:
        for convention in CONVENTIONS:
            for scale in (1.0, 1e-3):
                outputs: list[Any] = []
                try:
                    outputs += [
                        np.array(value) for value in _run(replaced, shape, convention, scale)
                    ]
                except SubjectError:
                    outputs.append(None)
                shown.append(tuple(outputs))
    return tuple(shown)


def _differ(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is not other
    if one.shape != other.shape or (np.isnan(one) != np.isnan(other)).any():
        return True
    size = max(np.abs(np.nan_to_num(one)).max(), np.abs(np.nan_to_num(other)).max())
    return bool(np.abs(np.nan_to_num(one - other)).max() > RELATIVE * size)


def _distinct(one: str, other: str | None) -> bool:
    return any(
        len(mine) != len(theirs) or any(map(_differ, mine, theirs))
        for mine, theirs in zip(_shown(one), _shown(other), strict=True)
    )


@pytest.mark.parametrize("convention", CONVENTIONS, ids=lambda c: c.name)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_layer_with_no_step_replaced_is_the_oracle(
    shape: tuple[int, ...], convention: Convention
) -> None:
    """With no step replaced, every output agrees with the oracle's own functions."""
    trace = _trace(shape[1], convention)
    gamma, beta = trace.gamma.copy(), trace.beta.copy()
    mean, var = trace.running_mean.copy(), trace.running_var.copy()
    layer = ReferenceLayer(trace, {})
    for number in range(3):
        x = _batch((shape[0] + number, *shape[1:]), number)
        grad = _batch(x.shape, 10 + number)
        record = forward(x, gamma, beta, EPS)
        expected = backward(record, grad)
        mean, var = update(mean, var, record, DECAY, convention)
        np.testing.assert_allclose(layer.train(x), record.out, rtol=1e-13, atol=1e-13)
        # Inference in between must not disturb the gradient of the training batch.
        probe = _batch(shape, 20 + number)
        np.testing.assert_allclose(
            layer.infer(probe), infer(probe, gamma, beta, mean, var, EPS), rtol=1e-13, atol=1e-13
        )
        for got, want in zip(
            _numbers(layer.backward(grad)),
            (expected.dz, expected.dgamma, expected.dbeta),
            strict=True,
        ):
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)
        for got, want in zip(_numbers(layer.statistics()), (mean, var), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-13)
        probe_grad = _batch(shape, 40 + number)
        straight = infer_backward(probe, gamma, mean, var, EPS, probe_grad)
        layer.infer(probe)
        for got, want in zip(
            _numbers(layer.infer_backward(probe_grad)),
            (straight.dz, straight.dgamma, straight.dbeta),
            strict=True,
        ):
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("convention", CONVENTIONS, ids=lambda c: c.name)
def test_a_layer_with_no_step_replaced_averages_all_batches_alike(convention: Convention) -> None:
    """Cumulative and population statistics agree with the oracle's own functions."""
    layer = ReferenceLayer(_trace(3, convention, cumulative=True), {})
    batches = tuple(_batch((5, 3), number) for number in range(3))
    records = [forward(batch, np.ones(3), np.zeros(3), EPS) for batch in batches]
    for batch in batches:
        layer.train(batch)
    wanted = (
        np.mean([record.mean for record in records], axis=0),
        np.mean([batch_variance(record, convention) for record in records], axis=0),
    )
    for got, want in zip(_numbers(layer.statistics()), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-13)
    mean, var = _numbers(layer.population(batches))
    np.testing.assert_allclose(mean, mean_of_means([record.mean for record in records]))
    np.testing.assert_allclose(var, unbiased_variance([record.var for record in records], 5))
    ragged = (*batches, _batch((2, 3), 9))
    np.testing.assert_allclose(
        np.asarray(layer.population(ragged).mean), np.concatenate(ragged).mean(axis=0)
    )


def test_ids_are_unique_and_in_kebab_case() -> None:
    """A report and a link can name a fault by its id."""
    assert len(FAULTS) == len(BY_ID)
    for identity in BY_ID:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", identity), identity


def test_every_step_has_its_name_and_its_statement() -> None:
    """The type of the names, the steps and what is right of them hold the same names."""
    assert set(get_args(StepName)) == set(STEPS) == set(STATEMENTS)


def test_a_misspelt_step_is_refused() -> None:
    """It would never be taken: a mistake in it would be none, without a word."""
    with pytest.raises(ValueError, match=r"fault misspelt: no such step: dgama; there are rows, "):
        fault("misspelt", dgama="g")
    with pytest.raises(ValueError, match=r"fault misspelt: no such step: dgama; there are rows, "):
        fault.coded("misspelt", dgama=lambda t: t.g)("")("")
    with pytest.raises(ValueError, match="no such step: dgama"):
        reference_layer({"dgama": lambda t: t.g}, CMU_HW1P1, Setup(1))


@pytest.mark.parametrize(
    ("text", "refusal"),
    [("g * uu", "no such quantity: uu; there are z, g, "), ("g u", "no formula: g u")],
)
def test_a_misspelt_formula_is_refused(text: str, refusal: str) -> None:
    with pytest.raises(ValueError, match=f"fault misspelt: {refusal}"):
        fault("misspelt", dgamma=text)
    with pytest.raises(ValueError, match="fault shaped: a step that is no formula: rows"):
        fault("shaped", rows="z")


def test_a_formula_is_computed_and_shown() -> None:
    """Beside it stands the step's right one, or the form that is named."""
    made = fault("written", dgamma="Sum(g * z)")("")
    assert made.wrong.endswith(r" = \sum_i G_i z_i")
    assert made.right.endswith(r" = \sum_i G_i u_i")
    trace = _trace(3, CMU_HW1P1)
    trace.z, trace.g = _batch((4, 3), 0), _batch((4, 3), 1)
    found = np.asarray(made.replaces["dgamma"](trace))
    np.testing.assert_allclose(found, (trace.g * trace.z).sum(axis=0))
    named = Kind(form="(du - Mean(du)) / s")("named", dz="du - Mean(du)")("")
    assert named.wrong.endswith(r" = \gamma \left(G_i - \frac1B\sum_j G_j\right)")
    assert r" = \frac{\gamma}{\sqrt{\sigma_B^2 + \epsilon}} \left(G_i - " in named.right


def test_at_inference_the_normalised_value_is_that_of_the_running_statistics() -> None:
    """A mistaken denominator is shown in the output."""
    divided = fault("divided", infer_s="old_var")("")
    assert divided.wrong == r"\hat z_i = \frac{\gamma \left(z_i - \mu\right)}{\sigma^2} + \beta"
    made = fault("inferred", infer="u")("")
    assert made.wrong == r"\hat z_i = \frac{z_i - \mu}{\sqrt{\sigma^2 + \epsilon}}"
    trace = _trace(3, CMU_HW1P1)
    trace.z, trace.s = _batch((4, 3), 0), np.full(3, 2.0)
    expected = (trace.z - trace.running_mean) / 2.0
    np.testing.assert_allclose(np.asarray(made.replaces["infer"](trace)), expected)


def test_wrong_formulas_are_shown_side_by_side() -> None:
    """Those of one kind; of others, the first is enough."""
    both = fault("both", next_mean="old_mean", next_var="old_var")("")
    assert both.wrong == r"M \leftarrow M, \quad V \leftarrow V"
    assert both.right.count("leftarrow") == 2
    one = fault("one", next_mean="old_mean", next_var=RIGHT["next_var"])("")
    assert (one.wrong, one.right.count("leftarrow")) == (r"M \leftarrow M", 1)
    assert fault("throughout", s="sqrt(var)", infer_s="sqrt(old_var)")("").wrong == (
        r"s = \sqrt{\sigma_B^2}"
    )


@pytest.mark.parametrize(
    ("step", "text", "shape"),
    [
        ("u", "0", (6, 3)),
        ("mean", "Mean(z, all)", (3,)),
        ("dgamma", "Sum(g, all)", ()),
        ("dgamma", "g", (3, 3, 2)),
        ("dgamma", "Sum(g)", (3,)),
        ("dvar", "du", (6, 3)),
    ],
)
def test_a_formula_has_the_shape_of_its_step(
    step: StepName, text: str, shape: tuple[int, ...]
) -> None:
    trace = _trace(3, CMU_HW1P1)
    trace.x = _batch((3, 3, 2), 0)
    trace.z = trace.g = trace.du = to_rows(trace.x)
    assert np.asarray(step_of(step, parsed(text))(trace)).shape == shape


def test_a_fault_is_told_in_a_paragraph_whose_first_sentence_is_its_title() -> None:
    """How the words are broken into lines is nobody's business."""
    told = fault("told", dgamma="g")("""dγ is G. The sum
        is missing. Add it.""")
    assert (told.title, told.explanation) == ("dγ is G", "The sum is missing. Add it.")


def test_an_equation_that_begins_with_its_sign_is_said_of_the_first_step() -> None:
    """One with a left side stays as it is, and the right one is the step's, if none is given."""
    made = fault.coded("equated", y=lambda t: t.u, u=lambda t: t.z)("= u_i")("")
    assert (made.wrong, made.right) == (r"\hat z_i = u_i", r"\hat z_i = \gamma u_i + \beta")
    moved = fault.coded("equated", next_mean=lambda t: t.mean)(r"\leftarrow \mu_B", "M = 1")("")
    assert (moved.wrong, moved.right) == (r"M \leftarrow \mu_B", "M = 1")


def test_a_mistake_in_dgamma_serves_for_dbeta_without_its_u() -> None:
    """The formula and the words of γ are said of β, and of both what is said of both."""
    of_gamma, of_beta, of_both = in_parameters("doubled", "2 * Sum(each)")("""dγ is
        doubled. Each γ is one.

        dγ and dβ are doubled. Each is one.""")
    assert of_beta.wrong.endswith(r"\partial\beta} = 2 \sum_i G_i")
    assert (of_gamma.title, of_beta.title) == ("dγ is doubled", "dβ is doubled")
    assert (of_beta.explanation, of_both.explanation) == ("Each β is one.", "Each is one.")
    assert of_both.wrong == rf"{of_gamma.wrong}, \quad {of_beta.wrong}"
    assert of_both.replaces.keys() == {"dgamma", "dbeta"}


def test_an_unknown_property_is_refused() -> None:
    """A fault names the property that must reject it."""
    with pytest.raises(ValueError, match=r"fault unkilled: no such property: backward\.gamma"):
        fault.coded("unkilled", dgamma=lambda t: t.g)("", killed_by="backward.gamma")("")


@pytest.mark.parametrize("each", FAULTS, ids=lambda each: each.id)
class TestEachFault:
    def test_is_not_batch_norm(self, each: Fault) -> None:
        """In some scenario some output is off by far more than rounding."""
        assert _distinct(each.id, None)

    def test_explains_itself(self, each: Fault) -> None:
        """A clause, one to three sentences, two equations, a place in the derivation."""
        assert each.title
        assert not each.title.endswith(".")
        sentences = re.split(r"(?<=[.!?])\s+", each.explanation)
        assert 1 <= len(sentences) <= 3
        assert all(re.fullmatch(r"[^a-z].+[.]", sentence) for sentence in sentences)
        assert each.wrong != each.right
        assert re.fullmatch(r"note-([1-9]|1[0-7])|real-[a-z]+", each.anchor)
        assert each.anchor.startswith("note") or each.anchor == f"real-{each.family}"

    def test_equations_are_valid(self, each: Fault) -> None:
        """Both equations convert to MathML."""
        converter = pytest.importorskip("latex2mathml.converter")
        for equation in (each.wrong, each.right):
            assert equation.count("{") == equation.count("}")
            left, right = (
                len(re.findall(rf"\\{side}(?![a-z])", equation)) for side in ("left", "right")
            )
            assert left == right
            # What the converter does not know, it leaves as a command.
            assert "\\" not in converter.convert(equation)


def test_no_two_faults_are_the_same() -> None:
    """Some output tells any two faults apart, so that a diagnosis can name one."""
    same = [
        (one.id, other.id)
        for one, other in combinations(FAULTS, 2)
        if not _distinct(one.id, other.id)
    ]
    assert same == []
