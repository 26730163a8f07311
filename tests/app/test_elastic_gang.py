"""An elastic gang on the running product: it starts small, grows into what comes free, gives it back, and loses nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.engine import RunningEngine, engine

DEADLINE = 120.0
CONFIG = """nodes:
- {name: node-a, cpu: "4", memory: 4Gi, devices: {virtual: 4}}
queues:
- {name: default, preemption: {minRuntimeSeconds: 0, reviewSeconds: 25}}
"""
# Each task says which size it sees and where it goes on; the first counts, and saves every step.
PROGRAM = """
ground=$1; state=$OCTOPUS_CHECKPOINTS/state
step=$(cat "$state" 2>/dev/null || echo 0)
echo "$OCTOPUS_INDEX $OCTOPUS_WORLD_SIZE $OCTOPUS_REPLICAS $OCTOPUS_MIN_REPLICAS $OCTOPUS_MAX_REPLICAS $step" >> "$ground/seen"
trap 'exit 0' TERM
while [ ! -e "$ground/finish" ]; do
  if [ "$OCTOPUS_INDEX" = 0 ]; then
    step=$((step + 1)); echo $step > "$state.new"; mv "$state.new" "$state"; touch "$OCTOPUS_CHECKPOINT_REPORT"
  fi
  sleep 0.1
done
"""
UNTIL = 'while [ ! -e "$1" ]; do sleep 0.05; done'


@pytest.fixture
def product(tmp_path: Path) -> Any:
    with engine(tmp_path, CONFIG) as running:
        yield running


def submit(product: RunningEngine, folder: Path, name: str, replicas: Any, script: str, *words: str) -> None:
    role = {
        "name": "worker",
        "replicas": replicas,
        "command": ["sh", "-c", script, "sh", *words],
        "resources": {"cpu": "100m", "memory": "64Mi", "devices": {"virtual": 1}},
    }
    spec = {"roles": [role], "queue": "default", "preemption": {"noticeSeconds": 20}}
    document = folder / f"{name}.json"
    document.write_text(json.dumps({"kind": "TaskSet", "metadata": {"name": name}, "spec": spec}))
    product.octopus("submit", "--no-workspace", str(document))


def status(product: RunningEngine, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(product.octopus("get", name, "-o", "json").stdout)
    return found


def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.3)


def sightings(folder: Path) -> list[list[int]]:
    file = folder / "seen"
    lines = file.read_text().splitlines() if file.exists() else []
    return [[int(word) for word in line.split()] for line in lines]


def sizes(folder: Path) -> list[int]:
    """World sizes in the order in which index 0 saw them."""
    return [seen[1] for seen in sightings(folder) if seen[0] == 0]


def test_it_grows_gives_back_and_goes_on_where_it_was(product: RunningEngine, tmp_path: Path) -> None:
    submit(product, tmp_path, "blocker", 3, UNTIL, str(tmp_path / "free"))
    until(lambda: status(product, "blocker")["status"].get("phase") == "Running", "the blocker runs")
    submit(product, tmp_path, "stretchy", {"min": 1, "max": 4}, PROGRAM, str(tmp_path))
    until(lambda: sizes(tmp_path) == [1], "it starts at its minimum")
    (tmp_path / "free").touch()
    until(lambda: sizes(tmp_path) == [1, 4], "it grows once the others are gone and its review has come")
    until(lambda: len(sightings(tmp_path)) == 5, "all four of them start")
    described = product.octopus("describe", "stretchy").stdout
    assert "4 of 1..4" in described

    submit(product, tmp_path, "claimant", 2, UNTIL, str(tmp_path / "finish"))
    until(
        lambda: status(product, "claimant")["status"].get("phase") == "Running", "it gives back what the claimant needs"
    )
    until(lambda: sizes(tmp_path) == [1, 4, 2], "it goes on with two")
    product.octopus("scale", "stretchy", "worker=1")
    until(lambda: sizes(tmp_path) == [1, 4, 2, 1], "its owner wishes one, at once")
    refused = product.octopus("scale", "stretchy", "worker=5", code=2)
    assert "role worker of stretchy can have 1 to 4 tasks, not 5" in refused.stderr

    (tmp_path / "finish").touch()
    product.octopus("wait", "stretchy", "claimant")
    steps = [seen[5] for seen in sightings(tmp_path) if seen[0] == 0]
    assert steps[0] == 0 and steps == sorted(set(steps)), f"each attempt goes on after the one before: {steps}"
    assert {tuple(seen[3:5]) for seen in sightings(tmp_path)} == {(1, 4)}
    assert all(seen[1] == seen[2] for seen in sightings(tmp_path))
    _what_is_kept(product)


def _what_is_kept(product: RunningEngine) -> None:
    taskset = status(product, "stretchy")
    assert taskset["status"]["attempt"] == 4 and "preemptions" not in taskset["status"]
    assert taskset["status"]["roles"][0].get("restarts", 0) == 0
    records = json.loads(product.octopus("records", "stretchy", "-o", "json").stdout)["items"]
    ends = {each["attempt"]: (each["phase"], each["reason"], len(each["tasks"])) for each in records}
    assert ends == {
        1: ("Stopped", "Resized", 1),
        2: ("Stopped", "Resized", 4),
        3: ("Stopped", "Resized", 2),
        4: ("Succeeded", "Completed", 1),
    }
