"""Which failures follow from which: by the named cause, or by failing for the same few cases."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from bn_diagnosis.diagnosis import Explanation
from bn_grading.part_examination import consequences
from bn_oracle.conventions import CMU_HW1P1
from bn_properties.cases.case import Case
from bn_properties.cases.draw import draw_cases
from bn_properties.cases.traits import TraitName
from bn_properties.catalogue import BY_ID
from bn_properties.checking import Failing, Finding
from bn_properties.property import Property
from bn_properties.protocol import Failure, SubjectError
from bn_properties.records import Cause, Outcome
from bn_properties.transcript import Oracle

ORACLE = Oracle(CMU_HW1P1)
CASE = draw_cases(0, 11)[0]
GAMMA, BETA = "backward.gamma_gradient", "backward.beta_gradient"
INPUT, EDITS = "backward.input_gradient", "hygiene.input_unmodified"


def root(id_: str, only: TraitName | None = None) -> Finding:
    failing = Failing(CASE, None, None, None, ())
    return Finding(BY_ID[id_], Outcome.FAIL, 1, 2.0, failing, "", only=only)


def raised(id_: str, message: str, errors: Mapping[int, float]) -> Finding:
    """Return a finding of an exception, or of a result that cannot be used, on these cases."""
    failure: Failure = "raised" if " raises:" in message else "unusable_result"
    failing = Failing(CASE, None, None, SubjectError(failure, message), ())
    return Finding(BY_ID[id_], Outcome.FAIL, len(errors), 2.0, failing, message, errors)


ALWAYS, PARTLY = {0: np.inf, 1: np.inf}, {0: np.inf, 1: 0.5}


def explanation(own: Collection[str], fails: Collection[str]) -> Explanation:
    cause = Cause(
        fault="f",
        title="",
        wrong="",
        right="",
        explanation="",
        explained=1,
        observed=1,
        properties=tuple(own),
    )

    def reproduces(prop: Property, case: Case, oracle: Oracle) -> bool:
        assert case is CASE
        return prop.id in fails

    return Explanation(cause, reproduces)


def test_what_the_cause_fails_besides_follows_from_its_own_property() -> None:
    roots = [root(BETA), root(GAMMA), root(EDITS)]
    found = consequences(roots, [explanation([GAMMA], {GAMMA, BETA})], ORACLE)
    assert {BETA: GAMMA} == found


def test_two_mistakes_keep_a_property_each() -> None:
    roots = [root(BETA), root(GAMMA), root(INPUT)]
    found = consequences(roots, [explanation([GAMMA, INPUT], {GAMMA, BETA, INPUT})], ORACLE)
    assert {BETA: GAMMA} == found


def test_where_its_own_property_holds_the_first_failure_stands_for_the_cause() -> None:
    found = consequences([root(BETA), root(GAMMA)], [explanation([INPUT], {BETA, GAMMA})], ORACLE)
    assert {GAMMA: BETA} == found


def test_of_alternatives_the_first_speaks() -> None:
    two = [explanation([GAMMA], {GAMMA, BETA}), explanation([BETA], set())]
    assert {BETA: GAMMA} == consequences([root(BETA), root(GAMMA)], two, ORACLE)


def test_without_a_cause_every_failure_is_its_own() -> None:
    assert {} == consequences([root(BETA), root(GAMMA)], [], ORACLE)


def test_what_fails_for_a_part_of_those_is_the_same_mistake() -> None:
    roots = [root(BETA, "one_value"), root(GAMMA, "axis_of_one"), root(INPUT, "one_feature")]
    assert {GAMMA: BETA, INPUT: BETA} == consequences(roots, [], ORACLE)
    apart = [root(BETA, "one_value"), root(INPUT, "one_feature")]
    assert {} == consequences(apart, [], ORACLE)


def test_what_fails_for_the_same_few_cases_is_one_mistake() -> None:
    roots = [root(BETA, "one_value"), root(GAMMA, "square"), root(INPUT, "one_value"), root(EDITS)]
    assert {INPUT: BETA} == consequences(roots, [], ORACLE)


def test_one_exception_is_one_mistake_where_the_call_is_right_elsewhere() -> None:
    message = "infer raises: line 3: ValueError"
    partly = [raised(BETA, message, PARTLY), raised(GAMMA, message, PARTLY)]
    assert {GAMMA: BETA} == consequences(partly, [], ORACLE)
    always = [raised(BETA, message, ALWAYS), raised(GAMMA, message, ALWAYS)]
    assert {} == consequences(always, [], ORACLE)
    assert {GAMMA: BETA} == consequences(always, [], ORACLE, working=["infer"])
    assert {} == consequences(always, [], ORACLE, working=["train"])
    other = [raised(BETA, message, PARTLY), raised(GAMMA, "infer raises: line 4: E", PARTLY)]
    assert {} == consequences(other, [], ORACLE, working=["infer"])


def test_one_way_of_giving_a_result_is_one_mistake() -> None:
    shapes = [f"dz has shape {shape}, but should have shape (2, 1)" for shape in ("()", "(2,)")]
    partly = [
        raised(id_, message, PARTLY) for id_, message in zip((BETA, GAMMA), shapes, strict=True)
    ]
    assert {GAMMA: BETA} == consequences(partly, [], ORACLE)
    always = [
        raised(id_, message, ALWAYS) for id_, message in zip((BETA, GAMMA), shapes, strict=True)
    ]
    assert {} == consequences(always, [], ORACLE)
    graph = [raised(id_, "running_mean is not detached", ALWAYS) for id_ in (BETA, GAMMA)]
    assert {GAMMA: BETA} == consequences(graph, [], ORACLE)
