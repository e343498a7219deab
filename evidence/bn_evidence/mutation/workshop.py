"""A folder in which mutmut can work on one package: a copy, its tests, and a configuration.

mutmut wants a package to stand in the folder that it starts in, under the name by which it is
imported; here a package stands in its room. It also leaves every decorated function alone. So a
decorator is applied below its function in the copy, which means the same::

    @np.errstate(over="ignore")        def forward(record): ...
    def forward(record): ...           forward = np.errstate(over="ignore")(forward)
"""

from __future__ import annotations

import ast
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
TARGETS = Path(__file__).with_name("targets.toml")
PLUGIN = Path(__file__).with_name("fast_first.py")
BESIDE = ("conftest.py", "docs", "fixtures", "README.md")
"""What tests read besides their own room."""


@dataclass(frozen=True)
class Target:
    """A package to mutate; see `targets.toml`."""

    package: str
    room: str
    modules: tuple[str, ...]
    skip: str

    @property
    def patterns(self) -> list[str]:
        """The files to mutate, as mutmut reads them."""
        return [f"{self.package}/{module}" for module in self.modules]


def targets() -> dict[str, Target]:
    """Return every target by its package's name."""
    found = tomllib.loads(TARGETS.read_text("utf-8"))
    return {
        name: Target(name, table["room"], tuple(table["modules"]), table["skip"])
        for name, table in found.items()
    }


def furnish(target: Target, folder: Path) -> None:
    """Copy what a run needs into `folder`; what mutmut found there before is kept."""
    source = ROOT / target.room
    for path in sorted((source / target.package).rglob("*")):
        copy = folder / target.package / path.relative_to(source / target.package)
        if path.is_dir() or "__pycache__" in path.parts:
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        _refresh(copy, undecorated(path.read_text("utf-8")) if path.suffix == ".py" else None, path)
    for name in (*BESIDE, f"{target.room}/tests"):
        for base in (folder, folder / "mutants"):
            _mirror(ROOT / name, base / name)
    shutil.copy2(PLUGIN, folder / "mutants")
    (folder / "pyproject.toml").write_text(_configuration(target), encoding="utf-8")


def _refresh(copy: Path, text: str | None, original: Path) -> None:
    """Write only what changed: mutmut goes by the time of a file."""
    if text is None:
        shutil.copy2(original, copy)
    elif not copy.exists() or copy.read_text("utf-8") != text:
        copy.write_text(text, encoding="utf-8")


def _mirror(original: Path, copy: Path) -> None:
    if original.is_file():
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(original, copy)
        return
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(original, copy, ignore=shutil.ignore_patterns("__pycache__"))


def undecorated(source: str) -> str:
    """Return the source with each function's decorators applied below the function."""
    lines = source.splitlines(keepends=True)
    functions = [
        node
        for outer in ast.walk(ast.parse(source))
        if isinstance(outer, ast.Module | ast.ClassDef)
        for node in outer.body
        if isinstance(node, ast.FunctionDef) and node.decorator_list
    ]
    for node in sorted(functions, key=lambda node: node.lineno, reverse=True):
        indent = " " * node.col_offset
        applied = node.name
        for decorator in reversed(node.decorator_list):
            text = ast.unparse(decorator)
            if not isinstance(decorator, ast.Name | ast.Attribute | ast.Call):
                text = f"({text})"
            applied = f"{text}({applied})"
        first = node.decorator_list[0].lineno - 1
        assert node.end_lineno is not None
        lines.insert(node.end_lineno, f"{indent}{node.name} = {applied}\n")
        del lines[first : node.lineno - 1]
    return "".join(lines)


def _configuration(target: Target) -> str:
    """Return mutmut's configuration, and pytest's as the project has it."""
    pytest = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["pytest"]
    options = pytest["ini_options"]
    arguments = ["-p", PLUGIN.stem, "-p", "no:cacheprovider", "-m", "not torch and not search"]
    arguments += ["-k", target.skip] if target.skip else []
    return "\n".join(
        [
            "[tool.mutmut]",
            f"source_paths = [{target.package!r}]",
            f"only_mutate = {target.patterns!r}",
            "also_copy = []",
            f"pytest_add_cli_args = {arguments!r}",
            f"pytest_add_cli_args_test_selection = ['{target.room}/tests']",
            "use_git_change_detection = false",
            "track_dependencies = false",
            "",
            "[tool.pytest.ini_options]",
            f"addopts = {options['addopts']!r}",
            f"filterwarnings = {options['filterwarnings']!r}",
            f"markers = {options['markers']!r}",
            "",
        ]
    )
