"""``list, get, describe, tasks, nodes, queues`` on an engine whose devices are taken: who waits says why, in numbers.

Texts are compared with the files in ``golden/`` (``OCTOPUS_WRITE_GOLDEN=1`` writes them anew).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from octopus_hub.client.documents import load_documents
from octopus_hub.model.taskset import TaskSet
from tests.cli.shell import Shell
from tests.engine import engine

GOLDEN = Path(__file__).parent / "golden"
CONFIG = """nodes:
- {name: node-a, cpu: "4", memory: 8Gi, devices: {virtual: 4}, labels: {zone: east}}
- {name: node-b, cpu: "4", memory: 8Gi, devices: {virtual: 4}, labels: {zone: west}}
queues:
- {name: default, policy: fifo, backfill: none}
- {name: small, policy: fifo, backfill: none, nominal: {cpu: "1", devices: {virtual: 2}}}
- {name: shut, policy: fifo, paused: true}
"""
SLEEP = ("--no-workspace", "--", "sleep", "600")


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """An account whose devices are taken by ``big``, and what waits for them."""
    folder = tmp_path_factory.mktemp("busy")
    with engine(folder, CONFIG) as started:
        shell = Shell(started, folder)

        def submit(name: str, *words: str) -> None:
            shell.octopus("submit", "--name", name, *words, *SLEEP)

        submit("big", "--replicas", "3", "--devices", "virtual=2", "--label", "team=vision")
        shell.until_phase("big", "Running")
        submit("next", "--replicas", "2", "--devices", "virtual=2")
        submit("after", "--replicas", "3", "--devices", "virtual=2", "--cpu", "1", "--memory", "1Gi")
        submit("tiny")
        submit("quota", "--queue", "small", "--cpu", "800m")
        shell.until_phase("quota", "Running")
        submit("over", "--queue", "small", "--cpu", "800m")
        submit("paused", "--queue", "shut")
        submit("held", "--hold")
        submit("child", "--after", "held")
        for name in ("next", "after", "tiny", "over", "paused", "held", "child"):
            shell.until(name, lambda view: view.queue_place is not None)
        yield shell


def agrees(name: str, text: str) -> None:
    """Compare with a golden file, times and sizes left out."""
    plain = re.sub(r"(Age|Ran): +\S+", r"\1:          …", text)
    plain = re.sub(r"; starts [^(\n]+\([^)]*\)", "", plain)  # an estimate comes once what runs has run for a while
    plain = re.sub(r"^  (starts|no start) .*\n", "", plain, flags=re.M)  # so does one in a list of facts
    plain = re.sub(r"(?<= )(for|since|after|in) [\d.]+ (s|min|h|days)(?!\w)", r"\1 …", plain)
    plain = re.sub(r"\d\d:\d\d:\d\d", "hh:mm:ss", plain)
    plain = re.sub(r"\+\d+\.\d s ", "+…    ", plain)
    plain = re.sub(r"(node-.-virtual-\d)  +\S+  +\S+ \S+$", r"\1  …", plain, flags=re.M)
    plain = re.sub(r"(\d/\d +\w+  +)\S+( +\d+[smhd]\S*)? *", r"\1…  ", plain)
    plain = re.sub(r"(AGE|TIME|SINCE|MEMORY) +(?=TIME|NOTE|PHASE|MEMORY)", r"\1  ", plain)
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("OCTOPUS_WRITE_GOLDEN"):
        file.write_text(plain)
    assert plain == file.read_text()


@pytest.mark.parametrize("name", ["big", "next", "after", "tiny", "over", "paused", "held", "child"])
def test_describe(busy: Shell, name: str) -> None:
    agrees(f"describe-{name}", busy.octopus("describe", name).out)


def test_why_it_waits_in_numbers(busy: Shell) -> None:
    """What the issue asks for, word by word."""
    text = busy.octopus("describe", "next").out
    assert "place 1 in its queue" in text
    assert "role worker needs 2 x 2 virtual, largest free 2 on node-b; 6 of 8 virtual in use" in text
    assert re.search(r"virtual +4 +2 +8 +2 \(node-b\) +2", text)
    assert "role worker: room for 1 of 2 tasks" in text
    behind = busy.octopus("describe", "tiny").out
    assert "behind ada/next in queue default" in behind
    assert "Room:         enough for it now" in behind
    quota = busy.octopus("describe", "over").out
    assert "queue small allows 1 CPU at once and it uses 0.8 CPU now" in quota
    assert "Quota left:   0.2 CPU of the 0.8 CPU it needs" in quota


@pytest.mark.parametrize("name", ["big", "next", "after", "tiny", "over", "paused", "held", "child"])
def test_why(busy: Shell, name: str) -> None:
    agrees(f"why-{name}", busy.octopus("why", name).out)


def test_why_as_data(busy: Shell) -> None:
    answer = busy.octopus("why", "next", "-o", "json").json
    assert (answer["outcome"], answer["place"], answer["reason"]["code"]) == ("waits", 1, "NoFit")
    assert answer["unblock"] == ["2 virtual more free"]
    assert answer["smaller"] == [
        {
            "kind": "tasks",
            "message": "1 of 2 tasks of role worker would start now",
            "role": "worker",
            "tasks": 1,
        }
    ]
    assert [fact["kind"] for fact in answer["facts"]] == ["state", "place", "short", "unblock", "smaller", "estimate"]
    assert "basis" in answer["estimate"]
    assert busy.octopus("why", "nobody", code=4).err


def test_list(busy: Shell) -> None:
    agrees("list", busy.octopus("list").out)


def test_list_by_phase_and_label(busy: Shell) -> None:
    assert busy.octopus("list", "--phase", "running", "-o", "name").lines == ["big", "quota"]
    assert busy.octopus("list", "--phase", "Held,Running", "-o", "name").lines == ["big", "quota", "held"]
    assert busy.octopus("list", "--label", "team=vision", "-o", "name").lines == ["big"]
    assert busy.octopus("list", "--label", "team=none").out == ""
    assert busy.octopus("list", "-A", "-o", "name").lines[0] == "ada/big"
    assert busy.octopus("list", "-n", "ada", "--phase", "Held", "-o", "name").lines == ["ada/held"]


def test_documents_of_lists(busy: Shell) -> None:
    listed = busy.octopus("list", "-o", "json").json["items"]
    assert [item["metadata"]["name"] for item in listed][:2] == ["big", "next"]
    assert listed[1]["queuePlace"]["place"] == 1
    assert TaskSet.parse(listed[1]).name == "next"
    assert load_documents(busy.octopus("list", "-o", "yaml").out, "x")[0]["items"] == listed


def test_get(busy: Shell) -> None:
    assert busy.octopus("get", "big", "ada/held", "-o", "name").lines == ["big", "held"]
    assert busy.octopus("get", "big").lines[1].startswith("big   Running  3/3")
    assert busy.octopus("get", "big", "-o", "json").json["status"]["phase"] == "Running"
    assert len(busy.octopus("get", "big", "held", "-o", "json").json["items"]) == 2


def test_tasks(busy: Shell) -> None:
    table = busy.octopus("tasks", "big").lines
    assert table[0].startswith("ROLE    TASK  STATE    NODE    DEVICES")
    assert [line.split()[:4] for line in table[1:]] == [
        ["worker", "0", "Running", "node-a"],
        ["worker", "1", "Running", "node-a"],
        ["worker", "2", "Running", "node-b"],
    ]
    assert busy.octopus("tasks", "big", "-o", "name").lines == [f"big-worker-{index}-1" for index in range(3)]
    assert busy.octopus("tasks", "big", "-o", "json").json["items"][0]["role"] == "worker"
    assert busy.octopus("tasks", "held").out == ""


def test_nodes(busy: Shell) -> None:
    agrees("nodes", busy.octopus("nodes").out)
    assert busy.octopus("nodes", "-o", "name").lines == ["node-a", "node-b"]
    first = busy.octopus("nodes", "-o", "json").json["items"][0]
    assert (first["node"]["name"], first["used"]["devices"]) == ("node-a", {"virtual": 4})


def test_queues(busy: Shell) -> None:
    agrees("queues", busy.octopus("queues").out)
    assert busy.octopus("queues", "-o", "name").lines == ["default", "shut", "small"]


def test_plan_in_numbers(busy: Shell) -> None:
    document = """apiVersion: octopus-hub.io/v1alpha1
kind: TaskSet
metadata: {name: p}
spec: {roles: [{name: w, replicas: 2, command: [x], resources: {devices: {virtual: 2}, cpu: "3"}}]}
"""
    agrees("plan", busy.octopus("plan", "-", given=document).out)


def test_events_of_the_past(busy: Shell) -> None:
    assert [line.split()[1:] for line in busy.octopus("events", "big").lines] == [
        ["ada/big", phase] for phase in ("Queued", "Admitted", "Starting", "Running")
    ]
    assert [line.split()[1:] for line in busy.octopus("events", "next").lines] == [["ada/next", "Queued"]]
    every = busy.octopus("events").lines
    assert len({line.index(line.split()[2]) for line in every}) == 1, "phases stand below each other"
