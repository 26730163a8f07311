"""Discovery of devices: without NVIDIA's library, on what the library would say, and by real programs."""

from __future__ import annotations

import builtins
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from octopus_hub.model.descriptor import DeviceDescriptor
from octopus_hub.model.node import Device
from octopus_hub.plugins import discovery
from octopus_hub.plugins.discovery import discover, listed_devices, nvidia_devices, observe
from octopus_hub.plugins.registry import Registry

EXAMPLES = Path(__file__).parents[2] / "examples" / "plugins"
GPU = Registry.load().devices["gpu"]
VIRTUAL = Registry.load().devices["virtual"]


def by_command(*command: str) -> DeviceDescriptor:
    return DeviceDescriptor(name="fpga", discovery="command", command=list(command))


class Library:
    """NVIDIA's library as its documentation describes it: handles, and an error for all that a card does not tell."""

    class NVMLError(Exception):
        """What every function raises."""

    def __init__(self, cards: Sequence[dict[str, Any]]) -> None:
        self.cards = cards
        self.open = False

    def nvmlInit(self) -> None:
        self.open = True

    def nvmlShutdown(self) -> None:
        self.open = False

    def nvmlDeviceGetCount(self) -> int:
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, number: int) -> dict[str, Any]:
        if self.cards[number].get("lost"):
            raise self.NVMLError("GPU is lost")
        return self.cards[number]

    def tell(self, handle: dict[str, Any], key: str) -> Any:
        if key not in handle:
            raise self.NVMLError("Not Supported")
        return handle[key]

    def nvmlDeviceGetUUID(self, handle: dict[str, Any]) -> Any:
        return self.tell(handle, "uuid")

    def nvmlDeviceGetName(self, handle: dict[str, Any]) -> Any:
        return self.tell(handle, "name")

    def nvmlDeviceGetMemoryInfo(self, handle: dict[str, Any]) -> Any:
        total, used = self.tell(handle, "memory")
        return SimpleNamespace(total=total, used=used)

    def nvmlDeviceGetUtilizationRates(self, handle: dict[str, Any]) -> Any:
        return SimpleNamespace(gpu=self.tell(handle, "percent"))

    def nvmlDeviceGetMigMode(self, handle: dict[str, Any]) -> Any:
        return self.tell(handle, "mig")

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: dict[str, Any]) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: dict[str, Any], number: int) -> Any:
        if number not in handle["instances"]:
            raise self.NVMLError("Not Found")
        return handle["instances"][number]


CARD = {"uuid": "GPU-1", "name": "NVIDIA H100", "memory": (80 << 30, 1 << 30), "percent": 37}


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    """A machine with one card."""
    present = Library([CARD])
    monkeypatch.setitem(sys.modules, "pynvml", present)
    return present


def test_this_machine_is_asked_without_a_fault() -> None:
    """Real: with a driver there are devices with UUIDs, without one there are none and nothing is raised."""
    assert all(device.type == "gpu" and device.id.startswith(("GPU-", "MIG-")) for device in discover(GPU))


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "pynvml":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    monkeypatch.setattr(builtins, "__import__", absent)
    assert discover(GPU) == []


