"""Times as people write them on a command line: ``10:00``, ``Mon 10:00``, ``2026-11-30 10:00``, ``+2h``, ``now``.

Wall clock times are those of a zone, by default this machine's; what is no such text is left to the service to judge.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from octopus_hub.cli.naming import seconds
from octopus_hub.model.reservation import zone_of

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK = re.compile(r"(?:(mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?\s+)?(\d{1,2}):(\d{2})", re.IGNORECASE)


def local_zone(link: Path = Path("/etc/localtime")) -> str:
    """Return the name of this machine's time zone, UTC where it has none."""
    named = os.environ.get("TZ", "").lstrip(":")
    if not named and link.is_symlink():
        named = str(link.resolve()).partition("zoneinfo/")[2]
    return named if named and zone_of(named) is not None else "UTC"


def moment(text: str, zone: str, after: float) -> str | float:
    """Return a time for the service: Unix seconds, or a wall clock time of the zone that comes next after ``after``."""
    text = text.strip()
    if text == "now":
        return after
    if text.startswith("+"):
        return after + seconds(text[1:])
    clock, where = _CLOCK.fullmatch(text), zone_of(zone) or UTC
    if clock is None or int(clock[2]) > 23 or int(clock[3]) > 59:
        return float(text) if re.fullmatch(r"\d{9,11}(\.\d+)?", text) else text
    here = datetime.fromtimestamp(after, where).replace(tzinfo=None)
    found = here.replace(hour=int(clock[2]), minute=int(clock[3]), second=0, microsecond=0)
    if clock[1]:
        found += timedelta(days=(_DAYS.index(clock[1].lower()[:3]) - found.weekday()) % 7)
    if found <= here:
        found += timedelta(days=7 if clock[1] else 1)
    return found.isoformat(timespec="minutes")


def unix(value: str | float, zone: str) -> float | None:
    """Return the Unix seconds of what :func:`moment` gave; None for a text that only the service can judge."""
    if isinstance(value, float):
        return value
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=zone_of(zone) or UTC)).timestamp()
