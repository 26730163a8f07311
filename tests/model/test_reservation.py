"""Documents of reservations: times in zones, one clear sentence for each mistake, answers that can be put again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.reservation import RESERVATION, Reservation, parse_drain, parse_reservation

GOOD: dict[str, Any] = {"start": "2026-11-30T10:00Z", "end": "2026-11-30T12:00Z", "count": 2, "queues": ["ml"]}
TEN = datetime(2026, 11, 30, 10, tzinfo=UTC).timestamp()

TIMES = [
    ("UTC", {}, TEN),
    ("an offset", {"start": "2026-11-30T10:00+01:00"}, TEN - 3600),
    ("a wall clock in a zone", {"start": "2026-11-30T10:00", "zone": "Europe/Berlin"}, TEN - 3600),
    ("a wall clock in summer", {"start": "2026-07-06 10:00", "zone": "Europe/Berlin"}, TEN - 147 * 86_400 - 7200),
    ("an offset wins over the zone", {"start": "2026-11-30T10:00Z", "zone": "Asia/Tokyo"}, TEN),
    ("Unix seconds", {"start": int(TEN)}, TEN),
]


@pytest.mark.parametrize(("rule", "fields", "start"), TIMES, ids=[case[0] for case in TIMES])
def test_times(rule: str, fields: dict[str, Any], start: float) -> None:
    assert parse_reservation({**GOOD, **fields}, "r").start == start


WRONG = [
    ({"end": "2026-11-30T10:00Z"}, "end: is not after start; give a later one"),
    ({"end": "2028-01-01T00:00Z"}, "end: is 397 days after start, at most 366 are possible; drain the nodes"),
    ({"end": "2026-12-01T11:00Z", "every": "day"}, "end: is more than a day after start, but it comes every day; it would meet itself"),
    ({"every": "month"}, "every: 'month' is not one of once, day, week"),
    ({"until": "2027-01-01T00:00Z"}, "until: says when repeating ends; give every: day or every: week with it"),
    ({"until": 5, "every": "day"}, "until: is not after start, so it would never come"),
    ({"start": "2026-11-30T10:00"}, "start: 2026-11-30T10:00:00 names no time zone; give zone: Europe/Berlin, or write 2026-11-30T10:00:00Z for UTC"),
    ({"start": "Monday"}, "start: 'Monday' is no time; write 2026-11-30T10:00 with a zone, or 2026-11-30T10:00Z"),
    ({"start": "0001-01-01T00:00Z"}, "start: 0001-01-01T00:00Z is not between the years 1971 and 2199"),
    ({"start": True}, "start: needs a number of Unix seconds from 0 to 7258118400, not true"),
    ({"zone": "Berlin"}, "zone: there is no time zone 'Berlin'; did you mean Europe/Berlin?"),
    ({"zone": "/etc/passwd"}, "zone: there is no time zone '/etc/passwd'"),
    ({"zone": 1}, "zone: needs the name of a time zone such as Europe/Berlin, not the number 1"),
    ({"count": 0}, "count: 0 is not from 1 to 100000"),
    ({"count": None}, "count: is missing; give count (of nodes), nodes (their names) or devices (such as gpu: 8)"),
    ({"nodes": ["a"]}, "nodes: is given beside count; one of count, nodes and devices says how much"),
    ({"count": None, "nodes": ["a"], "nodeSelector": {"sku": "t4"}}, "nodeSelector: is given beside nodes; it chooses among nodes that are not named"),
    ({"queues": []}, "queues: is missing; name the queues or owners that it is for, or set purpose to maintenance"),
    ({"purpose": "closed"}, "purpose: drains are made by octopus nodes drain NAME; use course, maintenance or other here"),
    ({"leadSeconds": -1}, "leadSeconds: -1 is not a number of seconds from 0 to 1209600"),
    ({"queue": "ml"}, "queue: unknown field; did you mean queues (a list)?"),
    ({"name": "a b"}, "name: 'a b' is not a name of lower-case letters, digits and -, at most 40"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "words"), WRONG, ids=[str(case[0]) for case in WRONG])
def test_one_sentence_for_each_mistake(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_reservation({"name": "r", **GOOD, **fields})
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(words)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_reservation({"start": "x", "count": -1, "when": 5}, "r")
    assert [each.partition(":")[0] for each in caught.value.problems] == ["start", "count", "when", "end"]


def test_maintenance_is_for_nobody() -> None:
    assert parse_reservation({**GOOD, "queues": [], "purpose": "maintenance"}, "r").queues == []


@given(
    start=st.integers(0, 4_000_000_000),
    length=st.integers(1, 86_400),
    every=st.sampled_from(["once", "day", "week"]),
    zone=st.sampled_from(["UTC", "Europe/Berlin"]),
    message=st.text("abc \u00e9\n", max_size=20),
    lead=st.one_of(st.none(), st.integers(0, 1000).map(float)),
)
def test_what_was_answered_can_be_put_again(
    start: int, length: int, every: Any, zone: str, message: str, lead: float | None
) -> None:
    each = Reservation(
        name="r",
        start=float(start),
        end=float(start + length),
        every=every,
        zone=zone,
        count=3,
        queues=["ml"],
        message=message,
        lead_seconds=lead,
    )
    assert parse_reservation(msgspec.to_builtins(each), "r") == each


def test_nothing_that_is_read_raises_anything_else() -> None:
    for value in (None, [], "x", 1e400, {"a": []}, -5, {}, True):
        for field in RESERVATION.shapes:
            try:
                parse_reservation({"name": "r", **GOOD, field: value})
            except InvalidSpec as error:
                assert error.problems, field


def test_drains() -> None:
    now = TEN
    at_once = parse_drain({}, "a", now)
    assert (at_once.name, at_once.start, at_once.end, at_once.lead) == ("drain.a", now, None, 0.0)
    later = parse_drain({"at": "2026-11-30T14:00", "until": "2026-11-30T15:00", "zone": "Europe/Berlin"}, "a", now)
    assert (later.start, later.end, later.lead) == (now + 3 * 3600, now + 4 * 3600, 86_400.0)
    grace = parse_drain({"graceSeconds": 600}, "a", now)
    assert (grace.start, grace.lead) == (now + 600, 600.0)
    with pytest.raises(InvalidSpec, match="until: is not after the drain begins"):
        parse_drain({"graceSeconds": 600, "until": now + 300}, "a", now)
