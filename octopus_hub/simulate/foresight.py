"""How good start estimates are: the forecast of every Nth job that has to wait, to be compared with its true start.

The forecast is the one that users see (``core.forecast``), asked for at the job's arrival; it changes nothing. Without
an N nothing is asked, and it costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter

from octopus_hub.core.forecast import forecast, in_front
from octopus_hub.core.plan import Admission
from octopus_hub.core.schedule import schedule
from octopus_hub.core.snapshot import Snapshot, Waiting


@dataclass(frozen=True, slots=True)
class Foreseen:
    """When a job was expected to start, seconds since the epoch; None where there was no estimate or no bound."""

    uid: str
    at: float
    earliest: float | None
    latest: float | None
    middle: float | None


@dataclass(frozen=True, slots=True)
class Quality:
    """How good they were.

    Attributes
    ----------
    asked : int
        Jobs whose start was estimated.
    ranged : float, optional
        Share of them that got a whole range.
    inside : float, optional
        Share of starts inside their range, of all that were asked for; a range without an end holds any later start.
    error_hours : float, optional
        Median difference between the middle of the range and the start, where there is a whole range.
    wait_hours : float, optional
        Median of how long those waited, to compare it with.
    """

    asked: int
    ranged: float | None
    inside: float | None
    error_hours: float | None
    wait_hours: float | None
    seconds: float


class Foresight:
    """Asks for forecasts while a simulation runs."""

    def __init__(self, every: int) -> None:
        self.found: list[Foreseen] = []
        self.seconds = 0.0
        self._every = every
        self._arrived: list[str] = []
        self._waited = 0

    def arrived(self, uid: str) -> None:
        """Note a job that has just been submitted."""
        if self._every:
            self._arrived.append(uid)

    def look(self, admissions: Sequence[Admission], snapshot: Snapshot, waiting: Sequence[Waiting], now: float) -> None:
        """Ask about those that have just been submitted and were not admitted at once: every Nth of them."""
        if not self._arrived:
            return
        started = {admission.uid for admission in admissions}
        for uid in self._arrived:
            if uid not in started:
                self._waited += 1
                if self._waited % self._every == 0:
                    self._ask(uid, snapshot, waiting, now)
        self._arrived.clear()

    def _ask(self, uid: str, snapshot: Snapshot, waiting: Sequence[Waiting], now: float) -> None:
        began = perf_counter()
        waits = schedule(snapshot, waiting, now).waits
        if uid in waits:
            found = forecast(snapshot, in_front(waiting, waits, [uid]), now, [uid])[uid]
            times = [None if at is None else now + at for at in (found.earliest, found.latest, found.middle)]
            self.found.append(Foreseen(uid, now, *times))
        self.seconds += perf_counter() - began


def quality(foreseen: Sequence[Foreseen], starts: Mapping[str, float], seconds: float) -> Quality | None:
    """Compare estimates with true starts; None where none was asked for."""
    known = [(each, starts[each.uid]) for each in foreseen if each.uid in starts]
    if not known:
        return None
    whole = [(each, start) for each, start in known if each.middle is not None]
    inside = [each for each, start in known if _holds(each, start)]
    errors = [abs(start - each.middle) for each, start in whole if each.middle is not None]
    waits = [start - each.at for each, start in whole]
    return Quality(
        asked=len(known),
        ranged=len(whole) / len(known),
        inside=len(inside) / len(known),
        error_hours=median(errors) / 3600 if errors else None,
        wait_hours=median(waits) / 3600 if waits else None,
        seconds=seconds,
    )


def _holds(foreseen: Foreseen, start: float) -> bool:
    if foreseen.earliest is None:
        return False
    return foreseen.earliest - 1 <= start and (foreseen.latest is None or start <= foreseen.latest + 1)
