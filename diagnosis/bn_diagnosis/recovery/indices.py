"""The indices in a printed formula: each Σ has one of its own, and what stands under it has that.

Rows have an index of the instance, `z_i`. Under a Σ over the features they have one of the feature
as well, and so have the statistics: `z_{ic}` and `\\mu_c`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from bn_diagnosis.recovery.trees import Axis, Reduction, Symbol, Tree

_OF_INSTANCE = re.compile(r"_i(?![A-Za-z])")
_OF_BATCH = re.compile(r"_B(?![A-Za-z])")
_INSTANCES, _FEATURES = ("i", "j", "l", "m"), ("c", "c'", "c''")
_PER: Mapping[Axis, str] = {"batch": r"\frac1B", "features": r"\frac1C", "all": r"\frac{1}{BC}"}


class Indices(NamedTuple):
    """The symbols' LaTeX where it is printed, and which indices it has there."""

    names: Mapping[str, str]
    instance: str = "i"
    feature: str = ""
    used: frozenset[str] = frozenset()
    """What a Σ further in must not have."""

    def name(self, symbol: Symbol) -> str:
        """Return a symbol's LaTeX."""
        word = symbol.name.replace("_", r"\_")
        text = self.names.get(symbol.name, rf"\mathrm{{{word}}}")
        both = self.instance + self.feature
        text = _OF_INSTANCE.sub(f"_{both}" if len(both) == 1 else f"_{{{both}}}", text)
        return _OF_BATCH.sub(f"_{self.feature}", text) if len(self.feature) == 1 else text

    def summed(self, tree: Reduction) -> tuple[str, Indices]:
        """Return a reduction's sign, and the indices of what stands under it."""
        below = self
        if tree.axis != "features":
            instance = self._unused(_INSTANCES)
            below = below._replace(instance=instance, used=below.used | {instance})
        if tree.axis != "batch":
            feature = self._unused(_FEATURES)
            below = below._replace(feature=feature, used=below.used | {feature})
        if tree.axis == "all":
            over = f"{{{below.instance},{below.feature}}}"
        else:
            over = below.instance if tree.axis == "batch" else below.feature
            over = over if len(over) == 1 else f"{{{over}}}"
        return (_PER[tree.axis] if tree.kind == "mean" else "") + rf"\sum_{over}", below

    def _unused(self, letters: tuple[str, ...]) -> str:
        return next((each for each in letters if each not in self.used), letters[-1])


def indices(tree: Tree, names: Mapping[str, str], left: str) -> Indices:
    """Return the indices at a formula's root: those of the left side, or of rows that stand in it
    beside every Σ, are used.
    """
    texts = [left, *(names.get(each.name, "") for each in _outside(tree))]
    used = {"i"} if any(_OF_INSTANCE.search(each) for each in texts) else set[str]()
    return Indices(names, used=frozenset(used))


def _outside(tree: Tree) -> list[Symbol]:
    """Return the symbols that stand under no Σ over the instances."""
    if isinstance(tree, Symbol):
        return [tree]
    if isinstance(tree, Reduction) and tree.axis != "features":
        return []
    return [each for part in tree.parts for each in _outside(part)]
