"""The worker process as the grader sees it: requests in, replies out, each within a time limit."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from typing import IO

from bn_properties.protocol import SubjectError
from bn_worker import wire
from bn_worker.messages import Reply

from bn_grading.subject.computed import ASLEEP, children, computed, most_memory
from bn_grading.subject.isolation import Isolation, Level, NotIsolated
from bn_grading.subject.pipes import TimeUp, pipes

_OUTPUT_KEPT = 16 * 1024
_SIGNALLED = 128
_CRASHES = ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP")
"""Signals that end who does what cannot be done, and not who is told to end."""
_REPLY_FLOOR = 4096
_REPLY_FACTOR = 16
"""A reply may be so many times as large as what was asked, and a floor."""


def room_for(asked: int) -> int:
    """Return how many bytes of arrays the reply to so many bytes may hold."""
    return _REPLY_FLOOR + _REPLY_FACTOR * asked


class Transport:
    """One worker process. A call that takes too long, or a reply that is no frame, ends it."""

    def __init__(self, isolation: Isolation | None = None) -> None:
        """Start the process; it locks itself in (see `ready`), and waits for its first frame.

        Raises:
            NotIsolated: it cannot be started as `isolation` says.
        """
        self._isolation = isolation or Isolation()
        command = self._isolation.command()
        # At the level `full`, it has a folder of its own inside.
        inside = self._isolation.level is Level.FULL
        self._directory = None if inside else tempfile.mkdtemp(prefix="bnoracle-")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._isolation.environment(),
            cwd=self._directory,
            start_new_session=True,
            bufsize=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._pipes = pipes(self._process.stdin, self._process.stdout)
        self._arrived: list[wire.Message] = []
        """Replies that came in one frame with an earlier one; the next is the last."""
        self._pipes.quiet = self._note
        self._noted: tuple[float, float | None] | None = None
        """When nothing had come yet, and how long the process had computed by then."""
        self.computed: float | None = None
        """For how many seconds it had computed when that was last asked."""
        self.memory: int | None = None
        """MiB that it has held at the most, if it lived until it was closed."""
        self._started = time.monotonic()
        self._room = _REPLY_FLOOR
        self._output = bytearray()
        self._flooded = False
        self._drain = threading.Thread(
            target=self._keep_output, args=(self._process.stderr,), daemon=True
        )
        self._drain.start()
        self.dead: SubjectError | None = None
        """Why the process is gone, once it is."""
        self.send(wire.encode(self._isolation.request(self._directory).message()))

    def ready(self, seconds: float) -> None:
        """Be sure that the process has locked itself in; before that it is sent no submission.

        Raises:
            NotIsolated: it has not, or has not started: not the submission's failure.
        """
        try:
            reply = self.receive("lock", seconds)
        except SubjectError as error:
            self.close()
            lines = self.output.strip().splitlines()
            said = f": {lines[-1]}" if lines else ""
            reason = f"the process for the submission does not start ({error.message}{said})"
            raise NotIsolated(reason) from None
        if reply.error is not None:
            self.close()
            raise NotIsolated(reply.error.message)
        self._isolation.held(reply.in_force)

    def send(self, frames: bytes) -> None:
        """Send encoded requests; each is answered in turn (see `receive`).

        Raises:
            SubjectError: the process is gone, or has answered what it has not read.
        """
        if self.dead is not None:
            raise self.dead
        if self._pipes.unread:  # what is forged without end must not fill the grader's memory
            forged = wire.WireError("replies come to requests that were not read")
            raise self._ended("the submission", forged, 0.0)
        self._arrived.clear()
        self._room = room_for(len(frames))
        self._pipes.write(frames)

    def receive(self, call: str, seconds: float) -> Reply:
        """Return the reply to the next of the requests that were sent; `call` is its name.

        Raises:
            SubjectError: no reply in time, the process died, or what came is no reply. After
                that the process is gone.
        """
        if self.dead is not None:
            raise self.dead
        try:
            if not self._arrived:
                frame = self._frame(self._room, seconds, wire.MAX_REPLY_HEADER)
                self._arrived = wire.unfold(frame)[::-1]
            return Reply.read(self._arrived.pop(), call)
        except (TimeUp, OSError, EOFError, ValueError, wire.WireError) as error:
            raise self._ended(call, error, seconds) from None

    def receive_frame(self, room: int, call: str, seconds: float) -> wire.Frame:
        """Return the next frame as it is, with up to `room` bytes of arrays.

        Raises:
            SubjectError: as of `receive`.
        """
        if self.dead is not None:
            raise self.dead
        try:
            return self._frame(room, seconds, wire.MAX_SCENARIO_HEADER)
        except (TimeUp, OSError, EOFError, ValueError, wire.WireError) as error:
            raise self._ended(call, error, seconds) from None

    def _frame(self, room: int, seconds: float, header: int) -> wire.Frame:
        self._pipes.until, self._noted = time.monotonic() + seconds, None
        frame = wire.read_frame(self._pipes, lambda: room, header)
        if self._flooded:  # it may have answered before its end
            raise EOFError
        return frame

    def _ended(self, call: str, error: Exception, seconds: float) -> SubjectError:
        """End the process, and return why."""
        if isinstance(error, TimeUp):
            self.dead = self._late(f"{call} takes longer than {seconds:g} s")
        else:
            self.dead = self._death(call, error)
        self._kill()
        return self.dead

    def _note(self) -> None:
        """Look at what the process does while nothing comes."""
        if self._noted is None:
            self._noted = time.monotonic(), computed(self._process.pid)

    def _late(self, text: str) -> SubjectError:
        """Say of a call that took too long whether the process has computed meanwhile."""
        now, self.computed = time.monotonic(), computed(self._process.pid)
        since, before = self._noted or (now, None)
        if before is None or self.computed is None:
            return SubjectError("timeout", text)
        if self.computed - before < ASLEEP * (now - since):
            return SubjectError("slept", f"{text}, in which it sleeps or waits")
        return SubjectError("timeout", f"{text}, in which it computes")

    def _death(self, call: str, error: Exception) -> SubjectError:
        if self._flooded:
            return SubjectError("died", f"{call} prints more than {self._printing}")
        if isinstance(error, wire.TooLarge):
            size, room = error.size / 1e6, error.room / 1e6
            return SubjectError(
                "died",
                f"{call} returns results that are too large: {size:.3g} MB, where {room:.3g} MB "
                "would be many times what it was given",
            )
        if isinstance(error, wire.WireError):
            return SubjectError("died", f"{call} disturbs the pipe to the grader: {error}")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=1.0)
        code = self._process.returncode
        if code is not None and code > _SIGNALLED and self._isolation.level is Level.FULL:
            code = _SIGNALLED - code  # as bubblewrap tells how the process inside it has ended
        if code is not None and code < 0:
            return self._killed(call, -code)
        return SubjectError("died", f"{call} ends its process (exit status {code})")

    def _killed(self, call: str, number: int) -> SubjectError:
        """Say what it means that a process ended by a signal."""
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = f"signal {number}"
        seconds = self._isolation.seconds
        lived = (time.monotonic() - self._started) * (os.cpu_count() or 1)
        if name == "SIGXCPU" and lived >= seconds:  # or else it has sent it to itself
            text = f"the submission takes more than {seconds:g} s of processor time in all"
            return SubjectError("unfinished", text)
        if name in _CRASHES:
            return SubjectError("died", f"{call} crashes its process ({name})")
        return SubjectError("died", f"{call} kills its process ({name})")

    @property
    def _printing(self) -> str:
        """How much it may print."""
        size = self._isolation.output
        return f"{size} KiB" if size % 1024 else f"{size // 1024} MiB"

    def _keep_output(self, stderr: IO[bytes]) -> None:
        """Keep the start of what is printed, throw the rest away, and stop a flood."""
        total = 0
        with contextlib.suppress(OSError, ValueError):
            while part := os.read(stderr.fileno(), 65536):
                total += len(part)
                self._output += part[: max(0, _OUTPUT_KEPT - len(self._output))]
                if total > self._isolation.output * 1024 and not self._flooded:
                    self._flooded = True
                    self._kill()

    @property
    def output(self) -> str:
        """The start of what the submission printed."""
        return bytes(self._output).decode("utf-8", "backslashreplace")

    def _kill(self) -> None:
        """Kill the process, and all that may be in it.

        Bubblewrap outlives its inside by the moment that it takes to see it end: nothing is left
        for others to clear away.
        """
        inside = self._inside() if self._isolation.level is Level.FULL else []
        for each in inside:
            with contextlib.suppress(OSError):
                os.kill(each, signal.SIGKILL)
        if not inside:
            self._kill_group()

    def _kill_group(self) -> None:
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()

    def _inside(self) -> list[int]:
        """Return the process that bubblewrap has started: when it dies, so do all in it."""
        pid = self._process.pid
        try:
            return children(pid)
        except OSError:
            return []

    def close(self) -> None:
        """End the process and give its pipes back; nothing can be sent or received any more."""
        if self.dead is None:
            self.computed = computed(self._process.pid)
            self.memory = most_memory(self._process.pid)
            self.dead = SubjectError("died", "the submission's process was ended")
        self._kill()
        try:
            self._process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            self._kill_group()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5.0)
        unused = self._pipes.close()
        self._drain.join(2.0)
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
        if unused and not self._drain.is_alive():
            for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
