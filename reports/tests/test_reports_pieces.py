"""The pieces that the formats share: numbers, equations, text, arrays, order."""

from __future__ import annotations

import numpy as np
import pytest
from bn_properties.record_types import ArrayRecord
from bn_reports.text.equations import equations, mathml, plain
from bn_reports.text.numbers import apart, brief, exact, points, ratio
from bn_reports.text.visible import one_line, visible
from bn_reports.views.arrays import compared, listed, wrong_cells
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "0.1"),
        (np.float32(0.1), "0.1"),
        (1 / 3, "0.3333333333333333"),
        (np.nan, "NaN"),
        (-np.inf, "-infinity"),
        (np.int64(12345678901), "12345678901"),
        (np.bool_(True), "True"),
        (-0.0, "-0.0"),
    ],
)
def test_exact(value: float, text: str) -> None:
    assert text == exact(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [(1 / 3, "0.333333"), (0.25, "0.25"), (1.0, "1.0"), (5e11, "5e+11"), (np.inf, "infinity")],
)
def test_brief(value: float, text: str) -> None:
    assert text == brief(value)


@pytest.mark.parametrize(
    ("first", "second", "texts"),
    [
        (0.5, 0.0, ("0.5", "0.0")),
        (1 / 3, 2 / 3, ("0.333333", "0.666667")),
        (1 / 3, 1 / 3 + 1e-9, ("0.333333333", "0.333333334")),
        (1.0, 1.0 + 2**-52, ("1.0", "1.0000000000000002")),
        (1.234567, 1.2345671, ("1.234567", "1.2345671")),
        (12345678, 12345678.5, ("12345678", "12345678.5")),
        (True, 0.0, ("True", "0.0")),
        (-1e308, 1e308, ("-1e+308", "1e+308")),
        (np.nan, 1 / 3, ("NaN", "0.333333")),
        (np.float32(0.1), 0.1, ("0.10000000149011612", "0.10000000000000001")),
    ],
)
def test_apart_shows_the_difference(first: float, second: float, texts: tuple[str, str]) -> None:
    assert texts == apart(first, second)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "exact"),
        (3.95e-323, "exact"),
        (2e-13, "below 0.001"),
        (0.03952567989, "0.0395"),
        (1.18e14, "1.18e+14"),
        (np.inf, "infinity"),
    ],
)
def test_an_error_over_its_bound(value: float, text: str) -> None:
    assert text == ratio(value)


