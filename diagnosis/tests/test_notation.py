"""Written formulas are read, and compiled to what their trees are worth."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from operator import itemgetter

import numpy as np
import pytest
from bn_diagnosis.recovery.compiling import compiled
from bn_diagnosis.recovery.notation import parsed
from bn_diagnosis.recovery.trees import (
    Tree,
    Values,
    add,
    mean,
    minus,
    multiply,
    number,
    over,
    power,
    reduction,
    symbol,
    total,
)
from bn_oracle.arrays import Array

z, g, gamma, n, s = (symbol(name) for name in ("z", "g", "gamma", "n", "s"))


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("z", z),
        (" 2 * z ", multiply(number(2), z)),
        ("1e-8", number(Fraction(1, 10**8))),
        ("0.9 * z", multiply(number("9/10"), z)),
        ("z - g + 1", add(z, minus(g), number(1))),
        ("-1/2 * z", multiply(number("-1/2"), z)),
        ("z / n / s", over(z, n, s)),
        ("z / (n * s)", over(z, n, s)),
        ("s**-3", power(s, -3)),
        ("s**(-3/2)", power(s, "-3/2")),
        ("sqrt(s)", power(s, "1/2")),
        ("Sum(g * z)", total(multiply(g, z))),
        ("Mean(z)", mean(z)),
        ("Mean(z, features)", reduction("mean", "features", z)),
        ("Sum(z, all)", reduction("sum", "all", z)),
    ],
)
def test_a_written_formula_is_its_tree(text: str, tree: Tree) -> None:
    assert parsed(text) is tree


def test_a_name_may_stand_for_a_formula() -> None:
    assert parsed("each / n", {"each": parsed("g * z")}) is parsed("g * z / n")


@pytest.mark.parametrize(
    "text",
    ["", "z z", "z**n", "z % 2", "max(z, 0)", "Sum(z, batch)", "Sum()", "z.mean()", "'z'", "+z"],
)
def test_what_is_no_formula_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^no (part of a )?formula: "):
        parsed(text)


_RNG = np.random.default_rng(0)
GIVEN: Mapping[str, Array | float] = {
    "z": _RNG.normal(size=(4, 3)),
    "g": _RNG.normal(size=(4, 3)),
    "gamma": _RNG.uniform(0.5, 2.0, size=3),
    "s": _RNG.uniform(0.5, 2.0, size=3),
    "n": 4.0,
}
SYMBOLS = {name: np.reshape(np.asarray(each), (-1, np.size(each) // len(np.atleast_2d(each))))
           for name, each in GIVEN.items()}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("3/4", ()),
        ("n - 1", ()),
        ("-z", (4, 3)),
        ("2 - z - 3 * g", (4, 3)),
        ("-2 * z / n / s**3", (4, 3)),
        ("gamma * z / sqrt(s)", (4, 3)),
        ("s**(3/2) + s**-2 - s**(-1/2)", (3,)),
        ("1 / (n * s)", (3,)),
        ("Sum(g * z)", (3,)),
        ("Mean(g * z)", (3,)),
        ("z - Mean(z, features)", (4, 3)),
        ("Sum(z, features)", (4, 1)),
        ("Sum(z, all)", ()),
        ("Mean(z, all) - z", (4, 3)),
        ("-1/2 * Sum(g * (z - Mean(z))) * (s + 1)**(-3/2)", (3,)),
    ],
)
def test_a_compiled_formula_computes_its_tree(text: str, shape: tuple[int, ...]) -> None:
    tree = parsed(text)
    found = np.asarray(compiled(tree, {name: itemgetter(name) for name in GIVEN})(GIVEN))
    assert found.shape == shape
    np.testing.assert_allclose(
        np.broadcast_to(found, (4, 3)), np.broadcast_to(Values(SYMBOLS)(tree), (4, 3)), rtol=1e-13
    )


def test_divisors_do_not_vanish_together() -> None:
    tiny = {"s": 1e-150, "z": 1e-200}
    given = {name: itemgetter(name) for name in tiny}
    assert compiled(parsed("z / s**3"), given)(tiny) == pytest.approx(1e250)


def test_an_unknown_quantity_is_refused() -> None:
    with pytest.raises(ValueError, match="no such quantity: zz; there are z"):
        compiled(parsed("z + zz"), {"z": itemgetter("z")})
