"""Applies storage descriptors to the volumes of a role: which folder of which machine a task sees where.

Pure: it decides by names only and never looks at a disk. Called by ``core.expand``; the backend follows links and checks
the result against ``Mount.root`` again. A provider is a function in :data:`PROVIDERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from octopus_hub.model.descriptor import StorageDescriptor
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.task import Mount
from octopus_hub.model.taskset import Role, Volume


def mounts(role: Role, storage: Mapping[str, StorageDescriptor], path: str) -> list[Mount]:
    """Return the mounts of each task of a role; raises InvalidSpec with ``path`` of what can't be had."""
    found = []
    for position, volume in enumerate(role.volumes):
        where = f"{path}.volumes[{position}]"
        descriptor = storage.get(volume.kind)
        if descriptor is None:
            known = ", ".join(sorted(storage)) or "none"
            raise InvalidSpec(f"{where}.kind: unknown storage kind {volume.kind!r}; known are {known}")
        found.append(PROVIDERS[descriptor.provider](volume, descriptor, where))
    return found


def _scratch(volume: Volume, descriptor: StorageDescriptor, where: str) -> Mount:
    return Mount(name=volume.name, kind=volume.kind, mount_path=volume.mount_path, read_only=volume.read_only)


def _folder(volume: Volume, descriptor: StorageDescriptor, where: str) -> Mount:
    if not descriptor.root:
        raise InvalidSpec(
            f"{where}.kind: {volume.kind} has no allowed root on this machine; its administrator names one "
            f"in octopus.yaml (storage.{descriptor.name}.root)"
        )
    asked = volume.parameters.get("path", descriptor.parameters.get("path", volume.name))
    parts = [part for part in asked.split("/") if part not in ("", ".")]
    if asked.startswith("/") or ".." in parts or "\0" in asked:
        raise InvalidSpec(
            f"{where}.parameters.path: {asked!r} leaves the allowed root {descriptor.root}; name a folder below it"
        )
    root = "/" + "/".join(part for part in descriptor.root.split("/") if part)
    return Mount(
        name=volume.name,
        kind=volume.kind,
        mount_path=volume.mount_path,
        read_only=volume.read_only or descriptor.parameters.get("readOnly") == "true",
        source="/".join([root.rstrip("/"), *parts]) or "/",
        root=root,
    )


# How a storage kind becomes a mount, by the descriptor's ``provider``.
PROVIDERS: dict[str, Callable[[Volume, StorageDescriptor, str], Mount]] = {
    "scratch": _scratch,
    "folder": _folder,
}
