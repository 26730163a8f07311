"""Words and numbers about windows (design, law 9): what is set aside, until when, and what would start now. Pure.

Decides nothing: ``core.calendar`` says which nodes are closed. Used by ``schedule`` for waiting gangs and by the service
for what it lists.
"""

from __future__ import annotations

from collections.abc import Iterable

from octopus_hub.core.calendar import admits, closes
from octopus_hub.core.reason import Reason, unflat
from octopus_hub.core.recurrence import day_and_time
from octopus_hub.core.snapshot import Waiting, Window, gang_total

SHORTEST_SECONDS = 60.0  # a maximum runtime below it is not worth naming


def reserved_reason(windows: Iterable[Window], gang: Waiting, now: float, could_start: bool) -> Reason | None:
    """Return why the calendar keeps a gang from starting; None if it doesn't.

    Parameters
    ----------
    could_start : bool
        It would find room now, were it to end before the windows that are ahead (``closed`` with ``until=now``).
    """
    until = None if gang.max_runtime is None else now + gang.max_runtime
    in_the_way = [
        each for each in windows if closes(each, now, until) and not admits(each, gang.queue, gang.owner) and each.nodes
    ]
    if not in_the_way:
        return None
    in_the_way.sort(key=lambda each: (each.start, each.name))
    first = in_the_way[0]
    more = f" ({len(in_the_way) - 1} more like it)" if len(in_the_way) > 1 else ""
    return Reason(
        code="Reserved",
        message=f"{set_aside(first, now)}{more}; {_outlook(in_the_way, gang, now, could_start)}",
        need=unflat(gang_total(gang.needs)),
        where=first.name,
    )


def set_aside(window: Window, now: float) -> str:
    """Return what a window is: ``4 nodes are reserved for course-ml from 10:00 to 12:00 (Europe/Berlin)``."""
    nodes = sorted(window.nodes)
    who = nodes[0] if len(nodes) == 1 else f"{len(nodes)} nodes"
    verb = "is" if len(nodes) == 1 else "are"
    if window.purpose == "closed":
        what = "closed"
    elif window.purpose == "drain":
        what = "drained"
    elif window.queues or window.owners:
        what = f"reserved for {', '.join([*sorted(window.queues), *sorted(window.owners)])}"
    else:
        what = "set aside for maintenance" if window.purpose == "maintenance" else "set aside"
    message = f": {window.message}" if window.message else ""
    return f"{who} {verb} {what}{_when(window, now)}{message}"


def length(seconds: float) -> str:
    """Return a duration as people read it, rounded down: ``45 s``, ``25 min``, ``1 h 25 min``, ``3 d 4 h``."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86_400
    if not hours:
        return f"{minutes} min"
    large, small, units = (hours, minutes % 60, "h min") if not days else (days, hours % 24, "d h")
    first, second = units.split()
    return f"{large} {first} {small} {second}" if small else f"{large} {first}"


def _when(window: Window, now: float) -> str:
    start = f" from {day_and_time(window.start, now, window.zone)}" if window.start > now else ""
    if window.end is None:
        return f"{start} on ({window.zone})" if start else ""
    word = "to" if start else "until"
    return f"{start} {word} {day_and_time(window.end, now, window.zone)} ({window.zone})"


def _outlook(in_the_way: list[Window], gang: Waiting, now: float, could_start: bool) -> str:
    """Say from when it could start, and with which maximum runtime now."""
    first = in_the_way[0]
    ends = [each for each in in_the_way if each.end is not None]
    earliest = min(ends, key=lambda each: (each.end, each.name), default=None)
    if earliest is None:
        before = "before that is taken back (octopus nodes open)"
    else:
        assert earliest.end is not None
        before = f"before {day_and_time(earliest.end, now, earliest.zone)}"
    if first.start <= now:
        return f"it can't start there {before}"
    if gang.max_runtime is None:
        why = "without a maximum runtime (lifetime.maxRuntimeSeconds) it can't start there"
    else:
        limit = length(gang.max_runtime - gang.overhead)
        why = f"with a maximum runtime of {limit} it could run into that time, so it can't start there"
    left = first.start - now - gang.overhead
    if not could_start or left < SHORTEST_SECONDS:
        return f"{why} {before}"
    return f"{why} {before}; with one below {length(left)} it could start now"


def states(windows: Iterable[Window], now: float) -> dict[str, str]:
    """Return what a list of nodes says of those that are set aside now, or will be and take no endless work already."""
    found: dict[str, str] = {}
    for window in sorted(windows, key=lambda each: (each.start > now, not _unavailable(each), each.start, each.name)):
        if window.start - window.ahead <= now and (window.end is None or now < window.end):
            for name in window.nodes:
                found.setdefault(name, _state(window, now))
    return found


def _state(window: Window, now: float) -> str:
    start = day_and_time(window.start, now, window.zone)
    until = "" if window.end is None else f" until {day_and_time(window.end, now, window.zone)}"
    ahead = window.start > now
    if _unavailable(window):
        if window.purpose == "closed":
            return f"closed{until}"
        return f"drains at {start}" if ahead else f"drained{until}"
    who = ", ".join([*sorted(window.queues), *sorted(window.owners)])
    what = f"reserved for {who}" if who else window.purpose if window.purpose != "other" else "reserved"
    return f"{what} from {start}" if ahead else f"{what}{until}"


def _unavailable(window: Window) -> bool:
    return window.purpose in ("drain", "closed")
