"""What goes back to the grader: when it is written, and what may wait."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import BinaryIO

HELD_BYTES = 1 << 18
HELD_SECONDS = 0.02
"""How much of a tape's replies may wait, and for how long."""


class Replies:
    """What goes back to the grader: each reply at once, or, of a tape, several together.

    The grader says beforehand how many scenarios of a tape it sends one after the other. Their
    replies may wait for one another, but not long, and never when it waits for the last one.
    """

    def __init__(self, stream: BinaryIO) -> None:
        """Write to `stream`."""
        self._stream = stream
        self._waiting: list[bytes] = []
        self._size = 0
        self._may_wait = 0
        self._written = time.monotonic()

    def expect(self, scenarios: int) -> None:
        """Expect so many further scenarios: but for the last, replies may wait."""
        self._may_wait = scenarios

    def write(self, frame: bytes) -> None:
        """Write a reply, or let it wait for the next one."""
        self._waiting.append(frame)
        self._size += len(frame)
        self._may_wait -= 1
        now = time.monotonic()
        if self._may_wait <= 0 or self._size >= HELD_BYTES or now - self._written >= HELD_SECONDS:
            # What was printed goes first: the grader may end this process when it has the reply.
            with contextlib.suppress(Exception):  # the submission may have put anything there
                sys.stdout.flush()
            self._stream.write(b"".join(self._waiting))
            self._stream.flush()
            self._waiting, self._size, self._written = [], 0, now