def test_points() -> None:
    assert [points(each) for each in (10, 2.5, 1 / 3, 0.0)] == ["10", "2.5", "0.33", "0"]


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"\frac{1}{N-1}\sum_{n}(z_n-\mu)^2", "1/(N − 1) · ∑ₙ (zₙ − μ)²"),
        (r"\frac{\gamma\,(z-\mu)}{\sqrt{\sigma^2+\varepsilon}}+\beta", "γ (z − μ)/√(σ² + ε) + β"),
        (r"\hat z_i^{(k)} = \frac{z_i - \mu}{s}", "ẑᵢ⁽ᵏ⁾ = (zᵢ − μ)/s"),
        (r"\text{train}(z) \ne \mathrm{infer}(z)", "train(z) ≠ infer(z)"),
        (r"\partial L/\partial\gamma_j", "∂L/∂γⱼ"),
        (r"\left(\frac{a}{b}\right)^{-1/2}", "(a/b)^(−1/2)"),
        (r"\exp x \in \mathbb{R}^{N\times D}", "exp x ∈ ℝ^(N×D)"),
        (r"\frac{\sum_i a}{b_i}", "(∑ᵢ a)/bᵢ"),
        (r"\left(\sqrt{a+b}\right)^{2}", "(√(a + b))²"),
        (r"\left(a+b\right)\left(c+d\right)^{3/2}", "(a + b)(c + d)^(3/2)"),
        (r"\frac{a}{\left(a + b\right) \left(c + d\right)}", "a/((a + b)(c + d))"),
        (r"\left(\sum_i a\right) - \frac{1}{\sqrt{b}}", "(∑ᵢ a) − 1/√b"),
        (r"\sum_i \left(-\frac{1}{\sqrt{b}}\right)", "∑ᵢ (−1/√b)"),
        (r"\frac{\boxed{a + b}}{c}", "(⟦a + b⟧)/c"),
        (r"a + \boxed{-\frac{1}{b}}", "a + ⟦−1/b⟧"),
        (r"\frac{\gamma G_i}{\boxed{\sqrt{V+\epsilon}}}", "γGᵢ/⟦√(V + ε)⟧"),
        (r"\left(\boxed{z_i}\right)^{2}", "(⟦zᵢ⟧)²"),
        (r"\begin{cases} a & b\\ c & d\end{cases}", "{a, b; c, d"),
        (r"\frac{\gamma}{s}\left(G_i - \overline{G}\right)", "γ/s · (Gᵢ − mean(G))"),
        (r"\frac{1}{s}\frac{\partial L}{\partial u_i}", "1/s · ∂L/∂uᵢ"),
        (r"(1-k)\,\frac1B\sum_i u_i", "(1 − k) · 1/B · ∑ᵢ uᵢ"),
        (r"\sum_i -\frac{1}{s} a + b", "∑ᵢ (−1/s · a) + b"),
        (r"\left(\sum_i -(a + b) c\right) - d", "(∑ᵢ (−(a + b)c)) − d"),
        (r"a \times -b = -c", "a × (−b) = −c"),
        (r"\bar x \ne f'(x^\top)", "x\u0304 ≠ f′(xᵀ)"),
        (r"\frac{1}{|a|} = \frac{b}{\partial(az)}", "1/|a| = b/∂(az)"),
        (r"k = 0: M \leftarrow k\,M", "k = 0: M ← k M"),
        (r"\gamma = \beta \qquad \epsilon \text{, as } f(\text{batch})", "γ = β; ε, as f(batch)"),
    ],
)
def test_equations_in_plain_text(latex: str, text: str) -> None:
    assert text == plain(latex)
    assert mathml(latex) is not None


def test_equations_side_by_side_are_lines_of_their_own() -> None:
    assert ("a = b, c = d", "e = f") == equations(r"a = b, \quad c = d \qquad e = f")


def test_the_changed_place_is_marked_on_a_page() -> None:
    source = mathml(r"a + \boxed{b}") or ""
    assert '<mrow class="changed">' in source
    assert "menclose" not in source


@pytest.mark.parametrize("latex", ["", r"\frac{", r"\frac{a", r"\nosuchthing x", "a & b <"])
def test_equations_that_cannot_be_read_stand_as_they_are(latex: str) -> None:
    assert mathml(latex) is None
    assert latex == plain(latex)


@pytest.mark.parametrize("latex", ["<script>", r"\href{javascript:alert(1)}{x}", r"\text{<b>}"])
def test_mathml_holds_no_other_markup(latex: str) -> None:
    source = mathml(latex) or ""
    assert not any(part in source for part in ("<script", "<b>", "href", "javascript"))


def test_visible() -> None:
    assert visible("a\r\nb\t\x1b[0m\r\x00\u202e\udc80é") == "a\nb\t\\x1b[0m\\r\\x00\\u202e\\udc80é"
    assert one_line(" a\n\tb ") == "a b"


def test_wrong_cells() -> None:
    nan, inf = np.nan, np.inf
    got = np.array([1.0, 1.1, nan, nan, inf, inf, inf, 0.0, 1.0])
    expected = np.array([1.0, 1.0, nan, 1.0, inf, -inf, 1.0, nan, 2.0])
    bound = np.array([0.0, 0.2, 0.0, inf, 0.0, inf, inf, 1.0, 0.5])
    marks = [False, False, False, True, False, True, True, True, True]
    assert marks == wrong_cells(got, expected, bound).tolist()


