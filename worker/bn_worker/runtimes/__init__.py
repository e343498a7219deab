"""The ways in which submissions are written, each a module; which one it is, is chosen here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from typing import Any

from bn_worker.runtimes.base import Adapter, Spec

RUNTIMES = {
    "class": ("bn_worker.runtimes.classes", "ClassAdapter"),
    "functions": ("bn_worker.runtimes.functions", "FunctionAdapter"),
    "module": ("bn_worker.runtimes.torch", "ModuleAdapter"),
}
"""For each kind of interface, the module and the class; a framework is imported when asked for."""


def present(spec: Spec, names: dict[str, Any]) -> bool:
    """Whether the submission defines a name by which the interface is recognised."""
    wanted = spec["identified_by"] if spec["kind"] == "functions" else spec["classes"]
    return any(name in names for name in wanted)


def prepare(kinds: Iterable[str]) -> None:
    """Import what interfaces of these kinds need, before anything of the submission's runs."""
    for kind in kinds:
        _runtime(kind)


def construct(spec: Spec, names: dict[str, Any], setup: dict[str, Any]) -> Adapter:
    """Make a layer; `setup` holds features, spatial_axes and whatever the grader sets."""
    return _runtime(spec["kind"])(spec, names, setup)


@cache
def _runtime(kind: str) -> Callable[[Spec, dict[str, Any], dict[str, Any]], Adapter]:
    module, name = RUNTIMES[kind]
    runtime: Callable[[Spec, dict[str, Any], dict[str, Any]], Adapter]
    runtime = getattr(import_module(module), name)
    return runtime
