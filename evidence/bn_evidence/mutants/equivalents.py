"""Why a mutant that no answer tells from batch normalization is none: read off the edit."""

from __future__ import annotations

import ast
import re

from bn_evidence.mutants.edits import Mutant

_VANISHING = re.compile(
    r"np\.(sum|mean)\((diff|xmu|D,|c\)|self\.x - self\.mean|self\.Z - self\.M)"
    r"|np\.(sum|mean)\(-2 \* (D|xmu|\(x - \w+\))"
    r"|\b(d|diff)\.(sum|mean)\(|\bresid\b|\bleftover\b|one\.T @ self\.D|xmu\.(sum|mean)\("
)
"""How the files write Σ(z − μ)."""
_DEFAULTS = ("'eps'", "'momentum'", "1e-08", "1e-05", "alpha=")
_SIGNS = ("operands swapped", "minus added", "sign dropped")
_PROTOCOL = (
    "dLdBW",
    "dLdBb",
    "dgamma",
    "dbeta",
    "running_M",
    "running_V",
    "running_mean",
    "running_var",
)

CLASSES = {
    "broadcasts": "Without `keepdims`, (C,) stands where (1, C) stood: it broadcasts "
    "alike, and both shapes are allowed.",
    "set by the grader": "A default of ε, momentum or the parameters, which the grader sets.",
    "vanishing term": "The term of dμ with Σ(z − μ), which is zero whatever multiplies it.",
    "never read": "What is changed is stored and nothing reads it.",
    "not implemented": "An optional function that returns None counts as not implemented: "
    "the file is *correct* without it, and the report says that the part was not run.",
    "never called": "The grader calls `forward`, not `__call__`.",
    "read from the object": "Where `forward` returns None, the course reads the attribute.",
    "minus zero": "−0 is 0.",
    "sign cancels": "A difference is negated wherever it enters a square, or enters twice.",
    "commutes": "The order of factors, terms, axes or operands does not matter here.",
    "same value": "The other name or number has the same value at this place.",
    "overwritten": "An initial value that is overwritten before it is read.",
    "done again": "What is left out is done when it is next asked for.",
    "stored already": "Inference puts statistics back that are in their place already.",
}
"""Every class, and what it says."""

_BY_HAND = {
    # What an unfinished function has computed, and does not return.
    "cs231n_alt_unfinished:43:": "never read",
    "cs231n_alt_unfinished:44:": "never read",
    "cs231n_alt_unfinished:45:": "never read",
    "cs231n_alt_unfinished:46:": "never read",
    "cs231n_cov:20:": "stored already",
    "cs231n_layers:73:": "never read",
    # Any negative size stands for what is left.
    "cs231n_layers:109:42:": "same value",
    "cs231n_layers:116:45:": "same value",
    "cs231n_transposed:8:34:": "same value",
    "cmu_jacobian:44:29:numerator dropped": "same value",
    "cmu_bn2d:31:": "never read",
    "cmu_both_dims_core:33:": "never read",
    "cmu_fan_in_graph:39:": "never read",
    "cmu_jacobian_per_feature:42:": "never read",
    "cmu_loops_numba:68:": "never read",
    "cmu_module_base:66:": "never read",
    "cmu_ones_matmul:23:": "never read",
    "cmu_projection:36:": "never read",
    "cmu_slots_namedtuple:40:": "never read",
    "cmu_transposed_closure:53:": "never read",
    "cmu_module_base:15:": "overwritten",
    "cmu_lazy_history:37:": "done again",
    "cmu_lazy_history:42:": "done again",
    "cmu_lazy_history:47:": "done again",
    # A copy, or a product with one, of what is float64.
    "cmu_loops_numba:64:": "same value",
    "cmu_loops_numba:80:": "same value",
    "cs231n_feature_loop_projection:9:": "same value",
    "cs231n_graph_steps:57:": "same value",
    # A column of ones times a row: broadcasting does the same.
    "cmu_ones_matmul:30:": "broadcasts",
    "cmu_ones_matmul:37:": "broadcasts",
    "cmu_ones_matmul:39:": "broadcasts",
    "cmu_ones_matmul:40:25:first": "broadcasts",
    "cmu_ones_matmul:43:25:first": "broadcasts",
    "cmu_ones_matmul:44:25:first": "broadcasts",
    "cmu_ones_matmul:55:": "broadcasts",
    "cmu_ones_matmul:62:": "broadcasts",
    "cmu_ones_matmul:63:": "broadcasts",
    "cmu_ones_matmul:64:": "broadcasts",
    "cs231n_vanishing_by_graph:40:25:last": "broadcasts",
    "cs231n_vanishing_by_graph:42:16:last": "broadcasts",
    "cs231n_closure_cache:49:": "broadcasts",
    "cs231n_closure_cache:61:": "broadcasts",
    # Whether the statistics are there is asked of both keys by asking for one.
    "cs231n_layers_old_numpy:23:": "same value",
    "cs231n_graph_steps:64:": "vanishing term",
    # The sum of the squares' route over the batch is that of Σ(z − μ).
    "cs231n_graph:86:18:last term dropped": "vanishing term",
}
"""Mutants that no rule reads off: looked at one by one."""


def explain(mutant: Mutant) -> str:
    """Return the class of an equivalent mutant; `unexplained` where there is none."""
    by_hand = next((why for id_, why in _BY_HAND.items() if mutant.id.startswith(id_)), None)
    if by_hand is not None:
        return by_hand
    rules = (
        ("not implemented", mutant.operator == "statement deleted" and _returns(mutant)),
        ("never called", "self.forward(" in mutant.statement),
        ("read from the object", mutant.statement.startswith("return self.")),
        ("broadcasts", mutant.operator == "keepdims dropped"),
        ("set by the grader", _is_default(mutant)),
        ("minus zero", mutant.operator == "minus added" and "zeros" in mutant.statement),
        ("vanishing term", _VANISHING.search(mutant.statement) is not None),
        ("never read", _is_unread(mutant)),
        ("sign cancels", mutant.operator in _SIGNS),
        ("same value", mutant.operator in ("name swapped", "attribute swapped")),
        ("commutes", "swapped" in mutant.operator),
        ("broadcasts", mutant.before.removeprefix(mutant.after).startswith(" * np.ones(")),
        ("same value", mutant.operator == "numerator dropped" and mutant.after[:3] == "1 /"),
        # Any negative size stands for what is left; the only element is the first and the last.
        ("same value", ".reshape(" in mutant.statement and mutant.after == "2"),
        ("same value", mutant.operator == "constant minus one" and mutant.before == "0"),
        ("overwritten", mutant.operator == "zeros to ones"),
        ("read from the object", mutant.before.startswith("return ")),
    )
    return next((why for why, holds in rules if holds), "unexplained")


def _returns(mutant: Mutant) -> bool:
    return mutant.statement.startswith("return (") or mutant.statement.startswith(
        "return np.moveaxis"
    )


def _is_default(mutant: Mutant) -> bool:
    return any(text in mutant.statement for text in _DEFAULTS) or ".get(" in mutant.statement


def _is_unread(mutant: Mutant) -> bool:
    """Whether nothing reads what the statement assigns."""
    statement = ast.parse(mutant.statement).body[0]
    if not isinstance(statement, ast.Assign):
        return False
    stored = {
        node.id if isinstance(node, ast.Name) else node.attr
        for target in statement.targets
        for node in ast.walk(target)
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    read = {
        node.id if isinstance(node, ast.Name) else node.attr
        for node in ast.walk(ast.parse(mutant.source))
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    return bool(stored) and not stored & (read | set(_PROTOCOL))
