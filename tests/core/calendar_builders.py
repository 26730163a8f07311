"""Builders of windows, reservations and running gangs for the calendar's tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from octopus_hub.core.snapshot import Running, Waiting, Window
from octopus_hub.model.reservation import Reservation
from octopus_hub.model.status import Span
from tests.core.scheduling_builders import role

HOUR = 3600.0
NAMES = ("n0", "n1", "n2", "n3", "n4")


def window(name: str = "w", start: float = 10 * HOUR, end: float | None = 12 * HOUR, **rest: Any) -> Window:
    """Nodes n0 and n1 for queue course, closed a day ahead."""
    fields: dict[str, Any] = {"nodes": ("n0", "n1"), "queues": ("course",), "owners": (), "ahead": 24 * HOUR, **rest}
    sets = {key: frozenset(fields.pop(key)) for key in ("nodes", "queues", "owners")}
    return Window(name=name, start=start, end=end, **sets, **fields)


def waiting(uid: str = "g", **rest: Any) -> Waiting:
    fields: dict[str, Any] = {"owner": "ann", "queue": "q", "needs": (role(gpu=1),), **rest}
    return Waiting(uid=uid, namespace=fields["owner"], name=uid, priority=0, queued_at=0.0, **fields)


def running(uid: str = "g", *nodes: str, since: float = 0.0, leaving: bool = False, **rest: Any) -> Running:
    """One task on each node (n0 if none is named)."""
    spans = tuple(Span(node=name, first=at, count=1) for at, name in enumerate(nodes or ("n0",)))
    gang = waiting(uid, **{"needs": (role(count=len(spans), gpu=1),), **rest})
    return Running(gang=gang, placement={"worker": spans}, since=since, leaving=leaving)


def booked(name: str = "r", start: float = 10 * HOUR, end: float = 12 * HOUR, **rest: Any) -> Reservation:
    """Two nodes for queue course, unless told otherwise."""
    fields: dict[str, Any] = {"queues": ["course"], **rest}
    if not {"count", "nodes", "devices"} & set(fields):
        fields["count"] = 2
    return Reservation(name=name, start=start, end=end, **fields)


@st.composite
def some_windows(draw: st.DrawFn) -> tuple[Window, ...]:
    """Up to six windows within two days, some begun, some endless, some closed late, some for nobody."""
    found = []
    for number in range(draw(st.integers(0, 6))):
        start = HOUR * draw(st.integers(0, 48))
        found.append(
            window(
                f"w{number}",
                start,
                draw(st.one_of(st.none(), st.integers(1, 12).map(lambda hours: start + hours * HOUR))),  # noqa: B023
                nodes=draw(st.frozensets(st.sampled_from(NAMES))),
                queues=draw(st.frozensets(st.sampled_from(["course", "lab"]))),
                owners=draw(st.frozensets(st.sampled_from(["ann", "bob"]))),
                ahead=HOUR * draw(st.integers(0, 48)),
                evict=draw(st.booleans()),
            )
        )
    return tuple(found)
