"""The page docs/derivation.md: whatever it names exists, and no equation stands there unproved."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bn_diagnosis.faults import BY_ID, FAULTS
from bn_diagnosis.reference import ReferenceLayer
from bn_diagnosis.trace import Trace
from bn_oracle.arrays import Array
from bn_oracle.backward import backward
from bn_oracle.conventions import CMU_HW1P1
from bn_oracle.forward import forward
from latex2mathml.converter import convert

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "derivation.md").read_text(encoding="utf-8")
PROSE = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
NOTES = range(1, 18)
DISPLAY = r"^\$\$(.+)\$\$$"
"""One line, for a line that begins with + or − inside a formula would start a list."""


@cache
def _functions(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def _anchors() -> list[str]:
    return re.findall(r'<a id="([^"]+)"></a>', PAGE)


def _sections() -> dict[str, str]:
    """Each anchored heading's text, up to the next heading."""
    parts = re.split(r"^#+ ", PROSE, flags=re.MULTILINE)
    found = ((re.match(r'<a id="([^"]+)"></a>', part), part) for part in parts)
    return {match[1]: part for match, part in found if match}


def test_every_test_that_the_page_names_exists() -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)
    assert len(named) == PAGE.count("::"), "every :: is in `path::name`"
    for path, name in named:
        assert name in _functions(path), path


def test_each_item_has_its_anchor_once_and_its_test() -> None:
    anchors, sections = _anchors(), _sections()
    assert len(set(anchors)) == len(anchors)
    for number in NOTES:
        assert f"note-{number}" in anchors
        assert f"::test_note_{number:02d}_" in sections[f"note-{number}"]


def test_every_faults_anchor_is_on_the_page() -> None:
    assert {fault.anchor for fault in FAULTS} <= set(_anchors())


