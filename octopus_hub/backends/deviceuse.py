"""Which devices are held, whole or in parts: never more parts than a device has, never whole and in parts at once.

Values only; ``taskrows`` keeps one of what live tasks hold, and one of what a batch is about to take.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from octopus_hub.model.node import Device
from octopus_hub.model.parts import split

DeviceKey = tuple[str, str]  # (type of the device itself, id)


class DeviceUse:
    """How often each device is held as what: itself, or one of its parts."""

    def __init__(self) -> None:
        # by type and id alone, not by node: two declared nodes may name the same real device
        self.held: dict[DeviceKey, Counter[str]] = {}

    def add(self, devices: Mapping[str, Iterable[str]]) -> None:
        """Count what a task holds: ids by the type that it asked for; an id stands there once for each part."""
        for kind, identities in devices.items():
            for identity in identities:
                self.held.setdefault((split(kind)[0], identity), Counter())[kind] += 1

    def remove(self, devices: Mapping[str, Iterable[str]]) -> None:
        """Take back what :meth:`add` counted."""
        for kind, identities in devices.items():
            for identity in identities:
                key = split(kind)[0], identity
                held = self.held[key]
                held[kind] -= 1
                if not held[kind]:
                    del held[kind]
                if not held:
                    del self.held[key]


def room(device: Device, kind: str, uses: Iterable[DeviceUse]) -> int:
    """Return how many of a type a device can still give: 1 of its own type while it is whole and free, else parts."""
    if not device.healthy or (device.type, device.parts) != split(kind):
        return 0
    key, used = (device.type, device.id), 0
    for use in uses:
        held = use.held.get(key)
        if held is None:
            continue
        if held.keys() != {kind}:  # held otherwise, since before it was divided (or no more)
            return 0
        used += held[kind]
    return max(0, device.parts - used)


def choose(devices: Iterable[Device], kind: str, count: int, uses: Iterable[DeviceUse]) -> tuple[list[str], int]:
    """Return ids to take, and how many there were to choose from.

    Parts are taken from the device that is shared least, so the parts of one task lie on different devices where they
    can; of equals the first.
    """
    uses = tuple(uses)
    if split(kind)[1] == 1:
        held = [use.held for use in uses if use.held]  # asked for every task: what room() says, without a call for each
        whole = [each.id for each in devices if each.type == kind and each.parts == 1 and each.healthy]
        free = [identity for identity in whole if not any((kind, identity) in each for each in held)] if held else whole
        return free[:count], len(free)
    found = [(device.id, room(device, kind, uses)) for device in devices]
    places = sorted((taken - left, at) for at, (_, left) in enumerate(found) for taken in range(left))
    return [found[at][0] for _, at in places[:count]], len(places)


def held_otherwise(devices: Iterable[Device], kind: str, use: DeviceUse) -> int:
    """Return how many of a type are kept away by tasks that hold their device as it was divided before."""
    return sum(
        device.parts
        for device in devices
        if device.healthy
        and device.offers == kind
        and use.held.get((device.type, device.id), {kind: 1}).keys() != {kind}
    )
