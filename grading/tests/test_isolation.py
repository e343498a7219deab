"""The levels of isolation: which there are, which one a run has, and what a worker sees at each."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from bn_grading import api
from bn_grading.subject import installed, isolation, levels
from bn_grading.subject.isolation import Isolation, Level, NotIsolated
from bn_grading.subject.levels import NoSuchLevel, candidates, chosen, lacking, wanted
from bn_grading.subject.transport import Transport
from bn_properties.records import Status
from bn_worker import wire
from bn_worker.messages import STEPS, Request

OFFERED = [level for level in Level if lacking(level) is None]
LOCKED = [Level.FULL, Level.LOCKDOWN]
FIXTURES = Path(__file__).parents[2] / "fixtures"
LONG = 60.0


@pytest.fixture(autouse=True)
def nothing_is_remembered() -> Iterator[None]:
    """What a test pretends of the machine ends with it."""
    yield
    lacking.cache_clear()


def printed(
    level: Level,
    source: str,
    others: dict[str, str] | None = None,
    isolation: Isolation | None = None,
) -> str:
    """Return what a file prints while it is loaded in a worker."""
    transport = Transport(isolation or Isolation(level))
    transport.ready(LONG)
    options = {
        "framework": "",
        "module": None,
        "filename": "student.py",
        "source": source,
        "others": others or {},
        "parts": {},
    }
    transport.send(wire.encode(Request("load", options).message()))
    try:
        reply = transport.receive("load", LONG)
    finally:
        transport.close()
    assert reply.error is None, reply.error
    return transport.output.strip()


def test_none_is_always_there_and_the_best_is_chosen() -> None:
    assert Level.NONE in OFFERED
    assert OFFERED[0] == chosen("auto")
    assert tuple(Level) == candidates("auto")
    assert (Level.NONE,) == candidates(Level.NONE)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux has it")
def test_full_is_not_there_without_bubblewrap(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking.cache_clear()
    monkeypatch.setattr(isolation, "find_bubblewrap", lambda: None)
    assert "bubblewrap is not installed" == lacking(Level.FULL)
    with pytest.raises(NoSuchLevel, match="isolation full is not available here: bubblewrap"):
        candidates(Level.FULL)
    with pytest.raises(ValueError, match="not available"):
        api.check(str(FIXTURES / "correct" / "cmu_handout.py"), isolation="full")


def test_a_level_that_nobody_knows_is_refused() -> None:
    with pytest.raises(NoSuchLevel, match="is 'most', but must be auto, full, lockdown, none"):
        wanted("most")
    assert "auto" == wanted("auto")
    assert Level.FULL == wanted("full")


def test_a_worker_that_says_less_than_it_should_is_not_isolated() -> None:
    for missing in STEPS:
        told = [each for each in STEPS if each != missing]
        with pytest.raises(NotIsolated, match=missing):
            Isolation(Level.LOCKDOWN).held(told)
        Isolation(Level.NONE).held(told)
    Isolation(Level.FULL).held(STEPS)


def test_a_process_that_does_not_start_is_the_graders_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        Isolation,
        "command",
        lambda self: [sys.executable, "-c", "import sys; sys.exit('no such namespace')"],
    )
    with pytest.raises(NotIsolated, match=r"exit status 1\): no such namespace|exit status 1"):
        Transport(Isolation(Level.NONE)).ready(LONG)
    found = api.check(str(FIXTURES / "correct" / "cmu_handout.py"))
    assert Status.UNGRADED == found.status
    assert "does not start" in found.summary


def test_the_level_stands_in_the_record_and_an_own_file_takes_the_best() -> None:
    path = str(FIXTURES / "correct" / "cmu_handout.py")
    for asked, level in (("auto", OFFERED[0]), *((each.value, each) for each in OFFERED)):
        found = api.check(path, examples=11, isolation=asked)
        assert Status.CORRECT == found.status, found.summary
        assert found.basis is not None
        assert level == found.basis.isolation


def test_a_submission_that_does_not_load_has_its_level_in_the_record(tmp_path: Path) -> None:
    path = tmp_path / "bn.py"
    path.write_text("class BatchNorm1d: pass\nraise KeyError\n")
    found = api.check(str(path), examples=11)
    assert Status.UNUSABLE == found.status
    assert found.basis is not None
    assert OFFERED[0] == found.basis.isolation


@pytest.mark.skipif(OFFERED == [Level.NONE], reason="nothing is locked here")
def test_a_class_has_one_level_and_it_does_not_fall_back(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [str(FIXTURES / "correct" / "cmu_handout.py")]
    assert OFFERED[0] == api.grade(paths, examples=11).isolation
    before = Isolation.command

    def fails(self: Isolation) -> list[str]:
        return before(self) if self.level is Level.NONE else [sys.executable, "-c", "1/0"]

    monkeypatch.setattr(Isolation, "command", fails)
    (found,) = api.grade(paths, examples=11, isolation=OFFERED[0].value).submissions
    assert Status.UNGRADED == found.status
    assert "does not start" in found.summary


@pytest.mark.parametrize("level", Level)
def test_a_worker_works_in_an_empty_folder_of_its_own(level: Level) -> None:
    source = "import os\nprint(os.getcwd(), os.listdir('.'), os.environ.get('HOME'))"
    folder, rest = printed(level, source).split(" ", 1)
    assert "[] ." == rest
    assert os.getcwd() != folder
    assert folder == "/work" or not os.path.exists(folder), "it is gone with the worker"


@pytest.mark.parametrize("level", Level)
def test_a_worker_imports_the_standard_library_numpy_and_its_own_files(level: Level) -> None:
    names = ("json.tool", "sqlite3", "numpy.fft", "helpers", "hypothesis", "pytest", "pydantic")
    source = f"for name in {names!r}:\n    try:\n        __import__(name)\n        print(name)\n"
    source += "    except ImportError:\n        pass\n"
    source += "import sys\nprint('packages' in ' '.join(sys.path), *sys.argv)"
    assert ["json.tool", "sqlite3", "numpy.fft", "helpers", "False -c"] == printed(
        level, source, {"helpers": "import numpy"}
    ).splitlines()


@pytest.mark.parametrize("level", Level)
def test_a_worker_has_what_python_gives_a_script(level: Level) -> None:
    assert "exit quit" == printed(level, "print(exit.name, quit.name)")
    assert "café ⊘" == printed(level, "print('café ⊘')")


ATTEMPTS = (
    "os.fork()",
    "os.posix_spawn('/bin/true', ['true'], {})",
    "os.execv('/bin/true', ['true'])",
    "os.kill(os.getppid(), 9)",
    "os.kill(-1, 9)",
    "open('/etc/passwd')",
    "open('mine', 'w')",
    "open('/tmp/mine', 'w')",
    "os.mkdir('mine')",
    "os.symlink('/etc/passwd', 'mine')",
    "os.chmod('.', 0)",
    "os.chown('.', 0, 0)",
    "os.utime('.')",
    "os.unlink('/etc/passwd')",
    "os.listdir('/etc')",
    "open('/proc/self/environ')",
    "socket.socket()",
    "socket.socket(socket.AF_UNIX)",
    "socket.socketpair()",
    "os.memfd_create('x')",
    "os.setuid(1)",
    "os.setpriority(os.PRIO_PROCESS, 0, 5)",
    "os.sched_setaffinity(0, {0})",
    "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))",
    "fcntl.fcntl(2, fcntl.F_SETOWN, os.getppid())",
    "fcntl.ioctl(2, 0x5412, b'x')",
    "call(165, 0, 0, 0, 0, 0)",
    "call(272, 0x10000000)",
    "call(321, 0, 0, 0)",
    "call(425, 1, 0)",
    "call(250, 0, 0)",
    "call(310, os.getppid(), 0, 0, 0, 0, 0)",
    "call(29, 0, 4096, 0o1666)",
    "call(56, 17, 0, 0, 0, 0)",
    "call(157, 4, 1, 0, 0, 0)",
    "call(434, os.getppid(), 0)",
    "call(438, 0, 0, 0)",
    "os.kill(0, 0)",
)
"""Those by number are mount, unshare, bpf, io_uring, keyctl, process_vm_readv, shmget, clone,
prctl, pidfd_open and pidfd_getfd."""

HELPERS = """
import ctypes, fcntl, os, resource, socket
def call(*numbers):
    libc = ctypes.CDLL(None, use_errno=True)
    refused = libc.syscall(*map(ctypes.c_long, numbers)) == -1
    if refused and ctypes.get_errno() in (1, 38):  # else the kernel has looked at it
        raise OSError(ctypes.get_errno(), "refused")
