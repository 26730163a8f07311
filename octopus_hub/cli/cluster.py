"""Commands about the place: ``nodes``, ``queues``, ``version``, ``secrets``."""

from __future__ import annotations

import getpass
import sys
from argparse import Namespace
from collections import Counter
from typing import Any

from octopus_hub._version import __version__
from octopus_hub.cli import exits, show
from octopus_hub.client import jobtext
from octopus_hub.client.sync import Client
from octopus_hub.model.errors import InvalidSpec, OctopusError
from octopus_hub.model.node import Node


def nodes(arguments: Namespace) -> int:
    """``octopus nodes``."""
    with Client() as client:
        found = client.nodes()
    header = ("NAME", "STATE", "CPU", "MEMORY", "DEVICES", "BUSY", "LABELS", "MESSAGE")
    show.show_many(found, arguments.format, header, _node_row, lambda node: str(node.name), "no nodes")
    return exits.OK


def queues(arguments: Namespace) -> int:
    """``octopus queues``."""
    with Client() as client:
        found = client.queues()
    header = ("NAME", "POLICY", "STATE", "USED", "NOMINAL", "PER USER", "WAITING")
    show.show_many(found, arguments.format, header, _queue_row, _queue_name, "no queues")
    return exits.OK


def version(arguments: Namespace) -> int:
    """``octopus version``."""
    versions: dict[str, Any] = {"client": __version__}
    try:
        with Client() as client:
            versions["url"] = client.connection.url
            versions["service"] = str(client.version().get("version", "unknown"))
    except OctopusError as error:
        versions["problem"] = error.message
    if arguments.format != "table":
        show.show_document(versions, arguments.format)
        return exits.OK
    service = f"{versions['service']} at {versions['url']}" if "service" in versions else versions["problem"]
    show.write(f"client   {__version__}\nservice  {service}\n")
    return exits.OK


def secrets(arguments: Namespace) -> int:
    """``octopus secrets``."""
    if arguments.action != "list" and not arguments.name:
        raise InvalidSpec(f"name the secret: octopus secrets {arguments.action} NAME")
    with Client() as client:
        if arguments.action == "set":
            client.put_secret(arguments.name, _secret_value(arguments.name))
        elif arguments.action == "delete":
            client.delete_secret(arguments.name)
        else:
            show.write("".join(f"{name}\n" for name in client.secrets()))
    return exits.OK


def _secret_value(name: str) -> str:
    shown = sys.stdin.isatty()
    value = getpass.getpass(f"value of {name}: ") if shown else sys.stdin.read().removesuffix("\n")
    if not value:
        raise InvalidSpec("the value is empty; write it to standard input")
    return value


def _node_row(node: Node) -> tuple[str, ...]:
    state = "ready" if node.ready else "not reachable"
    if node.ready and not node.schedulable:
        state = "closed"
    busy = [f"{device.id} {device.percent:.0f}%" for device in node.devices if device.percent is not None]
    sick = Counter(device.type for device in node.devices if not device.healthy)
    devices = [f"{count} {kind}" for kind, count in sorted(node.capacity.devices.items())]
    devices += [f"{count} {kind} unhealthy" for kind, count in sorted(sick.items())]
    return (
        node.name,
        state,
        f"{node.capacity.cpu_millis / 1000:g}",
        jobtext.size(node.capacity.memory_bytes),
        ", ".join(devices) or "none",
        " ".join(busy),
        ",".join(f"{key}={value}" for key, value in sorted(node.labels.items())),
        node.message,
    )


def _queue_row(item: dict[str, Any]) -> tuple[str, ...]:
    queue = item.get("queue") or item
    places = (item.get("board") or {}).get("places") or []
    return (
        _queue_name(item),
        str(queue.get("policy", "fifo")),
        "paused" if queue.get("paused") else "open",
        _amounts(item.get("usage"), "nothing"),
        _amounts(queue.get("nominal"), "unbounded"),
        _amounts(queue.get("perUser"), "unbounded"),
        str(len(places)),
    )


def _queue_name(item: dict[str, Any]) -> str:
    return str((item.get("queue") or item).get("name", ""))


def _amounts(value: dict[str, Any] | None, absent: str) -> str:
    if value is None:
        return absent
    from octopus_hub.model.amounts import Amounts

    return jobtext.amounts(
        Amounts(
            cpu_millis=int(value.get("cpuMillis", 0)),
            memory_bytes=int(value.get("memoryBytes", 0)),
            devices={str(name): int(count) for name, count in (value.get("devices") or {}).items()},
        )
    )
