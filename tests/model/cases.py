"""Documents of TaskSets, whole and changed, that the tests of parsing and of the schema share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st

from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.taskset import TaskSet

Change = Callable[[dict[str, Any]], object]
W = "spec.roles[0]"


def document(*changes: Change, **role: Any) -> dict[str, Any]:
    """A small valid document, changed."""
    made: dict[str, Any] = {
        "apiVersion": "octopus-hub.io/v1alpha1",
        "kind": "TaskSet",
        "metadata": {"name": "mnist"},
        "spec": {"roles": [{"name": "worker", "command": ["python", "train.py"], **role}]},
    }
    for change in changes:
        change(made)
    return made


def spec(**fields: Any) -> Change:
    return lambda made: made["spec"].update(fields)


def meta(**fields: Any) -> Change:
    return lambda made: made["metadata"].update(fields)


def problems_of(given: Any) -> list[str]:
    with pytest.raises(InvalidSpec) as caught:
        TaskSet.parse(given)
    assert caught.value.problems and caught.value.status == 422
    assert all(problem and "\n" not in problem and problem == problem.strip() for problem in caught.value.problems)
    return caught.value.problems


WHOLE: dict[str, Any] = {
    "apiVersion": "octopus-hub.io/v1alpha1",
    "kind": "TaskSet",
    "metadata": {"name": "mnist-ddp", "labels": {"team": "vision"}, "annotations": {"example.org/note": "two\nlines"}},
    "spec": {
        "queue": "research",
        "priority": "high",
        "hold": True,
        "after": [{"name": "prepare", "on": "Completed"}],
        "framework": "pytorch",
        "gang": {"minAvailable": "all", "timeoutSeconds": 600},
        "roles": [
            {
                "name": "worker",
                "replicas": {"min": 2, "max": 8},
                "main": True,
                "image": "research/torch:2.4@sha256:0",
                "command": ["python", "train.py"],
                "args": ["--epochs", "3"],
                "env": {"EPOCHS": 3, "RATE": 0.5, "DEBUG": True},
                "secrets": {"HF_TOKEN": "hf-token"},
                "workingDir": "/workspace/src",
                "resources": {"cpu": 2, "memory": "8Gi", "devices": {"gpu": 1, "npu": 0}, "shm": "2048Mi"},
                "volumes": [{"kind": "pvc", "name": "data", "mountPath": "/data", "readOnly": True}],
                "ports": [{"name": "tensorboard", "port": 6006}],
                "completion": {"minSucceeded": 2, "maxFailed": 0},
                "restart": {"scope": "gang", "maxRestarts": 3, "delaySeconds": 10},
                "events": [{"on": "RoleSucceeded", "do": "SucceedTaskSet"}],
                "placement": {"nodeSelector": {"zone": "b"}, "topology": {"level": "rack"}, "sku": "a100"},
                "template": {"spec": {"tolerations": [{"key": "gpu"}]}},
            },
            {"name": "ps", "command": ["python", "ps.py"]},
        ],
        "lifetime": {
            "mode": "detached",
            "maxRuntimeSeconds": 86400,
            "ttlSecondsAfterFinished": 604800,
            "idle": {"utilBelowPercent": 5, "forSeconds": 3600, "action": "warn"},
        },
        "preemption": {"allowed": True, "noticeSeconds": 60, "minRuntimeSeconds": 600},
        "workspace": {"snapshot": True, "digest": "sha256:" + "a" * 64, "git": {"commit": "abc", "dirty": False}},
        "inputs": [{"uri": "https://example.org/data.csv", "digest": "sha256:" + "0" * 64}],
        "outputs": ["out/*.csv", "model.npz"],
        "run": {"notebook": "train.ipynb", "parameters": {"lr": 0.1, "layers": [64, 32], "name": None}},
        "seed": 7,
    },
}


ACCEPTED: dict[str, dict[str, Any]] = {
    "no apiVersion and kind": {"metadata": {"name": "a"}, "spec": {"roles": [{"name": "w", "command": ["x"]}]}},
    "args without command": {"metadata": {"name": "a"}, "spec": {"roles": [{"name": "w", "args": ["x"]}]}},
    "a notebook without command": document(spec(run={"notebook": "a/b.ipynb"}, roles=[{"name": "w"}])),
    "the longest names": document(meta(name="a" * 40), name="w" * 15),
    "a digit first": document(meta(name="1st")),
    "most replicas": document(replicas=10_000),
    "whole floats": document(replicas=3.0),
    "numbers in commands": document(command=["sleep", 10, 1.5]),
    "nulls of optional fields": document(
        spec(seed=None, run=None, lifetime={"maxRuntimeSeconds": None}), completion={"minSucceeded": None}
    ),
    "a null parameter": document(spec(run={"notebook": "a.ipynb", "parameters": {"x": None}})),
    "gang of all by number": document(spec(gang={"minAvailable": 3}), replicas=3),
    "the workspace itself": document(workingDir="/workspace"),
    "a folder of the workspace": document(workingDir="src/train"),
    "dots in names of files": document(spec(outputs=["a..b/*.csv", "...", "**/x"])),
    "the label of a replay": document(meta(labels={"octopus-hub.io/replay-of": "mnist.2"})),
    "labels with domains": document(meta(labels={"example.org/Team_1": "A.b-c", "x": ""})),
    "a sum of completion that fits": document(replicas=3, completion={"minSucceeded": 2, "maxFailed": 1}),
    "all may fail": document(replicas=3, completion={"maxFailed": 3}),
    "a later event for another end": document(
        events=[{"on": "RoleFailed", "do": "Ignore"}, {"on": "RoleCompleted", "do": "SucceedTaskSet"}]
    ),
    "tuples": document(command=("a", "b")),
    "parts of devices": document(resources={"devices": {"gpu": 0.25, "npu": "1/3", "virtual-1of4": 2, "fpga": "0.5"}}),
    "own variables with our prefix": document(env={"OCTOPUS_MINE": "1"}),
}


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3),
    max_leaves=6,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in entries for place in _places(each, (*path, key)))]


PLACES = [place for place in _places(WHOLE) if place]