"""

HARMLESS = (
    "os.kill(os.getppid(), 0)",
    "open('/etc/passwd')",
    "os.listdir('/etc')",
    "open('/proc/self/environ')",
    "open('/proc/self/mem', 'r+b')",
    "socket.socket()",
    "socket.socket(socket.AF_UNIX)",
    "os.memfd_create('x')",
    "fcntl.fcntl(2, fcntl.F_SETFL, 0)",
    "os.sched_setaffinity(0, os.sched_getaffinity(0))",
    "call(200, os.getpid(), 0)",
    "call(276, 99, 98, 1, 0)",
    "call(310, os.getpid(), 0, 0, 0, 0, 0)",
    "call(322, 0, 0, 0, 0, 0)",
)
"""The last are tkill, tee, process_vm_readv of itself, execveat of nothing."""


def tried(attempts: Iterable[str]) -> str:
    """Return a file that prints each attempt that nothing refuses."""
    source = HELPERS
    for attempt in attempts:
        done = f"    {attempt}\n    print({attempt!r})\n"
        source += f"try:\n{done}except (OSError, ValueError):\n    pass\n"
    return source


@pytest.mark.parametrize("level", LOCKED)
def test_what_is_locked_in_cannot(level: Level) -> None:
    assert "" == printed(level, tried((*ATTEMPTS, *HARMLESS)))


@pytest.mark.skipif(sys.platform != "linux", reason="these are Linux's system calls")
def test_what_is_not_locked_in_can() -> None:
    """Else it would show nothing that the others cannot."""
    assert list(HARMLESS) == printed(Level.NONE, tried(HARMLESS)).splitlines()


@pytest.mark.parametrize("level", Level)
@pytest.mark.skipif(sys.platform == "win32", reason="nothing is limited there")
def test_a_worker_is_limited(level: Level) -> None:
    source = (
        "import resource\n"
        "for name in ('CPU', 'FSIZE', 'CORE', 'NOFILE', 'AS'):\n"
        "    print(*resource.getrlimit(getattr(resource, f'RLIMIT_{name}')))\n"
    )
    limited = Isolation(level, start=1.5, seconds=2.1, memory=700)
    found = printed(level, source, isolation=limited).splitlines()
    assert ["4 5", "0 0", "0 0", "64 64"] == found[:4]
    assert sys.platform != "linux" or f"{700 << 20} {700 << 20}" == found[4]


@pytest.mark.parametrize("level", LOCKED)
def test_what_only_computes_can(level: Level) -> None:
    """A thread, a signal to itself, a terminal that it has not, what is random, null."""
    source = (
        "import os, random, signal, sys, threading, time\n"
        "thread = threading.Thread(target=time.sleep, args=(0.01,))\n"
        "thread.start()\n"
        "thread.join()\n"
        "signal.signal(signal.SIGUSR1, lambda *_: print('signalled'))\n"
        "os.kill(os.getpid(), signal.SIGUSR1)\n"
        "os.urandom(3), random.random(), sys.stdin.read()\n"
        "with open(os.devnull, 'w') as nothing:\n"
        "    nothing.write('x')\n"
        "print(sys.stdout.isatty(), os.path.exists('x'))\n"
    )
    assert ["signalled", "False False"] == printed(level, source).splitlines()


def test_a_probe_is_made_once() -> None:
    lacking.cache_clear()
    for _ in range(3):
        levels.chosen("auto")
    assert lacking.cache_info().misses <= len(Level)


@pytest.mark.torch
@pytest.mark.parametrize("level", Level)
def test_a_framework_works_at_every_level_and_so_does_what_is_installed(level: Level) -> None:
    """The file trains a network while it is imported: optimisers import PyTorch's compiler."""
    path = FIXTURES / "torch" / "correct" / "torch_with_a_script.py"
    for subject in (str(path), "torch.nn.BatchNorm1d"):
        found = api.check(subject, examples=11, isolation=level.value)
        assert Status.CORRECT == found.status, found.summary


@pytest.mark.torch
@pytest.mark.parametrize("level", LOCKED)
def test_pytorch_has_looked_at_the_processor_before_the_lock(level: Level, tmp_path: Path) -> None:
    source = (FIXTURES / "torch" / "correct" / "torch_d2l_functional.py").read_text("utf-8")
    path = tmp_path / "half.py"
    path.write_text(f"{source}\ntorch.ones(3).half().float()\n", "utf-8")
    assert api.check(str(path), isolation=level.value).status is Status.CORRECT


@pytest.mark.torch
def test_a_frameworks_packages_are_what_it_needs_and_nothing_else() -> None:
    found = installed.packages("torch")
    assert {"numpy", "torch", "typing_extensions"} <= set(found)
    assert not {"pydantic", "bn_grading", "bn_oracle", "hypothesis", "pytest"} & set(found)
    assert all(path.exists() for path in found.values())
    assert {"numpy"} == {name.partition(".")[0] for name in installed.packages("")}
