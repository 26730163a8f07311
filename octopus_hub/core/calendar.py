"""The calendar: which nodes are set aside when, for whom, and who has to leave. Pure; times are arguments.

Reservations become windows (:func:`windows`). Ahead of a window its nodes close for work of others that may outlast
the start (:func:`closed`), so they drain by backfill; what may be preempted and still runs there makes room at the
start (:func:`overdue`), what may not finishes (:func:`lingering`). Nodes that a reservation does not name are chosen the
same way every time, and for good once control has stored them (:func:`settle`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from octopus_hub.core.plan import Eviction
from octopus_hub.core.recurrence import Occurrence, occurrences
from octopus_hub.core.snapshot import NodeView, Running, Window
from octopus_hub.model.reservation import DAY, MOST_LEAD_SECONDS, Chosen, Reservation

HORIZON_SECONDS = MOST_LEAD_SECONDS + DAY  # beyond it no window has an effect

Booking = tuple[Reservation, Occurrence]
_NONE: frozenset[str] = frozenset()


# --- from reservations to windows
def windows(
    reservations: Iterable[Reservation],
    nodes: Sequence[NodeView],
    now: float,
    horizon: float = HORIZON_SECONDS,
    frees: Mapping[str, float] | None = None,
) -> tuple[Window, ...]:
    """Return the windows that are now or start within ``horizon``, by start and name.

    ``frees`` says when a node will be free (empty ones are not in it); it only matters for nodes not chosen before.
    """
    bookings = [(each, when) for each in reservations for when in occurrences(each, now, now + horizon)]
    found = [_window(*booking, chosen) for booking, chosen in assign(bookings, nodes, frees)]
    return tuple(sorted(found, key=lambda window: (window.start, window.name)))


def assign(
    bookings: Iterable[Booking], nodes: Sequence[NodeView], frees: Mapping[str, float] | None = None
) -> list[tuple[Booking, frozenset[str]]]:
    """Return each with its nodes. Those that name nodes come first, then choices that were stored, then the earliest.

    Nobody gets a node that another has at the time, unless it names it; so one may get fewer than it asks for.
    """
    order = sorted(bookings, key=lambda each: (_fixed(*each), each[1].start, each[0].name))
    known = {node.name: node for node in nodes}
    given: list[tuple[Booking, frozenset[str]]] = []
    for reservation, when in order:
        if reservation.nodes:
            given.append(((reservation, when), frozenset(reservation.nodes)))
            continue
        taken: set[str] = set()
        for (_, other), chosen in given:
            if other.meets(when):
                taken |= chosen
        kept = [known[name] for name in stored(reservation, when) if name in known and name not in taken]
        left = [node for node in candidates(reservation, nodes) if node.name not in taken]
        left.sort(key=lambda node: (not node.usable, (frees or {}).get(node.name, 0.0), node.name))
        kept_names = {node.name for node in kept}
        in_order = [*kept, *(node for node in left if node.name not in kept_names)]
        given.append(((reservation, when), frozenset(_enough(reservation, in_order))))
    return given


def candidates(reservation: Reservation, nodes: Iterable[NodeView]) -> list[NodeView]:
    """Return the nodes that a reservation by number may get."""
    wanted = reservation.node_selector.items()
    return [
        node
        for node in nodes
        if all(node.labels.get(label) == value for label, value in wanted)
        and (not reservation.devices or any(node.capacity.devices.get(kind) for kind in reservation.devices))
    ]


def stored(reservation: Reservation, when: Occurrence) -> list[str]:
    """Return the nodes that were chosen before for an occurrence."""
    return next((each.nodes for each in reservation.chosen if each.start == when.start), [])


def settle(
    reservations: Sequence[Reservation], nodes: Sequence[NodeView], now: float, frees: Mapping[str, float]
) -> list[Reservation]:
    """Return the reservations whose choice of nodes has to be stored now, with it: from their lead on it stays."""
    found = []
    seen = windows(reservations, nodes, now, frees=frees)
    for reservation in reservations:
        if reservation.nodes:
            continue
        due = [each for each in seen if each.name == reservation.name and _begun(each, now)]
        chosen = [Chosen(start=each.start, nodes=sorted(each.nodes)) for each in due if each.nodes]
        if chosen and chosen != reservation.chosen:
            found.append(msgspec.structs.replace(reservation, chosen=chosen))
    return found


def short_of(reservation: Reservation, chosen: frozenset[str], nodes: Iterable[NodeView]) -> str:
    """Return what a reservation lacks with these nodes (``2 of 4 nodes``), "" if nothing."""
    known = {node.name: node for node in nodes}
    if reservation.nodes:
        missing = [name for name in reservation.nodes if name not in known]
        return f"{len(missing)} of {len(reservation.nodes)} nodes ({missing[0]} does not exist)" if missing else ""
    if reservation.count is not None:
        lacking = reservation.count - len(chosen)
        return f"{lacking} of {reservation.count} nodes" if lacking > 0 else ""
    for kind, amount in reservation.devices.items():
        have = sum(known[name].capacity.devices.get(kind, 0) for name in chosen if name in known)
        if have < amount:
            return f"{amount - have} of {amount} {kind}"
    return ""


def _fixed(reservation: Reservation, when: Occurrence) -> int:
    if reservation.nodes:
        return 0
    return 1 if stored(reservation, when) else 2


def _enough(reservation: Reservation, order: Sequence[NodeView]) -> Iterator[str]:
    """Yield nodes until there are enough; a node without a device that is still lacking is left out."""
    if reservation.count is not None:
        yield from (node.name for node in order[: reservation.count])
        return
    lacking = dict(reservation.devices)
    for node in order:
        if any(left > 0 and node.capacity.devices.get(kind) for kind, left in lacking.items()):
            for kind in lacking:
                lacking[kind] -= node.capacity.devices.get(kind, 0)
            yield node.name


def _window(reservation: Reservation, when: Occurrence, nodes: frozenset[str]) -> Window:
    return Window(
        name=reservation.name,
        start=when.start,
        end=when.end,
        nodes=nodes,
        queues=frozenset(reservation.queues),
        owners=frozenset(reservation.owners),
        ahead=reservation.lead,
        evict=reservation.evict,
        zone=reservation.zone,
        purpose=reservation.purpose,
        message=reservation.message,
    )


# --- who may be where
def closed(windows: Iterable[Window], now: float, until: float | None, queue: str, owner: str) -> frozenset[str]:
    """Return the nodes that work of a queue and owner can't use, if it ends at ``until`` (None: unknown) at the latest.

    The later it ends, the more nodes are closed. Work that ends when a window begins does not meet it.
    """
    found: set[str] = set()
    for window in windows:
        if closes(window, now, until) and not admits(window, queue, owner):
            found |= window.nodes
    return frozenset(found)


def closes(window: Window, now: float, until: float | None) -> bool:
    """Say whether a window's nodes are closed to work of others that ends at ``until`` at the latest."""
    return _begun(window, now) and (until is None or until > window.start)


