"""What a run found: figures a module, and the mutants that no test killed."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
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


def collect(target: Target, folder: Path, mutmut: Sequence[str]) -> Outcome:
    """Read what mutmut left in `folder`, which only mutmut can turn into differences."""

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [*mutmut, *arguments], cwd=folder, check=True, capture_output=True, text=True
        )
        return done.stdout

    modules = []
    for file in sorted((folder / "mutants" / target.package).rglob("*.meta")):
        codes = json.loads(file.read_text("utf-8"))["exit_code_by_key"]
        if not codes:
            continue
        lived = [name for name, code in codes.items() if code not in KILLED | TIMED_OUT | NOT_RUN]
        name = file.relative_to(folder / "mutants").as_posix().removesuffix(".meta")
        timed_out, not_run = (
            sum(code in kind for code in codes.values()) for kind in (TIMED_OUT, NOT_RUN)
        )
        killed = len(codes) - timed_out - not_run - len(lived)
        survivors = tuple(survivor(each, run("show", each)) for each in lived)
        modules.append(Module(name, len(codes), killed, timed_out, not_run, survivors))
    stats = json.loads((folder / "mutants" / "mutmut-stats.json").read_text("utf-8"))
    tool = run("--version").strip().replace(", version", "")
    return Outcome(target.package, tool, len(stats["duration_by_test"]), tuple(modules))


def survivor(name: str, difference: str) -> Survivor:
    """Return the survivor of mutmut's name, with the lines that differ.

    mutmut writes `package.module.x_function__mutmut_3`, or xǁClassǁmethod for a method.
    """
    module, _, mangled = name.rpartition(".")
    function = re.sub(r"__mutmut_\d+$", "", mangled).removeprefix("x")
    function = function.strip("ǁ").replace("ǁ", ".") if "ǁ" in function else function[1:]
    lines = difference.splitlines()

    def changed(sign: str) -> str:
        return " ".join(
            " ".join(line[1:].split())
            for line in lines
            if line.startswith(sign) and not line.startswith(sign * 3)
        )

    return Survivor(f"{module}.{function}", changed("-"), changed("+"))


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
