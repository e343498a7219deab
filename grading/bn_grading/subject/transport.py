"""The worker process as the grader sees it: messages in, answers out, each within a time limit."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from queue import Empty, SimpleQueue
from typing import Any, BinaryIO

from bn_properties.protocol import AnyArray, SubjectError
from bn_worker import wire

_STDERR_KEPT = 16 * 1024
_STDERR_ALLOWED = 1024 * 1024
_REPLY_FLOOR = 4096
_REPLY_FACTOR = 16
_PIPE_ROOM = 32 * 1024 if sys.platform == "linux" else 0
"""What an empty pipe takes at once without waiting for its reader; 0 where that is not known."""

_PIECE = 64 * 1024
"""How much is read of a pipe at once: all that it holds, on most systems."""

_NO_REPLY = (OSError, EOFError, ValueError, wire.WireError)
"""What reading a reply ends in when the process is gone, or does not keep to the protocol."""

Request = tuple[dict[str, Any], dict[str, AnyArray]]


class _Timed:
    """Reads a pipe, in pieces as large as they come, up to a moment and no longer."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._piece, self._at = b"", 0
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self.until = 0.0
        """The moment, on the monotonic clock."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; none at the end.

        Raises:
            Empty: nothing came in time.
        """
        if self._at == len(self._piece):
            left = self.until - time.monotonic()
            if not self._poll.poll(max(0.0, 1000.0 * left)):
                raise Empty
            self._piece, self._at = os.read(self._descriptor, _PIECE), 0
        part = self._piece[self._at : self._at + size]
        self._at += len(part)
        return part


class WorkerProcess:
    """One worker. A call that takes too long, or a reply that is no frame, ends it."""

    def __init__(self) -> None:
        """Start the process; it waits for its first frame."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if name in ("PATH", "SYSTEMROOT", "TEMP", "TMP", "HOME", "LANG")
            or name.startswith(("OPENBLAS_", "OMP_"))
        }
        environment.update(PYTHONIOENCODING="utf-8:backslashreplace", OPENBLAS_NUM_THREADS="1")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-m", "bn_worker.loop"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        self._requests: SimpleQueue[bytes | None] = SimpleQueue()
        self._replies: SimpleQueue[list[wire.Message] | BaseException] = SimpleQueue()
        self._arrived: list[wire.Message] = []
        """Answers that came in one frame with an earlier one; the next is the last."""
        self._room = _REPLY_FLOOR
        self._output = bytearray()
        self._flooded = False
        targets = [self._write_large, self._drain]
        assert self._process.stdout is not None
        # Where a pipe can be waited for with a limit, no thread need hand its replies on.
        self._stream = _Timed(self._process.stdout.fileno()) if hasattr(select, "poll") else None
        if self._stream is None:
            targets.append(self._read)
        self._threads = [threading.Thread(target=target, daemon=True) for target in targets]
        for thread in self._threads:
            thread.start()
        self.dead: SubjectError | None = None

    def send(self, frames: bytes) -> None:
        """Send encoded requests; each is answered in turn (see `receive`).

        Raises:
            SubjectError: the process is gone.
        """
        if self.dead is not None:
            raise self.dead
        self._arrived.clear()
        self._room = _REPLY_FLOOR + _REPLY_FACTOR * len(frames)
        if len(frames) > _PIPE_ROOM:
            # The worker may be busy writing its replies: this must not wait for it.
            self._requests.put(frames)
            return
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(OSError, ValueError):  # a dead worker shows when it is read
            stdin.write(frames)
            stdin.flush()

    def receive(self, operation: str, seconds: float) -> wire.Message:
        """Return the answer to the next of the requests that were sent.

        Raises:
            SubjectError: no answer in time, the process died, or the answer is no frame. After
                that the process is gone.
        """
        if self.dead is not None:
            raise self.dead
        if self._arrived:
            return self._arrived.pop()
        try:
            answer = self._next(seconds)
        except Empty:
            self._end(SubjectError("timeout", f"{operation} takes longer than {seconds:g} s"))
            assert self.dead is not None
            raise self.dead from None
        if isinstance(answer, BaseException):
            self._end(self._death(operation, answer))
            assert self.dead is not None
            raise self.dead from answer
        self._arrived = answer[::-1]
        return self._arrived.pop()

    def _next(self, seconds: float) -> list[wire.Message] | BaseException:
        """Return the answers of the next frame, or why there are none.

        Raises:
            Empty: it did not come in time.
        """
        if self._stream is None:
            return self._replies.get(timeout=seconds)
        self._stream.until = time.monotonic() + seconds
        try:
            return wire.read(self._stream, lambda: self._room)
        except _NO_REPLY as error:
            return error

    def _death(self, operation: str, error: BaseException) -> SubjectError:
        if self._flooded:
            return SubjectError("died", f"{operation} prints more than 1 MiB")
        if isinstance(error, wire.WireError):
            return SubjectError("died", f"{operation} disturbs the pipe to the grader: {error}")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=1.0)
        code = self._process.returncode
        if code is not None and code < 0:
            try:
                name = signal.Signals(-code).name
            except ValueError:
                name = f"signal {-code}"
            return SubjectError("died", f"{operation} kills its process ({name})")
        return SubjectError("died", f"{operation} ends its process (exit status {code})")

    def _write_large(self) -> None:
        """Write what could fill the pipe, apart from the caller, who waits with a limit."""
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(OSError, ValueError):
            while (data := self._requests.get()) is not None:
                stdin.write(data)
                stdin.flush()

    def _read(self) -> None:
        """Read replies as they come."""
        stdout = self._process.stdout
        assert stdout is not None
        try:
            while True:
                self._replies.put(wire.read(stdout, lambda: self._room))
        except _NO_REPLY as error:
            self._replies.put(error)

    def _drain(self) -> None:
        """Keep the start of what is printed, throw the rest away, and stop a flood."""
        stderr: BinaryIO = self._process.stderr  # type: ignore[assignment]
        total = 0
        with contextlib.suppress(OSError, ValueError):
            while part := os.read(stderr.fileno(), 65536):
                total += len(part)
                self._output += part[: max(0, _STDERR_KEPT - len(self._output))]
                if total > _STDERR_ALLOWED and not self._flooded:
                    self._flooded = True
                    self._kill()

    @property
    def output(self) -> str:
        """The start of what the submission printed."""
        return bytes(self._output).decode("utf-8", "backslashreplace")

    def _end(self, error: SubjectError) -> None:
        self.dead = error
        self._kill()

    def _kill(self) -> None:
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()

    def close(self) -> None:
        """End the process and give its pipes back."""
        self._requests.put(None)
        self._kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5.0)
        deadline = time.monotonic() + 2.0
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if not any(thread.is_alive() for thread in self._threads):
            for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()

    def __enter__(self) -> WorkerProcess:
        """Return the worker."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close it."""
        self.close()