@pytest.mark.parametrize(
    ("shape", "labels", "note"),
    [
        ((), [""], None),
        ((3,), [""], None),
        ((9,), [""], "shown: [0:8]; the full shape is (9,)"),
        ((2, 20), [""], "shown: [0:2, 0:8]; the full shape is (2, 20)"),
        ((2, 1, 2), ["[0, :, :]", "[1, :, :]"], None),
        ((2, 0), [], "it is empty"),
        ((0, 3, 100), [], "it is empty"),
    ],
)
def test_arrays_of_every_rank(shape: tuple[int, ...], labels: list[str], note: str | None) -> None:
    record = ArrayRecord.of(np.zeros(shape))
    for quantity in (listed("z", record), compared("z", record, record, None)):
        assert labels == [block.label for block in quantity.blocks]
        assert ([note] if note else []) == list(quantity.notes)


def test_wrong_cells_beyond_the_cut_are_counted() -> None:
    expected = np.zeros(20)
    got = expected.copy()
    got[-1] = 1.0
    quantity = compared("z", ArrayRecord.of(got), ArrayRecord.of(expected), None)
    assert "1 of 20 values are wrong" in quantity.notes[-1]


@given(
    shape=array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=20),
    data=st.data(),
)
@settings(deadline=None)
def test_the_window_stands_where_it_is_wrong(shape: tuple[int, ...], data: st.DataObject) -> None:
    """Wherever the one wrong value is, it is among the cells shown; so is what went in there."""
    place = tuple(data.draw(st.integers(0, size - 1)) for size in shape)
    expected = np.zeros(shape)
    got = expected.copy()
    got[place] = data.draw(st.sampled_from([1.0, -1.0, np.nan, np.inf]))
    bound = ArrayRecord.of(np.full(shape, 1e-6))
    quantity = compared("y", ArrayRecord.of(got), ArrayRecord.of(expected), bound)
    assert place == quantity.worst
    for number in range(2):
        cells = [
            (block.corner[0] + i, block.corner[1] + j, cell)
            for block in quantity.blocks
            for panel in (block.panels[0], block.difference)[number : number + 1]
            if panel is not None
            for i, row in enumerate(panel.rows)
            for j, cell in enumerate(row)
        ]
        (found,) = [each for each in cells if each[2].wrong]
        assert (0, 0, *place)[-2:] == found[:2]
        assert max(len(row) for block in quantity.blocks for row in block.panels[0].rows) <= 8
    given_there = listed("z", ArrayRecord.of(expected), quantity.worst)
    if len(shape) > 1:
        assert quantity.blocks[0].corner == given_there.blocks[0].corner


def test_a_difference_is_in_units_of_the_bound_and_has_a_side() -> None:
    got, expected = np.array([2.0, -2.0, 1e-7, 0.0, np.nan]), np.zeros(5)
    bound = ArrayRecord.of(np.full(5, 1e-6))
    block = compared("y", ArrayRecord.of(got), ArrayRecord.of(expected), bound).blocks[0]
    assert block.difference is not None
    (row,) = block.difference.rows
    assert ["+2e+06", "−2e+06", "0.1", "exact", "NaN"] == [cell.text for cell in row]
    assert [3, -3, 0, 0, 0] == [cell.level for cell in row]
    assert "nan" == row[-1].kind


def test_the_worst_of_what_is_cut_are_listed() -> None:
    expected = np.zeros((40, 3))
    got = expected.copy()
    got[5, 1], got[30, 2] = 1e-3, 1.0
    bound = ArrayRecord.of(np.full((40, 3), 1e-6))
    quantity = compared("y", ArrayRecord.of(got), ArrayRecord.of(expected), bound)
    assert ["[30, 2]", "[5, 1]"] == [entry.index for entry in quantity.entries]
    assert (26, 0) == quantity.blocks[0].corner