def test_every_link_within_the_page_arrives() -> None:
    titles = re.findall(r"^#+ ([A-Za-z ]+)$", PROSE, flags=re.MULTILINE)
    slugs = {title.lower().replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= slugs | set(_anchors())


def test_every_name_with_hyphens_in_backticks_is_a_fault() -> None:
    named = set(re.findall(r"`([a-z0-9]+(?:-[a-z0-9]+)+)`", PAGE))
    assert set() == named - set(BY_ID)


def test_each_item_names_its_fault_or_says_that_it_has_none() -> None:
    """What the notes have wrong is an executable mistake; two items have nothing wrong."""
    without = set()
    for number in NOTES:
        quoted = re.findall(r"`([a-z0-9-]+)`", _sections()[f"note-{number}"])
        if not set(quoted) & set(BY_ID):
            without.add(number)
    assert {14, 15} == without
    for number in without:
        assert "No fault" in " ".join(_sections()[f"note-{number}"].split())


PROOFS = {
    "test_derivation_page.py",
    "test_oracle_conventions.py",
    "test_oracle_exact.py",
    "test_oracle_network.py",
    "test_oracle_notes.py",
    "test_oracle_symbolic.py",
}
"""Where algebra, fractions and exact numbers are. The other files compare rounded numbers."""


def test_what_only_compares_rounded_numbers_is_not_called_a_proof() -> None:
    claims = re.findall(
        r"\*[Pp]roved by\* (.+?)(?=\*[Mm]easured by\*|\n\n|[.;:] )", PROSE, re.DOTALL
    )
    assert PAGE.lower().count("*proved by*") == len(claims) + 1, "the first explains the word"
    for claim in claims:
        named = set(re.findall(r"`oracle/tests/(\w+\.py)::", claim))
        assert named, claim
        assert set() == named - PROOFS


def test_every_displayed_equation_is_followed_by_its_proof() -> None:
    """Displays that follow each other share one. A form that is wrong is not displayed."""
    pieces = re.split(DISPLAY, PROSE, flags=re.MULTILINE)
    after = pieces[2::2]
    assert 0 < PROSE.count("$$") == 2 * len(after), "a display is a line of its own"
    for equation, text in zip(pieces[1::2], after, strict=True):
        if not text.strip() and text is not after[-1]:
            continue  # another display comes at once
        before_heading = re.split(r"^#+ ", text, flags=re.MULTILINE)[0]
        shown = re.search(r"^\*(Proved|Measured) by\* `", before_heading, flags=re.MULTILINE)
        assert shown, equation


def test_every_formula_is_valid() -> None:
    displayed = re.findall(DISPLAY, PROSE, flags=re.MULTILINE)
    inline = re.findall(r"\$([^$]+)\$", re.sub(DISPLAY, "", PROSE, flags=re.MULTILINE))
    assert PROSE.count("$") == 4 * len(displayed) + 2 * len(inline), "every $ has its partner"
    for formula in (*displayed, *inline):
        assert not re.search(r"\\[^A-Za-z]", formula), "Markdown takes the backslash away"
        assert not re.search(r"[)}]_\w", formula), "for Markdown emphasis may begin here"
        assert formula.count("{") == formula.count("}"), formula
        assert convert(formula).startswith("<math"), formula


def _layer(fault: str | None) -> ReferenceLayer:
    one = np.ones(1)
    trace = Trace(2 * one, one, 3.0, 0.9, CMU_HW1P1, 0 * one, one)
    return ReferenceLayer(trace, BY_ID[fault].replaces if fault else {})


@pytest.mark.parametrize(
    ("fault", "dz"),
    [
        (None, "(−0.75, 0.75)"),
        ("direct-term-counted-twice", "(−0.875, 0.375)"),
        ("variance-route-missing", "(−1, 1)"),
        ("mean-route-missing", "(1.25, 2.75)"),
        ("statistics-constant", "(1, 3)"),
        ("variance-gradient-from-mean-equation", "(3, −3)"),
        ("slipped-labels", "(7, 1)"),
        ("diagonal-jacobian", "(0.375, 1.125)"),
        ("compact-without-one-over-n", "(−1.5, 1.5)"),
    ],
)
def test_the_faults_compute_the_gradients_that_the_page_says(fault: str | None, dz: str) -> None:
    layer = _layer(fault)
    layer.train(np.array([[-1.0], [1.0]]))
    computed = np.ravel(np.asarray(layer.backward(np.array([[1.0], [3.0]])).dz))
    assert dz == f"({computed[0]:g}, {computed[1]:g})".replace("-", "−")
    assert dz in PAGE


def test_the_faults_compute_the_outputs_that_the_page_says() -> None:
    z = np.array([[-1.0], [1.0]])
    for fault in ("no-root-in-training", "root-plus-eps"):
        assert [0.5, 1.5] == np.ravel(_layer(fault).train(z)).tolist()
    assert [-0.5, 0.5] == np.ravel(_layer("inference-restores-activation").infer(z)).tolist()

    _, d_gamma, d_beta = _trained("parameter-gradients-not-summed")
    assert [-0.5, 1.5] == np.ravel(d_gamma).tolist()
    assert [1.0, 3.0] == np.ravel(d_beta).tolist()

    one = np.ones(1)
    trace = Trace(4 * one, one, 1.0, 0.9, CMU_HW1P1, 5 * one, 3 * one)
    wrong = ReferenceLayer(trace, BY_ID["inference-fold-offset"].replaces)
    assert [[-5.0]] == wrong.infer(np.array([[7.0]])).tolist()
    assert [[5.0]] == ReferenceLayer(trace, {}).infer(np.array([[7.0]])).tolist()


def _trained(fault: str) -> tuple[Array, Array, Array]:
    layer = _layer(fault)
    layer.train(np.array([[-1.0], [1.0]]))
    found = layer.backward(np.array([[1.0], [3.0]]))
    return np.asarray(found.dz), np.asarray(found.dgamma), np.asarray(found.dbeta)


def test_the_two_sums_of_the_normalised_values() -> None:
    """By algebra: Σu = 0 and Σu² = Bσ²/(σ²+ε)."""
    sympy = pytest.importorskip("sympy", reason="sympy is not installed")
    for size in (1, 2, 3, 4):
        z, mean, var = _symbolic_statistics(sympy, size)
        eps = sympy.symbols("epsilon", positive=True)
        u = [(value - mean) / sympy.sqrt(var + eps) for value in z]
        assert 0 == sympy.simplify(sum(u))
        squares = sum(value**2 for value in u)
        assert 0 == sympy.simplify(squares - size * var / (var + eps))


def test_the_partials_of_the_statistics() -> None:
    """By algebra; ∂σ²/∂z_i with the mean held, and with the mean moving."""
    sympy = pytest.importorskip("sympy", reason="sympy is not installed")
    for size in (1, 2, 3, 4):
        z, mean, var = _symbolic_statistics(sympy, size)
        held = sympy.symbols("mu")
        var_held = sum((value - held) ** 2 for value in z) / size
        assert 0 == sympy.expand(sympy.diff(var_held, held).subs(held, mean))
        for value in z:
            expected = 2 * (value - mean) / size
            assert sympy.Rational(1, size) == sympy.diff(mean, value)
            assert 0 == sympy.expand(expected - sympy.diff(var_held, value).subs(held, mean))
            assert 0 == sympy.expand(expected - sympy.diff(var, value))


def _symbolic_statistics(sympy: Any, size: int) -> tuple[Any, Any, Any]:
    z = sympy.symbols(f"z1:{size + 1}", real=True)
    mean = sum(z) / sympy.Integer(size)
    return z, mean, sum((value - mean) ** 2 for value in z) / sympy.Integer(size)


@pytest.mark.parametrize("a", [2.0, -2.0])
def test_scaled_weights_with_and_without_the_sign_upstream(a: float) -> None:
    """∂/∂(aW) is 1/a or 1/|a| times ∂/∂W, and ∂/∂x the same or times sign(a)."""
    x, w, g = np.array([[-1.0, 0.5], [1.0, 2.0]]), np.array([1.0, 0.0]), np.array([[1.0], [3.0]])
    sign = np.sign(a)
    record = forward(x @ w[:, None], [2.0], [1.0], 3.0)
    scaled = forward(x @ (a * w)[:, None], [2.0], [1.0], a * a * 3.0)
    assert np.array_equal(sign * record.u, scaled.u)
    dz = backward(record, g).dz
    by_w = (x.T @ dz)[:, 0]
    assert [1.5, 1.125] == by_w.tolist()

    carried, plain = backward(scaled, sign * g).dz, backward(scaled, g).dz
    assert (by_w / a).tolist() == (x.T @ carried)[:, 0].tolist()
    assert (by_w / abs(a)).tolist() == (x.T @ plain)[:, 0].tolist()
    assert np.array_equal(dz * w, carried * (a * w))
    assert np.array_equal(sign * dz * w, plain * (a * w))
