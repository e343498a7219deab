"""Which packages a submission can import: the standard library, and those that its course has."""

from __future__ import annotations

import builtins
import os
import sys
import types
from collections.abc import Collection, Sequence
from importlib.machinery import ModuleSpec, PathFinder


class _Shelf:
    """Finds packages by name in folders in which others lie, too."""

    def __init__(self, names: Collection[str], folders: Sequence[str]) -> None:
        self._names, self._folders = frozenset(names), list(folders)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        """Answer for these packages; what is inside one is found from there."""
        if fullname not in self._names:
            return None
        return PathFinder.find_spec(fullname, self._folders)


def keep(names: Collection[str], folders: Sequence[str]) -> None:
    """Import nothing more from these folders but what has one of the names; write nothing there."""
    sys.dont_write_bytecode = True
    if folders:
        sys.path[:] = [each for each in sys.path if each not in folders]
        sys.meta_path.append(_Shelf(names, folders))


def name_temporary_folder() -> None:
    """Say where temporary files would go, where a framework has asked, though none can be made.

    Else asking for the place alone would fail: Python tries whether it can write there.
    """
    tempfile = sys.modules.get("tempfile")
    if tempfile is not None:
        tempfile.tempdir = os.getcwd()  # type: ignore[attr-defined]


def supply_exit() -> None:
    """Supply the names that Python gives only to who may import all that is installed."""
    if not hasattr(builtins, "exit"):
        import _sitebuiltins  # noqa: PLC0415 (Python's own, and only needed here)

        for name in ("exit", "quit"):
            setattr(builtins, name, _sitebuiltins.Quitter(name, "Ctrl-D (i.e. EOF)"))
        setattr(builtins, "help", _sitebuiltins._Helper())  # noqa: B010 (it has no such name)
