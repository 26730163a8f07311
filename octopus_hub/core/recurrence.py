"""When a reservation comes: once, or every day or week at the same wall clock time of its zone. Pure.

Wall clock times that a change of the clocks leaves out are moved by that change; of one that comes twice the first
counts. Used by ``core.calendar`` and ``core.booking``.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from math import inf
from typing import NamedTuple

from octopus_hub.model.reservation import DAY, PERIOD_SECONDS, Reservation, wall, zone_of

_SLACK = 2 * DAY  # more than clocks ever change


class Occurrence(NamedTuple):
    """One coming of a reservation; no end: until it is deleted."""

    start: float
    end: float | None

    @property
    def last(self) -> float:
        """The end as a number."""
        return inf if self.end is None else self.end

    def meets(self, other: Occurrence) -> bool:
        """Say whether both are at some moment; one that ends when the other begins does not meet it."""
        return self.start < other.last and other.start < self.last


def occurrences(reservation: Reservation, after: float, before: float) -> Iterator[Occurrence]:
    """Yield, in order, those that end after ``after`` and start before ``before``."""
    first = Occurrence(reservation.start, reservation.end)
    period = PERIOD_SECONDS.get(reservation.every)
    if period is None or first.end is None:
        if first.last > after and first.start < before:
            yield first
        return
    number = max(0, int((after - first.end - _SLACK) // period))
    while True:
        found = _numbered(reservation, first, number)
        if found is None or found.start >= before:
            return
        if found.last > after:
            yield found
        number += 1


def _numbered(reservation: Reservation, first: Occurrence, number: int) -> Occurrence | None:
    """Return the occurrence of that number (the first is 0), None after the last."""
    if not number:
        return first
    zone = zone_of(reservation.zone)
    assert zone is not None and first.end is not None  # the model lets no other zone in
    days = timedelta(days=number * PERIOD_SECONDS[reservation.every] / DAY)
    try:
        start = wall(datetime.fromtimestamp(first.start, zone) + days, zone)
        end = wall(datetime.fromtimestamp(first.end, zone) + days, zone)
    except (OverflowError, ValueError):  # after the last year that a date can have
        return None
    if reservation.until is not None and start >= reservation.until:
        return None
    return Occurrence(start, end if end > start else start + first.end - first.start)


def day_and_time(at: float, now: float, zone: str) -> str:
    """Return a moment as people read it: ``10:00``, on another day than ``now`` with the date before it."""
    where = zone_of(zone) or UTC
    moment, today = datetime.fromtimestamp(at, where), datetime.fromtimestamp(now, where)
    if moment.date() == today.date():
        return moment.strftime("%H:%M")
    year = f" {moment.year}" if moment.year != today.year else ""
    return f"{moment:%a} {moment.day} {moment:%b}{year} {moment:%H:%M}"
