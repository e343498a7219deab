"""Batch norm's right formulas as programs: each quantity by name, made of those before it.

Sources: the lecture's chain with its three routes; the same in closed form, for ∂Div/∂u and for G
(docs/derivation.md, note 12); the computational graph of CS231n's assignment 2; Ioffe & Szegedy
2015, §3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from bn_oracle.conventions import Convention

from bn_diagnosis.recovery.trees import (
    Tree,
    add,
    mean,
    minus,
    multiply,
    number,
    over,
    power,
    substituted,
    symbol,
    total,
)

Observable = Literal[
    "out", "running_mean", "running_var", "inferred", "dgamma", "dbeta", "dz",
    "inferred_dz", "inferred_dgamma", "inferred_dbeta",
]  # fmt: skip
"""What a layer shows, one at a time: of a training step, or of inference."""

RESULT = "result"

NAMES: Mapping[str, str] = {
    "z": "z_i",
    "g": "G_i",
    "gamma": r"\gamma",
    "beta": r"\beta",
    "eps": r"\epsilon",
    "n": "B",
    "less_one": "(B-1)",
    "features": "C",
    "images": "N",
    "area": "HW",
    "keep": "k",
    "old_mean": "M",
    "old_var": "V",
    "new_mean": "M'",
    "new_var": "V'",
    "last_mean": r"\mu_{B'}",
    "last_var": r"\sigma_{B'}^2",
    "mean": r"\mu_B",
    "centred": r"(z_i-\mu_B)",
    "var": r"\sigma_B^2",
    "s": r"\sqrt{\sigma_B^2+\epsilon}",
    "u": "u_i",
    "du": r"\frac{\partial Div}{\partial u_i}",
    "dvar": r"\frac{\partial Div}{\partial\sigma_B^2}",
    "dmean": r"\frac{\partial Div}{\partial\mu_B}",
    "inverse": r"\frac{1}{\sqrt{\sigma_B^2+\epsilon}}",
    "dcentred": r"\frac{\partial Div}{\partial(z_i-\mu_B)}",
    "out": r"\hat z_i",
    "dgamma": r"\frac{\partial Div}{\partial\gamma}",
    "dbeta": r"\frac{\partial Div}{\partial\beta}",
    "dinverse": r"\frac{\partial Div}{\partial(1/\sqrt{\sigma_B^2+\epsilon})}",
    "dsquares": r"\frac{\partial Div}{\partial(z_i-\mu_B)^2}",
    "scale": "a",
    "offset": "b",
    "moment": r"\overline{z^2}",
    "dsqrt": r"\frac{\partial Div}{\partial\sqrt{\sigma_B^2+\epsilon}}",
}
"""Each quantity's LaTeX, as the notes write it."""

LEFT: Mapping[Observable, str] = {
    "out": r"\hat z_i",
    "running_mean": r"M'",
    "running_var": r"V'",
    "inferred": r"\hat z_i",
    "dgamma": r"\frac{\partial Div}{\partial\gamma}",
    "dbeta": r"\frac{\partial Div}{\partial\beta}",
    "dz": r"\frac{\partial Div}{\partial z_i}",
    "inferred_dz": r"\frac{\partial Div}{\partial z_i}",
    "inferred_dgamma": r"\frac{\partial Div}{\partial\gamma}",
    "inferred_dbeta": r"\frac{\partial Div}{\partial\beta}",
}
"""What stands on the left of each observable's equation."""


@dataclass(frozen=True, eq=False)
class Program:
    """A formula for one observable, quantity by quantity; the last one is the `RESULT`."""

    bindings: Mapping[str, Tree]
    is_rare: bool = False
    """Whether few write it that way: a slip in another form is likelier."""

    @property
    def key(self) -> tuple[tuple[str, Tree], ...]:
        """What tells programs apart: equal ones have equal keys."""
        return tuple(self.bindings.items())

    def tree(self) -> Tree:
        """Return the formula in one piece, of what is given alone."""
        meaning: dict[str, Tree] = {}
        for name, tree in self.bindings.items():
            meaning[name] = substituted(tree, meaning)
        return meaning[RESULT]

    def with_binding(self, name: str, tree: Tree) -> Program:
        """Return the program with another formula for one quantity."""
        return Program({**self.bindings, name: tree})


