"""The steps of batch norm by hand: each with its rule, the numbers put in, and its value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from bn_oracle.arrays import Array
from bn_oracle.forward import forward
from bn_properties.naming import Role

from bn_reports.text.numbers import brief
from bn_reports.views.quantities import Named

Symbol = Literal["μ", "σ²", "s", "u", "ẑ", "M′", "V′", "dβ", "dγ", "du", "dσ²", "dμ", "dz"]

ROLES: Final[dict[Symbol, Role]] = {
    "μ": "mean", "σ²": "var", "u": "u", "ẑ": "out", "M′": "running_mean", "V′": "running_var",
    "dβ": "dbeta", "dγ": "dgamma", "dz": "dz",
}  # fmt: skip
"""What the symbols stand for; the others have no name in any course."""
SIX: Final = 6
"""How many significant digits numbers have, where nothing takes more."""
_SHOWN: Final = 4
"""How many terms of a sum are written out."""


@dataclass(frozen=True)
class Step:
    """One line of the calculation."""

    symbol: Symbol
    name: str
    """The file's own name for it; empty where it is the symbol."""
    rule: str
    """LaTeX."""
    worked: str
    """The rule with numbers put in."""
    number: float
    yours: str = ""
    """What the results make of it; empty where they do not show it."""
    verdict: Literal["", "agrees", "differs"] = ""
    first: bool = False
    """Whether it is the first step that the results contradict."""
    digits: int = SIX

    @property
    def value(self) -> str:
        """What it should be."""
        return brief(self.number, self.digits)


@dataclass(frozen=True)
class Feature:
    """One feature of a layer and of a batch: what its steps are computed of."""

    named: Named
    z: Array
    """(B,)"""
    gamma: float
    beta: float
    eps: float
    row: int
    """The instance whose own steps are shown."""

    @property
    def _digits(self) -> int:
        """How many digits of z and μ it takes for six of z − μ."""
        mean, _, _ = self.statistics
        size, spread = float(np.abs(self.z).max()), float(np.abs(self.z - mean).max())
        lost = math.floor(math.log10(size / spread)) if 0 < spread < math.inf else 0
        return SIX + max(0, lost)

    def _less(self, value: float, mean: float) -> str:
        """Return z − μ as it stands in a formula."""
        digits = min(17, self._digits)
        return f"({brief(value, digits)} − {bracketed(mean, digits)})"

    def step(
        self, symbol: Symbol, rule: str, worked: str, number: float, digits: int = SIX
    ) -> Step:
        """Return a step under the file's own name."""
        role = ROLES.get(symbol)
        own = self.named.shown(role) if role else symbol
        named = "" if own == symbol.rstrip("′") else own
        return Step(symbol, named, rule, worked, number, digits=digits)

    @property
    def statistics(self) -> tuple[float, float, float]:
        """μ, σ² and s of the batch."""
        record = forward(self.z[:, None], [self.gamma], [self.beta], self.eps)
        return float(record.mean[0]), float(record.var[0]), float(record.std[0])

    def centring(self) -> list[Step]:
        """Return the steps to μ, σ² and s."""
        mean, var, std = self.statistics
        digits = min(17, self._digits)
        squares = [f"{self._less(each, mean)}²" for each in self.z.tolist()]
        of = f" / {len(self.z)}" if len(self.z) > 1 else ""
        return [
            self.step(
                "μ", r"\mu = \frac{1}{B}\sum_i z_i", summed(self.z, digits) + of, mean, digits
            ),
            self.step("σ²", r"\sigma^2 = \frac{1}{B}\sum_i (z_i-\mu)^2", joined(squares) + of, var),
            self.step("s", r"s = \sqrt{\sigma^2+\epsilon}", self._root(var), std),
        ]

    def _root(self, var: float) -> str:
        return f"√({brief(var)} + {brief(self.eps)})"

    def output(self, mean: float, std: float, centre: str) -> list[Step]:
        """Return the steps from z to u and ẑ of the one instance."""
        z = float(self.z[self.row])
        u = (z - mean) / std
        worked = f"{self._less(z, mean)} / {brief(std)}"
        affine = f"{bracketed(self.gamma)} · {bracketed(u)} + {bracketed(self.beta)}"
        return [
            self.step("u", rf"u_i = \frac{{z_i-{centre}}}{{s}}", worked, u),
            self.step("ẑ", r"\hat z_i = \gamma u_i + \beta", affine, self.gamma * u + self.beta),
        ]

    def training(self) -> list[Step]:
        """Return the steps of a training-mode forward."""
        mean, _, std = self.statistics
        return [*self.centring(), *self.output(mean, std, r"\mu")]

    def inference(self, mean: float, var: float) -> list[Step]:
        """Return the steps of an inference-mode forward; its root must not be zero."""
        std = float(np.sqrt(var + self.eps))
        root = self.step("s", r"s = \sqrt{V+\epsilon}", self._root(var), std)
        return [root, *self.output(mean, std, "M")]

    def backward(self, g: Array) -> list[Step]:
        """Return the steps from G (B,) to dβ, dγ and dz."""
        mean, _, s = self.statistics
        d, i, size = self.z - mean, self.row, len(self.z)
        u, du = d / s, self.gamma * g
        dvar, dmean = float(-(du * d).sum() / (2 * s**3)), float(-du.sum() / s)
        routes = float(du[i] / s), float(dvar * 2 * d[i] / size), dmean / size
        return [
            self.step("dβ", r"d\beta = \sum_i G_i", summed(g), float(g.sum())),
            self.step("dγ", r"d\gamma = \sum_i G_i u_i", products(g, u), float((g * u).sum())),
            self.step(
                "du",
                r"du_i = \gamma G_i",
                f"{bracketed(self.gamma)} · {bracketed(g[i])}",
                float(du[i]),
            ),
            self.step(
                "dσ²",
                r"d\sigma^2 = -\frac{1}{2 s^3}\sum_i du_i\,(z_i-\mu)",
                f"−{products(du, d)} / (2 · {brief(s)}³)",
                dvar,
            ),
            self.step(
                "dμ",
                r"d\mu = -\frac{1}{s}\sum_i du_i",
                f"−{summed(du)} / {brief(s)}",
                dmean,
            ),
            self.step(
                "dz",
                r"dz_i = \frac{du_i}{s} + \frac{2}{B}\,d\sigma^2\,(z_i-\mu) + \frac{1}{B}\,d\mu",
                " + ".join(map(bracketed, routes)),
                sum(routes),
            ),
        ]


def bracketed(value: float, digits: int = SIX) -> str:
    """Return a number as it stands inside a formula."""
    text = brief(float(value), digits)
    return f"({text})" if text.startswith("-") else text


def summed(values: Array, digits: int = SIX) -> str:
    """Return a sum of numbers."""
    return joined([bracketed(each, digits) for each in values.tolist()])


def products(first: Array, second: Array) -> str:
    """Return a sum of products."""
    pairs = zip(first.tolist(), second.tolist(), strict=True)
    return joined([f"{bracketed(a)} · {bracketed(b)}" for a, b in pairs])


def joined(terms: Sequence[str]) -> str:
    """Return a sum in full, or its first and last terms; a single term stands as it is."""
    shown = terms if len(terms) <= _SHOWN else [*terms[: _SHOWN - 1], "…", terms[-1]]
    text = " + ".join(shown)
    return f"({text})" if len(shown) > 1 or "·" in text else text
