"""Server-sent events: the same events however the bytes were cut."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus_hub.client import sse
from octopus_hub.client.sse import Event, EventReader, frame_of
from octopus_hub.model.errors import Unavailable

TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\n"), max_size=20)
EVENTS = st.lists(
    st.tuples(st.sampled_from(["snapshot", "delta", "", "other"]), st.lists(TEXT, min_size=1, max_size=3))
)


def wire(events: list[tuple[str, list[str]]], end: str) -> bytes:
    """Return events as a server writes them, with comments in between."""
    lines: list[str] = []
    for number, (name, data) in enumerate(events):
        lines += [": keep-alive", ""] if number % 2 else []
        lines += [f"event: {name}"] if name else []
        lines += [f"id: {number}", *(f"data: {part}" for part in data), ""]
    return "".join(line + end for line in lines).encode()


@given(EVENTS, st.sampled_from(["\n", "\r\n"]), st.lists(st.integers(0, 400)))
def test_any_cutting_gives_the_same_events(events: list[tuple[str, list[str]]], end: str, cuts: list[int]) -> None:
    content = wire(events, end)
    places = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    reader = EventReader()
    found = [event for start, stop in itertools.pairwise(places) for event in reader.feed(content[start:stop])]
    assert [(event.name, event.data) for event in found] == [
        (name or "message", "\n".join(data)) for name, data in events
    ]
    assert [event.id for event in found] == [str(number) for number in range(len(events))]


@given(EVENTS)
def test_byte_by_byte(events: list[tuple[str, list[str]]]) -> None:
    content, reader = wire(events, "\n"), EventReader()
    found = [event for at in range(len(content)) for event in reader.feed(content[at : at + 1])]
    assert found == list(EventReader().feed(content))


def test_what_is_no_event() -> None:
    reader = EventReader()
    assert list(reader.feed(b": comment\n\nevent: snapshot\n\nretry: 10\nunknown\n\n")) == []
    assert list(reader.feed(b"data\n\n")) == [Event("message", "")]
    assert list(reader.feed(b"data:x\ndata: y\ndata:  z\n\n")) == [Event("message", "x\ny\n z")]
    assert list(reader.feed(b"data: half")) == [], "what is not complete is not an event"


def test_an_endless_event_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1000)
    reader = EventReader()
    for _ in range(100):  # many events of a bounded size are fine
        assert len(list(reader.feed(b"data: " + b"x" * 900 + b"\n\n"))) == 1
    with pytest.raises(Unavailable, match="larger than"):
        for _ in range(10):
            list(reader.feed(b"data: " + b"x" * 200 + b"\n"))
    with pytest.raises(Unavailable, match="larger than"):
        list(EventReader().feed(b"x" * 1001))


def test_frames() -> None:
    body = json.dumps({"revision": 3, "places": {}, "somethingNew": 1})
    snapshot, delta = frame_of(Event("snapshot", body)), frame_of(Event("delta", body))
    assert snapshot is not None
    assert delta is not None
    assert (snapshot.snapshot, snapshot.revision, delta.snapshot) == (True, 3, False)
    assert frame_of(Event("message", "hello")) is None
    with pytest.raises(Unavailable, match="older than the service"):
        frame_of(Event("delta", '{"revision": "three"}'))
