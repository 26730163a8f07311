"""octopus.yaml: defaults, everything that can be said, and all problems of a file at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from octopus_hub.backends.local.config import LIMIT_BYTES, Config, load, parse
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.queue import Budget, Cohort, PriorityClass, Queue, QueuePreemption

WHOLE = """
nodes:
- {name: rack-1, cpu: "8", memory: 32Gi, devices: {virtual: 4, gpu: discover}, labels: {zone: a}}
queues:
- {name: default}
- name: research
  policy: priority
  nominal: {cpu: "16", memory: 64Gi, devices: {gpu: 2}}
  perUser: {devices: {gpu: 1}}
  allowedGroups: [lab]
priorities:
- {name: urgent, value: 1000}
- {name: low, value: -5}
images:
  torch: {python: /opt/torch}
accounts: {separate: true}
storage:
  folder: {root: /data}
limits: {log: 8Mi, blob: 2Gi}
"""


def write(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "octopus.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_without_a_file_there_are_defaults(tmp_path: Path) -> None:
    assert (
        load(None)
        == load(tmp_path / "no such")
        == load(write(tmp_path, ""))
        == load(write(tmp_path, "# x\n"))
        == Config()
    )
    assert [queue.name for queue in Config().queues] == ["default"] and not Config().separate_accounts


def test_everything_that_can_be_said(tmp_path: Path) -> None:
    config = load(write(tmp_path, WHOLE))
    assert config.nodes[0]["name"] == "rack-1" and config.nodes[0]["devices"] == {"virtual": 4, "gpu": "discover"}
    research = Queue(
        name="research",
        policy="priority",
        nominal=Amounts(cpu_millis=16000, memory_bytes=64 << 30, devices={"gpu": 2}),
        per_user=Amounts(devices={"gpu": 1}),
        allowed_groups=["lab"],
    )
    assert config.queues == (Queue(name="default"), research)
    values = {each.name: each.value for each in config.priorities}
    assert values == {"normal": 0, "high": 100, "urgent": 1000, "low": -5}
    assert PriorityClass(name="urgent", value=1000) in config.priorities
    assert config.images == {"torch": "/opt/torch"} and config.separate_accounts
    assert config.storage == {"folder": "/data"}
    assert (config.limits.log, config.limits.blob) == (8 << 20, 2 << 30)


def test_all_problems_are_told_at_once_each_with_its_path(tmp_path: Path) -> None:
    text = """
quues: []
nodes: {name: a}
queues:
- {name: research, nominl: {cpu: 1}}
- {name: research}
- {policy: fifo}
- {name: odd, policy: priorty, weight: heavy, nominal: {cpu: -1, memory: lots, devices: {gpu: 1.5, fpga: true}}}
- just a name
priorities:
- {name: urgent, value: high}
images:
  torch: {python: relative/path}
