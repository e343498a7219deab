"""What a run found: figures a module, and the mutants that no test killed."""

from __future__ import annotations

import ast
import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from bn_evidence.mutation.workshop import Target

KILLED = {1, 3}
"""Exit codes of pytest: tests failed, or could not even go on."""
TIMED_OUT = {-24, 24, 36, 152, 255}
NOT_RUN = {None, 2}
FOLDER = Path(__file__).with_name("results")


@dataclass(frozen=True)
class Survivor:
    """A mutant that every test let pass, or that no test called."""

    function: str
    """Its dotted name; a method's class before it."""
    was: str
    became: str


@dataclass(frozen=True)
class Module:
    """What became of one module's mutants."""

    name: str
    mutants: int
    killed: int
    timed_out: int
    not_run: int
    survivors: tuple[Survivor, ...]


@dataclass(frozen=True)
class Outcome:
    """What a run on one target found."""

    target: str
    tool: str
    tests: int
    modules: tuple[Module, ...]


def collect(target: Target, folder: Path, tool: str) -> Outcome:
    """Read what mutmut left in `folder`: an exit code a mutant, and the mutants' source."""
    modules = []
    for file in sorted((folder / "mutants" / target.package).rglob("*.meta")):
        source = file.with_suffix("")
        name = source.relative_to(folder / "mutants").as_posix()
        dotted = name.removesuffix(".py").replace("/", ".")
        codes = json.loads(file.read_text("utf-8"))["exit_code_by_key"]
        pairs = mutants(source.read_text("utf-8"))
        found = {mutant: codes.get(f"{dotted}.{mutant}") for mutant in pairs}
        if found:
            timed_out, not_run = (
                sum(code in kind for code in found.values()) for kind in (TIMED_OUT, NOT_RUN)
            )
            lived = [m for m, code in found.items() if code not in KILLED | TIMED_OUT | NOT_RUN]
            killed = len(found) - timed_out - not_run - len(lived)
            survivors = tuple(survivor(dotted, mutant, *pairs[mutant]) for mutant in lived)
            modules.append(Module(name, len(found), killed, timed_out, not_run, survivors))
    stats = json.loads((folder / "mutants" / "mutmut-stats.json").read_text("utf-8"))
    return Outcome(target.package, tool, len(stats["duration_by_test"]), tuple(modules))


def mutants(source: str) -> dict[str, tuple[list[str], list[str]]]:
    """Return each mutant's name, the lines of the function it is made of, and its own.

    mutmut writes x_function__mutmut_orig, x_function__mutmut_1, … one below the other.
    """
    lines = source.splitlines()
    nodes = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and "__mutmut_" in node.name
    ]
    whole = {
        node.name: [
            lines[node.lineno - 1].replace(node.name, ""),
            *lines[node.lineno : node.end_lineno],
        ]
        for node in sorted(nodes, key=lambda node: node.lineno)
    }
    return {
        name: (whole[re.sub(r"_mutmut_\d+$", "_mutmut_orig", name)], body)
        for name, body in whole.items()
        if not name.endswith("_orig")
    }


def survivor(module: str, mutant: str, original: list[str], changed: list[str]) -> Survivor:
    """Return the survivor with the lines that differ; a method is written xǁClassǁmethod."""
    function = re.sub(r"__mutmut_\d+$", "", mutant).removeprefix("x")
    function = function.strip("ǁ").replace("ǁ", ".") if "ǁ" in function else function[1:]
    lines = list(difflib.unified_diff(original, changed, lineterm="", n=0))[2:]

    def those(sign: str) -> str:
        return " ".join(" ".join(line[1:].split()) for line in lines if line.startswith(sign))

    return Survivor(f"{module}.{function}", those("-"), those("+"))


def save(outcome: Outcome) -> None:
    """Keep an outcome beside this module, from where the page is made."""
    FOLDER.mkdir(exist_ok=True)
    text = json.dumps(asdict(outcome), ensure_ascii=False, indent=1)
    (FOLDER / f"{outcome.target}.json").write_text(text + "\n", encoding="utf-8")


def saved() -> list[Outcome]:
    """Return every outcome that was kept."""
    return [_outcome(json.loads(path.read_text("utf-8"))) for path in sorted(FOLDER.glob("*.json"))]


def _outcome(table: Mapping[str, object]) -> Outcome:
    modules = table["modules"]
    assert isinstance(modules, list)
    return Outcome(
        str(table["target"]),
        str(table["tool"]),
        int(str(table["tests"])),
        tuple(
            Module(**{**each, "survivors": tuple(Survivor(**one) for one in each["survivors"])})
            for each in modules
        ),
    )
