"""``octopus reservations``, and what changes nodes: ``octopus nodes drain``, ``close`` and ``open``."""

from __future__ import annotations

import time
from argparse import Namespace
from typing import Any

from octopus_hub.cli import exits, show
from octopus_hub.cli.moments import local_zone, moment, unix
from octopus_hub.cli.naming import pairs, seconds
from octopus_hub.client.sync import Client
from octopus_hub.model.errors import InvalidSpec

HEADER = ("NAME", "PURPOSE", "NEXT", "EVERY", "NODES", "LACKS", "IN THE WAY", "MESSAGE")
_GIVEN = ("start", "end", "count", "nodes", "devices", "queues", "owners", "every", "until", "selector", "message")


def reservations(arguments: Namespace) -> int:
    """``octopus reservations``."""
    action = arguments.action
    if action != "list" and not arguments.name:
        raise InvalidSpec(f"name the reservation: octopus reservations {action} NAME")
    if action != "add" and any(getattr(arguments, field) for field in _GIVEN):
        raise InvalidSpec(f"octopus reservations {action} takes no times, nodes or queues; add does")
    with Client() as client:
        if action == "list":
            rows = [row for row in client.reservations() if arguments.name in ("", row["name"])]
            show.show_many(rows, arguments.format, HEADER, _row, _name, "no reservations")
        elif action == "delete":
            client.delete_reservation(arguments.name)
            show.write(f"deleted {arguments.name}\n")
        else:
            show.write(f"{_told(client.put_reservation(arguments.name, document(arguments, time.time())))}\n")
    return exits.OK


def document(arguments: Namespace, now: float) -> dict[str, Any]:
    """Return the reservation that the options describe; what is missing or wrong is the service's to say."""
    if not arguments.start or not arguments.end:
        raise InvalidSpec("say when: --from TIME --to TIME, e.g. --from 'Mon 10:00' --to 12:00")
    zone = arguments.zone or local_zone()
    start = moment(arguments.start, zone, now)
    found: dict[str, Any] = {
        "zone": zone,
        "start": start,
        "end": moment(arguments.end, zone, unix(start, zone) or now),
        "count": arguments.count,
        "nodes": arguments.nodes,
        "devices": {kind: _whole(amount) for kind, amount in pairs(arguments.devices, "--devices", "TYPE=N").items()},
        "nodeSelector": pairs(arguments.selector, "--selector"),
        "queues": arguments.queues,
        "owners": arguments.owners,
        "every": arguments.every,
        "until": moment(arguments.until, zone, now) if arguments.until else None,
        "purpose": arguments.purpose,
        "message": arguments.message,
        "leadSeconds": seconds(arguments.lead) if arguments.lead else None,
    }
    return {name: value for name, value in found.items() if value not in (None, "", [], {})}


def change_nodes(arguments: Namespace) -> int:
    """``octopus nodes drain``, ``close`` and ``open``."""
    action, names = arguments.action, arguments.names
    if not names:
        raise InvalidSpec(f"name the node: octopus nodes {action} NAME; octopus nodes lists them")
    if action != "drain" and (arguments.at or arguments.until or arguments.grace):
        raise InvalidSpec(f"octopus nodes {action} takes no times; octopus nodes drain does")
    if action == "open" and arguments.reason:
        raise InvalidSpec("octopus nodes open takes no --reason")
    with Client() as client:
        for name in names:
            if action == "open":
                client.open_node(name)
                show.write(f"{name} is open\n")
            elif action == "close":
                show.write(f"{_told(client.close_node(name, arguments.reason))}\n")
            else:
                show.write(f"{_told(client.drain_node(name, **_drain(arguments, time.time())))}\n")
    return exits.OK


def _drain(arguments: Namespace, now: float) -> dict[str, Any]:
    zone = arguments.zone or local_zone()
    at = moment(arguments.at, zone, now) if arguments.at else None
    found = {
        "at": at,
        "until": moment(arguments.until, zone, (unix(at, zone) if at is not None else None) or now)
        if arguments.until
        else None,
        "graceSeconds": seconds(arguments.grace) if arguments.grace else None,
        "zone": zone,
        "reason": arguments.reason,
    }
    return {name: value for name, value in found.items() if value}


def _row(item: dict[str, Any]) -> tuple[str, ...]:
    state = item.get("state") or {}
    every = str(item.get("every", "once"))
    nodes = state.get("nodes") or []
    return (
        _name(item),
        str(item.get("purpose", "other")),
        str(state.get("text", "")),
        every if every != "once" else "-",
        ", ".join(nodes[:4]) + (f" and {len(nodes) - 4} more" if len(nodes) > 4 else ""),
        str(state.get("lacks", "")),
        _in_the_way(state),
        str(item.get("message", "")),
    )


def _in_the_way(state: dict[str, Any]) -> str:
    names = list(state.get("occupied") or ())
    others = int(state.get("occupiedByOthers", 0))
    return ", ".join([*names, *([f"{others} of others"] if others else [])])


def _told(item: dict[str, Any]) -> str:
    """Return one sentence on what was stored."""
    state = item.get("state") or {}
    lacks = f"; it lacks {state['lacks']}" if state.get("lacks") else ""
    held = _in_the_way(state)
    still = f"; still there: {held}" if held else ""
    return f"{_name(item)}: {state.get('text', '')}{lacks}{still}"


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 9):
        raise InvalidSpec(f"--devices takes TYPE=N with a whole number, not {text!r}")
    return int(text)


def _name(item: dict[str, Any]) -> str:
    return str(item.get("name", ""))
