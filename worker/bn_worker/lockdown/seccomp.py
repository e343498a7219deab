"""seccomp: the system calls that are left to a process that computes. All others are refused."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator

from bn_worker.lockdown import kernel

_SECCOMP = 317
_SET_MODE_FILTER, _TSYNC = 1, 1
_X86_64 = 0xC000003E
_X32 = 0x40000000
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
"""Where the kernel's description of a call has what."""

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38

ALLOWED = {
    "read": 0, "write": 1, "close": 3, "stat": 4, "fstat": 5, "lstat": 6, "poll": 7,
    "lseek": 8, "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigaction": 13,
    "rt_sigprocmask": 14, "rt_sigreturn": 15, "pread64": 17, "readv": 19, "writev": 20,
    "access": 21, "pipe": 22, "select": 23, "sched_yield": 24, "mremap": 25, "madvise": 28,
    "dup": 32, "dup2": 33, "pause": 34, "nanosleep": 35, "getitimer": 36, "alarm": 37,
    "setitimer": 38, "getpid": 39, "exit": 60, "uname": 63, "getcwd": 79, "readlink": 89,
    "gettimeofday": 96, "getrlimit": 97, "getrusage": 98, "sysinfo": 99, "times": 100,
    "getuid": 102, "getgid": 104, "geteuid": 107, "getegid": 108, "getppid": 110,
    "getpgrp": 111, "getgroups": 115, "getresuid": 118, "getresgid": 120, "getpgid": 121,
    "getsid": 124, "rt_sigpending": 127, "rt_sigtimedwait": 128, "rt_sigsuspend": 130,
    "sigaltstack": 131, "gettid": 186, "time": 201, "futex": 202, "sched_getaffinity": 204,
    "getdents64": 217, "set_tid_address": 218, "restart_syscall": 219, "fadvise64": 221,
    "clock_gettime": 228, "clock_getres": 229, "clock_nanosleep": 230, "exit_group": 231,
    "newfstatat": 262, "readlinkat": 267, "faccessat": 269, "pselect6": 270,
    "ppoll": 271, "set_robust_list": 273, "get_robust_list": 274, "dup3": 292, "pipe2": 293,
    "preadv": 295, "getcpu": 309, "getrandom": 318, "membarrier": 324, "statx": 332,
    "rseq": 334, "close_range": 436, "faccessat2": 439, "futex_waitv": 449,
}  # fmt: skip
"""What may be called with anything: files are Landlock's, and there is nothing else to name."""
_OPEN, _OPENAT = 2, 257
_WRITES, _READS_AND_WRITES, _TRUNCATES = 0b01, 0b10, 0o1000
"""Of the flags with which a file is opened. With both of the first two, it is for neither."""

_KILL_CALL, _TGKILL, _CLONE, _CLONE3, _FCNTL, _IOCTL, _PRLIMIT = 62, 234, 56, 435, 72, 16, 302
_THREAD, _NAMESPACES = 0x00010000, 0x7E020080
_FCNTL_COMMANDS = (0, 1, 2, 3, 1030)
"""Duplicating a descriptor, and its flags; not who gets a signal when something can be read."""
_IOCTL_REQUESTS = (0x5401, 0x5413, 0x5450, 0x5451)
"""Whether it is a terminal, and how large; whether it is closed by execve."""
_PRCTL_NAME = (15, 16)
"""A thread's name."""


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("if_true", ctypes.c_uint8),
        ("if_false", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.c_void_p))


Step = tuple[int, int, int, int]


def program(pid: int) -> list[Step]:
    """Return the filter for the process of that number: code, jumps and value of each step."""
    steps: list[Step] = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, _X86_64),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
    ]
    for number in sorted(ALLOWED.values()):
        steps += _where(number, [(_RETURN, 0, 0, _ALLOW)])
    steps += _where(_OPEN, list(_opens(1)))
    steps += _where(_OPENAT, list(_opens(2)))
    steps += _where(_KILL_CALL, [*_one_of(0, pid)])
    steps += _where(_TGKILL, [*_one_of(0, pid)])
    steps += _where(_FCNTL, [*_one_of(1, *_FCNTL_COMMANDS)])
    steps += _where(_IOCTL, [*_one_of(1, *_IOCTL_REQUESTS)])
    steps += _where(kernel.PRCTL, [*_one_of(0, *_PRCTL_NAME)])
    steps += _where(_CLONE, list(_thread()))
    # It hides its flags in memory: the C library then does without it.
    steps += _where(_CLONE3, [(_RETURN, 0, 0, _ERRNO | _ENOSYS)])
    steps += _where(_PRLIMIT, list(_asks()))
    return [*steps, (_RETURN, 0, 0, _ERRNO | _EPERM)]


def _where(number: int, then: list[Step]) -> list[Step]:
    return [(_EQUAL, 0, len(then), number), *then]


def _argument(number: int, *, high: bool = False) -> Step:
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * number + (4 if high else 0))


def _one_of(argument: int, *values: int) -> Iterator[Step]:
    """Allow a call whose argument is one of these."""
    yield _argument(argument)
    for value in values:
        yield (_EQUAL, 0, 1, value)
        yield (_RETURN, 0, 0, _ALLOW)
    yield (_RETURN, 0, 0, _ERRNO | _EPERM)


def _opens(flags: int) -> Iterator[Step]:
    """Allow to open a file as Landlock allows it, of which old versions do not see that a file is
    emptied: not for neither reading nor writing, and not to empty it where it is only read.
    """
    yield _argument(flags)
    yield (_ANY_BIT, 0, 1, _READS_AND_WRITES)
    yield (_ANY_BIT, 3, 2, _WRITES)
    yield (_ANY_BIT, 1, 0, _WRITES)
    yield (_ANY_BIT, 1, 0, _TRUNCATES)
    yield (_RETURN, 0, 0, _ALLOW)
    yield (_RETURN, 0, 0, _ERRNO | _EPERM)


def _thread() -> Iterator[Step]:
    """Allow another thread of this process, in no other namespace."""
    yield _argument(0)
    yield (_ANY_BIT, 2, 0, _NAMESPACES)
    yield (_ANY_BIT, 0, 1, _THREAD)
    yield (_RETURN, 0, 0, _ALLOW)
    yield (_RETURN, 0, 0, _ERRNO | _EPERM)


def _asks() -> Iterator[Step]:
    """Allow to ask for a limit, not to set one."""
    yield _argument(2)
    yield (_EQUAL, 0, 3, 0)
    yield _argument(2, high=True)
    yield (_EQUAL, 0, 1, 0)
    yield (_RETURN, 0, 0, _ALLOW)
    yield (_RETURN, 0, 0, _ERRNO | _EPERM)


def restrict() -> None:
    """Refuse all other system calls to all threads of this process, for good.

    Raises:
        OSError: this is no x86-64 Linux, or the kernel refuses.
    """
    if not kernel.known():
        raise OSError("the filter of system calls is for Linux on x86-64")
    steps = program(os.getpid())
    instructions = (_Instruction * len(steps))(*(_Instruction(*step) for step in steps))
    given = _Program(len(steps), ctypes.addressof(instructions))
    if kernel.call(_SECCOMP, _SET_MODE_FILTER, _TSYNC, given):
        raise OSError("a thread cannot be given the filter of system calls")