z, g, gamma, beta, eps, n = (symbol(x) for x in ("z", "g", "gamma", "beta", "eps", "n"))
mu, centred, var, s, u = (symbol(x) for x in ("mean", "centred", "var", "s", "u"))
du, dvar, dmu, inverse, dcentred = (
    symbol(x) for x in ("du", "dvar", "dmean", "inverse", "dcentred")
)
keep, old_mean, old_var = (symbol(x) for x in ("keep", "old_mean", "old_var"))
TWO, HALF = number(2), number("1/2")

STATISTICS: Mapping[str, Tree] = {
    "mean": mean(z),
    "centred": add(z, minus(mu)),
    "var": mean(power(centred, 2)),
}
FORWARD: Mapping[str, Tree] = {
    **STATISTICS,
    "s": power(add(var, eps), "1/2"),
    "u": over(centred, s),
}
"""What a training forward keeps for the backward."""
AFFINE = add(multiply(gamma, u), beta)
"""The output."""


def _folded(mean_: Tree, var_: Tree) -> Mapping[str, Tree]:
    """Return the output as one scale and one offset a feature."""
    scale = symbol("scale")
    return {
        "inverse": power(add(var_, eps), "-1/2"),
        "scale": multiply(gamma, inverse),
        "offset": add(beta, minus(multiply(mean_, scale))),
        RESULT: add(multiply(z, scale), symbol("offset")),
    }


OF_MOMENTS: Mapping[str, Tree] = {
    "mean": mean(z),
    "centred": add(z, minus(mu)),
    "moment": mean(power(z, 2)),
    "var": add(symbol("moment"), minus(power(mu, 2))),
    "s": power(add(var, eps), "1/2"),
    "u": over(centred, s),
}
"""The forward whose variance is the second moment less the squared mean."""
AT_INFERENCE: Mapping[str, Tree] = {
    "s": power(add(old_var, eps), "1/2"),
    "u": over(add(z, minus(old_mean)), s),
}


def _chain() -> dict[str, Tree]:
    """Return the lecture's three routes; the term of dmean that vanishes is left out."""
    return {
        "du": multiply(gamma, g),
        "dvar": multiply(
            number("-1/2"), total(multiply(du, centred)), power(add(var, eps), "-3/2")
        ),
        "dmean": minus(total(over(du, s))),
        RESULT: add(over(du, s), over(multiply(dvar, TWO, centred), n), over(dmu, n)),
    }


def _whole_chain() -> dict[str, Tree]:
    """Return the lecture's three routes written out, with the term of dmean that vanishes."""
    apart, inverse_root = add(z, minus(mu)), power(add(var, eps), "-1/2")
    return {
        **_chain(),
        "dmean": add(
            total(multiply(number(-1), du, inverse_root)),
            multiply(number(-2), dvar, over(total(apart), n)),
        ),
        RESULT: add(multiply(du, inverse_root), over(multiply(dvar, TWO, apart), n), over(dmu, n)),
    }


def _whole_chain_undivided() -> dict[str, Tree]:
    """Return the same, whose vanishing term is not divided: that is right, too."""
    inverse_root = power(add(var, eps), "-1/2")
    return {
        **_chain(),
        "dmean": add(
            total(multiply(number(-1), du, inverse_root)),
            multiply(number(-2), dvar, total(centred)),
        ),
    }


def _chain_of_moments() -> dict[str, Tree]:
    """Return the chain where the variance is the second moment less the squared mean."""
    return {
        **_chain(),
        "dmean": add(minus(total(over(du, s))), multiply(number(-2), mu, dvar)),
        RESULT: add(over(du, s), over(multiply(dvar, TWO, z), n), over(dmu, n)),
    }


def _closed_in_u() -> dict[str, Tree]:
    inner = add(multiply(n, du), minus(total(du)), minus(multiply(u, total(multiply(du, u)))))
    return {"du": multiply(gamma, g), RESULT: over(inner, n, s)}