class Closures:
    """:func:`closed` for many gangs at one moment: the same answers, each worked out once."""

    def __init__(self, windows: Iterable[Window], now: float) -> None:
        self._windows = sorted((each for each in windows if _begun(each, now)), key=lambda each: each.start)
        self._queues = frozenset().union(*(each.queues for each in self._windows))
        self._owners = frozenset().union(*(each.owners for each in self._windows))
        self._known: dict[tuple[str, str], list[tuple[float, frozenset[str]]]] = {}

    def closed(self, until: float | None, queue: str, owner: str) -> frozenset[str]:
        """See :func:`closed`; equal answers are the same object."""
        key = (queue if queue in self._queues else "", owner if owner in self._owners else "")
        steps = self._known.get(key)
        if steps is None:
            steps = self._known[key] = self._steps(*key)
        answer = _NONE
        for start, nodes in steps:
            if until is not None and until <= start:
                break
            answer = nodes
        return answer

    def _steps(self, queue: str, owner: str) -> list[tuple[float, frozenset[str]]]:
        """Return the starts, and which nodes are closed to what ends after each of them."""
        steps: dict[float, frozenset[str]] = {}
        nodes = _NONE
        for window in self._windows:
            if not admits(window, queue, owner):
                nodes = nodes if window.nodes <= nodes else nodes | window.nodes
                steps[window.start] = nodes
        return list(steps.items())


