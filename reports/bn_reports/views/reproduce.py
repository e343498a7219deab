"""A script that repeats a counterexample with NumPy and the submission's file alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from bn_properties.naming import Role
from bn_properties.record_types import ArrayRecord
from bn_properties.records import Call, Calling, Counterexample

from bn_reports.text.visible import one_line
from bn_reports.views.counterexamples import calls, leading
from bn_reports.views.quantities import Named

MOST_VALUES: Final = 512
"""An example with more numbers in it makes a script that nobody reads."""
_SET: Final[tuple[Role, ...]] = ("gamma", "beta", "running_mean", "running_var")


def script(example: Counterexample, named: Named, how: Calling | None) -> str | None:
    """Return the script, or None where the example takes more than a few plain calls."""
    if how is None:
        return None
    made = [example.calls[place] for place in leading(example)]
    kinds = [named.what(call) for call in made]
    plain = kinds[:1] == ["construct"] and not {"other", "infer_backward"} & set(kinds)
    named_plainly = all(call.call in _PLAIN for call in made)
    held = [each for call in made for each in (*call.inputs.values(), *call.expected.values())]
    size = sum(len(each.values) for each in held if isinstance(each, ArrayRecord))
    if not plain or not named_plainly or size > MOST_VALUES or how.file.count("/"):
        return None
    lines = list(_class(made, named, how) if how.kind == "class" else _functions(made, named, how))
    wrong = [calls(example)[place] for place in leading(example)][-1]
    names = [each.name for each in wrong.outputs if each.wrong or wrong.error]
    lines += [""]
    for name in names:
        role = _role(name, named)
        expected = made[-1].expected.get(name)
        if role is None or expected is None:
            return None
        got = _read(role, named, how)
        lines += [
            f"print({f'{one_line(name)}, got:'!r}, {got}, sep='\\n')",
            f"print({f'{one_line(name)}, expected:'!r}, {_literal(expected)}, sep='\\n')",
        ]
    if not names:
        return None
    head = ["import runpy", "", "import numpy as np", "", "np.set_printoptions(precision=17)"]
    return "\n".join([*head, *lines, ""])


_PLAIN: Final = frozenset({"construct", "train", "infer", "backward", "set other parameters"})


def _class(made: list[Call], named: Named, how: Calling) -> Iterator[str]:
    """Yield the calls of a class's object."""
    yield f"mine = runpy.run_path({how.file!r})"
    for call in made:
        match named.what(call):
            case "construct":
                yield from _construct(call, named, how)
            case "set":
                yield from _put(call, named, how)
            case "train" | "infer" as mode:
                yield f"z = {_given(call, named, 'z')}"
                value = how.train if mode == "train" else how.infer
                yield f"out = layer.{how.forward}(z, {how.mode}={value!r})"
                if how.output:
                    yield f"out = layer.{how.output} if out is None else out"
            case _:
                yield f"G = {_given(call, named, 'G')}"
                yield f"dz = layer.{how.backward}(G)"


def _construct(call: Call, named: Named, how: Calling) -> Iterator[str]:
    given = {
        "features": call.inputs.get("features"),
        "momentum": call.inputs.get("momentum"),
        "eps": named.given(call, "eps"),
    }
    words = [repr(given[role]) for role in how.arguments if given.get(role) is not None]
    words += [
        f"{keyword}={given[role]!r}"
        for keyword, role in how.keywords.items()
        if given.get(role) is not None
    ]
    yield f"layer = mine[{how.make!r}]({', '.join(words)})"
    if given["eps"] is not None and "eps" in how.held:
        yield f"layer.{how.held['eps']} = {given['eps']!r}"
    yield from _put(call, named, how)


def _put(call: Call, named: Named, how: Calling) -> Iterator[str]:
    """Yield what sets attributes, each in the shape that it has already."""
    for role in _SET:
        value = named.given(call, role)
        if isinstance(value, ArrayRecord) and role in how.held:
            name = how.held[role]
            yield f"layer.{name} = np.reshape({_literal(value)}, np.shape(layer.{name}))"


def _functions(made: list[Call], named: Named, how: Calling) -> Iterator[str]:
    """Yield the calls of a forward and a backward function."""
    yield f"mine = runpy.run_path({how.file!r})"
    for call in made:
        match named.what(call):
            case "construct" | "set" as kind:
                if kind == "construct":
                    yield f"settings = {{{', '.join(_settings(call, named, how))}}}"
                size = call.inputs.get("features")
                for role, default in (("gamma", "ones"), ("beta", "zeros")):
                    value = named.given(call, role)  # type: ignore[arg-type]
                    text = _literal(value) if isinstance(value, ArrayRecord) else None
                    yield f"{role} = {text or f'np.{default}({size})'}"
            case "train" | "infer" as mode:
                yield f"z = {_given(call, named, 'z')}"
                yield f"settings[{how.mode!r}] = {(how.train if mode == 'train' else how.infer)!r}"
                kept = "cache" if mode == "train" else "_"
                yield f"out, {kept} = mine[{how.make!r}](z, gamma, beta, settings)"
            case _:
                yield f"G = {_given(call, named, 'G')}"
                yield f"dz, dgamma, dbeta = mine[{how.backward!r}](G, cache)"


def _settings(call: Call, named: Named, how: Calling) -> Iterator[str]:
    for role, key in how.held.items():
        value = call.inputs.get("momentum") if role == "momentum" else named.given(call, role)  # type: ignore[arg-type]
        if value is not None:
            text = _literal(value) if isinstance(value, ArrayRecord) else repr(value)
            yield f"{key!r}: {text}"


def _role(name: str, named: Named) -> Role | None:
    """Return which quantity is called so in a record."""
    roles: tuple[Role, ...] = ("out", "dz", "dgamma", "dbeta", "running_mean", "running_var")
    return next((role for role in roles if named.key(role) == name), None)


def _read(role: Role, named: Named, how: Calling) -> str:
    """Return the expression that reads a result."""
    if role in ("out", "dz"):
        return role
    if how.kind == "functions":
        return role if role.startswith("d") else f"settings[{how.held.get(role, role)!r}]"
    return f"layer.{how.held.get(role, role)}"


def _given(call: Call, named: Named, role: Role) -> str:
    value = named.given(call, role)
    assert isinstance(value, ArrayRecord), "a call that is made has been given its array"
    return _literal(value)


def _literal(record: ArrayRecord) -> str:
    """Return an array as an expression that gives it back bit for bit, but for a NaN's bits."""
    text = repr(record.array().tolist())
    text = text.replace("nan", "np.nan").replace("inf", "np.inf")
    plain = record.dtype == "float64" and len(record.values) > 0
    typed = "" if plain else f", np.{np.dtype(record.dtype).name}"
    shape = "" if len(record.values) else f".reshape({record.shape})"
    return f"np.array({text}{typed}){shape}"
