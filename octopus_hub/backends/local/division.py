"""Which devices of a node are divided into how many parts: ``divide:`` of a declared node in octopus.yaml.

``divide: {gpu: {parts: 4, count: 1}}`` divides one of the node's GPUs, ``ids: [...]`` names them, neither means all of
them; a list of such entries divides some this way and some that way. Only reads and says; used by ``nodes``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from octopus_hub.backends.deviceuse import DeviceKey
from octopus_hub.model.node import Device
from octopus_hub.model.parts import part_type

FIELDS = ("parts", "count", "ids")


@dataclass(frozen=True, slots=True)
class Divisible:
    """What can be divided, and what is held right now.

    Attributes
    ----------
    most : dict
        Device type -> largest number of parts; 0 of one that can't be divided.
    held : dict
        Device -> as what live tasks hold it. Where the configuration gives a count, devices are chosen so that what is
        held stays as it is.
    """

    most: Mapping[str, int] = field(default_factory=dict)
    held: Mapping[DeviceKey, str] = field(default_factory=dict)


def divide(devices: Sequence[Device], asked: object, divisible: Divisible) -> list[Device]:
    """Return a node's devices with those divided that ``asked`` names; raises ValueError."""
    if not isinstance(asked, Mapping):
        raise ValueError("divide: a mapping of device types to parts, such as {gpu: {parts: 4, count: 1}}")
    found = {device.id: device for device in devices}
    for kind, entries in asked.items():
        where = f"divide.{kind}"
        most = divisible.most.get(kind, 0)
        if not most:
            raise ValueError(f"{where}: devices of this type can't be divided; its descriptor says nothing of parts")
        for entry in entries if isinstance(entries, list) else [entries]:
            parts = _parts(entry, where, most)
            whole = [each for each in found.values() if each.type == kind and each.parts == 1]
            for device in _chosen(entry, whole, parts, where, divisible):
                found[device.id] = msgspec.structs.replace(device, parts=parts)
    return list(found.values())


def _parts(entry: object, where: str, most: int) -> int:
    if not isinstance(entry, Mapping):
        raise ValueError(
            f"{where}: needs parts, and count or ids unless all are divided, such as {{parts: 4, count: 1}}"
        )
    unknown = sorted(str(name) for name in entry if name not in FIELDS)
    if unknown:
        raise ValueError(f"{where}.{unknown[0]}: unknown field; known are {', '.join(FIELDS)}")
    parts = entry.get("parts")
    if not isinstance(parts, int) or isinstance(parts, bool) or not 2 <= parts <= most:
        raise ValueError(f"{where}.parts: a whole number from 2 to {most}")
    return parts


def _chosen(
    entry: Mapping[str, Any], whole: Sequence[Device], parts: int, where: str, divisible: Divisible
) -> Sequence[Device]:
    """Return the devices that an entry divides, of those that are whole so far."""
    if "ids" in entry and "count" in entry:
        raise ValueError(f"{where}: count or ids, not both")
    if "ids" in entry:
        return _named(entry["ids"], whole, where)
    count = entry.get("count", len(whole))
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= len(whole):
        raise ValueError(f"{where}.count: a whole number from 0 to {len(whole)}, the devices that are not divided yet")

    def place(at: int) -> tuple[int, int]:
        """Held in such parts first, then free ones, held otherwise last; of equals the last, so that 0 stays whole."""
        held = divisible.held.get((whole[at].type, whole[at].id))
        return (0 if held == part_type(whole[at].type, parts) else 1 if held is None else 2), -at

    return [whole[at] for at in sorted(range(len(whole)), key=place)[:count]]


def _named(ids: object, whole: Sequence[Device], where: str) -> list[Device]:
    known = {device.id: device for device in whole}
    if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
        raise ValueError(f"{where}.ids: a list of ids of devices")
    for each in ids:
        if each not in known:
            there = f"the node has {', '.join(known)}" if known else "all of the node's are divided already"
            raise ValueError(f"{where}.ids: {each} is not one of its devices that are whole so far; {there}")
    return [known[each] for each in dict.fromkeys(ids)]
