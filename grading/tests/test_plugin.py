"""The pytest plugin, as a library's author would use it."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from bn_properties.catalogue import PROPERTIES


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *map(str, arguments)]
    environment = {key: value for key, value in os.environ.items() if key != "PYTEST_ADDOPTS"}
    return subprocess.run(
        command,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env=environment,
    )


def test_a_right_file_passes_every_property(tmp_path: Path, fixtures_folder: Path) -> None:
    (tmp_path / "test_own.py").write_text("def test_of_the_users_own():\n    assert False\n")
    good = fixtures_folder / "correct/cmu_handout.py"
    done = run("--bn-subject", good, "--bn-profile", "quick", "-q", cwd=tmp_path)
    assert 0 == done.returncode, done.stdout
    offered = [prop for prop in PROPERTIES if prop.needs is None]
    assert f"{len(offered)} passed, {len(PROPERTIES) - len(offered)} skipped" in done.stdout


@pytest.mark.once
def test_a_wrong_file_fails_at_the_root_in_parallel_too(
    tmp_path: Path, fixtures_folder: Path
) -> None:
    bad = fixtures_folder / "buggy/cmu_root_plus_eps.py"
    report = tmp_path / "report.xml"
    done = run(
        "--bn-subject", bad, "--bn-course", "cmu-hw1p1", "-n", 2, "--junitxml", report, cwd=tmp_path
    )
    assert 1 == done.returncode, done.stdout
    assert "Failing explicit example" in done.stdout or "Falsifying" in done.stdout
    assert "times what rounding can explain" in done.stdout
    suite = ET.parse(report).getroot().find("testsuite")
    assert suite is not None
    assert str(len(PROPERTIES)) == suite.get("tests")
    failed = {
        case.get("name") for case in suite.iter("testcase") if case.find("failure") is not None
    }
    assert {"training.agreement"} == failed


@pytest.mark.once
def test_a_property_is_chosen_by_name(tmp_path: Path, fixtures_folder: Path) -> None:
    bad = fixtures_folder / "buggy/cmu_root_plus_eps.py"
    done = run("--bn-subject", bad, "-k", "beta_gradient", "-q", cwd=tmp_path)
    assert 0 == done.returncode, done.stdout
    assert "1 passed" in done.stdout


@pytest.mark.once
def test_the_thorough_profile_searches_for_the_worst_error(
    tmp_path: Path, fixtures_folder: Path
) -> None:
    good = fixtures_folder / "correct/cmu_handout.py"
    arguments = ("--bn-subject", good, "--bn-profile", "thorough", "-k", "output_mean", "-q")
    done = run(*arguments, cwd=tmp_path)
    assert 0 == done.returncode, done.stdout
    assert "1 passed" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bn-subject", "gone.py"], "gone.py does not exist"),
        (["--bn-subject", "empty.py"], "defines nothing that a course asks for"),
        (["--bn-subject", "empty.py", "--bn-course", "none"], "there is no course 'none'"),
        (["--bn-subject", "empty.py", "--bn-profile", "fast"], "--bn-profile"),
    ],
)
def test_wrong_use_is_refused(tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "empty.py").write_text("x = 1\n")
    done = run(*arguments, cwd=tmp_path)
    assert 4 == done.returncode
    assert message in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_without_the_option_the_plugin_does_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text("def test_of_the_users_own():\n    pass\n")
    done = run("-q", cwd=tmp_path)
    assert 0 == done.returncode
    assert "1 passed" in done.stdout
