"""Formulas are recovered from numbers: slips of one place, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
import pytest
from bn_diagnosis.recovery.differentiating import gradients
from bn_diagnosis.recovery.edits import Edit
from bn_diagnosis.recovery.evidence import Evidence, Given
from bn_diagnosis.recovery.forms import RESULT, Observable, Program, forms
from bn_diagnosis.recovery.formula import Formula
from bn_diagnosis.recovery.pairs import likely, pairs
from bn_diagnosis.recovery.recover import FOR_TWO, ORDER, Recovery, with_new
from bn_diagnosis.recovery.tables import Index, Run, Table, close, index, table
from bn_diagnosis.recovery.trees import (
    Values,
    add,
    mean,
    multiply,
    number,
    power,
    replaced,
    symbol,
    total,
    walk,
)
from bn_oracle.arrays import Array
from bn_oracle.backward import backward
from bn_oracle.conventions import CONVENTIONS, Convention
from bn_oracle.forward import forward
from hypothesis import given, settings
from hypothesis import strategies as st

CONVENTION = CONVENTIONS["cmu-hw1p1"]
OF_TRAINING: tuple[Observable, ...] = ("out", "running_mean", "running_var", "dgamma", "dz")


@lru_cache(maxsize=8)
def recovery(axes: int = 0, name: str = "cmu-hw1p1") -> Recovery:
    return Recovery(CONVENTIONS[name], Evidence(axes, inference_gradient=True))


@lru_cache(maxsize=4)
def known() -> Mapping[str, Array]:
    """Return the symbols' values that formulas are recovered from."""
    return with_new(recovery().evidence.symbols, CONVENTION)


@lru_cache(maxsize=4)
def elsewhere() -> Mapping[str, Array]:
    """Return other values of all symbols: two formulas that agree there, too, are one function."""
    numbers = np.random.default_rng(1)
    found = {}
    for name, value in recovery().evidence.symbols.items():
        low, high = (0.25, 0.75) if name == "keep" else (0.5, 2.0)
        found[name] = numbers.uniform(low, high, value.shape)
    sizes = {"n": 7.0, "less_one": 6.0, "features": 5.0}
    counts = {name: np.full((1, 1, 1), size) for name, size in sizes.items()}
    return with_new(found | counts, CONVENTION)


def tables(observable: Observable) -> list[Table]:
    evidence = recovery().evidence
    shape = evidence.shape(observable)
    return [table(form, evidence.symbols, shape) for form in _forms(observable)]


@lru_cache(maxsize=16)
def _forms(observable: Observable) -> tuple[Program, ...]:
    return forms(observable, CONVENTION)


def values(program: Program, where: Mapping[str, Array] | None = None) -> Array:
    with np.errstate(all="ignore"):
        return Run(program, where or known()).result


# What is right.


@pytest.mark.parametrize("name", CONVENTIONS)
@pytest.mark.parametrize("axes", [0, 1, 2, 3])
def test_what_is_right_has_no_slip(axes: int, name: str) -> None:
    found = recovery(axes, name)
    right = {each: found.right(each) for each in ORDER}
    assert found.recover(right) == {}


