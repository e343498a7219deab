"""What a file cannot do without, and what it imports if it can."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from bn_grading.api import check
from bn_properties.records import Status
from bn_worker.loading import imports

SUPPRESSED = "import contextlib\nwith contextlib.suppress(ImportError):\n  import numba\n"
LOOKED_FOR = "from importlib.util import find_spec\nif find_spec('numba'):\n  import numba\n"
TWICE = "try:\n  import numba\nexcept ImportError:\n  pass\nimport numba\n"


@pytest.mark.parametrize(
    ("source", "needed", "if_it_can"),
    [
        ("import numba\n", {"numba"}, set()),
        ("import os, numba.core\n", {"numba"}, set()),
        ("def f():\n  from cupy import x\n", {"cupy"}, set()),
        ("try:\n  import numba\nexcept ImportError:\n  numba = None\n", set(), {"numba"}),
        ("try:\n  import numba\nexcept (OSError, ImportError):\n  pass\n", set(), {"numba"}),
        ("try:\n  import numba\nexcept:\n  pass\n", set(), {"numba"}),
        ("try:\n  import numba\nexcept ValueError:\n  pass\n", {"numba"}, set()),
        ("try:\n  pass\nexcept ImportError:\n  import cupy\n", {"cupy"}, set()),
        ("try:\n  import numba\nfinally:\n  pass\n", {"numba"}, set()),
        (TWICE, {"numba"}, set()),
        (SUPPRESSED, set(), {"numba"}),
        (LOOKED_FOR, set(), {"numba"}),
        ("with open('x') as f:\n  import numba\n", {"numba"}, set()),
        ("if x:\n  import numba\n", {"numba"}, set()),
        ("from . import layers\nfrom .x import y\n", set(), set()),
    ],
)
def test_an_import_is_needed_unless_its_failure_is_expected(
    source: str, needed: set[str], if_it_can: set[str]
) -> None:
    assert (needed, if_it_can) == tuple(map(set, imports(ast.parse(source))))


HANDOUT = Path(__file__).parents[2] / "fixtures" / "correct" / "cmu_handout.py"


def test_a_file_beside_the_submission_may_need_what_is_not_there(tmp_path: Path) -> None:
    folder = tmp_path / "student"
    folder.mkdir()
    source = HANDOUT.read_text("utf-8")
    (folder / "batchnorm.py").write_text("import helper\n" + source, "utf-8")
    (folder / "helper.py").write_text("import matplotlib.pyplot as plt\nplt.ion()\n", "utf-8")
    assert check(str(folder)).status is Status.CORRECT


def test_a_name_of_a_missing_package_may_be_used(tmp_path: Path) -> None:
    path = tmp_path / "logs.py"
    used = "from loguru import logger\nlogger.debug('start')\nlogger.level.name\n"
    path.write_text(used + HANDOUT.read_text("utf-8"), "utf-8")
    assert check(str(path)).status is Status.CORRECT


@pytest.mark.parametrize(
    "line",
    [
        'plt.rcParams["figure.figsize"] = (10.0, 8.0)',
        'del plt.rcParams["figure.figsize"]',
        'SIZE = plt.rcParams["figure.figsize"]',
        'OLD = "backend" in plt.rcParams',
        'with plt.style.context("ggplot"):\n    pass',
        "VERSION = matplotlib.__version__",
    ],
)
def test_settings_of_a_missing_package_may_be_changed(tmp_path: Path, line: str) -> None:
    path = tmp_path / "plots.py"
    imported = "import matplotlib\nimport matplotlib.pyplot as plt\n"
    path.write_text(f"{imported}{line}\n{HANDOUT.read_text('utf-8')}", "utf-8")
    assert check(str(path)).status is Status.CORRECT


def test_what_is_not_there_has_no_elements(tmp_path: Path) -> None:
    path = tmp_path / "styles.py"
    source = f"import matplotlib.pyplot as plt\nlist(plt.styles)\n{HANDOUT.read_text('utf-8')}"
    path.write_text(source, "utf-8")
    assert "not iterable" in check(str(path)).summary


def test_what_another_numpy_took_is_told_as_a_difference_of_versions(tmp_path: Path) -> None:
    path = tmp_path / "scalars.py"
    used = "return float(np.ones(1)) * (self.BW * NZ + self.Bb)"
    source = HANDOUT.read_text("utf-8").replace("return self.BW * NZ + self.Bb", used, 1)
    path.write_text(source, "utf-8")
    result = check(str(path))
    refused = any("a difference of versions" in each.message for each in result.properties)
    assert refused or result.status is Status.CORRECT, "this NumPy takes it"


@pytest.mark.parametrize("how", ["@njit", "@njit(cache=True)", "@numba.jit(nopython=True)"])
def test_a_decorator_of_a_missing_package_leaves_what_it_decorates(
    how: str, tmp_path: Path
) -> None:
    path = tmp_path / "fast.py"
    decorated = f"{how}\ndef mean(a):\n    return a.sum(axis=0) / a.shape[0]\n\n\n{how}\nclass "
    source = HANDOUT.read_text("utf-8").replace("class ", decorated, 1)
    source = source.replace("np.mean(Z, axis=0)", "mean(Z)", 1)
    path.write_text(f"import numba\nfrom numba import njit\n{source}", "utf-8")
    assert check(str(path)).status is Status.CORRECT


def test_a_module_that_lacks_another_one_is_stood_in_for(tmp_path: Path) -> None:
    package = tmp_path / "installed" / "halfway"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("", "utf-8")
    (package / "board.py").write_text("import not_installed_anywhere\n", "utf-8")
    path = tmp_path / "layer.py"
    used = (
        f"import sys\nsys.path.append({str(package.parent)!r})\n"
        "from halfway.board import Writer\nimport halfway.board as board\n"
        "log = Writer('runs')\n"
    )
    path.write_text(used + HANDOUT.read_text("utf-8"), "utf-8")
    assert check(str(path)).status is Status.CORRECT


def test_a_failure_of_its_own_is_no_lack(tmp_path: Path) -> None:
    path = tmp_path / "layer.py"
    source = "import os.path\nraise ImportError('mine')\n" + HANDOUT.read_text("utf-8")
    path.write_text(source, "utf-8")
    found = check(str(path))
    assert found.status is Status.UNUSABLE
    assert "line 2: ImportError: mine" in found.summary
