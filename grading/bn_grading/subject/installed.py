"""What is installed here that a worker needs: the interpreter's parts, and packages."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

import bn_worker
import numpy as np

WORKER = Path(bn_worker.__file__).parent
NUMPY = Path(np.__file__).parent
ALONGSIDE = {"torch": ("torchvision",)}
"""What a framework's submissions may import beside it, where it is installed."""
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
_MULTIARCH = re.compile(r"\w+-linux-gnu\w*")
_REQUIREMENT = re.compile(r"^([\w.-]+)\s*(\[.*?\])?[^;]*(;.*)?$")


def interpreter() -> str:
    """Return the Python that a worker runs: this one, without what a virtual environment adds."""
    return getattr(sys, "_base_executable", None) or sys.executable


def standard_library() -> Path:
    """Return the folder of the standard library."""
    return Path(os.__file__).parent


@lru_cache(maxsize=8)
def packages(framework: str) -> dict[str, Path]:
    """Return where each package lies that a course's submissions can import, and what it needs.

    Libraries that a wheel brings with it lie beside it, in a folder that has its name.
    """
    found = {"numpy": NUMPY}
    for name in (framework, *ALONGSIDE.get(framework, ())):
        for each in _needed(name) if name else ():
            found |= _top_level(each)
    for path in list(found.values()):
        beside = path.with_name(f"{path.name}.libs")
        if beside.is_dir():
            found[beside.name] = beside
    return found


def _needed(name: str) -> list[Distribution]:
    """Return a package and all that it requires, as far as it is installed."""
    found: dict[str, Distribution] = {}
    waiting = [name]
    while waiting:
        each = waiting.pop().lower().replace("_", "-")
        if each in found:
            continue
        try:
            found[each] = distribution(each)
        except PackageNotFoundError:
            continue
        for requirement in found[each].requires or ():
            match = _REQUIREMENT.match(requirement)
            if match is not None and "extra ==" not in (match[3] or ""):
                waiting.append(match[1])
    return list(found.values())


def _top_level(package: Distribution) -> dict[str, Path]:
    """Return what a package has put beside others: folders, and modules of one file."""
    listed = package.read_text("top_level.txt")
    if listed is None:
        listed = "\n".join({str(file).partition("/")[0] for file in package.files or ()})
    found: dict[str, Path] = {}
    for line in listed.split():
        name = line.removesuffix(".py")
        for path in (package.locate_file(name), package.locate_file(f"{name}.py")):
            if Path(str(path)).exists() and name.isidentifier() and name != "__pycache__":
                found[name] = Path(str(path))
                break
    return found


@lru_cache(maxsize=1)
def libraries() -> tuple[Path, ...]:
    """Return the folders in which Linux keeps shared libraries."""
    return tuple(_libraries())


def _libraries() -> Iterator[Path]:
    for path in map(Path, _LIBRARIES):
        if path.is_dir():
            yield from (each for each in path.iterdir() if _MULTIARCH.fullmatch(each.name))
            if path.name == "lib64":
                yield path
    # Where the interpreter was built to find its own.
    yield from Path(sys.base_prefix, "lib").glob("libpython*.so*")


def importable(module: str) -> list[str]:
    """Return the folders from which an installed module is imported, with what it may import."""
    root = module.partition(".")[0]
    try:
        spec = find_spec(root)
    except (ImportError, ValueError):
        spec = None
    own = [] if spec is None else [*(spec.submodule_search_locations or ()), spec.origin or ""]
    places = [sys.prefix, sys.base_prefix, *sys.path[1:], *own]
    return [each for each in dict.fromkeys(places) if each and os.path.exists(each)]
