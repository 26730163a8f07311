"""Environments of every framework, per role and index, compared whole with files; ``UPDATE_GOLDEN=1`` rewrites them.

The wiring follows what each framework's operator documents (``source`` in its descriptor). Only what the framework sets
is kept: ``OCTOPUS_*`` is the same for all and tested with rendering.
"""

from __future__ import annotations

import json
import os
import subprocess
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from octopus_hub.core.actions import Member
from octopus_hub.core.expand import PEERS_FILE, expand
from octopus_hub.model.task import Address
from octopus_hub.model.taskset import ElasticReplicas, Role
from octopus_hub.plugins.registry import Registry
from tests.core.expand_builders import addresses, placed, rendered, role, with_resolved

FOLDER = Path(__file__).parent / "frameworks"
EXAMPLES = Path(__file__).parents[2] / "examples" / "plugins"

GANGS: dict[str, dict[str, list[Role]]] = {
    "script": {"ps-worker": [role("ps"), role("worker", 2, devices={"virtual": 1})], "one": [role("worker")]},
    "pytorch": {
        "workers": [role("worker", 3)],
        "master-worker": [role("worker", 2, devices={"gpu": 4}), role("master", devices={"gpu": 4})],
        "one": [role("worker")],
        "elastic": [role("worker", ElasticReplicas(min=2, max=8), devices={"gpu": 2})],
    },
    "horovod": {
        "launcher": [role("launcher"), role("worker", 3, devices={"gpu": 2})],
        "elastic": [role("launcher"), role("worker", ElasticReplicas(min=2, max=8), devices={"gpu": 2})],
        "workers": [role("worker", 2)],
    },
    "tensorflow": {
        "workers": [role("worker", 3)],
        "ps": [role("ps", 2), role("worker", 2), role("chief"), role("evaluator")],
        "one": [role("worker")],
        "one-and-evaluator": [role("worker"), role("evaluator")],
    },
    "paddle": {"collective": [role("worker", 2)], "ps": [role("ps", 2), role("worker", 2)]},
    "jax": {"workers": [role("worker", 2)]},
}


def wiring(framework: str) -> dict[str, Any]:
    """Return gang -> task -> what the framework gives it."""
    registry = Registry.load([EXAMPLES] if framework == "jax" else [])
    found: dict[str, Any] = {}
    for name, roles in GANGS[framework].items():
        taskset = placed(roles, framework=framework, sizes={"worker": 3} if name == "elastic" else {})
        tasks = rendered(with_resolved(taskset, descriptors=registry.resolve(taskset)))
        found[name] = {
            key: {
                "env": {name: value for name, value in task.env.items() if not name.startswith("OCTOPUS_")},
                "deviceVariables": sorted({*task.device_env.values(), *chain(*task.device_aliases.values())}),
                "ports": task.ports,
                "files": sorted(set(task.files) - {PEERS_FILE}),
            }
            for key, task in tasks.items()
        }
    return found


@pytest.mark.parametrize("framework", sorted(GANGS))
def test_wiring_is_as_kept(framework: str) -> None:
    file = FOLDER / f"{framework}.json"
    found = wiring(framework)
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(json.dumps(found, indent=2) + "\n")
    assert json.loads(file.read_text()) == found


def test_every_framework_has_a_golden_file() -> None:
    packaged = set(Registry.load().frameworks)
    assert packaged <= set(GANGS), "add its gangs here"
    assert {file.stem for file in FOLDER.glob("*.json")} == set(GANGS)


def test_tensorflow_keeps_the_evaluator_out_of_the_cluster() -> None:
    tasks = wiring("tensorflow")["ps"]
    config = json.loads(tasks["evaluator-0"]["env"]["TF_CONFIG"])
    assert list(config["cluster"]) == ["chief", "worker", "ps"]
    assert config["task"] == {"type": "evaluator", "index": 0}
    assert [len(config["cluster"][name]) for name in config["cluster"]] == [1, 2, 2]


def test_pytorch_agrees_with_itself() -> None:
    for tasks in wiring("pytorch").values():
        envs = [task["env"] for task in tasks.values()]
        assert sorted(int(env["RANK"]) for env in envs) == list(range(len(envs)))
        assert {env["WORLD_SIZE"] for env in envs} == {str(len(envs))}
        (first,) = [task for task in tasks.values() if task["env"]["RANK"] == "0"]
        assert {env["MASTER_PORT"] for env in envs} == {str(first["ports"]["main"])}
        assert all(env["PET_MASTER_PORT"] == env["MASTER_PORT"] for env in envs)


def test_horovods_script_names_each_host_once_with_all_its_slots() -> None:
    taskset = placed(GANGS["horovod"]["elastic"], framework="horovod", sizes={"worker": 3})
    taskset = with_resolved(taskset, descriptors=Registry.load().resolve(taskset))
    members = [Member("launcher", 0, 1)]
    found = {
        key: Address(host=f"10.0.0.{key[1] // 2 + 1}", ports=address.ports)
        for key, address in addresses(taskset).items()
    }
    (launcher,) = expand(taskset, members, found)
    script = launcher.files[launcher.env["HOROVOD_DISCOVERY"]]
    done = subprocess.run(["sh"], input=script, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["10.0.0.1:4", "10.0.0.2:2"]
    assert (launcher.env["HOROVOD_MIN_NP"], launcher.env["HOROVOD_MAX_NP"]) == ("4", "6")
