"""What can be changed at one node of a syntax tree: each operator yields the new node."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """One change: what it is called, and the new node; None deletes a statement."""

    operator: str
    node: ast.expr | ast.stmt | None


_SWAPPED: dict[type[ast.operator], ast.operator] = {
    ast.Add: ast.Sub(),
    ast.Sub: ast.Add(),
    ast.Mult: ast.Div(),
    ast.Div: ast.Mult(),
    ast.FloorDiv: ast.Mult(),
    ast.Pow: ast.Mult(),
    ast.MatMult: ast.Mult(),
}
_CALLS = {
    "mean": "sum",
    "sum": "mean",
    "var": "std",
    "std": "var",
    "zeros": "ones",
    "ones": "zeros",
    "square": "abs",
}
_UNWRAPPED = ("sqrt", "square", "abs")
_KEYS = {"running_mean": "running_var", "running_var": "running_mean"}
_COMPARED: dict[type[ast.cmpop], ast.cmpop] = {
    ast.Eq: ast.NotEq(),
    ast.NotEq: ast.Eq(),
    ast.Lt: ast.GtE(),
    ast.Gt: ast.LtE(),
    ast.LtE: ast.Gt(),
    ast.GtE: ast.Lt(),
    ast.Is: ast.IsNot(),
    ast.IsNot: ast.Is(),
    ast.In: ast.NotIn(),
    ast.NotIn: ast.In(),
}


def edits_of(
    node: ast.expr | ast.stmt, parent: ast.AST, function: ast.FunctionDef, attributes: list[str]
) -> Iterator[Edit]:
    """Yield the edits of `node`.

    `parent` holds it, `function` is the one it is in, and `attributes` are those of `self`.
    """
    if isinstance(node, ast.BinOp):
        yield from _binary(node)
    elif isinstance(node, ast.UnaryOp):
        if isinstance(node.op, ast.USub | ast.Not):
            yield Edit("sign dropped" if isinstance(node.op, ast.USub) else "negated", node.operand)
    elif isinstance(node, ast.Constant):
        yield from _constant(node, parent)
    elif isinstance(node, ast.Call):
        yield from _call(node)
    elif isinstance(node, ast.Compare):
        new = copy.deepcopy(node)
        new.ops = [_COMPARED[type(node.ops[0])]]
        yield Edit("comparison negated", new)
    elif isinstance(node, ast.Name):
        yield from _name(node, function)
    elif isinstance(node, ast.Attribute):
        yield from _attribute(node, attributes)
    elif isinstance(node, ast.Tuple):
        yield from _tuple(node, parent)
    elif isinstance(node, ast.stmt):
        yield from _statement(node)
    if isinstance(node, ast.If | ast.IfExp) and not isinstance(
        node.test, ast.Compare | ast.UnaryOp
    ):
        changed: ast.If | ast.IfExp = copy.deepcopy(node)
        changed.test = ast.UnaryOp(ast.Not(), changed.test)
        yield Edit("condition negated", changed)


def _binary(node: ast.BinOp) -> Iterator[Edit]:
    left, right, op = node.left, node.right, node.op
    if type(op) in _SWAPPED:  # what is left formats text
        yield Edit("operator swapped", ast.BinOp(left, _SWAPPED[type(op)], right))
    if isinstance(op, ast.Add | ast.Sub):
        yield Edit("last term dropped", left)
        minus = isinstance(op, ast.Sub)
        yield Edit("first term dropped", ast.UnaryOp(ast.USub(), right) if minus else right)
    elif isinstance(op, ast.Mult | ast.MatMult):
        yield Edit("last factor dropped", left)
        yield Edit("first factor dropped", right)
    elif isinstance(op, ast.Div | ast.FloorDiv):
        yield Edit("divisor dropped", left)
        yield Edit("numerator dropped", ast.BinOp(ast.Constant(1), ast.Div(), right))
    elif isinstance(op, ast.Pow):
        yield Edit("exponent dropped", left)
    if isinstance(op, ast.Sub | ast.Div | ast.Pow | ast.MatMult | ast.FloorDiv):
        yield Edit("operands swapped", ast.BinOp(right, op, left))


def _constant(node: ast.Constant, parent: ast.AST) -> Iterator[Edit]:
    value = node.value
    if isinstance(parent, ast.keyword) and parent.arg == "axis":
        if value in (0, 1):
            yield Edit("axis exchanged", ast.Constant(0 if value else 1))
            yield Edit("axis none", ast.Constant(None))
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int):
        yield Edit("constant plus one", ast.Constant(value + 1))
        yield Edit("constant minus one", ast.Constant(value - 1))
    elif isinstance(value, float):
        yield Edit("constant doubled", ast.Constant(2 * value))
        yield Edit("constant plus one", ast.Constant(value + 1))
        yield Edit("constant minus one", ast.Constant(value - 1))
    elif isinstance(value, str) and value in _KEYS:
        yield Edit("key exchanged", ast.Constant(_KEYS[value]))


def _called(node: ast.Call) -> str:
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _renamed(node: ast.Call, name: str) -> ast.Call:
    new = copy.deepcopy(node)
    if isinstance(new.func, ast.Attribute):
        new.func.attr = name
    return new


def _call(node: ast.Call) -> Iterator[Edit]:
    name = _called(node)
    if isinstance(node.func, ast.Attribute) and name in _CALLS:
        yield Edit(f"{name} to {_CALLS[name]}", _renamed(node, _CALLS[name]))
    if name in _UNWRAPPED and node.args:
        yield Edit(f"{name} removed", node.args[0])
    if name in ("var", "std"):
        new = copy.deepcopy(node)
        new.keywords.append(ast.keyword("ddof", ast.Constant(1)))
        yield Edit("ddof added", new)
    for index, keyword in enumerate(node.keywords):
        if keyword.arg in ("keepdims", "axis"):
            new = copy.deepcopy(node)
            del new.keywords[index]
            yield Edit(f"{keyword.arg} dropped", new)
    if len(node.args) >= 2 and not any(isinstance(arg, ast.Starred) for arg in node.args):
        for index in range(len(node.args) - 1):
            new = copy.deepcopy(node)
            new.args[index : index + 2] = reversed(new.args[index : index + 2])
            yield Edit(f"arguments {index + 1} and {index + 2} swapped", new)


def _tuple(node: ast.Tuple, parent: ast.AST) -> Iterator[Edit]:
    if isinstance(parent, ast.keyword) and parent.arg == "axis":
        yield Edit("axis none", ast.Constant(None))
        for index in range(len(node.elts)):
            rest = [each for other, each in enumerate(node.elts) if other != index]
            yield Edit(f"axis {index + 1} dropped", ast.Tuple(rest, ast.Load()))
    elif len(node.elts) >= 2:
        for index in range(len(node.elts) - 1):
            elts = list(node.elts)
            elts[index], elts[index + 1] = elts[index + 1], elts[index]
            new = ast.Tuple(elts, node.ctx)
            yield Edit(f"elements {index + 1} and {index + 2} swapped", new)


def _statement(node: ast.stmt) -> Iterator[Edit]:
    value = getattr(node, "value", None)
    if isinstance(value, ast.BinOp | ast.Call | ast.Name | ast.Attribute) and not isinstance(
        node, ast.Expr
    ):
        negative = copy.deepcopy(node)
        setattr(negative, "value", ast.UnaryOp(ast.USub(), value))  # noqa: B010
        yield Edit("minus added", negative)
    if isinstance(node, ast.AugAssign):
        new = copy.deepcopy(node)
        new.op = _SWAPPED[type(node.op)]
        yield Edit("operator swapped", new)
        assigned = ast.Assign([copy.deepcopy(node.target)], node.value)
        yield Edit("operator dropped", ast.copy_location(assigned, node))


def _another(name: str, others: list[str], position: int) -> str | None:
    """Choose one of the others; neighbours in the file get different ones."""
    rest = [each for each in others if each != name]
    return rest[position % len(rest)] if rest else None


def _locals(function: ast.FunctionDef, line: int) -> list[str]:
    """Return the names that have a value before `line`."""
    stored = {
        node.id
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.lineno < line
    }
    arguments = {argument.arg for argument in function.args.args}
    return sorted((stored | arguments) - {"self", "mode", "_"})


def _name(node: ast.Name, function: ast.FunctionDef) -> Iterator[Edit]:
    names = _locals(function, node.lineno)
    if not isinstance(node.ctx, ast.Load) or node.id not in names:
        return
    new = _another(node.id, names, node.lineno + node.col_offset)
    if new is not None:
        yield Edit("name swapped", ast.Name(new, ast.Load()))


def _attribute(node: ast.Attribute, attributes: list[str]) -> Iterator[Edit]:
    if not isinstance(node.ctx, ast.Load) or node.attr not in attributes:
        return
    new = _another(node.attr, attributes, node.lineno + node.col_offset)
    if new is not None:
        yield Edit("attribute swapped", ast.Attribute(node.value, new, ast.Load()))
