"""The devices of this machine, found and observed as device descriptors say (``nvml``, or a command).

Virtual and declared devices are the configuration's matter. Never fails an engine: what can't be asked is not there, or
its use is not known. Called by the local backend.
"""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from octopus_hub.model.descriptor import DeviceDescriptor
from octopus_hub.model.node import Device

COMMAND_SECONDS = 20.0
NVIDIA = DeviceDescriptor(name="gpu", discovery="nvml", env={"CUDA_VISIBLE_DEVICES": "{ids}"})

_log = logging.getLogger(__name__)


def discover(descriptors: Sequence[DeviceDescriptor] = (NVIDIA,)) -> list[Device]:
    """Return the real devices of every type that can be found."""
    found: list[Device] = []
    for descriptor in descriptors:
        if descriptor.discovery == "nvml":
            found.extend(_nvidia(descriptor.name))
        elif descriptor.discovery == "command" and descriptor.command:
            found.extend(_by_command(descriptor))
    return found


def observe(devices: Sequence[Device]) -> list[Device]:
    """Return the devices with their present use, as far as it can be known; lost NVIDIA devices are unhealthy."""
    with _nvml() as nvml:
        return [_observed(nvml, device) if nvml and device.id.startswith("GPU-") else device for device in devices]


def _observed(nvml: Any, device: Device) -> Device:
    try:
        handle = nvml.nvmlDeviceGetHandleByUUID(device.id)
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    except nvml.NVMLError:
        return msgspec.structs.replace(device, healthy=False, percent=None, used_memory_bytes=None)
    percent = None
    with contextlib.suppress(nvml.NVMLError):  # a card may not tell its utilisation (MIG)
        percent = float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    return msgspec.structs.replace(device, healthy=True, percent=percent, used_memory_bytes=int(memory.used))


def _nvidia(kind: str) -> list[Device]:
    found: list[Device] = []
    with _nvml() as nvml:
        if nvml is None:
            return found
        for number in range(nvml.nvmlDeviceGetCount()):
            try:
                handle = nvml.nvmlDeviceGetHandleByIndex(number)
                memory = int(nvml.nvmlDeviceGetMemoryInfo(handle).total)
                found.append(
                    Device(
                        id=_text(nvml.nvmlDeviceGetUUID(handle)),
                        type=kind,
                        model=_text(nvml.nvmlDeviceGetName(handle)),
                        memory_bytes=memory,
                    )
                )
            except nvml.NVMLError as error:
                _log.warning("NVIDIA device %d is left out: %s", number, error)
    return found


@contextlib.contextmanager
def _nvml() -> Iterator[Any]:
    """Yield the library, initialised; None on a machine without NVIDIA's driver."""
    try:
        import pynvml
    except ImportError:
        yield None
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        yield pynvml
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _by_command(descriptor: DeviceDescriptor) -> list[Device]:
    """Run a descriptor's command; it prints a JSON list of ``{"id", "memoryBytes", "model"}``."""
    try:
        done = subprocess.run(descriptor.command, capture_output=True, timeout=COMMAND_SECONDS, check=True)
        rows = msgspec.convert(json.loads(done.stdout), list[dict[str, Any]])
        return [
            Device(
                id=str(row["id"]),
                type=descriptor.name,
                model=str(row.get("model", "")),
                memory_bytes=int(row.get("memoryBytes", 0)),
            )
            for row in rows
        ]
    except FileNotFoundError:
        return []  # no such devices here
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError, msgspec.MsgspecError) as error:
        _log.warning("devices of type %s can't be found: %s", descriptor.name, error)
        return []


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
