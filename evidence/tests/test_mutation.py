"""The page docs/mutation.md is what the kept outcomes say, and what they say is good enough."""

from __future__ import annotations

import ast

import pytest
from bn_evidence.mutation.outcome import Outcome, Survivor, mutants, saved, survivor
from bn_evidence.mutation.page import PAGE, page, reasons, share
from bn_evidence.mutation.workshop import ROOT, targets, undecorated

OUTCOMES = saved()


def test_the_page_is_made_of_the_outcomes() -> None:
    """`python -m bn_evidence.mutation TARGET --page` writes it again."""
    assert page(OUTCOMES) == PAGE.read_text("utf-8")


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: str(outcome.target))
def test_ninety_five_of_a_hundred_mutants_are_killed_and_the_others_explained(
    outcome: Outcome,
) -> None:
    assert 0.95 <= share(outcome.modules)
    _, known = reasons()
    survivors = [each for module in outcome.modules for each in module.survivors]
    assert [] == [each for each in survivors if (each.function, each.became) not in known]


def test_every_reason_is_of_a_class_and_of_a_mutant_that_survived() -> None:
    classes, known = reasons()
    assert set(known.values()) == set(classes)
    lived = {
        (each.function, each.became)
        for outcome in OUTCOMES
        for module in outcome.modules
        for each in module.survivors
    }
    assert set() == set(known) - lived


def test_every_target_is_there() -> None:
    assert {"bn_oracle", "bn_properties", "bn_diagnosis", "bn_grading"} == set(targets())
    for target in targets().values():
        assert (ROOT / target.room / target.package).is_dir()
        assert (ROOT / target.room / "tests").is_dir()
    assert {outcome.target for outcome in OUTCOMES} <= set(targets())


SOURCE = """
class Layer:
    @property
    @traced("size")
    def size(self):
        return 1

@quiet(over="ignore")
def forward(record):
    @inner
    def nested():
        return 2
    return nested
"""


def test_decorators_are_applied_below_their_functions() -> None:
    """So that they mean the same; a function within a function is not mutated by itself."""
    text = undecorated(SOURCE)
    assert "    size = property(traced('size')(size))\n" in text
    assert "forward = quiet(over='ignore')(forward)\n" in text
    assert "    @inner\n    def nested():" in text
    decorated = [
        node.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef) and node.decorator_list
    ]
    assert ["nested"] == decorated


def test_what_was_decorated_works_as_before() -> None:
    found: dict[str, object] = {}
    source = SOURCE.replace("@traced", "@lambda f: f  #").replace("@quiet", "@lambda f: f  #")
    exec(undecorated(source.replace("@inner", "@lambda f: 3")), found)
    assert 1 == found["Layer"]().size  # type: ignore[operator]
    assert 3 == found["forward"](None)  # type: ignore[operator]


MUTATED = """
class Moments:
    @_mutmut_mutated(mutants_xǁMomentsǁmerge__mutmut)
    def merge(self, other=1):
        return first(
            self, 1)
    def xǁMomentsǁmerge__mutmut_orig(self, other=1):
        return first(
            self, 1)
    def xǁMomentsǁmerge__mutmut_1(self, other=2):
        return first(
            self, 1)
    def xǁMomentsǁmerge__mutmut_2(self, other=1):
        return first(self, 2)

def x__x_rows__mutmut_orig():
    return 1
def x__x_rows__mutmut_1():
    return 2
"""


def test_survivors_are_named_by_their_functions_and_their_changed_lines() -> None:
    found = mutants(MUTATED)
    assert [
        "xǁMomentsǁmerge__mutmut_1",
        "xǁMomentsǁmerge__mutmut_2",
        "x__x_rows__mutmut_1",
    ] == list(found)
    first, second, rows = (survivor("package.module", name, *found[name]) for name in found)
    name = "package.module.Moments.merge"
    assert Survivor(name, "def (self, other=1):", "def (self, other=2):") == first
    assert Survivor(name, "return first( self, 1)", "return first(self, 2)") == second
    assert Survivor("package.module._x_rows", "return 1", "return 2") == rows
