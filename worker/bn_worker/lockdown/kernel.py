"""Linux's system calls for which Python has no function."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from functools import cache
from typing import Any


@cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def known() -> bool:
    """Whether this is the platform whose system calls are known here: Linux on x86-64."""
    return sys.platform == "linux" and platform.machine() == "x86_64" and sys.maxsize > 2**32


def call(number: int, *arguments: int | ctypes.Array[Any] | ctypes.Structure | None) -> int:
    """Make a system call; an array or structure is handed over by its address.

    Raises:
        OSError: the kernel refuses it.
    """
    given = [
        ctypes.c_ulong((each or 0) % 2**64)
        if isinstance(each, int | None)
        else ctypes.c_void_p(ctypes.addressof(each))
        for each in arguments
    ]
    found = int(_libc().syscall(ctypes.c_long(number), *given))
    if found == -1:
        number_of_error = ctypes.get_errno()
        raise OSError(number_of_error, os.strerror(number_of_error))
    return found


PRCTL = 157


def prctl(*arguments: int) -> int:
    """Change something of this process.

    Raises:
        OSError: the kernel refuses it.
    """
    filled = (*arguments, 0, 0, 0, 0)[:5]
    return call(PRCTL, *filled)