def test_the_forms_are_batch_norm() -> None:
    evidence = Evidence(0, inference_gradient=True)
    symbols = evidence.symbols
    for layer, scenario in enumerate(evidence.training):
        (call,) = scenario.calls
        setup, x, grad = scenario.setup, call.x, call.grad  # type: ignore[attr-defined]
        assert setup.eps is not None
        record = forward(x, setup.gamma, setup.beta, setup.eps)  # type: ignore[arg-type]
        gradient = backward(record, grad)
        wanted = {
            "out": record.out,
            "dz": gradient.dz,
            "dgamma": gradient.dgamma,
            "dbeta": gradient.dbeta,
        }
        for name, value in wanted.items():
            for form in forms(name, CONVENTION):
                found = Run(form, symbols).result[layer].reshape(value.shape)
                np.testing.assert_allclose(found, value, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("of", ["out", "inferred"])
def test_the_gradients_of_a_tree_are_those_of_the_formula(of: Observable) -> None:
    symbols = recovery().evidence.symbols
    found = gradients(_forms(of)[0].tree(), Values(symbols), symbols["g"])
    stem = "" if of == "out" else "inferred_"
    for name, by in (("dz", "z"), ("dgamma", "gamma"), ("dbeta", "beta")):
        wanted = recovery().right(f"{stem}{name}")  # type: ignore[arg-type]
        np.testing.assert_allclose(found[by], wanted, rtol=1e-12, atol=1e-13)


# A slip in one place.


@pytest.mark.once
@settings(deadline=None)
@given(st.data())
def test_a_slip_in_one_place_is_recovered_as_an_equal_function(data: st.DataObject) -> None:
    observable = data.draw(st.sampled_from((*OF_TRAINING, "inferred", "dbeta")))
    made = data.draw(st.sampled_from(tables(observable)))
    edit = data.draw(st.sampled_from(made.edits))
    slipped = edit.made(made.program)
    formula = recovery().recover({observable: values(slipped)})[observable]
    assert formula is not None
    with np.errstate(all="ignore"):
        wanted, found = values(slipped, elsewhere()), formula.value(elsewhere())
    if np.isfinite(wanted).all():
        assert close(found, wanted), (edit.binding, edit.rule, formula.edits)


@pytest.mark.once
@settings(deadline=None, max_examples=50)
@given(st.data())
def test_slips_in_two_observables_are_recovered_each(data: st.DataObject) -> None:
    of_two: tuple[Observable, ...] = ("running_mean", "running_var", "dgamma", "dbeta", "dz")
    names = data.draw(st.lists(st.sampled_from(of_two), min_size=2, max_size=2, unique=True))
    given_, wanted = dict[Observable, Array](), dict[Observable, Program]()
    for name in names:
        made = data.draw(st.sampled_from(tables(name)))
        slipped = data.draw(st.sampled_from(made.edits)).made(made.program)
        given_[name], wanted[name] = values(slipped), slipped
    found = recovery().recover(given_)
    assert found.keys() == set(names)
    for name, formula in found.items():
        assert formula is not None
        assert close(formula.value(known()), values(wanted[name]))


@pytest.mark.once
@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_numbers_that_no_formula_gives_are_explained_by_none(seed: int) -> None:
    numbers = np.random.default_rng(seed)
    observed = {
        name: numbers.normal(size=recovery().evidence.shape(name)) for name in ("out", "dgamma")
    }
    assert recovery().recover(observed) == {"out": None, "dgamma": None}  # type: ignore[arg-type]


# What follows, and what is computed as something else.


def slipped(observable: Observable, binding: str, tree: object) -> Program:
    return _forms(observable)[0].with_binding(binding, tree)  # type: ignore[arg-type]


ROOT_PLUS_EPS = add(power(symbol("var"), "1/2"), symbol("eps"))


def test_what_the_backward_does_with_a_wrong_forward_follows_from_it() -> None:
    out, dgamma = (slipped(name, "s", ROOT_PLUS_EPS) for name in ("out", "dgamma"))
    dz = _forms("dz")[1].with_binding("s", ROOT_PLUS_EPS)
    programs: dict[Observable, Program] = {"out": out, "dgamma": dgamma, "dz": dz}
    found = recovery().recover({name: values(each) for name, each in programs.items()})
    assert [each.rule for each in found["out"].edits] == ["outside the power"]  # type: ignore[union-attr]
    for name in ("dgamma", "dz"):
        formula = found[name]
        assert formula is not None
        assert (formula.edits, formula.derived_from) == ((), "out")


def test_autograd_of_a_wrong_forward_follows_from_it() -> None:
    out = slipped(
        "out", "var", multiply(total(power(symbol("centred"), 2)), power(symbol("less_one"), -1))
    )
    symbols = recovery().evidence.symbols
    own = gradients(out.tree(), Values(symbols), symbols["g"])
    found = recovery().recover({"out": values(out), "dz": own["z"], "dgamma": own["gamma"]})
    dz = found["dz"]
    assert dz is not None
    assert (dz.edits, dz.derived_from, dz.differentiates) == ((), "out", "z")


def test_own_values_may_stand_beside_right_ones() -> None:
    """The backward takes the wrong forward's u, and a root of its own that is right."""
    out = slipped("out", "s", ROOT_PLUS_EPS)
    wrong_u = Program({**out.bindings, RESULT: symbol("u")}).tree()
    dz = _forms("dz")[3].with_binding("u", wrong_u)
    found = recovery().recover({"out": values(out), "dz": values(dz)})
    assert found["dz"] is not None
    assert (found["dz"].edits, found["dz"].derived_from) == ((), "out")


@pytest.mark.parametrize(
    ("observable", "other"),
    [("dgamma", "dbeta"), ("dbeta", "dgamma"), ("inferred", "out"), ("inferred_dz", "dz")],
)
def test_what_is_computed_as_another_is_told_so(observable: Observable, other: Observable) -> None:
    found = recovery().recover({observable: recovery().right(other)})[observable]
    assert found is not None
    assert found.instead_of == other


def test_a_slip_in_each_of_two_terms_is_recovered() -> None:
    program = _forms("dz")[0]
    result = program.bindings[RESULT]
    twice = replaced(result, {(1,): multiply(number(2), result.parts[1])})
    without = replaced(twice, {(2,): number(0)})
    found = recovery().recover({"dz": values(program.with_binding(RESULT, without))})["dz"]
    assert found is not None
    assert len(found.edits) == 2


# Trees.


def test_equal_trees_are_one_object() -> None:
    z, n = symbol("z"), symbol("n")
    assert add(z, n) is add(z, n)
    assert multiply(z, power(n, -1)) is multiply(z, power(n, -1))
    assert add(z, add(n, z)) is add(z, n, z)
    assert multiply(number(2), z, number("1/2")) is z
    assert power(power(z, "1/2"), 3) is power(z, "3/2")
    assert power(power(z, 2), "1/2") is not z
    assert multiply(z, number(0)) is number(0)


def test_a_path_leads_to_the_part_that_was_walked_to() -> None:
    tree = _forms("dz")[0].tree()
    new = symbol("here")
    for path, part in walk(tree):
        assert replaced(tree, {path: part}) is tree
        changed = replaced(tree, {path: new})
        assert any(each is new for _, each in walk(changed))


def test_means_and_sums_go_over_their_axis() -> None:
    z = np.arange(6.0).reshape(1, 3, 2)
    found = Values({"z": z})
    np.testing.assert_array_equal(found(mean(symbol("z"))), z.mean(axis=1, keepdims=True))
    np.testing.assert_array_equal(found(total(symbol("z"))), z.sum(axis=1, keepdims=True))


def test_a_formula_is_its_base_with_its_slips() -> None:
    program = _forms("dbeta")[0]
    edit = Edit(RESULT, (), "not summed", program.bindings[RESULT], symbol("g"))
    formula = Formula("dbeta", program, (edit,))
    assert formula.program.bindings[RESULT] is symbol("g")


def test_conventions_differ_in_the_running_variance() -> None:
    def right(convention: Convention) -> Array:
        return Run(forms("running_var", convention)[0], recovery().evidence.symbols).result

    assert not close(right(CONVENTIONS["torch"]), right(CONVENTIONS["cs231n"]))


# Several slips in one formula.


@lru_cache(maxsize=16)
def pairs_of(observable: Observable, form: int) -> tuple[Index, tuple[Edit, ...]]:
    evidence, program = recovery().evidence, _forms(observable)[form]
    found = pairs(program, evidence.symbols, evidence.shape(observable))
    return found, likely(program, tuple(evidence.symbols))


@pytest.mark.once
@settings(deadline=None)
@given(st.data())
def test_slips_in_two_places_are_recovered_as_an_equal_function(data: st.DataObject) -> None:
    observable = data.draw(st.sampled_from(OF_TRAINING))
    form = data.draw(st.integers(0, min(len(_forms(observable)), FOR_TWO) - 1))
    found, made = pairs_of(observable, form)
    first, second = found.numbers[data.draw(st.integers(0, len(found.numbers) - 1))].tolist()
    edits = made[second], made[first]
    program = Formula(observable, _forms(observable)[form], edits).program
    with np.errstate(all="ignore"):
        value, right = values(program), recovery().right(observable)
    if value.shape != right.shape:
        return  # both together leave no instances in it, and it is looked for as another shape
    if close(value, right) or np.abs(value - right).max() <= 1e-3 * np.abs(right).max():
        return
    if np.abs(value).max() <= 1e-7 * np.abs(right).max():
        return  # what vanishes is explained by anything
    formula = recovery().recover({observable: value})[observable]
    assert formula is not None, (made[first], made[second])
    assert close(formula.value(known()), value)
    with np.errstate(all="ignore"):
        wanted, given_ = values(program, elsewhere()), formula.value(elsewhere())
    if np.isfinite(wanted).all():
        assert close(given_, wanted), (made[first].rule, made[second].rule, formula.edits)


def test_an_index_finds_what_its_table_holds() -> None:
    evidence, program = recovery().evidence, _forms("dgamma")[0]
    shape = evidence.shape("dgamma")
    whole, small = table(program, evidence.symbols, shape), index(program, evidence.symbols, shape)
    for place, value in zip(whole.numbers[::17], whole.values[::17], strict=True):
        assert place in small.near(value)


def test_what_is_stacked_is_what_each_edit_gives_alone() -> None:
    evidence, program = recovery().evidence, _forms("dz")[0]
    made = table(program, evidence.symbols, evidence.shape("dz"))
    run = Run(program, evidence.symbols)
    for edit, value in list(zip(made.edits, made.values, strict=True))[::23]:
        np.testing.assert_allclose(run.edited(edit).reshape(-1), value, rtol=1e-12, atol=1e-12)


def test_a_slip_in_each_of_three_terms_is_recovered() -> None:
    program = _forms("dz")[0]
    direct, variance, mean_ = program.bindings[RESULT].parts
    terms = (
        multiply(direct, power(symbol("s"), "1/2")),
        multiply(number("1/2"), variance),
        multiply(number(-1), mean_),
    )
    value = values(program.with_binding(RESULT, add(*terms)))
    formula = recovery().recover({"dz": value})["dz"]
    assert formula is not None
    assert close(
        formula.value(elsewhere()), values(program.with_binding(RESULT, add(*terms)), elsewhere())
    )


def test_what_inference_does_with_the_last_batch_is_recovered() -> None:
    evidence = Evidence(0)
    last_mean = np.roll(evidence.symbols["z"], -1, axis=0).mean(axis=1, keepdims=True)
    symbols = evidence.symbols | {"last_mean": last_mean, "last_var": last_mean**2}
    own = Recovery(CONVENTION, Given(symbols, evidence))
    program = _forms("inferred")[0]
    wrong = program.with_binding(
        "u",
        multiply(
            add(symbol("z"), multiply(number(-1), symbol("last_mean"))), power(symbol("s"), -1)
        ),
    )
    formula = own.recover({"inferred": Run(wrong, symbols).result}, slips=1)["inferred"]
    assert formula is not None
    assert formula.mentions("last_mean")
    assert not formula.mentions("last_var")


def test_what_nearly_is_right_is_not_searched_for_two_slips() -> None:
    right = recovery().right("dz")
    assert recovery().recover({"dz": right * (1 + 1e-5) + 1e-6})["dz"] is None


# Slips that strangers made.


def _folded(s: Mapping[str, Array]) -> Array:
    scale = s["gamma"] / np.sqrt(s["old_var"] + s["eps"])
    result: Array = s["z"] * scale + s["beta"] - s["old_mean"]
    return result


def _absolute(s: Mapping[str, Array]) -> Array:
    centred = s["z"] - s["z"].mean(axis=1, keepdims=True)
    spread = np.abs(centred).mean(axis=1, keepdims=True)
    result: Array = s["gamma"] * centred / np.sqrt(spread + s["eps"]) + s["beta"]
    return result


def _second_moment(s: Mapping[str, Array]) -> Array:
    average = s["z"].mean(axis=1, keepdims=True)
    spread = (s["z"] ** 2).mean(axis=1, keepdims=True) - average
    result: Array = s["gamma"] * (s["z"] - average) / np.sqrt(spread + s["eps"]) + s["beta"]
    return result


def _averaged(s: Mapping[str, Array]) -> Array:
    centred = s["z"] - s["old_mean"].mean(axis=2, keepdims=True)
    result: Array = s["gamma"] * centred / np.sqrt(s["old_var"] + s["eps"]) + s["beta"]
    return result


def _one_root(s: Mapping[str, Array]) -> Array:
    centred = s["z"] - s["old_mean"]
    result: Array = s["gamma"] * centred / (s["old_var"] + np.sqrt(s["eps"])) + s["beta"]
    return result


def _corrected(s: Mapping[str, Array]) -> Array:
    spread = s["old_var"] * s["less_one"] / s["n"]
    result: Array = s["gamma"] * (s["z"] - s["old_mean"]) / np.sqrt(spread + s["eps"]) + s["beta"]
    return result


def _not_one_less(s: Mapping[str, Array]) -> Array:
    result: Array = s["keep"] * s["old_mean"] + s["keep"] * s["z"].mean(axis=1, keepdims=True)
    return result


@pytest.mark.parametrize(
    ("observable", "wrong", "rule"),
    [
        ("inferred", _folded, "factor left out"),
        ("out", _absolute, "absolute value"),
        ("out", _second_moment, "power left out"),
        ("inferred", _averaged, "averaged over the features"),
        ("inferred", _one_root, "outside the power"),
        ("inferred", _corrected, "throughout"),
        ("running_mean", _not_one_less, "another quantity"),
    ],
)
def test_what_strangers_wrote_is_one_slip(
    observable: Observable, wrong: Callable[[Mapping[str, Array]], Array], rule: str
) -> None:
    formula = recovery().recover({observable: wrong(known())})[observable]
    assert formula is not None
    assert [edit.rule for edit in formula.edits] == [rule]
    np.testing.assert_allclose(formula.value(elsewhere()), wrong(elsewhere()), rtol=1e-9)
