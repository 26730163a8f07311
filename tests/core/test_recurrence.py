"""When reservations come: the wall clock stays over changes of the clocks, weeks and days are whole, ends are ends."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus_hub.core.recurrence import Occurrence, day_and_time, occurrences
from octopus_hub.model.reservation import DAY, Reservation

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone: str = "Europe/Berlin") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def reservation(start: str, end: str, every: str = "once", until: str = "", zone: str = "Europe/Berlin") -> Reservation:
    limit = at(until, zone) if until else None
    return Reservation(
        name="r", start=at(start, zone), end=at(end, zone), every=every, until=limit, zone=zone, count=1, queues=["q"]
    )


def walls(found: list[Occurrence], zone: str = "Europe/Berlin") -> list[str]:
    """Starts and ends as a clock on the wall shows them."""
    shown = []
    for each in found:
        start = datetime.fromtimestamp(each.start, ZoneInfo(zone))
        end = datetime.fromtimestamp(each.last, ZoneInfo(zone))
        shown.append(f"{start:%m-%d %H:%M}-{end:%H:%M}")
    return shown


# 2026 in Berlin: clocks go forward on 29 March at 02:00, back on 25 October at 03:00; Monday is the 23rd, the 19th.
TABLE = [
    (
        "a weekly course stays at 10 when the clocks go forward",
        reservation("2026-03-23T10:00", "2026-03-23T12:00", "week"),
        ("2026-03-01T00:00", "2026-04-12T00:00"),
        ["03-23 10:00-12:00", "03-30 10:00-12:00", "04-06 10:00-12:00"],
    ),
    (
        "and when they go back",
        reservation("2026-10-19T10:00", "2026-10-19T12:00", "week"),
        ("2026-10-20T00:00", "2026-11-03T00:00"),
        ["10-26 10:00-12:00", "11-02 10:00-12:00"],
    ),
    (
        "in UTC nothing changes",
        reservation("2026-03-23T10:00", "2026-03-23T12:00", "week", zone="UTC"),
        ("2026-03-24T00:00", "2026-03-31T00:00"),
        ["03-30 12:00-14:00"],  # as Berlin reads it
    ),
    (
        "a night that crosses the change has its own length",
        reservation("2026-03-28T23:00", "2026-03-29T06:00", "day"),
        ("2026-03-29T12:00", "2026-03-30T12:00"),
        ["03-29 23:00-06:00"],
    ),
    (
        "a time that is left out moves with the clock",
        reservation("2026-03-28T02:30", "2026-03-28T03:15", "day"),
        ("2026-03-28T12:00", "2026-03-30T12:00"),
        ["03-29 03:30-04:15", "03-30 02:30-03:15"],
    ),
    (
        "a time that comes twice is the first",
        reservation("2026-10-24T02:30", "2026-10-24T04:00", "day"),
        ("2026-10-24T12:00", "2026-10-25T12:00"),
        ["10-25 02:30-04:00"],
    ),
    (
        "over the end of a week and a year",
        reservation("2026-12-27T22:00", "2026-12-28T02:00", "week"),
        ("2026-12-28T01:00", "2027-01-04T00:00"),
        ["12-27 22:00-02:00", "01-03 22:00-02:00"],
    ),
    (
        "the last start is before until",
        reservation("2026-11-02T10:00", "2026-11-02T12:00", "week", until="2026-11-16T10:00"),
        ("2026-11-01T00:00", "2027-01-01T00:00"),
        ["11-02 10:00-12:00", "11-09 10:00-12:00"],
    ),
    (
        "once is once",
        reservation("2026-11-02T10:00", "2026-11-02T12:00"),
        ("2026-11-02T11:59", "2027-01-01T00:00"),
        ["11-02 10:00-12:00"],
    ),
    (
        "what ended is over at its end",
        reservation("2026-11-02T10:00", "2026-11-02T12:00"),
        ("2026-11-02T12:00", "2027-01-01T00:00"),
        [],
    ),
    (
        "what starts at the end of the look is not seen",
        reservation("2026-11-02T10:00", "2026-11-02T12:00"),
        ("2026-11-01T12:00", "2026-11-02T10:00"),
        [],
    ),
]


@pytest.mark.parametrize(("rule", "each", "look", "expected"), TABLE, ids=[case[0] for case in TABLE])
def test_occurrences(rule: str, each: Reservation, look: tuple[str, str], expected: list[str]) -> None:
    assert walls(list(occurrences(each, at(look[0]), at(look[1])))) == expected


def test_the_hour_that_comes_twice_can_be_named_for_a_single_time() -> None:
    second = datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=BERLIN).timestamp()
    each = Reservation(name="r", start=second, end=second + 600, zone="Europe/Berlin", count=1, queues=["q"])
    assert list(occurrences(each, 0.0, 4e9)) == [Occurrence(second, second + 600)]


def test_a_drain_without_end_never_ends() -> None:
    each = Reservation(name="drain.a", start=100.0, purpose="drain", nodes=["a"])
    assert list(occurrences(each, 1e9, 1e9 + 1)) == [Occurrence(100.0, None)]
    assert list(occurrences(each, 0.0, 100.0)) == []


def test_years_ahead_of_a_daily_one_are_found_at_once() -> None:
    each = reservation("2026-01-01T10:00", "2026-01-01T12:00", "day")
    found = next(occurrences(each, at("2150-06-01T00:00"), at("2150-06-02T00:00")))
    assert walls([found]) == ["06-01 10:00-12:00"]
    assert list(occurrences(each, 2.6e11, 2.7e11)) == []  # after the last year that dates have


ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia"]
)


@given(
    start=st.integers(0, 4_000_000_000),
    length=st.integers(60, 24 * 3600),
    every=st.sampled_from(["once", "day", "week"]),
    zone=ZONES,
    after=st.integers(0, 4_100_000_000),
    span=st.integers(1, 40 * 86_400),
)
def test_every_occurrence_is_in_the_look_in_order_and_has_a_length(
    start: int, length: int, every: str, zone: str, after: int, span: int
) -> None:
    each = Reservation(
        name="r", start=float(start), end=float(start + length), every=every, zone=zone, count=1, queues=["q"]
    )
    found = list(occurrences(each, float(after), float(after + span)))
    assert all(when.last > after and when.start < after + span and when.last > when.start for when in found)
    assert found == sorted(found)
    # a wider look finds the same ones: nothing depends on when one looks
    wider = list(occurrences(each, after - 3 * DAY, after + span + 3 * DAY))
    assert [when for when in wider if when.last > after and when.start < after + span] == found
    if every != "once" and after > start:
        period = {"day": DAY, "week": 7 * DAY}[every]
        assert len(found) >= span // period - 1


def test_times_for_people() -> None:
    now = at("2026-11-30T08:00")
    assert day_and_time(at("2026-11-30T10:00"), now, "Europe/Berlin") == "10:00"
    assert day_and_time(at("2026-12-07T10:00"), now, "Europe/Berlin") == "Mon 7 Dec 10:00"
    assert day_and_time(at("2027-01-04T10:00"), now, "Europe/Berlin") == "Mon 4 Jan 2027 10:00"
