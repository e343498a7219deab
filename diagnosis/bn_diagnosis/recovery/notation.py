"""Formulas as they are written down, in Python's own notation: `"-Sum(du / s)"`.

Names are quantities (`forms.py`); `Sum` and `Mean` go over the instances, and over `features` or
`all` where that is their second argument; `sqrt` is the power of one half; exponents are constants.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from typing import Literal

from bn_diagnosis.recovery.trees import (
    Axis,
    Number,
    Product,
    Tree,
    add,
    minus,
    multiply,
    number,
    over,
    power,
    reduction,
    substituted,
    symbol,
)

_REDUCTIONS: Mapping[str, Literal["sum", "mean"]] = {"Sum": "sum", "Mean": "mean"}
_AXES: Mapping[str, Axis] = {"features": "features", "all": "all"}


def parsed(text: str, meaning: Mapping[str, Tree] | None = None) -> Tree:
    """Return a written formula as a tree; `meaning` has what some names in it stand for.

    Raises:
        ValueError: it is no formula; it says what is not understood.
    """
    tree = _read(text.strip())
    return substituted(tree, meaning) if meaning else tree


@cache
def _read(text: str) -> Tree:
    try:
        node = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"no formula: {text}") from error
    return _tree(node)


def _tree(node: ast.expr) -> Tree:
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return number(repr(node.value))
    if isinstance(node, ast.Name):
        return symbol(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return minus(_tree(node.operand))
    if isinstance(node, ast.BinOp):
        return _combined(node, _tree(node.left), _tree(node.right))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return _called(node, node.func.id)
    raise ValueError(f"no part of a formula: {ast.unparse(node)}")


def _combined(node: ast.BinOp, left: Tree, right: Tree) -> Tree:
    if isinstance(node.op, ast.Add):
        return add(left, right)
    if isinstance(node.op, ast.Sub):
        return add(left, minus(right))
    if isinstance(node.op, ast.Mult):
        return multiply(left, right)
    if isinstance(node.op, ast.Div):
        return over(left, *(right.factors if isinstance(right, Product) else (right,)))
    if isinstance(node.op, ast.Pow) and isinstance(right, Number):
        return power(left, right.value)
    raise ValueError(f"no part of a formula: {ast.unparse(node)}")


def _called(node: ast.Call, name: str) -> Tree:
    match (name, node.args):
        case ("sqrt", [of]):
            return power(_tree(of), Fraction(1, 2))
        case ("Sum" | "Mean", [of]):
            return reduction(_REDUCTIONS[name], "batch", _tree(of))
        case ("Sum" | "Mean", [of, ast.Name(id=axis)]) if axis in _AXES:
            return reduction(_REDUCTIONS[name], _AXES[axis], _tree(of))
        case _:
            raise ValueError(f"no part of a formula: {ast.unparse(node)}")
