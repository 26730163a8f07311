"""Finds the devices of this machine and their present use, as device descriptors say: NVML, or a program.

Never fails its caller: what can't be asked is not there, or its use is not known, and the log says why. Virtual and
declared devices exist by configuration, so there is nothing to look for. Called by the engine at start and while it runs.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from octopus_hub.model.base import ApiStruct
from octopus_hub.model.descriptor import DeviceDescriptor
from octopus_hub.model.node import Device

COMMAND_SECONDS = 20.0
MAX_OUTPUT_BYTES = 4 << 20
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

log = logging.getLogger(__name__)


class Listed(ApiStruct, frozen=True, kw_only=True):
    """One device as a descriptor's program prints it; the last three may be left out where they can't be known."""

    id: str
    model: str = ""
    memory_bytes: int = 0
    healthy: bool = True
    percent: float | None = None
    used_memory_bytes: int | None = None


def discover(descriptor: DeviceDescriptor) -> list[Device]:
    """Return the devices of one type on this machine; none where driver or program are absent."""
    return WAYS[descriptor.discovery](descriptor)


def observe(descriptor: DeviceDescriptor, known: Sequence[Device]) -> list[Device]:
    """Return the known devices of one type with health and use as they are now.

    A device that is not found any more is unhealthy; one of a type that nobody can look for stays as it was.
    """
    if descriptor.discovery not in ("nvml", "command"):
        return list(known)
    now = {device.id: device for device in discover(descriptor)}
    return [now.get(device.id) or _lost(device) for device in known]


def _lost(device: Device) -> Device:
    return msgspec.structs.replace(device, healthy=False, percent=None, used_memory_bytes=None)


def _none(descriptor: DeviceDescriptor) -> list[Device]:
    return []


# --- NVIDIA
def _by_nvml(descriptor: DeviceDescriptor) -> list[Device]:
    with open_nvml() as nvml:
        return [] if nvml is None else nvidia_devices(nvml, descriptor.name)


@contextlib.contextmanager
def open_nvml() -> Iterator[Any]:
    """Yield NVIDIA's management library, initialised; None on a machine without it or without a driver."""
    try:
        import pynvml  # only here: the package is part of the hub's extra, and costs time to load
    except ImportError:
        yield None
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        log.debug("no NVIDIA devices: %s", error)
        yield None
        return
    try:
        yield pynvml
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def nvidia_devices(nvml: Any, kind: str) -> list[Device]:
    """Return what the library tells: whole GPUs, and the instances of those that are divided (MIG)."""
    found: list[Device] = []
    for number in range(int(nvml.nvmlDeviceGetCount())):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(number)
            handles = _instances(nvml, handle) if _divided(nvml, handle) else [handle]
            found.extend(_nvidia_device(nvml, each, kind) for each in handles)
        except nvml.NVMLError as error:
            log.warning("NVIDIA device %d is left out: %s", number, error)
    return found


def _divided(nvml: Any, handle: Any) -> bool:
    try:
        current, _pending = nvml.nvmlDeviceGetMigMode(handle)
    except nvml.NVMLError:  # the card can't be divided
        return False
    return bool(current)


def _instances(nvml: Any, handle: Any) -> list[Any]:
    found = []
    for number in range(int(nvml.nvmlDeviceGetMaxMigDeviceCount(handle))):
        with contextlib.suppress(nvml.NVMLError):  # a number that no instance has
            found.append(nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number))
    return found


def _nvidia_device(nvml: Any, handle: Any, kind: str) -> Device:
    percent = used = None
    total = 0
    with contextlib.suppress(nvml.NVMLError):  # instances of a divided GPU don't tell their utilisation
        percent = float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    with contextlib.suppress(nvml.NVMLError):  # GPUs that share the machine's memory don't tell theirs
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        total, used = int(memory.total), int(memory.used)
    return Device(
        id=_text(nvml.nvmlDeviceGetUUID(handle)),
        type=kind,
        model=_text(nvml.nvmlDeviceGetName(handle)),
        memory_bytes=total,
        percent=percent,
        used_memory_bytes=used,
    )


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)  # older versions give bytes


# --- a program
def _by_command(descriptor: DeviceDescriptor) -> list[Device]:
    """Run the descriptor's program, which prints a JSON list of :class:`Listed`; nothing of our environment is passed."""
    try:
        done = subprocess.run(
            descriptor.command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_SECONDS,
            env={"PATH": os.environ.get("PATH", PATH), "LANG": "C.UTF-8"},
            check=False,
        )
    except FileNotFoundError:
        log.debug("no devices of type %s: %s is not installed", descriptor.name, descriptor.command[0])
        return []
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("devices of type %s can't be found: %s", descriptor.name, error)
        return []
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()[-300:]
        log.warning("devices of type %s can't be found: exit %d: %s", descriptor.name, done.returncode, said)
        return []
    return listed_devices(done.stdout, descriptor.name)


def listed_devices(output: bytes, kind: str) -> list[Device]:
    """Return the devices that a program printed; none, and a line in the log, if that can't be read."""
    try:
        if len(output) > MAX_OUTPUT_BYTES:
            raise msgspec.ValidationError(f"it is larger than {MAX_OUTPUT_BYTES >> 20} MiB")
        rows = msgspec.json.decode(output, type=list[Listed])
    except msgspec.MsgspecError as error:
        log.warning("devices of type %s can't be found: what the program printed can't be read: %s", kind, error)
        return []
    ids = [row.id for row in rows]
    if len(set(ids)) < len(ids) or any(not each or "," in each for each in ids):
        log.warning("devices of type %s can't be found: ids must differ, and have no comma", kind)
        return []
    return [Device(type=kind, **{name: getattr(row, name) for name in Listed.__struct_fields__}) for row in rows]


# How devices are looked for, by the descriptor's ``discovery``.
WAYS: dict[str, Callable[[DeviceDescriptor], list[Device]]] = {
    "none": _none,
    "declared": _none,
    "nvml": _by_nvml,
    "command": _by_command,
}
