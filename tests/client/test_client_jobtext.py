"""Texts about a TaskSet, compared with the files in ``golden/`` (``OCTOPUS_WRITE_GOLDEN=1`` writes them anew)."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from octopus_hub.client import jobtext
from octopus_hub.client.room import room, shortages
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.placing import PlacementPreferences, SkuChoice
from octopus_hub.model.status import Phase, QueuePlace, Status
from octopus_hub.model.taskset import Role, TaskSet
from tests.client.views import NOW, VIEWS, failed, hostile, nodes, queued, running, view

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(autouse=True)
def one_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clock times are local."""
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def agrees(name: str, text: str) -> None:
    """Compare with a golden file."""
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("OCTOPUS_WRITE_GOLDEN"):
        file.write_text(text + "\n")
    assert text + "\n" == file.read_text()
    assert all(line == line.rstrip() for line in text.splitlines()), "no blanks at ends of lines"


@pytest.mark.parametrize("name", VIEWS)
def test_summary(name: str) -> None:
    agrees(f"summary-{name}", jobtext.summary(VIEWS[name](), NOW))


def test_law_9_a_preempted_one_says_for_whom_by_which_rule_when_and_how_often() -> None:
    status = Status(
        phase=Phase.QUEUED,
        preempted_by="another user's TaskSet in queue research",
        preempted_rule="service",
        preempted_at=[NOW - 90_000, NOW - 7200, NOW - 60],
        preemptions=9,
        served_seconds=3700.0,
    )
    text = jobtext.preempted(status, NOW)
    assert text.startswith("for another user's TaskSet in queue research, by the rule of service, at ")
    assert text.endswith("; 2 times within a day; 1h01m of work are kept")
    assert jobtext.preempted(Status(), NOW) == ""
    waits = queued()
    waits = msgspec.structs.replace(waits, taskset=msgspec.structs.replace(waits.taskset, status=status))
    assert f"  preempted {text}" in jobtext.summary(waits, NOW).splitlines()


def test_timeline() -> None:
    text = jobtext.timeline(failed().taskset.status)
    agrees("timeline", text)
    assert repr(text) == str(text), "shows itself as the last value of a cell"
    assert jobtext.timeline(queued().taskset.status) == "nothing has happened yet"


def test_why_failed_says_each_thing_once() -> None:
    agrees("why-failed", jobtext.why_failed(failed()))


def test_room() -> None:
    agrees("room", room(queued().taskset, nodes()))
    assert shortages(queued().taskset, nodes()) == [
        "role worker: room for 1 of 3 tasks, each with 1 virtual, 0.1 CPU, 256 MiB on one node"
    ]


def test_room_looks_at_labels_at_shapes_and_at_what_is_not_there() -> None:
    selected = TaskSet(
        "s", roles=[Role("w", command=["x"], placement=PlacementPreferences(node_selector={"zone": "b"}))]
    )
    assert shortages(selected, nodes()) == [
        "role w: room for 0 of 1 tasks on nodes with zone=b, each with 0.1 CPU, 256 MiB on one node"
    ]
    several = PlacementPreferences(sku=["a100", SkuChoice(sku="v100", devices=2)])
    modelled = TaskSet("s", roles=[Role("w", command=["x"], devices={"virtual": 1}, placement=several)])
    assert "room for 0 of 1 tasks on nodes with octopus-hub.io/sku=a100 or v100" in shortages(modelled, nodes())[0]
    tainted = [replace(use, node=replace(use.node, taints=["course=ml"])) for use in nodes()]
    plain = TaskSet("s", roles=[Role("w", command=["x"])])
    assert "room for 0 of 1" in shortages(plain, tainted)[0]
    bears = Role("w", command=["x"], placement=PlacementPreferences(tolerations=["course"]))
    assert shortages(TaskSet("s", roles=[bears]), tainted) == []
    both = TaskSet("s", roles=[Role("w", command=["x"], cpu="3", devices={"virtual": 2})])
    assert "room for 0 of 1" in shortages(both, nodes())[0]
    assert shortages(TaskSet("s", roles=[Role("w", command=["x"])]), nodes()) == []
    assert "fpga" in room(TaskSet("s", roles=[Role("w", command=["x"], devices={"fpga": 1})]), nodes())
    assert room(selected, []) == ""


def test_control_characters_of_users_never_reach_a_terminal() -> None:
    text = jobtext.summary(hostile(), NOW)
    assert not [sign for sign in text if ord(sign) < 32 and sign != "\n"]
    assert len(text.splitlines()) == 4


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0s"), (0.9, "0s"), (59.9, "59s"), (60, "1m00s"), (3599, "59m59s"), (3600, "1h00m"), (90061, "1d01h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert jobtext.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (1000 << 20, "1000 MiB"),
        (1023 << 20, "1023 MiB"),
        (256 << 20, "256 MiB"),
        (8 << 30, "8 GiB"),
        (3 << 40, "3 TiB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert jobtext.size(count) == text


def test_amounts() -> None:
    assert jobtext.amounts(Amounts()) == "nothing"
    mixed = Amounts(cpu_millis=2500, memory_bytes=8 << 30, devices={"npu": 2, "gpu": 1})
    assert jobtext.amounts(mixed) == "1 gpu, 2 npu, 2.5 CPU, 8 GiB"


def test_moments() -> None:
    assert jobtext.moment(NOW, NOW) == "08:53:20"
    assert jobtext.moment(NOW - 86400, NOW) == "2025-10-08 08:53"


def test_columns_have_no_room_for_a_long_command() -> None:
    text = jobtext.role_table(TaskSet("s", roles=[Role("w", command=["x" * 200])]))
    assert max(map(len, text.splitlines())) < 120
    assert text.endswith("…")


def test_progress_counts() -> None:
    from octopus_hub.cli.progress import line, running_of_total

    assert running_of_total(running()) == (3, 4)
    assert line(running(), NOW) == "mnist  Running  1m23s  3/4 tasks running"
    assert "place 2 in its queue" in line(queued(), NOW)


def test_a_gang_that_was_tried_says_what_went_wrong() -> None:
    place = QueuePlace(uid="uid-1", place=1, code="BackOff", message="could not be started on node-a")
    tried = view(Phase.QUEUED, place=place, reason="StartFailed", message="worker 0 failed: no room; it queues again")
    assert "\n  last try: worker 0 failed: no room; it queues again\n" in jobtext.summary(tried, NOW)
    assert jobtext.last_try(view(Phase.QUEUED, place=place, reason="Released", message="x").taskset.status) == ""
    assert jobtext.last_try(view(Phase.FAILED, reason="StartFailed", message="x").taskset.status) == ""
