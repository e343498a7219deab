"""A whole tape, played by a submission in one go: frames out, numbers back.

Most replies are regular: each result is there, in a shape that it may have, and nothing else
happened. Of such a reply only the header is looked at, once for all that are alike; its numbers go
to their places. Any other is taken apart when it is needed, as if it had been asked for alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from bn_oracle.arrays import Array
from bn_properties.protocol import SubjectError
from bn_properties.scenario import Scenario, is_large, may_have_shape
from bn_properties.tape.playback import Playback
from bn_properties.tape.tape import Form, Tape
from bn_properties.transcript import Responses
from bn_worker import wire
from bn_worker.messages import Reply

from bn_grading.subject.session import Session, answered

Ask = Callable[[Scenario], Responses]
"""Takes a submission through one scenario, alone."""

Decode = Callable[[Scenario, list[Reply | SubjectError]], Responses]
"""Takes the replies to a scenario's requests as its responses."""


class Piece(NamedTuple):
    """One result in a payload, and where it goes among those of its scenario."""

    dtype: np.dtype[Any]
    size: int
    offset: int
    place: int


class Layout(NamedTuple):
    """Where a regular reply has its results, and how long it is."""

    pieces: tuple[Piece, ...]
    size: int


_LONGEST, _MOST = 2048, 4096
"""Headers that are remembered: up to how many bytes, and how many of them."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A tape, ready to be played by submissions."""

    tape: Tape
    scenarios: tuple[bytes, ...]
    """Each scenario's calls, encoded."""
    _layouts: dict[tuple[int, bytes], Layout] = field(default_factory=dict)
    """What headers were found to say: replies to scenarios of one form mostly have the same."""

    @cached_property
    def large(self) -> tuple[int, ...]:
        """The numbers of the scenarios that have large batches."""
        return tuple(each for each, one in enumerate(self.tape.scenarios) if is_large(one))

    def layout(self, number: int, header: bytes) -> Layout | None:
        """Return the layout of a reply to a scenario; None: it is not regular.

        Raises:
            WireError: the header is none.
        """
        form = self.tape.form[number]
        known = self._layouts.get((form, header))
        if known is None:
            known = _layout(self.tape.forms[form], header)
            # What is kept does not grow with what submissions make up.
            if known is not None and len(header) <= _LONGEST and wire.is_plain(header):
                if len(self._layouts) >= _MOST:
                    self._layouts.clear()
                self._layouts[form, header] = known
        return known


def _layout(form: Form, header: bytes) -> Layout | None:
    construct, *messages = wire.headers(header)
    if construct != {"arrays": []} or len(messages) != len(form.operations):
        return None
    offset, pieces = 0, list[Piece]()
    for message, slots in zip(messages, form.operations, strict=True):
        places = {slot.quantity: slot for slot in slots}
        if message.keys() != {"arrays"} or len(message["arrays"]) != len(slots):
            return None
        for name, dtype, shape in (wire.array_of(each) for each in message["arrays"]):
            slot = places.pop(name, None)  # type: ignore[call-overload]  # any name may come
            if slot is None or not may_have_shape(tuple(shape), slot.quantity, slot.like):
                return None
            if dtype.kind == "b":  # whose bytes must be looked at
                return None
            pieces.append(Piece(dtype, slot.size, offset, slot.start))
            offset += dtype.itemsize * slot.size
    return Layout(tuple(pieces), offset)


def play(session: Session, prepared: Prepared, ask: Ask, decode: Decode) -> Playback:
    """Let a submission play a tape, scenario by scenario.

    What ends its process costs the one scenario, which is then asked for alone; the tape goes on
    behind it. Where a call ends the process again and again, the rest is left to be asked for.
    """
    tape = prepared.tape
    values = np.full(tape.starts[-1], np.nan)
    regular = np.zeros(len(tape.scenarios), bool)
    shown: list[wire.Frame | Responses] = []
    while len(shown) < len(tape.scenarios):
        end = len(tape.scenarios)
        if session.ran_out is not None:
            end = next((each for each in prepared.large if each >= len(shown)), end)
        for frame in session.stream(prepared.scenarios[len(shown) : end]):
            try:
                regular[len(shown)] = _placed(prepared, len(shown), frame, values)
            except wire.WireError:
                session.distrust()
                break
            shown.append(frame)
        else:
            played = len(shown) == end < len(tape.scenarios)
            if not session.learns and not played:
                break
        if len(shown) < len(tape.scenarios):
            shown.append(ask(tape.scenarios[len(shown)]))

    def response(number: int) -> Responses:
        found = shown[number]
        if isinstance(found[0], bytes):
            form = tape.forms[tape.form[number]]
            return decode(tape.scenarios[number], _replies(found, form))
        return found

    return Playback(tape, len(shown), values, regular, response)


def _placed(prepared: Prepared, number: int, frame: wire.Frame, values: Array) -> bool:
    """Put the results of a regular reply to their places; return whether it is one.

    Raises:
        WireError: it is no reply to that scenario's requests.
    """
    tape, (header, payload) = prepared.tape, frame
    layout = prepared.layout(number, header)
    if layout is None or layout.size != len(payload):
        _replies(frame, tape.forms[tape.form[number]])
        return False
    start = tape.starts[number]
    for dtype, size, offset, place in layout.pieces:
        at = start + place
        values[at : at + size] = np.frombuffer(payload, dtype, size, offset)
    return True


def _replies(frame: wire.Frame, form: Form) -> list[Reply | SubjectError]:
    """Return the replies in a frame: to the construction, and to each operation.

    Raises:
        WireError: they are none, or not as many.
    """
    messages = wire.unfold(frame)
    asked = 1 + len(form.operations)
    if len(messages) != asked:
        raise wire.WireError(f"{len(messages)} replies came to {asked} requests")
    return [answered(Reply.read(each, "scenario")) for each in messages]
