"""Divided devices on the running product: tasks share one, the next waits with figures, whole ones stay whole.

The engine is killed in between: what it takes over keeps its devices, also where the configuration changed meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine import DEADLINE, ROOT, RunningEngine

CONFIG = """nodes:
- {name: node-a, cpu: "4", memory: 4Gi, devices: {virtual: 2}, divide: {virtual: {parts: 4, count: 1}}}
queues:
- {name: default}
- {name: wholes, nominal: {devices: {virtual: 2}}}
"""
WHOLE, SHARED = "node-a-virtual-0", "node-a-virtual-1"
SAY = (
    'echo "$OCTOPUS_TASKSET $OCTOPUS_VIRTUAL_DEVICES $OCTOPUS_DEVICES ${OCTOPUS_DEVICE_PART-whole}" >> "$0/seen"; '
    'while [ ! -e "$0/end-$OCTOPUS_TASKSET" ]; do sleep 0.1; done'
)


class Killable(RunningEngine):
    """An engine that can be killed and started again on the same state."""

    process: subprocess.Popen[bytes]

    def start(self, config: str = CONFIG) -> None:
        (self.state / "octopus.yaml").write_text(config)
        with (self.state.parent / "engine.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.engine", str(self.state)],
                cwd=ROOT,
                env=self.environ,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n", (self.state.parent / "engine.log").read_text()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=DEADLINE)

    def submit(self, name: str, devices: str, *words: str, code: int = 0) -> str:
        given = ("--cpu", "100m", "--memory", "64Mi", "--no-workspace", "--name", name, "--devices", devices, *words)
        done = self.octopus("submit", *given, "--", "sh", "-c", SAY, str(self.state.parent), code=code)
        return done.stdout + done.stderr

    def seen(self) -> dict[str, tuple[str, str, str]]:
        """What each task's environment said: the devices that it sees, twice, and its part."""
        file = self.state.parent / "seen"
        lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
        assert len({line[0] for line in lines}) == len(lines), "nothing was started twice"
        return {name: (visible, devices, part) for name, visible, devices, part in lines}

    def shown(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.octopus("get", name, "-o", "json").stdout)
        return found

    def end(self, name: str) -> None:
        (self.state.parent / f"end-{name}").touch()
        self.octopus("wait", name)

    def until(self, holds: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + DEADLINE
        while not holds():
            assert time.monotonic() < end, what
            time.sleep(0.2)


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Killable]:
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "home").mkdir()
    product = Killable(tmp_path / "state", tmp_path / "home")
    try:
        product.start()
        yield product
    finally:
        product.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            product.process.communicate(timeout=DEADLINE)
        product.process.kill()


def test_four_share_one_a_fifth_waits_and_a_whole_one_uses_the_other(product: Killable) -> None:
    for number in range(4):
        product.submit(f"part{number}", "virtual=0.25" if number % 2 else "virtual=1/4")
    product.until(lambda: len(product.seen()) == 4, "four of them run")
    assert set(product.seen().values()) == {(SHARED, SHARED, "1/4")}

    product.submit("fifth", "virtual-1of4=1")
    product.submit("whole", "virtual=1")
    product.submit("second", "virtual=1")
    product.until(lambda: "whole" in product.seen(), "a whole one runs")
    assert product.seen()["whole"] == (WHOLE, WHOLE, "whole")
    product.until(lambda: "4 of 4 virtual-1of4 in use by 4 TaskSets" in why(product, "fifth"), "it says what is short")
    product.until(lambda: "1 of 1 virtual in use by 1 TaskSet" in why(product, "second"), "no part counts as a device")
    nodes = product.octopus("nodes").stdout
    assert "1 of 1 virtual" in nodes and "4 of 4 virtual-1of4" in nodes

    product.kill()
    product.start()
    assert product.shown("part0")["status"]["phase"] == "Running", "what ran was taken over"
    product.until(lambda: "4 of 4 virtual-1of4 in use" in why(product, "fifth"), "taken over with what it holds")
    product.end("part2")
    product.until(lambda: "fifth" in product.seen(), "the freed part is given away")
    assert product.seen()["fifth"] == (SHARED, SHARED, "1/4") and "second" not in product.seen()
    product.end("whole")
    product.until(lambda: "second" in product.seen(), "and so is the whole device")
    assert product.seen()["second"] == (WHOLE, WHOLE, "whole")

    record = json.loads(product.octopus("records", "part2", "-o", "json").stdout)["items"][0]
    assert record["tasks"][0]["devices"] == {"virtual-1of4": [SHARED]}
    assert record["spec"]["roles"][0]["resources"]["devices"] == {"virtual-1of4": 1}


def test_what_is_held_whole_is_not_divided_under_it(product: Killable) -> None:
    """Divided otherwise at the next start: devices are chosen, or wait, so that no task's device changes."""
    whole = CONFIG.replace("{parts: 4, count: 1}", "{parts: 4, count: 0}")
    product.kill()
    product.start(whole)
    for name in ("first", "other"):
        product.submit(name, "virtual=1")
    product.until(lambda: len(product.seen()) == 2, "both run")
    on_last = next(name for name, told in product.seen().items() if told[0] == SHARED)
    on_first = next(name for name in product.seen() if name != on_last)
    product.end(on_first)
    product.kill()
    product.start()  # one is divided now: the free one, though the last would be otherwise
    product.submit("part", "virtual=0.25")
    product.until(lambda: "part" in product.seen(), "the part runs")
    assert product.seen()["part"] == (WHOLE, WHOLE, "1/4")
    assert product.shown(on_last)["status"]["phase"] == "Running"
    product.kill()
    product.start(CONFIG.replace("{parts: 4, count: 1}", f"{{parts: 4, ids: [{SHARED}]}}"))  # both are held otherwise
    product.submit("late", "virtual=0.25")
    product.until(lambda: "could not be started on node-a" in why(product, "late"), "nobody's device is shared with it")
    product.end(on_last)
    product.until(lambda: "late" in product.seen(), "once the device is free")
    assert product.seen()["late"] == (SHARED, SHARED, "1/4")


def test_parts_that_nobody_offers_are_refused_with_what_there_is(product: Killable) -> None:
    told = product.submit("tiny", "virtual=1/17", code=2)
    assert "a virtual can be divided into at most 16 parts (virtual-1of16)" in told
    told = product.submit("half", "virtual=0.5", code=3)
    assert "no node has a virtual-1of2 (they have virtual and virtual-1of4)" in told
    told = product.submit("bounded", "virtual=0.25", "--queue", "wholes", code=3)
    assert "queue wholes" in told and "0 virtual-1of4" in told, "a quota that names whole devices allows no parts"


def test_parts_of_one_task_may_lie_on_one_device_which_is_named_once(product: Killable) -> None:
    product.submit("two", "virtual-1of4=2")
    product.submit("one", "virtual=0.25")
    product.until(lambda: len(product.seen()) == 2, "both run")
    assert set(product.seen().values()) == {(SHARED, SHARED, "1/4")}
    assert "3 of 4 virtual-1of4" in product.octopus("nodes").stdout
    product.end("two")
    record = json.loads(product.octopus("records", "two", "-o", "json").stdout)["items"][0]
    assert record["tasks"][0]["devices"] == {"virtual-1of4": [SHARED, SHARED]}
    product.octopus("replay", "two")
    product.until(lambda: product.seen().get("two-2") == (SHARED, SHARED, "1/4"), "what ran is run again with the same")


def why(product: Killable, name: str) -> str:
    return product.octopus("describe", name).stdout
