"""The page docs/mutation.md, made of the outcomes that were kept and of `survivors.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path

from bn_evidence.mutation.outcome import Module, Outcome, Survivor
from bn_evidence.mutation.workshop import ROOT

PAGE = ROOT / "docs" / "mutation.md"
REASONS = Path(__file__).with_name("survivors.toml")
HEAD = """# Mutation testing

How strong are the tests of a room? Its package is changed in one place at a time (`+` to `-`, `<`
to `<=`, a number to the next, an argument to None or left out, a string to another, a condition to
its opposite), and the tests of the room are run on each *mutant*. A mutant that makes a test fail
is killed. One that survives shows a line that could be wrong without a test noticing, or it
computes the same in another way. The tool is mutmut, which runs on each mutant the tests that call
the changed function, the quickest first.

    pip install -e '.[test,mutation]'
    python -m bn_evidence.mutation bn_oracle              # runs, and writes this page
    python -m bn_evidence.mutation bn_oracle --again      # those that are not killed yet, again

Targets, the modules of each and the tests are in `bn_evidence/mutation/targets.toml`; what survived
and why in `survivors.toml`; the figures in `results/`. The work is done in a folder of its own
(`--folder`), never in the sources. On a busy machine with one process, 0.4 to 1.8 mutants a second
were seen. A run that is interrupted goes on where it stopped, and a mutant once killed is run again
only when its function changes: so the figures below are of several states of the tests, the last
of which every survivor was run on.

What is not mutated: code outside functions (constants, tables of conventions, fields of classes),
annotations, and docstrings. mutmut leaves decorated functions alone; in the copy that it works on,
a decorator is applied below its function, so that they are mutated, too.

What is not run: tests that need PyTorch, and tests that take longer than a second, most of them
random searches, for a survivor costs the time of every test that calls it. What they alone would
kill counts as survived.
"""


def reasons() -> tuple[dict[str, str], dict[tuple[str, str], str]]:
    """Return what each class of survivors is, and the class of every known survivor."""
    table = tomllib.loads(REASONS.read_text("utf-8"))
    known = {(each["function"], each["became"]): each["why"] for each in table["survivor"]}
    return table["classes"], known


def page(outcomes: Sequence[Outcome]) -> str:
    """Return the page's text."""
    classes, known = reasons()
    return "\n".join([HEAD, *(_section(each, classes, known) for each in outcomes)])


def share(modules: Sequence[Module]) -> float:
    """Return the share of the mutants run that were killed, a test that never ends counted in."""
    return sum(m.killed + m.timed_out for m in modules) / sum(
        m.mutants - m.not_run for m in modules
    )


def _section(outcome: Outcome, classes: dict[str, str], known: dict[tuple[str, str], str]) -> str:
    lines = [
        f"## `{outcome.target}`",
        "",
        f"{outcome.tool}; {outcome.tests} tests.",
        "",
        "| module | mutants | killed | of these by time | survived | not run | killed of run, % |",
        "|---|---|---|---|---|---|---|",
        *(_row(f"`{module.name}`", [module]) for module in outcome.modules),
        _row("**all**", outcome.modules),
        "",
    ]
    by_class: dict[str, list[Survivor]] = {}
    for module in outcome.modules:
        for each in module.survivors:
            why = known.get((each.function, each.became), "unexplained")
            by_class.setdefault(why, []).append(each)
    for why in (*classes, "unexplained"):
        if why in by_class:
            lines += [f"### {why.capitalize()}: {len(by_class[why])}", ""]
            lines += [classes[why], ""] if why in classes else []
            lines += [*map(_item, by_class[why]), ""]
    return "\n".join(lines)


def _row(name: str, modules: Sequence[Module]) -> str:
    figures = [
        sum(module.mutants for module in modules),
        sum(module.killed + module.timed_out for module in modules),
        sum(module.timed_out for module in modules),
        sum(len(module.survivors) for module in modules),
        sum(module.not_run for module in modules),
    ]
    run = any(module.mutants > module.not_run for module in modules)
    percent = f"{100 * share(modules):.1f}" if run else "–"
    return f"| {name} | {' | '.join(map(str, figures))} | {percent} |"


def _item(each: Survivor) -> str:
    return f"- {each.function}: `{each.was}` → `{each.became or '(nothing)'}`"
