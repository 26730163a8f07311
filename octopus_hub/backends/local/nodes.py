"""The nodes of one machine: as declared under ``nodes:`` in octopus.yaml, or one node that is this machine.

Only says what there is; devices are found by callables that the caller passes in (plug-ins know how). Used by the
local backend's facade at open.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from octopus_hub.backends.local.division import Divisible, divide
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.errors import InvalidSpec, OctopusError
from octopus_hub.model.node import Device, Node
from octopus_hub.model.parts import split
from octopus_hub.model.quantity import parse_cpu, parse_memory

RESERVE_BYTES = 1 << 30  # for the engine, the hub and notebook servers
VIRTUAL_NODES = ("node-a", "node-b")
VIRTUAL_DEVICES = 4
VIRTUAL_CPU_MILLIS = 4000  # a virtual node offers at least this, so that the examples run on a laptop of two cores
VIRTUAL_MEMORY_BYTES = 1 << 30
MAX_DECLARED = 1024
FIELDS = ("name", "cpu", "memory", "devices", "divide", "labels", "taints")

_TAINT = re.compile(r"[^\s=*,]{1,317}(?:=[^\s=,]{0,63})?")
Discover = Callable[[], Sequence[Device]]


def machine(proc: Path = Path("/proc")) -> Amounts:
    """Return what this machine offers to tasks: its usable cores, its memory without a reserve."""
    total = 0
    for line in (proc / "meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            total = int(line.split()[1]) * 1024
    cores = len(os.sched_getaffinity(0))
    return Amounts(cpu_millis=1000 * cores, memory_bytes=max(total // 2, total - RESERVE_BYTES))


def nodes(
    declared: Sequence[Mapping[str, Any]] | None,
    discover: Discover,
    capacity: Amounts | None = None,
    divisible: Divisible | None = None,
) -> list[Node]:
    """Return the nodes: declared ones, else this machine with its devices, else two virtual nodes."""
    whole = capacity or machine()
    if declared:
        return _declared(declared, discover, whole, divisible or Divisible())
    devices = list(discover())
    if devices:
        return [_node(os.uname().nodename.split(".")[0].lower() or "localhost", whole, devices, {})]
    half = Amounts(
        cpu_millis=max(VIRTUAL_CPU_MILLIS, whole.cpu_millis // 2),
        memory_bytes=max(VIRTUAL_MEMORY_BYTES, whole.memory_bytes // 2),
    )
    labels = {"octopus-hub.io/virtual": "true"}
    return [_node(name, half, virtual(name, VIRTUAL_DEVICES), labels) for name in VIRTUAL_NODES]


def virtual(node: str, count: int, kind: str = "virtual") -> list[Device]:
    """Return declared devices that exist by name only."""
    return [Device(id=f"{node}-{kind}-{number}", type=kind, model=kind) for number in range(count)]


def _declared(
    entries: Sequence[Mapping[str, Any]], discover: Discover, whole: Amounts, divisible: Divisible
) -> list[Node]:
    """Read ``nodes:``; all problems are told at once."""
    found: list[Node] = []
    problems: list[str] = []
    real: list[Device] | None = None
    for position, entry in enumerate(entries):
        where = f"nodes[{position}]"
        try:
            wanted = dict(entry.get("devices") or {})
            if real is None and any(value == "discover" for value in wanted.values()):
                real = list(discover())
            node = _one(entry, _devices(entry, wanted, real or [], divisible), whole)
        except (ValueError, TypeError, AttributeError, OctopusError) as error:
            problems.append(f"{where}: {error}")
            continue
        if any(other.name == node.name for other in found):
            problems.append(f"{where}.name: {node.name} is declared twice")
        found.append(node)
    if problems:
        raise InvalidSpec("the nodes in octopus.yaml can't be used", problems)
    return found


def _devices(
    entry: Mapping[str, Any], wanted: Mapping[str, Any], real: Sequence[Device], divisible: Divisible
) -> list[Device]:
    devices: list[Device] = []
    for kind, count in wanted.items():
        if count == "discover":
            devices += [device for device in real if device.type == kind]
        elif split(kind)[1] > 1:
            raise ValueError(f"devices.{kind}: parts follow from divide; declare whole devices, {split(kind)[0]}: 1")
        elif isinstance(count, int) and not isinstance(count, bool) and 0 <= count <= MAX_DECLARED:
            devices += virtual(str(entry.get("name")), count, kind)
        else:
            raise ValueError(f"devices.{kind}: a count from 0 to {MAX_DECLARED}, or discover")
    return divide(devices, {} if (asked := entry.get("divide")) is None else asked, divisible)


def _one(entry: Mapping[str, Any], devices: Sequence[Device], whole: Amounts) -> Node:
    unknown = sorted(set(entry) - set(FIELDS))
    if unknown:
        raise ValueError(f"unknown field {unknown[0]}; known are {', '.join(FIELDS)}")
    name = entry.get("name")
    if not isinstance(name, str) or not name.replace("-", "").replace(".", "").isalnum():
        raise ValueError("name: a node needs a name of letters, digits, - and .")
    capacity = Amounts(
        cpu_millis=parse_cpu(str(entry["cpu"])) if "cpu" in entry else whole.cpu_millis,
        memory_bytes=parse_memory(str(entry["memory"])) if "memory" in entry else whole.memory_bytes,
    )
    labels = {str(key): str(value) for key, value in (entry.get("labels") or {}).items()}
    return _node(name, capacity, devices, labels, _taints(entry.get("taints") or []))


def _taints(given: object) -> list[str]:
    if not isinstance(given, list) or not all(isinstance(each, str) and _TAINT.fullmatch(each) for each in given):
        raise ValueError("taints: a list of taints, each key or key=value without spaces")
    return list(dict.fromkeys(given))


def _node(
    name: str, capacity: Amounts, devices: Sequence[Device], labels: Mapping[str, str], taints: Sequence[str] = ()
) -> Node:
    counts: dict[str, int] = {}
    for device in devices:
        counts[device.offers] = counts.get(device.offers, 0) + device.parts
    return Node(
        name=name,
        capacity=Amounts(cpu_millis=capacity.cpu_millis, memory_bytes=capacity.memory_bytes, devices=counts),
        labels={"kubernetes.io/hostname": name, **labels},
        devices=list(devices),
        taints=list(taints),
    )
