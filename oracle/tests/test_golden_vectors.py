"""The golden vectors: well formed, reproducible, and what the oracle computes."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bn_oracle.arrays import Array
from bn_oracle.backward import backward, upstream_rows
from bn_oracle.bounds import statistics, training
from bn_oracle.bounds.precision import FLOAT64
from bn_oracle.forward import Forward, forward
from bn_oracle.inference import fold, infer

FAMILIES = ("training", "spatial", "inference", "running")
Case = dict[str, Any]


@pytest.fixture(scope="module")
def golden(fixtures_folder: Path) -> Path:
    return fixtures_folder / "golden"


def load(golden: Path, family: str) -> list[Case]:
    cases: list[Case] = json.loads((golden / f"{family}.json").read_text("ascii"))["cases"]
    return cases


def within(case: Case, name: str, got: Array, bound: Array, judged: dict[str, int]) -> None:
    """Compare with the golden value, itself rounded to float64 on reading; count what is judged."""
    expected = np.array(case["expected"][name]).reshape(got.shape)
    allowed = bound + FLOAT64.unit_roundoff * np.abs(expected) + FLOAT64.subnormal
    assert np.all(np.abs(got - expected) <= allowed), f"{case['name']}: {name}"
    judged[name] = judged.get(name, 0) + int(np.isfinite(bound).all())


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


def test_there_are_about_two_hundred_cases_in_less_than_a_megabyte(golden: Path) -> None:
    cases = [case for family in FAMILIES for case in load(golden, family)]
    assert 190 <= len(cases) <= 230
    assert sum((golden / f"{family}.json").stat().st_size for family in FAMILIES) < 2**20
    singles = [case for case in cases if case["exact_in"] == "float32"]
    assert len(singles) >= 60


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
    judged: dict[str, int] = {}
    cases = load(golden, family)
    for case in cases:
        record = record_of(case)
        grad = np.array(case["grad"]).reshape(case["shape"])
        own = backward(record, grad)
        bounds = training.forward(record, FLOAT64, "stable")
        steps = training.backward(record, upstream_rows(record, grad), bounds, FLOAT64, power=1)
        within(case, "mean", record.mean, bounds.mean, judged)
        within(case, "var", record.var, bounds.var, judged)
        within(case, "out", record.out, bounds.out, judged)
        within(case, "dz", own.dz, steps.dz, judged)
        within(case, "dgamma", own.dgamma, steps.dgamma, judged)
        within(case, "dbeta", own.dbeta, steps.dbeta, judged)
        if len(case["shape"]) == 2:
            within(case, "u", record.u, bounds.u, judged)
    assert min(judged.values()) >= 0.9 * len(cases), "most cases must judge"


def test_the_oracle_infers_as_the_golden_vectors_say(golden: Path) -> None:
    judged: dict[str, int] = {}
    cases = load(golden, "inference")
    for case in cases:
        z = np.array(case["z"]).reshape(case["shape"])
        names = ("gamma", "beta", "running_mean", "running_var")
        gamma, beta, mean, var = (np.array(case[name]) for name in names)
        eps = case["eps"]
        slope, intercept = fold(gamma, beta, mean, var, eps)
        bounds = statistics.fold(gamma, beta, mean, var, eps, FLOAT64)
        within(case, "slope", slope, bounds[0], judged)
        within(case, "intercept", intercept, bounds[1], judged)
        bound = statistics.inference(z, gamma, beta, mean, var, eps, FLOAT64)
        within(case, "out", infer(z, gamma, beta, mean, var, eps), bound, judged)
    assert {"slope": len(cases), "intercept": len(cases), "out": len(cases)} == judged


def test_the_oracle_keeps_running_statistics_as_the_golden_vectors_say(golden: Path) -> None:
    cases = load(golden, "running")
    for case in cases:
        new = case["momentum"]
        mean = np.array(case["running_mean"])
        both = {name: np.array(case["running_var"]) for name in ("biased", "unbiased")}
        zero = np.zeros(mean.size)
        mean_error, var_errors = zero, dict.fromkeys(both, zero)
        for batch, expected in zip(case["batches"], case["expected"], strict=True):
            z = np.array(batch["z"]).reshape(batch["shape"])
            record = forward(z, np.ones(mean.size), zero, 1.0)
            own = training.forward(record, FLOAT64, "stable")
            size = record.batch_size
            fresh = {"biased": record.var, "unbiased": record.var * (size / (size - 1))}
            fresh_errors = {
                "biased": own.var,
                "unbiased": statistics.unbiased(record.var, own.var, size, FLOAT64),
            }
            step = {"name": case["name"], "expected": expected}
            within(step, "batch_mean", record.mean, own.mean, {})
            mean_error = statistics.running(
                mean, mean_error, record.mean, own.mean, 1 - new, FLOAT64
            )
            mean = (1 - new) * mean + new * record.mean
            within(step, "running_mean", mean, mean_error, {})
            for name, old in both.items():
                within(step, f"batch_var_{name}", fresh[name], fresh_errors[name], {})
                var_errors[name] = statistics.running(
                    old, var_errors[name], fresh[name], fresh_errors[name], 1 - new, FLOAT64
                )
                both[name] = (1 - new) * old + new * fresh[name]
                within(step, f"running_var_{name}", both[name], var_errors[name], {})
            assert np.isfinite([mean_error, *var_errors.values()]).all()
