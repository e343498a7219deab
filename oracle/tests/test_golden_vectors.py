"""The golden vectors: well formed, reproducible, and what the oracle computes."""

from __future__ import annotations

import importlib.util
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bn_oracle.arrays import Array
from bn_oracle.backward import backward, upstream_rows
from bn_oracle.bounds import statistics, training
from bn_oracle.bounds.precision import FLOAT64
from bn_oracle.conventions import CMU_HW1P1, TORCH
from bn_oracle.forward import Forward, forward
from bn_oracle.inference import fold, infer
from bn_oracle.running import batch_variance, update

FAMILIES = ("training", "spatial", "inference", "running")
Case = dict[str, Any]
DROWNED = (
    "huge, 1x2, gradient ones, eps 7.450580596923828e-09",
    "scale 1e60, 1x2, gradient one-hot, eps 8.0",
)
"""Batches of one value a feature, so that s² is ε alone, below what the mean is rounded by: no
bound on what is divided by s can judge them."""


@pytest.fixture(scope="module")
def golden(fixtures_folder: Path) -> Path:
    return fixtures_folder / "golden"


def load(golden: Path, family: str) -> list[Case]:
    cases: list[Case] = json.loads((golden / f"{family}.json").read_text("ascii"))["cases"]
    return cases


def within(case: Case, name: str, got: Array, bound: Array) -> bool:
    """Compare with the golden value, rounded to float64 on reading; return if the bound judges."""
    expected = np.array(case["expected"][name]).reshape(got.shape)
    allowed = bound + FLOAT64.unit_roundoff * np.abs(expected) + FLOAT64.subnormal
    assert np.all(np.abs(got - expected) <= allowed), f"{case['name']}: {name}"
    return bool(np.isfinite(bound).all())