def kept_for(windows: Iterable[Window], now: float, queue: str, owner: str) -> frozenset[str]:
    """Return the nodes of windows that are now and admit this work: where it is to go first."""
    found: set[str] = set()
    for window in windows:
        if _is(window, now) and admits(window, queue, owner):
            found |= window.nodes
    return frozenset(found)


def admits(window: Window, queue: str, owner: str) -> bool:
    """Say whether work of that queue and owner may use the window's nodes while it is."""
    return queue in window.queues or owner in window.owners


# --- who has to leave
def overdue(windows: Iterable[Window], running: Iterable[Running], now: float) -> list[Eviction]:
    """Return who has to make room now: preemptible, on nodes of a window that begins within its notice, or is.

    Rule ``window``, by its name. What will have ended by the start is left alone until then, and so is everything
    before the nodes close (``Window.ahead``), since it could be placed there again. A least runtime does not count:
    the window was known. Nobody is told twice, and the window that begins first tells.
    """
    order = sorted((each for each in windows if each.evict), key=lambda each: (each.start, each.name))
    if not order:
        return []
    found = []
    for each in sorted(running, key=lambda each: each.gang.uid):
        if not each.leaving and each.gang.preemptible:
            window = next((window for window in order if _due(window, each, now) and _disturbs(window, each)), None)
            if window is not None:
                found.append(Eviction(each.gang.uid, window.name, "window"))
    return found


def lingering(windows: Iterable[Window], running: Iterable[Running], now: float) -> list[tuple[Window, Running]]:
    """Return who runs on nodes of a window that is, and should not: not preemptible, or still leaving."""
    begun = [each for each in windows if _is(each, now)]
    return [(window, each) for window in begun for each in running if _disturbs(window, each)]


def wake(windows: Iterable[Window], now: float, running: Iterable[Running] = ()) -> float | None:
    """Return the next moment after ``now`` at which one of the answers here changes by itself."""
    present = list(running)
    moments: list[float] = []
    for window in windows:
        moments += [window.start - window.ahead, window.start]
        if window.end is not None:
            moments.append(window.end)
        if window.evict and window.start > now:
            moments += [window.start - _notice(window, each) for each in present if _disturbs(window, each)]
    return min((moment for moment in moments if moment > now), default=None)


def frees(nodes: Iterable[str], running: Iterable[Running], now: float) -> dict[str, float]:
    """Return when the nodes on which something runs will be free; where nobody knows, it is long after ``now``."""
    found: dict[str, float] = {}
    for each in running:
        until = each.deadline if each.deadline is not None else now + (DAY if each.gang.preemptible else 365 * DAY)
        for name in _nodes(each):
            found[name] = max(found.get(name, now), until)
    wanted = set(nodes)
    return {name: at for name, at in found.items() if name in wanted}


def _is(window: Window, now: float) -> bool:
    return window.start <= now and (window.end is None or now < window.end)


def _begun(window: Window, now: float) -> bool:
    """Say whether its nodes are closed to what may outlast the start."""
    return window.start - window.ahead <= now and (window.end is None or now < window.end)


def _due(window: Window, each: Running, now: float) -> bool:
    if _is(window, now):
        return True
    if window.start <= now or now < window.start - _notice(window, each):
        return False
    return each.deadline is None or each.deadline > window.start


def _notice(window: Window, each: Running) -> float:
    return min(each.gang.notice, window.ahead)


def _disturbs(window: Window, each: Running) -> bool:
    return not admits(window, each.gang.queue, each.gang.owner) and not window.nodes.isdisjoint(_nodes(each))


def _nodes(each: Running) -> set[str]:
    return {span.node for spans in each.placement.values() for span in spans}