def test_without_a_driver(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise Library.NVMLError("Driver Not Loaded")

    monkeypatch.setattr(library, "nvmlInit", fail)
    assert discover(GPU) == []


def test_the_package_is_loaded_only_when_asked() -> None:
    assert "pynvml" not in vars(discovery)


def test_a_card(library: Library) -> None:
    assert discover(GPU) == [
        Device(
            id="GPU-1",
            type="gpu",
            model="NVIDIA H100",
            memory_bytes=80 << 30,
            percent=37.0,
            used_memory_bytes=1 << 30,
        )
    ]
    assert not library.open, "the library is closed again"


def test_what_a_card_does_not_tell_is_not_known() -> None:
    (device,) = nvidia_devices(Library([{"uuid": b"GPU-2", "name": b"old"}]), "gpu")
    assert device == Device(id="GPU-2", type="gpu", model="old")


def test_a_lost_card_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert [device.id for device in nvidia_devices(Library([{"lost": True}, CARD]), "gpu")] == ["GPU-1"]
    assert "NVIDIA device 0 is left out: GPU is lost" in caplog.text


def test_instances_of_a_divided_card() -> None:
    instances = {0: {"uuid": "MIG-a", "name": "1g", "memory": (10, 1)}, 4: {"uuid": "MIG-b", "name": "2g"}}
    cards = [{**CARD, "mig": (1, 1), "instances": instances}, {**CARD, "uuid": "GPU-9", "mig": (0, 1)}]
    assert [device.id for device in nvidia_devices(Library(cards), "gpu")] == ["MIG-a", "MIG-b", "GPU-9"]


def test_use_and_health(library: Library) -> None:
    known = [Device(id="GPU-1", type="gpu", percent=99.0), Device(id="GPU-7", type="gpu", percent=5.0)]
    present, lost = observe(GPU, known)
    assert present.percent == 37.0 and present.healthy
    assert lost == Device(id="GPU-7", type="gpu", healthy=False)


def test_declared_devices_are_nobodys_to_find() -> None:
    device = Device(id="node-a-virtual-0", type="virtual")
    assert discover(VIRTUAL) == [] and observe(VIRTUAL, [device]) == [device]


def test_a_real_program(tmp_path: Path) -> None:
    program = tmp_path / "list.sh"
    program.write_text(
        '#!/bin/sh\necho \'[{"id": "0", "model": "X", "memoryBytes": 8, "percent": 12.5}, {"id": "1"}]\'\n'
    )
    program.chmod(0o700)
    first, second = discover(by_command(str(program)))
    assert first == Device(id="0", type="fpga", model="X", memory_bytes=8, percent=12.5)
    assert second == Device(id="1", type="fpga")
    assert observe(by_command(str(program)), [Device(id="9", type="fpga")])[0].healthy is False


def test_a_program_gets_nothing_of_our_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "hush")
    script = f"env > {tmp_path}/env; echo '[]'"
    assert discover(by_command("sh", "-c", script)) == []
    names = {line.split("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    assert names <= {"PATH", "LANG", "PWD", "SHLVL", "_", "OLDPWD"} and "PATH" in names


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["sh", "-c", "echo broken >&2; exit 3"], "exit 3: broken"),
        (["sh", "-c", "echo nothing"], "can't be read"),
        (["/"], "can't be found"),
        (["sh", "-c", "echo '[{\"id\": 1}]'"], "can't be read"),
    ],
)
def test_a_program_that_fails(command: list[str], words: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert discover(by_command(*command)) == []
    assert words in caplog.text


def test_a_program_that_is_not_installed_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert discover(by_command("/no/such/program")) == []
    assert caplog.text == ""


def test_a_program_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "COMMAND_SECONDS", 0.2)
    assert discover(by_command("sleep", "60")) == []


@pytest.mark.parametrize("output", [b'[{"id": "a"}, {"id": "a"}]', b'[{"id": ""}]', b'[{"id": "a,b"}]', b'[{"x": 1}]'])
def test_ids_that_cannot_be_assigned(output: bytes) -> None:
    assert listed_devices(output, "fpga") == []


def test_the_example_for_fpgas(tmp_path: Path) -> None:
    program = str(EXAMPLES / "devices" / "list-fpga.sh")
    assert discover(by_command(program, str(tmp_path))) == []
    for name, model, state in (("fpga0", 'Xilinx "Zynq"', "operating"), ("fpga1", "Other", "write error")):
        folder = tmp_path / "class" / "fpga_manager" / name
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{model}\n")
        (folder / "state").write_text(f"{state}\n")
    assert discover(by_command(program, str(tmp_path))) == [
        Device(id="fpga0", type="fpga", model="Xilinx Zynq"),
        Device(id="fpga1", type="fpga", model="Other", healthy=False),
    ]


def test_the_example_for_npus(tmp_path: Path) -> None:
    program = str(EXAMPLES / "devices" / "list-npu.sh")
    assert discover(by_command(program, str(tmp_path))) == []
    for name in ("davinci0", "davinci11", "davinci_manager"):
        (tmp_path / name).touch()
    assert [device.id for device in discover(by_command(program, str(tmp_path)))] == ["0", "11"]