accounts: {separate: "yes"}
storage: {folder: {rot: /data}}
limits: {log: 1Ki, blob: much}
"""
    with pytest.raises(InvalidSpec, match=r"octopus\.yaml can't be used") as caught:
        load(write(tmp_path, text))
    found = caught.value.problems
    for words in (
        "quues: unknown field; did you mean queues?",
        "nodes: a list, not",
        "queues[0].nominl: unknown field; did you mean nominal?",
        "queues[1].name: research is declared twice",
        "queues[2].name: a name is needed",
        "queues[3].policy: unknown policy 'priorty'; did you mean priority?",
        "queues[3].weight: needs a whole number from 0 to 1000000, not the text 'heavy'",
        "queues[3].nominal.cpu: ",
        "queues[3].nominal.memory: ",
        "queues[3].nominal.devices.gpu: needs a whole number from 0 to 9007199254740992, not the number 1.5",
        "queues[3].nominal.devices.fpga: needs a whole number from 0 to 9007199254740992, not true",
        "queues[4]: a mapping with a name, not text",
        "priorities[0].value: needs a whole number from -2147483648 to 2147483647, not the text 'high'",
        "images.torch.python: the absolute path",
        "accounts.separate: true or false",
        "storage.folder.rot: unknown field",
        "storage.folder.root: the absolute path",
        "limits.log: at least 1Mi, not 1Ki",
        "limits.blob: ",
    ):
        assert any(problem.startswith(words) for problem in found), (words, found)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("queues: [", r"is not YAML, line 1, column"),
        ("a: b\n c: d: e", r"is not YAML, line 2"),
        (b"\xff\xfe\x00", "can't be read|not YAML"),
        ("- just\n- a list\n", "can't be used\n  the file: a mapping of names to values, not a list"),
        ("text", "can't be used"),
        ("queues: !!python/object/apply:os.system ['true']", "is not YAML"),
        ("x: &a [" + "1," * 10 + "]\n" + "y: [" + "*a," * 10 + "]", "x: unknown field"),
        (b"#" * (LIMIT_BYTES + 1), "is larger than"),
    ],
    ids=["cut short", "bad indent", "binary", "a list", "text", "an object", "aliases", "too large"],
)
def test_files_that_are_no_configuration(tmp_path: Path, text: str | bytes, words: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        load(write(tmp_path, text))
    import re

    assert re.search(words, str(caught.value)), caught.value


def test_an_alias_bomb_costs_nothing(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 9) + "]" for n in range(1, 30)]
    with pytest.raises(InvalidSpec, match="unknown field"):
        load(write(tmp_path, "\n".join(lines)))


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match="can't be read"):
        load(tmp_path)


def test_queues_in_cohorts_with_everything_that_they_can_have() -> None:
    config = parse(
        {
            "cohorts": [{"name": "lab", "nominal": {"devices": {"gpu": 8}}, "weight": 2}],
            "queues": [
                {
                    "name": "a",
                    "cohort": "lab",
                    "policy": "las",
                    "backfill": "reserve",
                    "preemption": {"minRuntimeSeconds": 60, "perDay": 3},
                    "budget": {"deviceHours": 100, "window": "week", "atEnd": "stop"},
                    "borrow": {"devices": {"gpu:a100": 2}},
                    "lend": {"cpu": "500m"},
                    "perGroup": {"memory": "1Gi"},
                    "maxQueuedPerUser": 5,
                }
            ],
        }
    )
    assert config.cohorts == (Cohort(name="lab", weight=2, nominal=Amounts(devices={"gpu": 8})),)
    (queue,) = config.queues
    assert queue.preemption == QueuePreemption(min_runtime_seconds=60, per_day=3)
    assert queue.budget == Budget(device_hours=100, window="week", at_end="stop")
    assert (queue.borrow, queue.lend) == (Amounts(devices={"gpu:a100": 2}), Amounts(cpu_millis=500))
    assert (queue.per_group, queue.max_queued_per_user) == (Amounts(memory_bytes=1 << 30), 5)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"queues": [{"name": "a", "cohort": "lab"}]}, "a: there is no cohort lab; none is defined"),
        (
            {"cohorts": [{"name": "x", "parent": "y"}, {"name": "y", "parent": "x"}]},
            "x: the cohorts x -> y -> x go in a circle; let one of them have no parent",
        ),
        (
            {"cohorts": [{"name": "lab"}, {"name": "x", "parent": "lap"}]},
            "x: there is no cohort lap; did you mean lab?",
        ),
        ({"queues": [{"name": "a", "budget": {"deviceHours": -1}}]}, "queues[0].budget.deviceHours: -1 is not"),
    ],
)
def test_trees_that_are_none(document: object, words: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse(document)
    assert any(problem.startswith(words) for problem in caught.value.problems), caught.value.problems


def test_empty_parts_are_defaults() -> None:
    assert parse({"queues": None, "limits": None, "accounts": {}}) == Config()
