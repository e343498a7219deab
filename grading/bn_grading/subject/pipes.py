"""A process's pipes, written and read within a limit: neither side can make the other wait."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable
from queue import Empty, Queue, SimpleQueue
from typing import IO, Protocol

_PIECE = 64 * 1024
"""How much goes through a pipe at once: all that it holds, on most systems."""
_AHEAD = 16
"""How many pieces a thread reads before they are asked for: what is forged without end waits."""


QUIET = 0.1
"""Seconds without a byte after which `quiet` is called, and again after as many more."""


class TimeUp(Exception):
    """Nothing came in time."""


class Pipes(Protocol):
    """What goes to a process, and what comes back."""

    until: float
    """The moment, on the monotonic clock, up to which `read` waits, and writes what is left."""
    quiet: Callable[[], object]
    """What is called while nothing comes."""

    def write(self, data: bytes) -> None:
        """Send `data`, at once or while `read` waits."""
        ...

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; none at the end.

        Raises:
            TimeUp: nothing came in time.
        """
        ...

    @property
    def unread(self) -> bool:
        """Whether the process has surely not read all that was written."""
        ...

    def close(self) -> bool:
        """Send nothing more; return whether nothing here uses the pipes any more.

        The process must have ended. A descriptor that is closed while a thread still reads it may
        be somebody else's by then.
        """
        ...


def _nothing() -> None:
    """Do nothing while nothing comes."""


def pipes(stdin: IO[bytes], stdout: IO[bytes]) -> Pipes:
    """Return a process's pipes: polled where the system can, else each with a thread."""
    return PolledPipes(stdin, stdout) if hasattr(select, "poll") else ThreadedPipes(stdin, stdout)


class PolledPipes:
    """Pipes that this thread alone writes and reads, in pieces as large as they go."""

    def __init__(self, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        """Take over both."""
        self.until = 0.0
        self.quiet: Callable[[], object] = _nothing
        self._stdin, self._stdout = stdin.fileno(), stdout.fileno()
        os.set_blocking(self._stdin, False)
        self._unsent = memoryview(b"")
        self._piece, self._at = b"", 0
        self._poll = select.poll()
        self._poll.register(self._stdout, select.POLLIN)

    def write(self, data: bytes) -> None:
        """Send what the pipe takes at once; the rest goes while `read` waits."""
        self._unsent = memoryview(bytes(self._unsent) + data if self._unsent else data)
        self._send()
        if self._unsent:
            self._poll.register(self._stdin, select.POLLOUT)

    def _send(self) -> None:
        try:
            while self._unsent:
                self._unsent = self._unsent[os.write(self._stdin, self._unsent[:_PIECE]) :]
        except BlockingIOError:
            return
        except OSError:  # nobody reads any more: that shows when the replies are read
            self._unsent = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; none at the end."""
        while self._at == len(self._piece):
            left = self.until - time.monotonic()
            ready = dict(self._poll.poll(1000.0 * max(0.0, min(left, QUIET))))
            if not ready:
                if left <= QUIET:
                    raise TimeUp
                self.quiet()
            if self._stdin in ready:
                self._send()
                if not self._unsent:
                    self._poll.unregister(self._stdin)
            if self._stdout in ready:
                self._piece, self._at = os.read(self._stdout, _PIECE), 0
                if not self._piece:
                    return b""
        part = self._piece[self._at : self._at + size]
        self._at += len(part)
        return part

    @property
    def unread(self) -> bool:
        """Whether something does not even fit into the pipe yet."""
        return bool(self._unsent)

    def close(self) -> bool:
        """Send nothing more."""
        self._unsent = memoryview(b"")
        return True


class ThreadedPipes:
    """Pipes for systems that cannot wait for one with a limit: a thread writes, another reads."""

    def __init__(self, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        """Take over both."""
        self.until = 0.0
        self.quiet: Callable[[], object] = _nothing
        self._stdin, self._stdout = stdin, stdout
        self._requests: SimpleQueue[bytes | None] = SimpleQueue()
        self._replies: Queue[bytes] = Queue(_AHEAD)
        self._piece, self._at = b"", 0
        targets = (self._write, self._read)
        self._threads = [threading.Thread(target=each, daemon=True) for each in targets]
        for thread in self._threads:
            thread.start()

    def write(self, data: bytes) -> None:
        """Hand `data` to the thread that writes."""
        self._requests.put(data)

    def _write(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while (data := self._requests.get()) is not None:
                unsent = memoryview(data)
                while unsent:
                    unsent = unsent[self._stdin.write(unsent) or 0 :]

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while part := os.read(self._stdout.fileno(), _PIECE):
                self._replies.put(part)
        self._replies.put(b"")

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; none at the end."""
        if self._at == len(self._piece):
            self._piece, self._at = self._next(), 0
            if not self._piece:
                self._replies.put(b"")  # the end is there for whoever asks again
        part = self._piece[self._at : self._at + size]
        self._at += len(part)
        return part

    def _next(self) -> bytes:
        while True:
            left = self.until - time.monotonic()
            try:
                return self._replies.get(timeout=max(0.0, min(left, QUIET)))
            except Empty:
                if left <= QUIET:
                    raise TimeUp from None
                self.quiet()

    @property
    def unread(self) -> bool:
        """Whether something waits for the thread, which is still busy with what was before it."""
        return self._requests.qsize() > 1

    def close(self) -> bool:
        """End the thread that writes, and wait for both."""
        self._requests.put(None)
        until = time.monotonic() + 2.0
        while any(each.is_alive() for each in self._threads) and time.monotonic() < until:
            with contextlib.suppress(Empty):  # the thread may wait for room
                self._replies.get(timeout=0.01)
        return not any(thread.is_alive() for thread in self._threads)
