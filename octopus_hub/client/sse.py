"""Server-sent events: bytes in, frames out. Pure; the two clients feed it with what they read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from octopus_hub.model.answers import Frame
from octopus_hub.model.errors import Unavailable

MAX_EVENT_BYTES = 64 << 20
_FRAMES = msgspec.json.Decoder(Frame)


@dataclass(frozen=True, slots=True)
class Event:
    """One event."""

    name: str
    data: str
    id: str = ""


class EventReader:
    """Splits chunks into events, wherever they were cut (HTML standard, section 9.2.6; lines end with LF or CRLF)."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []  # of a line that is not complete yet
        self._name = ""
        self._id = ""
        self._data: list[str] = []
        self._size = 0  # of what is kept

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Yield the events that this chunk completes."""
        self._rest.append(chunk)
        self._size += len(chunk)
        if self._size > MAX_EVENT_BYTES:
            raise Unavailable("the service sent an event larger than 64 MiB; the stream was closed")
        if b"\n" not in chunk:
            return
        *lines, rest = b"".join(self._rest).split(b"\n")
        self._rest = [rest]
        for raw in lines:
            event = self._line(raw.removesuffix(b"\r").decode("utf-8", "replace"))
            if event is not None:
                yield event

    def _line(self, line: str) -> Event | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(":")  # a comment is a field without a name
        value = value.removeprefix(" ")
        if field == "event":
            self._name = value
        elif field == "data":
            self._data.append(value)
        elif field == "id":
            self._id = value
        return None

    def _dispatch(self) -> Event | None:
        data, name = self._data, self._name
        self._data, self._name = [], ""
        self._size = sum(len(part) for part in self._rest)
        return Event(name or "message", "\n".join(data), self._id) if data else None


def frame_of(event: Event) -> Frame | None:
    """Return the frame of a ``snapshot`` or ``delta`` event; None for events of other names."""
    if event.name not in ("snapshot", "delta"):
        return None
    try:
        frame = _FRAMES.decode(event.data)
    except msgspec.DecodeError as error:
        raise Unavailable(
            f"a frame of the stream can't be read ({error}); is this client older than the service?"
        ) from error
    return msgspec.structs.replace(frame, snapshot=event.name == "snapshot")