def record_of(case: Case) -> Forward:
    z = np.array(case["z"]).reshape(case["shape"])
    return forward(z, case["gamma"], case["beta"], case["eps"])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_golden_file_fits_the_schema(golden: Path, family: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((golden / "schema.json").read_text("ascii"))
    jsonschema.Draft202012Validator.check_schema(schema)
    document = json.loads((golden / f"{family}.json").read_text("ascii"))
    assert family == document["family"]
    assert [] == [e.message for e in jsonschema.Draft202012Validator(schema).iter_errors(document)]


def test_regenerating_gives_the_same_bytes(golden: Path) -> None:
    pytest.importorskip("mpmath")
    spec = importlib.util.spec_from_file_location("golden_generate", golden / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    texts = module.render()
    assert {f"{family}.json" for family in FAMILIES} == set(texts)
    for name, text in texts.items():
        assert text.encode("ascii") == (golden / name).read_bytes(), f"{name}: regenerate it"


def test_the_readme_counts_the_cases(golden: Path) -> None:
    table = re.findall(r"^\| `(\w+)\.json` \| (\d+) \|", (golden / "README.md").read_text(), re.M)
    assert {name: int(count) for name, count in table} == {
        family: len(load(golden, family)) for family in FAMILIES
    }


def test_single_precision_can_use_the_cases_that_say_so(golden: Path) -> None:
    """Every family has some, and what they give is the same number in float32."""
    counts = {}
    for family in FAMILIES:
        singles = [case for case in load(golden, family) if case["exact_in"] == "float32"]
        counts[family] = len(singles)
        for case in singles:
            given = {name: value for name, value in case.items() if name != "expected"}
            assert all(float(np.float32(x)) == x for x in numbers(given)), case["name"]
    assert {"training": 33, "spatial": 9, "inference": 9, "running": 9} == counts


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from numbers(part)


def test_the_files_are_small(golden: Path) -> None:
    """Less than a megabyte in all: they are read by people and kept under version control."""
    assert sum((golden / f"{family}.json").stat().st_size for family in FAMILIES) < 2**20


@pytest.mark.parametrize("family", ["training", "spatial", "inference"])
def test_arrays_have_the_sizes_that_the_shape_says(golden: Path, family: str) -> None:
    for case in load(golden, family):
        features, size = case["shape"][1], math.prod(case["shape"])
        wide = {"u", "out", "dz"}
        for name, values in case["expected"].items():
            assert (size if name in wide else features) == len(values), (case["name"], name)
        assert size == len(case["z"]) == len(case["grad"])
        assert features == len(case["gamma"]) == len(case["beta"])


@pytest.mark.parametrize("family", ["training", "spatial"])
def test_the_oracle_trains_as_the_golden_vectors_say(golden: Path, family: str) -> None:
    unjudged = set()
    for case in load(golden, family):
        record = record_of(case)
        grad = np.array(case["grad"]).reshape(case["shape"])
        own = backward(record, grad)
        bounds = training.forward(record, FLOAT64, "stable")
        steps = training.backward(record, upstream_rows(record, grad), bounds, FLOAT64, power=1)
        for name, got, bound in (
            ("mean", record.mean, bounds.mean),
            ("var", record.var, bounds.var),
            ("u", record.u.reshape(case["shape"]) if family == "training" else None, bounds.u),
            ("out", record.out, bounds.out),
            ("dz", own.dz, steps.dz),
            ("dgamma", own.dgamma, steps.dgamma),
            ("dbeta", own.dbeta, steps.dbeta),
        ):
            if got is not None and not within(case, name, got, bound):
                unjudged.add((case["name"], name))
    assert {
        (name, quantity)
        for name in (DROWNED if family == "training" else ())
        for quantity in ("u", "out", "dz", "dgamma")
    } == unjudged


def test_the_oracle_infers_as_the_golden_vectors_say(golden: Path) -> None:
    for case in load(golden, "inference"):
        z = np.array(case["z"]).reshape(case["shape"])
        names = ("gamma", "beta", "running_mean", "running_var")
        gamma, beta, mean, var = (np.array(case[name]) for name in names)
        eps = case["eps"]
        slope, intercept = fold(gamma, beta, mean, var, eps)
        bounds = statistics.fold(gamma, beta, mean, var, eps, FLOAT64)
        bound = statistics.inference(z, gamma, beta, mean, var, eps, FLOAT64)
        out = infer(z, gamma, beta, mean, var, eps)
        assert within(case, "slope", slope, bounds[0]), "every case judges"
        assert within(case, "intercept", intercept, bounds[1]), "every case judges"
        assert within(case, "out", out, bound), "every case judges"


def test_the_oracle_keeps_running_statistics_as_the_golden_vectors_say(golden: Path) -> None:
    """By `update`, once under a convention of each kind of variance."""
    for case in load(golden, "running"):
        decay = 1 - case["momentum"]
        for convention in (CMU_HW1P1, TORCH):
            kind = convention.running_variance
            mean, var = (np.array(case[name]) for name in ("running_mean", "running_var"))
            zero = np.zeros(mean.size)
            mean_error = var_error = zero
            for batch, expected in zip(case["batches"], case["expected"], strict=True):
                z = np.array(batch["z"]).reshape(batch["shape"])
                record = forward(z, np.ones(mean.size), zero, 1.0)
                own = training.forward(record, FLOAT64, "stable")
                fresh, fresh_error = batch_variance(record, convention), own.var
                if kind == "unbiased":
                    fresh_error = statistics.unbiased(
                        record.var, own.var, record.batch_size, FLOAT64
                    )
                mean_error = statistics.running(
                    mean, mean_error, record.mean, own.mean, decay, FLOAT64
                )
                var_error = statistics.running(var, var_error, fresh, fresh_error, decay, FLOAT64)
                mean, var = update(mean, var, record, decay, convention)
                step = {"name": case["name"], "expected": expected}
                for name, got, bound in (
                    ("batch_mean", record.mean, own.mean),
                    (f"batch_var_{kind}", fresh, fresh_error),
                    ("running_mean", mean, mean_error),
                    (f"running_var_{kind}", var, var_error),
                ):
                    assert within(step, name, got, bound), "every case judges"