def _closed_in_g() -> dict[str, Tree]:
    dgamma, dbeta = symbol("dgamma"), symbol("dbeta")
    inner = add(multiply(n, g), minus(dbeta), minus(multiply(u, dgamma)))
    return {RESULT: multiply(over(gamma, n, s), inner)}


def _means() -> dict[str, Tree]:
    inner = add(du, minus(mean(du)), minus(multiply(u, mean(multiply(du, u)))))
    return {"du": multiply(gamma, g), RESULT: over(inner, s)}


def _means_of_g() -> dict[str, Tree]:
    inner = add(g, minus(over(symbol("dbeta"), n)), minus(over(multiply(u, symbol("dgamma")), n)))
    return {RESULT: multiply(over(gamma, s), inner)}


def _graph() -> dict[str, Tree]:
    """Return CS231n's graph, whose variance route comes before the mean's."""
    return {
        "du": multiply(gamma, g),
        "inverse": power(s, -1),
        "dinverse": total(multiply(du, centred)),
        "dsqrt": minus(multiply(power(s, -2), symbol("dinverse"))),
        "dvar": multiply(HALF, power(s, -1), symbol("dsqrt")),
        "dsquares": over(dvar, n),
        "dcentred": add(multiply(du, inverse), multiply(TWO, centred, symbol("dsquares"))),
        "dmean": minus(total(dcentred)),
        RESULT: add(dcentred, over(dmu, n)),
    }


def _running(old: Tree, new: Tree) -> tuple[dict[str, Tree], ...]:
    """Return the weighted average of two, and the step from the one towards the other."""
    rest = add(number(1), minus(keep))
    average = add(multiply(keep, old), multiply(rest, new))
    step = add(old, multiply(rest, add(new, minus(old))))
    return tuple({**FORWARD, RESULT: each} for each in (average, step))


@cache
def forms(observable: Observable, convention: Convention) -> tuple[Program, ...]:
    """Return the right forms of one observable; the first is the lecture's."""
    if observable == "dz":
        makers = (
            _chain, _closed_in_u, _closed_in_g, _means, _graph, _whole_chain,
            _whole_chain_undivided, _means_of_g,
        )  # fmt: skip
        gradients = {"dbeta": total(g), "dgamma": total(multiply(g, u))}
        known = {**FORWARD, "out": AFFINE, **gradients}
        usual = tuple(Program({**known, **make()}) for make in makers)
        return (*usual, Program({**known, **_chain_of_moments()}, is_rare=True))
    unbiased = convention.running_variance == "unbiased"
    new_var = over(multiply(n, var), symbol("less_one")) if unbiased else var
    weighted = total(multiply(g, u))
    apart = {**FORWARD, "u": over(add(z, minus(mu)), s)}
    made: Mapping[Observable, tuple[Mapping[str, Tree], ...]] = {
        "out": (
            {**FORWARD, RESULT: AFFINE},
            {**apart, RESULT: AFFINE},
        ),
        "inferred": ({**STATISTICS, **AT_INFERENCE, RESULT: AFFINE},),
        "running_mean": _running(old_mean, mu),
        "running_var": _running(old_var, new_var),
        "dgamma": ({**FORWARD, "out": AFFINE, RESULT: weighted},),
        "dbeta": ({**FORWARD, "out": AFFINE, RESULT: total(g)},),
        "inferred_dz": ({**AT_INFERENCE, RESULT: over(multiply(gamma, g), s)},),
        "inferred_dgamma": ({**AT_INFERENCE, RESULT: weighted},),
        "inferred_dbeta": ({RESULT: total(g)},),
    }
    rare: Mapping[Observable, tuple[Mapping[str, Tree], ...]] = {
        "out": ({**OF_MOMENTS, RESULT: AFFINE}, {**STATISTICS, **_folded(mu, var)}),
        "inferred": ({**STATISTICS, **_folded(old_mean, old_var)},),
    }
    seldom = (Program(each, is_rare=True) for each in rare.get(observable, ()))
    return (*map(Program, made[observable]), *seldom)
