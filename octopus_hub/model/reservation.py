"""Reservations: whole nodes set aside for a time, once or again and again; and drains of single nodes. Pure.

A document is read by :func:`parse_reservation`, with every problem of it at once. Times are Unix seconds in the object;
a document may also give RFC 3339, or a wall clock time of its ``zone``. A recurring reservation keeps its wall clock
time in that zone, so a course from 10 to 12 stays there when the clocks change. Which nodes it gets and when it comes
is worked out by ``core.calendar``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from octopus_hub.model.base import ApiStruct
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.fields import Fields, Items, More, OrNull, Shapes, Table
from octopus_hub.model.jsontext import decode
from octopus_hub.model.problems import Problems, kind_of, near, short, shown
from octopus_hub.model.shapes import BAD, Choice, Number, Schema, Text, Whole

Every = Literal["once", "day", "week"]
Purpose = Literal["course", "maintenance", "other", "drain", "closed"]

DAY = 86_400.0
PERIOD_SECONDS: Mapping[str, float] = {"day": DAY, "week": 7 * DAY}
LEAD_SECONDS = DAY  # so long ahead of it others must fit in before it
MOST_LEAD_SECONDS = 14 * DAY
MOST_SECONDS = 366 * DAY  # of one reservation
LAST_YEAR = 2200
DRAIN = "drain."  # before the node's name: the reservation that a drain is; a user's names have no dot
_SETS = ("count", "nodes", "devices")


class Chosen(ApiStruct, frozen=True, kw_only=True):
    """The nodes that were chosen for the occurrence that starts at ``start``; they stay."""

    start: float
    nodes: list[str]


class Reservation(ApiStruct, frozen=True, kw_only=True):
    """Whole nodes set aside for queues and users, from ``start`` to ``end``.

    Attributes
    ----------
    start, end : float
        Unix seconds of the (first) occurrence; no end: until it is deleted (drains only).
    every, until : str, float
        Again every day or week, at the same wall clock time of ``zone``, with the last start before ``until``.
    count, nodes, devices
        One of them says how much: so many nodes, these nodes, or as many nodes as have so many devices.
    queues, owners : list of str
        Whose TaskSets may use the nodes; nobody's, if both are empty.
    lead_seconds : float, optional
        So long ahead only what ends before the start is placed there; None is a day.
    evict : bool
        What others still run there makes room when it begins, with notice, where it may be preempted.
    """

    name: str
    start: float
    end: float | None = None
    every: Every = "once"
    until: float | None = None
    zone: str = "UTC"
    count: int | None = None
    node_selector: dict[str, str] = {}
    nodes: list[str] = []
    devices: dict[str, int] = {}
    queues: list[str] = []
    owners: list[str] = []
    purpose: Purpose = "other"
    message: str = ""
    lead_seconds: float | None = None
    evict: bool = True
    chosen: list[Chosen] = []
    kind: Literal["Reservation"] = "Reservation"

    @property
    def lead(self) -> float:
        """How long ahead the nodes are kept from work that may outlast the start."""
        return LEAD_SECONDS if self.lead_seconds is None else self.lead_seconds

    @property
    def drain(self) -> bool:
        """It closes a single node: made by ``octopus nodes drain`` or ``close``."""
        return self.purpose in ("drain", "closed")


def drain_of(node: str) -> str:
    """Return the name of the reservation that drains or closes a node."""
    return DRAIN + node


def parse_reservation(document: Mapping[str, Any] | bytes | str, name: str = "") -> Reservation:
    """Return the reservation that a document describes; raises InvalidSpec with every problem found.

    ``name`` is the one that it is stored under; a document may leave it out, and must not give another.
    """
    data = decode(document) if isinstance(document, str | bytes) else document
    if not isinstance(data, Mapping):
        what = f"a reservation is a mapping, not {kind_of(data)}"
        raise InvalidSpec(what, [what])
    problems = Problems()
    fields = RESERVATION.read({"name": name, **data} if name else data, "", problems)
    if name and not problems and fields["name"] != name:
        problems.add("name", f"{fields['name']} is not {name}, under which it is put; leave the field out")
    if problems:
        told = problems.told()
        raise InvalidSpec(told[0] if len(told) == 1 else f"the reservation has {len(told)} problems", told)
    return msgspec.convert(fields, Reservation)


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment: Unix seconds, or RFC 3339. A wall clock time without offset stays a text until its zone is known."""

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        """See Shape."""
        if not isinstance(value, str):
            return Number(0, datetime(LAST_YEAR, 1, 1, tzinfo=UTC).timestamp(), unit="Unix seconds").read(
                value, path, problems
            )
        try:
            found = datetime.fromisoformat(value.strip())
        except ValueError:
            problems.add(path, f"{shown(value)} is no time; write 2026-11-30T10:00 with a zone, or 2026-11-30T10:00Z")
            return BAD
        if not 1970 < found.year < LAST_YEAR:
            problems.add(path, f"{short(value)} is not between the years 1971 and {LAST_YEAR - 1}")
            return BAD
        return found.isoformat() if found.tzinfo is None else found.timestamp()

    def schema(self, definitions: Schema) -> Schema:
        """See Shape."""
        return {"type": ["number", "string"], "description": "Unix seconds, RFC 3339, or a wall clock time of the zone"}


