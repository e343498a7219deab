"""Scoring, on findings made by hand: points, ids, and the rows of parts that are not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from bn_grading.courses.model import Course, Part, built_in
from bn_grading.part_examination import PartFindings
from bn_grading.scoring import properties, score
from bn_properties.catalogue import BY_ID, PROPERTIES
from bn_properties.checking import Finding
from bn_properties.records import Counterexample, Outcome, PropertyResult, Status

AGREES, DZ = "training.agreement", "backward.input_gradient"
BLOCKED = "training.shift_invariance"
"""It presupposes the first of them, and nothing else."""


def part(id_: str, group: str = "", **fields: object) -> Part:
    roles = ("eps", "gamma", "beta", "dgamma", "dbeta", "running_mean", "running_var")
    interface = {
        "kind": "class",
        "classes": [id_.title(), f"Other{id_.title()}"],
        "arguments": ["features", "momentum"],
        "mode": [{"argument": "training", "train": True, "infer": False}],
        "attributes": {role: [role] for role in roles},
    }
    return Part.model_validate(
        {"id": id_, "title": f"the {id_}", "group": group or id_, "interface": interface, **fields}
    )


def course(*parts: Part, points: Mapping[str, float] | None = None, once: bool = False) -> Course:
    return Course(
        id="made",
        title="made",
        profile="cs231n",
        charge="once" if once else "each",
        parts=parts,
        points=dict(points or {}),
    )


MAIN = part("layer")


def finding(id_: str, outcome: Outcome, message: str = "") -> Finding:
    return Finding(BY_ID[id_], outcome, 10, 0.5, None, message)


def wrong(id_: str) -> Finding:
    return finding(id_, Outcome.FAIL, f"{id_} fails")


def found(
    *other: Finding,
    of: Part = MAIN,
    main: bool = True,
    written: Mapping[str, Counterexample] | None = None,
) -> PartFindings:
    """Return a part on which every property of its families holds, but those in `other`."""
    asked = (prop.id for prop in PROPERTIES if prop.family in of.families)
    findings = {id_: finding(id_, Outcome.PASS) for id_ in asked}
    findings |= {each.property.id: each for each in other}
    return PartFindings(of, main, findings, dict(written or {}), ())


def rows(
    graded: Course, *examined: PartFindings, parts: Sequence[Part] | None = None
) -> dict[str, PropertyResult]:
    results = properties(graded, graded.parts if parts is None else parts, examined)
    by_id = {result.id: result for result in results}
    assert len(results) == len(by_id)
    return by_id


# Points.


def test_a_property_that_holds_or_does_not_apply_earns_its_points_and_no_other_does() -> None:
    graded = course(MAIN, points={AGREES: 3.0})
    for outcome in Outcome:
        row = rows(graded, found(finding(AGREES, outcome)))[AGREES]
        assert outcome == row.status
        earned = outcome in (Outcome.PASS, Outcome.NOT_APPLICABLE)
        assert (3.0 if earned else 0.0) == row.points
        assert 3.0 == row.max_points


def test_what_the_course_gives_no_points_for_is_worth_none() -> None:
    row = rows(course(MAIN, points={AGREES: 3.0}), found())[DZ]
    assert Outcome.PASS == row.status
    assert (0.0, 0.0) == (row.points, row.max_points)


@pytest.mark.parametrize("once", [False, True])
def test_a_blocked_property_keeps_its_points_where_one_cause_costs_once(once: bool) -> None:
    graded = course(MAIN, points={AGREES: 3.0, BLOCKED: 2.0}, once=once)
    results = rows(graded, found(wrong(AGREES), wrong(BLOCKED)))
    root, blocked = results[AGREES], results[BLOCKED]
    assert (Outcome.FAIL, None, 0.0) == (root.status, root.blocked_by, root.points)
    assert (Outcome.BLOCKED, AGREES) == (blocked.status, blocked.blocked_by)
    assert (2.0 if once else 0.0) == blocked.points
    assert 2.0 == blocked.max_points


def test_one_cause_costs_once_forgives_no_root() -> None:
    row = rows(course(MAIN, points={BLOCKED: 2.0}, once=True), found(wrong(BLOCKED)))[BLOCKED]
    assert (Outcome.FAIL, None, 0.0) == (row.status, row.blocked_by, row.points)


def test_the_score_is_the_sum_of_what_was_earned() -> None:
    graded = course(MAIN, points={AGREES: 3.0, BLOCKED: 2.0, DZ: 4.0})
    result = score(graded, graded.parts, [found(wrong(DZ))])
    assert 5.0 == result.points
    assert 9.0 == graded.max_score
    assert Status.INCORRECT == result.status
    assert len(PROPERTIES) == len(result.properties)


# What a row holds.


def test_a_row_holds_what_was_found_of_its_property() -> None:
    record = Counterexample(seed=1, case=2, regime="ordinary", calls=(), comparison=None)
    row = rows(course(MAIN), found(wrong(DZ), written={DZ: record}))[DZ]
    prop = BY_ID[DZ]
    assert ("layer", "backward", prop.title, prop.equation) == (
        row.part,
        row.group,
        row.title,
        row.equation,
    )
    assert (10, 0.5, f"{DZ} fails") == (row.examples, row.error_over_bound, row.message)
    assert record == row.counterexample


def test_the_rows_stand_in_the_catalogues_order_part_by_part() -> None:
    other = part("other", families=("backward",))
    graded = course(MAIN, other)
    ids = list(rows(graded, found(of=other, main=False), found()))
    plain = [prop.id for prop in PROPERTIES]
    assert [*plain, *(f"other/{id_}" for id_ in plain)] == ids


def test_ids_of_another_part_carry_its_name_and_earn_its_own_points() -> None:
    spatial = part("spatial")
    graded = course(MAIN, spatial, points={AGREES: 3.0, f"spatial/{AGREES}": 5.0})
    results = rows(graded, found(), found(wrong(AGREES), wrong(BLOCKED), of=spatial, main=False))
    assert (3.0, "layer") == (results[AGREES].points, results[AGREES].part)
    row = results[f"spatial/{AGREES}"]
    assert (Outcome.FAIL, 0.0, 5.0, "spatial") == (
        row.status,
        row.points,
        row.max_points,
        row.part,
    )
    assert f"spatial/{AGREES}" == results[f"spatial/{BLOCKED}"].blocked_by


def test_an_alternative_that_is_there_alone_is_the_main_part() -> None:
    second = part("second", "layer")
    graded = course(MAIN, second, points={AGREES: 3.0})
    results = rows(graded, found(of=second))
    assert {prop.id for prop in PROPERTIES} == results.keys()
    assert (3.0, "second") == (results[AGREES].points, results[AGREES].part)


def test_an_alternative_that_is_not_there_beside_one_that_is_has_no_rows() -> None:
    second = part("second", "layer")
    results = rows(course(MAIN, second), found())
    assert {prop.id for prop in PROPERTIES} == results.keys()
    assert {"layer"} == {row.part for row in results.values()}


def test_both_alternatives_that_are_there_have_rows() -> None:
    second = part("second", "layer")
    results = rows(course(MAIN, second), found(), found(of=second, main=False))
    assert {"layer", "second"} == {row.part for row in results.values()}
    assert f"second/{AGREES}" in results


def test_what_an_alternative_is_not_about_stands_under_its_own_name() -> None:
    second = part("second", "layer", families=("backward",))
    results = rows(course(MAIN, second), found(), found(of=second, main=False))
    assert Outcome.PASS == results[AGREES].status
    assert Outcome.NOT_APPLICABLE == results[f"second/{AGREES}"].status


def test_of_a_group_that_is_missing_the_first_part_speaks_for_all() -> None:
    first, second = part("first", "more"), part("second", "more")
    graded = course(MAIN, first, second, points={AGREES: 3.0, f"first/{DZ}": 1.0})
    results = rows(graded, found())
    assert {"layer", "first"} == {row.part for row in results.values()}
    row = results[f"first/{DZ}"]
    assert Outcome.NOT_RUN == row.status
    assert "the file does not define First" == row.message
    assert (0.0, 1.0, 0) == (row.points, row.max_points, row.examples)


def test_a_missing_main_part_has_the_plain_ids_and_no_other_missing_part_has() -> None:
    more, second, spatial = part("more"), part("second", "layer"), part("spatial")
    graded = course(MAIN, more, second, spatial, points={AGREES: 3.0})
    results = rows(graded, found(of=spatial, main=False))
    assert {"layer", "more", "spatial"} == {row.part for row in results.values()}
    row = results[AGREES]
    assert (Outcome.NOT_RUN, "layer", 0.0, 3.0) == (
        row.status,
        row.part,
        row.points,
        row.max_points,
    )
    assert Outcome.NOT_RUN == results[f"more/{AGREES}"].status
    assert Outcome.PASS == results[f"spatial/{AGREES}"].status


def test_a_main_part_has_plain_ids_also_for_what_it_is_not_about() -> None:
    narrow = part("narrow", families=("backward",))
    results = rows(course(narrow), found(of=narrow))
    assert {prop.id for prop in PROPERTIES} == results.keys()
    assert Outcome.NOT_APPLICABLE == results[AGREES].status


def test_families_that_a_part_is_not_about_are_not_applicable_there_or_not() -> None:
    narrow = part("narrow", families=("backward", "hygiene"))
    graded = course(MAIN, narrow)
    for examined in ([found(), found(of=narrow, main=False)], [found()]):
        results = rows(graded, *examined)
        row = results[f"narrow/{AGREES}"]
        assert (Outcome.NOT_APPLICABLE, "", 0.0) == (row.status, row.message, row.points)
        there = Outcome.PASS if len(examined) == 2 else Outcome.NOT_RUN
        assert there == results[f"narrow/{DZ}"].status


def test_where_one_class_was_asked_for_only_its_part_is_judged() -> None:
    spatial = part("spatial")
    graded = course(MAIN, spatial, points={AGREES: 3.0})
    results = rows(graded, found(of=spatial), parts=[spatial])
    assert {"spatial"} == {row.part for row in results.values()}
    assert 3.0 == results[AGREES].points


def test_every_built_in_course_gives_its_full_score_for_what_holds() -> None:
    for graded in built_in().values():
        result = score(graded, graded.parts, [found(of=graded.parts[0])])
        assert Status.CORRECT == result.status
        assert graded.max_score == result.points > 0
