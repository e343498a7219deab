"""How a submission's parts are called, told so that a script can call them again."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence

from bn_properties.records import Calling

from bn_grading.courses.interfaces import ClassInterface, FunctionInterface
from bn_grading.courses.matching import Match
from bn_grading.courses.model import Part
from bn_grading.part_examination import PartFindings


def of_failing(match: Match, examined: Sequence[PartFindings]) -> dict[str, Calling]:
    """Return, by part, how those parts are called that an example shows to be wrong."""
    found = {each.part.id: calling(match, each.part) for each in examined if each.counterexamples}
    return {part: each for part, each in found.items() if each is not None}


def calling(match: Match, part: Part) -> Calling | None:
    """Return how a part is called, as its file's own words tell; None where they do not tell it.

    Of several names that a course has for something, it is the first that the file uses.
    """
    if match.file is None:
        return None
    interface, source = part.interface, match.submission.files[match.file]
    if isinstance(interface, FunctionInterface):
        return Calling(
            file=match.file,
            kind="functions",
            make=interface.forward,
            backward=interface.backward,
            mode="mode",
            train=interface.train_mode,
            infer=interface.infer_mode,
            held={role: key for key, role in interface.settings.items()},
        )
    words = frozenset(re.findall(r"\w+", source))
    return _of_class(match.file, interface, source, words)


def _of_class(
    file: str, interface: ClassInterface, source: str, words: frozenset[str]
) -> Calling | None:
    name, mode = _first(interface.classes, words), _first(_arguments(interface), words)
    modes = [each for each in interface.mode if each.argument == mode]
    if interface.kind != "class" or name is None or not modes or _is_by_keyword(source, name):
        return None
    held = {role: _first(names, words) for role, names in interface.attributes.items()}
    return Calling(
        file=file,
        kind="class",
        make=name,
        forward=_first(interface.forward, words) or "",
        backward=_first(interface.backward, words) or "",
        arguments=interface.arguments,
        keywords={keyword: role for keyword, role in interface.keyword_arguments.items()},
        mode=modes[0].argument,
        train=modes[0].train,
        infer=modes[0].infer,
        output=_first(interface.output, words) or "",
        held={role: each for role, each in held.items() if each is not None},
    )


def _arguments(interface: ClassInterface) -> list[str]:
    return [each.argument for each in interface.mode]


def _first(options: Iterable[str], words: frozenset[str]) -> str | None:
    return next((each for each in options if each in words), None)


def _is_by_keyword(source: str, name: str) -> bool:
    """Whether the class's constructor has arguments that are given by keyword alone."""
    return any(
        isinstance(node, ast.FunctionDef) and node.name == "__init__" and node.args.kwonlyargs
        for each in ast.walk(ast.parse(source))
        if isinstance(each, ast.ClassDef) and each.name == name
        for node in each.body
    )
