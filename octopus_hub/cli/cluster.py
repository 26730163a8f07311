"""Commands about the place: ``nodes``, ``version``, ``secrets``."""

from __future__ import annotations

import getpass
import sys
from argparse import Namespace
from collections import Counter
from typing import Any

from octopus_hub._version import __version__
from octopus_hub.cli import exits, show
from octopus_hub.cli.reservations import change_nodes
from octopus_hub.cli.show import Row
from octopus_hub.client import jobtext
from octopus_hub.client.calls import NodeUse
from octopus_hub.client.sync import Client
from octopus_hub.model.errors import InvalidSpec, OctopusError

NODES = ("NAME", "STATE", "CPU", "MEMORY", "DEVICES", "BUSY", "LABELS", "MESSAGE")
HOST_NAME = "kubernetes.io/hostname"  # says nothing beside the node's name


def nodes(arguments: Namespace) -> int:
    """``octopus nodes``."""
    if arguments.action != "list":
        return change_nodes(arguments)
    if arguments.at or arguments.until or arguments.grace or arguments.reason or arguments.names:
        raise InvalidSpec("octopus nodes lists all of them; octopus nodes drain NAME sets one aside")
    with Client() as client:
        found = client.node_use()
    if arguments.format == "table":
        table = _without_empty(NODES, [_node_row(use) for use in found])
        show.show_rows(*table, none="no nodes")
    else:
        show.show_many(found, arguments.format, (), lambda _: (), lambda use: str(use.node.name), "no nodes")
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
    if arguments.action == "list" and arguments.name:
        raise InvalidSpec("octopus secrets list takes no name: values are never shown")
    with Client() as client:
        if arguments.action == "set":
            client.put_secret(arguments.name, _secret_value(arguments.name))
            show.write(f"stored {arguments.name}\n")
        elif arguments.action == "delete":
            client.delete_secret(arguments.name)
            show.write(f"deleted {arguments.name}\n")
        else:
            show.write("".join(f"{name}\n" for name in client.secrets()))
    return exits.OK


def _secret_value(name: str) -> str:
    shown = sys.stdin.isatty()
    value = getpass.getpass(f"value of {name}: ") if shown else sys.stdin.read().removesuffix("\n")
    if not value:
        raise InvalidSpec("the value is empty; write it to standard input")
    return value


def _node_row(use: NodeUse) -> tuple[str, ...]:
    node, used = use.node, use.used
    state = "ready" if node.ready else "not reachable"
    if node.ready and not node.schedulable:
        state = "closed"
    elif use.state:
        state = use.state if node.ready else f"{state}, {use.state}"
    busy = [f"{device.id} {device.percent:.0f}%" for device in node.devices if device.percent is not None]
    sick = Counter(device.type for device in node.devices if not device.healthy)
    devices = [
        f"{used.devices.get(kind, 0)} of {count} {kind}" for kind, count in sorted(node.capacity.devices.items())
    ]
    devices += [f"{count} {kind} unhealthy" for kind, count in sorted(sick.items())]
    labels = {key: value for key, value in node.labels.items() if (key, value) != (HOST_NAME, node.name)}
    return (
        node.name,
        state,
        f"{used.cpu_millis / 1000:g} of {node.capacity.cpu_millis / 1000:g}",
        f"{jobtext.size(used.memory_bytes)} of {jobtext.size(node.capacity.memory_bytes)}",
        ", ".join(devices) or "none",
        " ".join(busy),
        ",".join(
            [*(f"{key}={value}" for key, value in sorted(labels.items())), *(f"taint:{each}" for each in node.taints)]
        ),
        node.message,
    )


def _without_empty(header: Row, rows: list[Row]) -> tuple[Row, list[Row]]:
    """Return a table without the columns that say nothing."""
    kept = [number for number in range(len(header)) if not rows or any(row[number] for row in rows)]
    return [header[number] for number in kept], [[row[number] for number in kept] for row in rows]
