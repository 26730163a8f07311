"""Whether a reservation can be had: its nodes and queues exist, enough are left beside the others, it is not over. Pure.

Two reservations never have the same node at the same time; one that can't get what it asks for is refused, and so is one
that would take it from another. Drains are above this: they may be made at any time, and the list shows what a
reservation lacks. Called by the service before anything is stored.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice

from octopus_hub.core.calendar import Booking, assign, candidates, short_of, stored
from octopus_hub.core.recurrence import Occurrence, day_and_time, occurrences
from octopus_hub.core.snapshot import NodeView
from octopus_hub.model.problems import near
from octopus_hub.model.reservation import DAY, MOST_SECONDS, Reservation

MOST_CHECKED = 400  # occurrences: a year of daily ones
MOST_KNOWN = 12  # names that a message lists


def refusals(
    wanted: Reservation,
    others: Iterable[Reservation],
    nodes: Sequence[NodeView],
    now: float,
    queues: Collection[str] | None = None,
) -> list[str]:
    """Return what is wrong with a reservation, each ``path: what``; ``others`` are all but the one of its name."""
    first = next(occurrences(wanted, now, now + 300 * 366 * DAY), None)
    if first is None:
        ended = wanted.until or wanted.end or wanted.start
        return [f"end: it is over since {day_and_time(ended, now, wanted.zone)}; give a later time"]
    found = [*_unknown(wanted, nodes, queues), *_too_much(wanted, nodes)]
    if found or wanted.drain:
        return found
    present = [each for each in others if each.name != wanted.name]
    checked: set[tuple[str, Occurrence]] = set()
    for when in islice(occurrences(wanted, now, first.start + MOST_SECONDS), MOST_CHECKED):
        if (wanted.name, when) in checked:
            continue
        together = _together(wanted, when, present, now)
        checked.update((each.name, at) for each, at in together)
        problem = _clash(wanted, together, nodes, now)
        if problem:
            return [problem]
    return []


def _unknown(wanted: Reservation, nodes: Sequence[NodeView], queues: Collection[str] | None) -> Iterator[str]:
    names = {node.name for node in nodes}
    for at, name in enumerate(wanted.nodes):
        if name not in names:
            yield f"nodes[{at}]: there is no node {name}; {_known(name, names)}"
        elif name in wanted.nodes[:at]:
            yield f"nodes[{at}]: {name} is named twice"
    for at, queue in enumerate(wanted.queues):
        if queues is not None and queue not in queues:
            yield f"queues[{at}]: there is no queue {queue}; {_known(queue, queues)}"


def _known(name: str, names: Collection[str]) -> str:
    if not names:
        return "there are none so far"
    hint = near(name, sorted(names))
    return hint if hint.startswith("did") or len(names) <= MOST_KNOWN else f"there are {len(names)} others"


def _too_much(wanted: Reservation, nodes: Sequence[NodeView]) -> Iterator[str]:
    """Tell what could not be had even if nothing else were reserved."""
    if wanted.nodes:
        return
    found = candidates(wanted, nodes)
    labels = ", ".join(f"{label}={value}" for label, value in wanted.node_selector.items())
    which = f" labelled {labels}" if labels else ""
    if wanted.count is not None and wanted.count > len(found):
        yield f"count: asks for {_nodes(wanted.count)}{which}; there {_are(len(found))}"
    for kind, amount in wanted.devices.items():
        there = sum(node.capacity.devices.get(kind, 0) for node in found)
        if there < amount:
            yield f"devices.{kind}: asks for {amount}; the nodes{which} have {there} in all"


def _together(wanted: Reservation, when: Occurrence, others: Sequence[Reservation], now: float) -> list[Booking]:
    """Return everything that could move when this occurrence takes nodes: what meets it, what meets that, and so on."""
    found: dict[tuple[str, Occurrence], Booking] = {(wanted.name, when): (wanted, when)}
    left = [when]
    while left and len(found) < MOST_CHECKED:
        near_by = left.pop()
        for each in (wanted, *others):
            for at in occurrences(each, max(now, near_by.start), near_by.last):
                if (each.name, at) not in found and not each.drain:
                    found[each.name, at] = (each, at)
                    left.append(at)
    return list(found.values())


def _clash(wanted: Reservation, together: Sequence[Booking], nodes: Sequence[NodeView], now: float) -> str:
    """Return what stands in the way, "" if nothing. What others lack without this one is not its fault."""
    given = dict(_named(assign(together, nodes)))
    before = dict(_named(assign([each for each in together if each[0] is not wanted], nodes)))
    for reservation, when in together:
        if reservation is not wanted:
            continue
        mine, moment = given[wanted.name, when], day_and_time(when.start, now, wanted.zone)
        met = sorted((each for each in together if each[0] is not wanted and each[1].meets(when)), key=_by_start)
        for other, theirs in met:
            shared = sorted(mine.intersection(stored(other, theirs) or given[other.name, theirs]))
            if shared:
                until = day_and_time(theirs.last, now, wanted.zone)
                return f"nodes: {shared[0]} is reserved by {other.name} until {until}, but asked for from {moment} on"
        lacks = "" if wanted.nodes else short_of(wanted, mine, nodes)
        if lacks:
            names = ", ".join(dict.fromkeys(other.name for other, _ in met))
            what = f"{lacks} can't be had at {moment} beside {names}; ask for less or another time"
            return f"{_how_much(wanted)}: {what}"
    for other, theirs in sorted(together, key=_by_start):
        key = other.name, theirs
        lacks = "" if other is wanted else short_of(other, given[key], nodes)
        if lacks and not short_of(other, before[key], nodes):
            moment = day_and_time(theirs.start, now, wanted.zone)
            return f"{_how_much(wanted)}: would take what {other.name} has then ({moment}): it would lack {lacks}"
    return ""


def _named(given: Iterable[tuple[Booking, frozenset[str]]]) -> Iterator[tuple[tuple[str, Occurrence], frozenset[str]]]:
    return (((reservation.name, when), nodes) for (reservation, when), nodes in given)


def _by_start(booking: Booking) -> tuple[float, str]:
    return booking[1].start, booking[0].name


def _how_much(wanted: Reservation) -> str:
    return "nodes" if wanted.nodes else "devices" if wanted.devices else "count"


def _nodes(count: int) -> str:
    return f"{count} node{'' if count == 1 else 's'}"


def _are(count: int) -> str:
    return f"{'is' if count == 1 else 'are'} {count or 'none'}"
