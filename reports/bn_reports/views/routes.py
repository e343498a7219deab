"""The influence diagram: which way a batch's values go, and which way a mistake cuts."""

from __future__ import annotations

from typing import Final

from bn_reports.views.trace import Trace

_BROKEN: Final[dict[str, frozenset[str]]] = {
    "μ": frozenset({"z-mu"}),
    "σ²": frozenset({"z-var"}),
    "s": frozenset({"var-u"}),
    "u": frozenset({"z-u"}),
    "ẑ": frozenset({"u-out"}),
    "du": frozenset({"u-out"}),
    "dσ²": frozenset({"var-u", "z-var"}),
    "dμ": frozenset({"mu-u", "z-mu"}),
    "dz": frozenset({"z-u"}),
    "dγ": frozenset({"gamma-out"}),
    "dβ": frozenset({"beta-out"}),
}
"""Which edges of the diagram belong to a step."""


def broken(trace: Trace) -> frozenset[str]:
    """Return the edges that are wrong: of the first wrong step, and of what else differs by itself.

    Empty where the mistake is in no edge of the diagram, such as in a running average.
    """
    wrong = {trace.first.symbol}
    if trace.kind == "backward":
        differing = [each.symbol for each in trace.steps if each.verdict == "differs"]
        inner = [each for each in differing if each != "dz"]
        wrong |= set(inner) if inner else set(differing)
    found: frozenset[str] = frozenset().union(*(_BROKEN.get(each, ()) for each in wrong))
    return found
