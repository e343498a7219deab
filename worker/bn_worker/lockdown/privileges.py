"""What a process may do because of who runs it: given up, and never got back."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import signal
import sys

from bn_worker.lockdown import kernel

_SET_PDEATHSIG, _SET_DUMPABLE, _CAPBSET_DROP, _SET_NO_NEW_PRIVS, _CAP_AMBIENT = 1, 4, 24, 38, 47
_AMBIENT_CLEAR_ALL = 4
_CAPSET = 126
_CAPABILITY_VERSION_3 = 0x20080522


def drop() -> None:
    """Give up all capabilities, and the ways to new ones.

    Raises:
        OSError: the kernel refuses.
    """
    kernel.prctl(_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(_SET_DUMPABLE, 0)
    kernel.prctl(_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    try:
        for capability in range(64):
            kernel.prctl(_CAPBSET_DROP, capability)
    except OSError as error:
        # Past the last one; or this user has none, and so nothing to bound.
        if error.errno not in (errno.EINVAL, errno.EPERM):
            raise
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    kernel.call(_CAPSET, header, (ctypes.c_uint32 * 6)())
    end_with_parent()


def end_with_parent() -> None:
    """Die when the grader does, where the system can see to that."""
    if sys.platform == "linux" and kernel.known():
        with contextlib.suppress(OSError):
            kernel.prctl(_SET_PDEATHSIG, signal.SIGKILL)