@dataclass(frozen=True, slots=True)
class Zone:
    """The name of a time zone."""

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        """See Shape."""
        if not isinstance(value, str):
            problems.add(path, f"needs the name of a time zone such as Europe/Berlin, not {kind_of(value)}")
            return BAD
        if zone_of(value) is None:
            problems.add(path, f"there is no time zone {shown(value)}; {_near_zone(value)}")
            return BAD
        return value

    def schema(self, definitions: Schema) -> Schema:
        """See Shape."""
        return {"type": "string", "description": "A time zone's name, such as Europe/Berlin"}


def zone_of(name: str) -> ZoneInfo | None:
    """Return a time zone, None if there is none of that name."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):  # no name of a zone at all, a folder of zones, none of that name
        return None


def wall(moment: datetime, zone: ZoneInfo) -> float:
    """Return the Unix seconds of a wall clock time. One that comes twice is the first, one left out a later one."""
    return moment.replace(tzinfo=zone, fold=0).timestamp()


def _near_zone(name: str) -> str:
    cities = ("UTC", "Europe/Berlin", "Europe/London", "America/New_York", "Asia/Shanghai", "Asia/Tokyo")
    return near(name, cities).replace("known are", "write it as in the tz database, such as")


def _rule(found: dict[str, Any], path: str, problems: Problems) -> None:
    before = len(problems)
    _moments(found, problems)
    _amount(found, problems)
    if found.get("purpose") in ("drain", "closed"):
        problems.add("purpose", "drains are made by octopus nodes drain NAME; use course, maintenance or other here")
    nobody = not found.get("queues") and not found.get("owners")
    if nobody and found.get("purpose") != "maintenance" and BAD not in found.values():
        problems.add("queues", "is missing; name the queues or owners that it is for, or set purpose to maintenance")
    if len(problems) == before and BAD not in found.values():
        _spans(found, problems)


def _moments(found: dict[str, Any], problems: Problems) -> None:
    """Turn wall clock times into Unix seconds."""
    name = found.get("zone")
    zone = zone_of(name) if isinstance(name, str) else None
    for field in ("start", "end", "until"):
        value = found.get(field)
        if not isinstance(value, str):
            continue
        if zone is not None:
            found[field] = wall(datetime.fromisoformat(value), zone)
        elif name is not BAD:
            problems.add(field, f"{value} names no time zone; give zone: Europe/Berlin, or write {value}Z for UTC")


def _amount(found: dict[str, Any], problems: Problems) -> None:
    given = [name for name in _SETS if found.get(name)]
    if not given:
        if not any(found.get(name) is BAD for name in _SETS):
            problems.add("count", "is missing; give count (of nodes), nodes (their names) or devices (such as gpu: 8)")
    elif len(given) > 1:
        problems.add(given[1], f"is given beside {given[0]}; one of count, nodes and devices says how much")
    if found.get("nodes") and found.get("nodeSelector"):
        problems.add("nodeSelector", "is given beside nodes; it chooses among nodes that are not named")


def _spans(found: dict[str, Any], problems: Problems) -> None:
    start, end, every = found["start"], found["end"], found.get("every", "once")
    until = found.get("until")
    if end <= start:
        problems.add("end", "is not after start; give a later one")
    elif end - start > MOST_SECONDS:
        days = round((end - start) / DAY)
        problems.add("end", f"is {days} days after start, at most {MOST_SECONDS / DAY:g} are possible; drain the nodes")
    elif every != "once" and end - start > PERIOD_SECONDS[every]:
        problems.add("end", f"is more than a {every} after start, but it comes every {every}; it would meet itself")
    if until is not None and every == "once":
        problems.add("until", "says when repeating ends; give every: day or every: week with it")
    elif until is not None and until <= start:
        problems.add("until", "is not after start, so it would never come")


_NAME = Text("[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?", "a name of lower-case letters, digits and -, at most 40")
_WORD = Text(r"[^\s\x00-\x1f\x7f]{1,253}", "a name without spaces, at most 253 characters")
_LABEL = Text(r"[^\s\x00-\x1f\x7f]{0,317}", "a label without spaces", loose=True)

MORE: dict[type, More] = {
    Reservation: More(
        shapes={
            "name": _NAME,
            "start": Moment(),
            "end": Moment(),
            "until": OrNull(Moment()),
            "zone": Zone(),
            "every": Choice(("once", "day", "week")),
            "purpose": Choice(("course", "maintenance", "other", "drain", "closed")),
            "count": OrNull(Whole(1, 100_000)),
            "node_selector": Table(_LABEL, _LABEL, 64),
            "nodes": Items(_WORD, 10_000, words="a list of nodes"),
            "devices": Table(_WORD, Whole(1, 10_000_000), 32, "a mapping of device types to numbers, such as gpu: 8"),
            "queues": Items(_WORD, 1000, words="a list of queues"),
            "owners": Items(_WORD, 10_000, words="a list of users"),
            "message": Text(most=1000),
            "lead_seconds": OrNull(Number(0, MOST_LEAD_SECONDS, unit="seconds")),
        },
        needed=("end",),
        dropped=("chosen", "state"),
        hints={
            "from": "did you mean start?",
            "to": "did you mean end?",
            "queue": "did you mean queues (a list)?",
            "users": "did you mean owners?",
        },
        rule=_rule,
    ),
}

RESERVATION: Fields = Shapes(MORE).of(Reservation)


class Drain(ApiStruct, frozen=True, kw_only=True):
    """How a node is drained: from when (now, if not given), until when, why."""

    at: float | None = None
    until: float | None = None
    grace_seconds: float = 0.0  # before what may be preempted is asked to go; nothing new starts there meanwhile
    zone: str = "UTC"
    reason: str = ""


def parse_drain(document: Mapping[str, Any], node: str, now: float) -> Reservation:
    """Return the reservation that drains a node; raises InvalidSpec with every problem found."""
    problems = Problems()
    fields = _DRAIN.read(document, "", problems)
    if not problems:
        zone = zone_of(fields.get("zone", "UTC"))
        assert zone is not None  # it was read
        for field in ("at", "until"):
            if isinstance(fields.get(field), str):
                fields[field] = wall(datetime.fromisoformat(fields[field]), zone)
        if fields.get("at") is not None and fields.get("graceSeconds"):
            problems.add("graceSeconds", "is given beside at; one of the two says when it begins")
        end, begins = fields.get("until"), fields.get("at") or now + fields.get("graceSeconds", 0.0)
        if end is not None and end <= max(now, begins):
            problems.add("until", "is not after the drain begins; give a later time, or leave it out")
    if problems:
        told = problems.told()
        raise InvalidSpec(told[0] if len(told) == 1 else f"the drain has {len(told)} problems", told)
    drain = msgspec.convert(fields, Drain)
    return Reservation(
        name=drain_of(node),
        start=now + drain.grace_seconds if drain.at is None else drain.at,
        end=drain.until,
        zone=drain.zone,
        nodes=[node],
        purpose="drain",
        message=drain.reason,
        lead_seconds=drain.grace_seconds if drain.at is None else None,
    )


def closing(node: str, now: float, reason: str = "") -> Reservation:
    """Return the reservation that closes a node: nothing new starts there, what runs finishes."""
    return Reservation(
        name=drain_of(node),
        start=now,
        nodes=[node],
        purpose="closed",
        message=reason,
        lead_seconds=0.0,
        evict=False,
    )


_DRAIN: Fields = Shapes(
    {
        Drain: More(
            shapes={
                "at": OrNull(Moment()),
                "until": OrNull(Moment()),
                "grace_seconds": Number(0, MOST_LEAD_SECONDS, unit="seconds"),
                "zone": Zone(),
                "reason": Text(most=1000),
            }
        )
    }
).of(Drain)
