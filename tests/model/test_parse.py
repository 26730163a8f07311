"""Users' documents: what is accepted becomes a TaskSet, what is wrong is told all at once, with paths and a way out."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.problems import MOST_PROBLEMS
from octopus_hub.model.taskset import ElasticReplicas, TaskSet

Change = Callable[[dict[str, Any]], object]


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


def test_a_whole_document() -> None:
    taskset = TaskSet.parse(WHOLE)
    assert taskset.name == "mnist-ddp" and taskset.metadata.labels == {"team": "vision"}
    worker, ps = taskset.spec.roles
    assert worker.replicas == ElasticReplicas(min=2, max=8) and worker.count == 2 and worker.main
    assert worker.env == {"EPOCHS": "3", "RATE": "0.5", "DEBUG": "true"}
    assert (worker.resources.cpu, worker.resources.memory, worker.resources.shm) == ("2", "8Gi", "2Gi")
    assert worker.resources.devices == {"gpu": 1}
    assert (ps.resources.cpu, ps.resources.memory) == ("100m", "256Mi")
    assert ps.completion.min_succeeded is None and ps.min_succeeded == 1
    assert taskset.spec.after[0].on == "Completed" and taskset.spec.run is not None
    assert taskset.spec.run.parameters == {"lr": 0.1, "layers": [64, 32], "name": None}


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
    "own variables with our prefix": document(env={"OCTOPUS_MINE": "1"}),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted(case: str) -> None:
    taskset = TaskSet.parse(ACCEPTED[case])
    assert TaskSet.parse(taskset.to_dict()) == taskset


W = "spec.roles[0]"
REFUSED: dict[str, tuple[Any, list[str]]] = {
    "nothing": ({}, ["metadata.name: is missing", "spec.roles: is missing"]),
    "a list": ([], ["a TaskSet is a mapping, not a list"]),
    "another kind": ({"kind": "Job"}, ["kind: needs TaskSet, not 'Job'"]),
    "another version": ({"apiVersion": "v1"}, ["apiVersion: needs octopus-hub.io/v1alpha1, not 'v1'"]),
    "the seed's": (
        {"apiVersion": "octopus.openi.pcl.cn/v1alpha1", "spec": 3},
        [
            "apiVersion: octopus.openi.pcl.cn/v1alpha1 is OpenI-Octopus's; convert the document first: octopus import FILE"
        ],
    ),
    "a printed list": (
        {"items": []},
        ["items: this is a list of TaskSets; give one of them (octopus get NAME -o yaml)"],
    ),
    "no roles": (document(spec(roles=[])), ["spec.roles: is empty"]),
    "too many roles": (
        document(spec(roles=[{"name": f"r{n}", "command": ["x"]} for n in range(51)])),
        ["spec.roles: has 51 entries, at most 50 are possible"],
    ),
    "an unknown field": (document(replica=3), [f"{W}.replica: unknown field; did you mean replicas?"]),
    "an unknown field in other letters": (
        document(spec(Framework="x")),
        ["spec.Framework: unknown field; did you mean framework?"],
    ),
    "an unknown field like no other": (
        document(spec(workspace={"zzz": 1})),
        ["spec.workspace.zzz: unknown field; known are snapshot, digest, git"],
    ),
    "a field in the wrong place": (
        document(devices={"gpu": 1}),
        [f"{W}.devices: unknown field; it belongs under resources (resources.devices)"],
    ),
    "a forgotten value": (
        document(spec(queue=None)),
        ["spec.queue: has no value; give one or leave the field out"],
    ),
    "a name in capitals": (
        document(meta(name="My Job")),
        [
            "metadata.name: 'My Job' is not a name of lower-case letters, digits and -, at most 40, with no - at its "
            "ends; my-job would be one"
        ],
    ),
    "a hyphen in a role": (
        document(name="data-worker"),
        [
            f"{W}.name: 'data-worker' is not a role's name: lower-case letters and digits, at most 15, a letter first, "
            "no hyphen; dataworker would be one"
        ],
    ),
    "a role twice": (
        document(spec(roles=[{"name": "w", "command": ["x"]}, {"name": "w", "command": ["x"]}])),
        ["spec.roles[1].name: w is already that of entry 0"],
    ),
    "10,001 replicas": (document(replicas=10_001), [f"{W}.replicas: 10001 is not from 1 to 10000"]),
    "10,001 tasks of two roles": (
        document(
            spec(
                roles=[
                    {"name": "a", "command": ["x"], "replicas": 5_000},
                    {"name": "b", "command": ["x"], "replicas": {"min": 1, "max": 5_001}},
                ]
            )
        ),
        ["spec.roles: ask for 10001 tasks in all, at most 10000 are possible in one TaskSet"],
    ),
    "no replicas": (document(replicas=0), [f"{W}.replicas: 0 is not from 1 to 10000"]),
    "replicas as a text": (
        document(replicas="four"),
        [f"{W}.replicas: needs a whole number from 1 to 10000, not the text 'four'"],
    ),
    "half a replica": (
        document(replicas=1.5),
        [f"{W}.replicas: needs a whole number from 1 to 10000, not the number 1.5"],
    ),
    "true replicas": (document(replicas=True), [f"{W}.replicas: needs a whole number from 1 to 10000, not true"]),
    "min over max": (document(replicas={"min": 3, "max": 2}), [f"{W}.replicas: min 3 is more than max 2"]),
    "min without max": (document(replicas={"min": 3}), [f"{W}.replicas.max: is missing"]),
    "a negative quantity": (
        document(resources={"cpu": -1}),
        [
            f"{W}.resources.cpu: '-1' is negative; an amount of CPU is zero or more, such as 2, 0.5 or 500m (thousandths)"
        ],
    ),
    "a quantity that is no number": (
        document(resources={"memory": math.nan}),
        [f"{W}.resources.memory: 'nan' is not an amount of memory; write 8Gi, 512Mi or a number of bytes"],
    ),
    "no CPU at all": (
        document(resources={"cpu": 0}),
        [f"{W}.resources.cpu: 0 is not within what one task may ask for (1m to 100000)"],
    ),
    "half a device": (
        document(resources={"devices": {"gpu": 0.5}}),
        [f"{W}.resources.devices.gpu: needs a whole number from 0 to 1000, not the number 0.5"],
    ),
    "a device by its cluster name": (
        document(resources={"devices": {"nvidia.com/gpu": 1}}),
        [
            f"{W}.resources.devices.nvidia.com/gpu: 'nvidia.com/gpu' is not a name of lower-case letters, digits and -, "
            "at most 31, a letter first"
        ],
    ),
    "Kubernetes' limits": (
        document(resources={"limits": {"cpu": 1}}),
        [
            f"{W}.resources.limits: unknown field; write cpu, memory and devices here, without limits and requests; "
            "they are both"
        ],
    ),
    "no command": (
        document(command=[]),
        [f"{W}.command: is missing; a role needs a command (a list of texts), unless spec.run names a notebook"],
    ),
    "a command as a text": (
        document(command="python train.py"),
        [
            f"{W}.command: needs a list of texts, not the text 'python train.py'; "
            'write ["sh", "-c", "..."] for a shell command'
        ],
    ),
    "an empty program": (document(command=[""]), [f"{W}.command[0]: is empty; the first entry is the program"]),
    "NUL in a command": (
        document(command=["a\0b"]),
        [f"{W}.command[0]: 'a\\x00b' holds a character that can't be passed on (NUL or half a surrogate pair)"],
    ),
    "half a surrogate pair": (
        document(env={"A": "\ud800"}),
        [f"{W}.env.A: '\\ud800' holds a character that can't be passed on (NUL or half a surrogate pair)"],
    ),
    "a variable with a digit first": (
        document(env={"1A": "x"}),
        [f"{W}.env.1A: '1A' is not a variable's name: letters, digits and _, no digit first"],
    ),
    "a variable of ours": (
        document(env={"OCTOPUS_RANK": "0"}),
        [f"{W}.env.OCTOPUS_RANK: is set by octopus-hub for every task; use another name"],
    ),
    "a variable without a value": (document(env={"A": None}), [f"{W}.env.A: needs a text, not nothing"]),
    "a date in a variable": (
        document(env={"A": datetime.date(2024, 1, 1)}),
        [f"{W}.env.A: needs a text, not a date"],
    ),
    "a variable and a secret": (
        document(env={"A": "x"}, secrets={"A": "a"}),
        [f"{W}.secrets.A: is given in env too; take it out of one of the two"],
    ),
    "too large a variable": (
        document(env={"A": "x" * 100_001}),
        [f"{W}.env.A: has 100001 characters, at most 100000 are possible"],
    ),
    "too large an environment": (
        document(env={f"A{n}": "x" * 99_000 for n in range(11)}),
        [f"{W}: command and variables have 1089037 bytes, at most 1048576 are possible; put data into files"],
    ),
    "a secret's name": (
        document(secrets={"A": "Not a name"}),
        [f"{W}.secrets.A: 'Not a name' is not a name of lower-case letters, digits and -, at most 63"],
    ),
    "an absolute folder": (
        document(workingDir="/etc"),
        [
            f"{W}.workingDir: '/etc' is not a folder inside the workspace: relative, without .. "
            "(/workspace is the workspace itself)"
        ],
    ),
    "a folder outside": (
        document(workingDir="/workspace/../etc"),
        [
            f"{W}.workingDir: '/workspace/../etc' is not a folder inside the workspace: relative, without .. "
            "(/workspace is the workspace itself)"
        ],
    ),
    "a relative mount": (
        document(volumes=[{"kind": "scratch", "name": "s", "mountPath": "data"}]),
        [f"{W}.volumes[0].mountPath: 'data' is not an absolute path other than /, without .."],
    ),
    "a mount outside": (
        document(volumes=[{"kind": "scratch", "name": "s", "mountPath": "/data/../etc"}]),
        [f"{W}.volumes[0].mountPath: '/data/../etc' is not an absolute path other than /, without .."],
    ),
    "two mounts at one place": (
        document(
            volumes=[
                {"kind": "scratch", "name": "a", "mountPath": "/data"},
                {"kind": "scratch", "name": "a", "mountPath": "//data/./"},
            ]
        ),
        [
            f"{W}.volumes[1].name: a is already that of entry 0",
            f"{W}.volumes[1].mountPath: /data is already where volumes[0] is",
        ],
    ),
    "ports": (
        document(ports=[{"name": "a", "port": 0}, {"name": "a"}, {"name": "A"}]),
        [
            f"{W}.ports[0].port: 0 is not from 1 to 65535",
            f"{W}.ports[2].name: 'A' is not a port's name: lower-case letters, digits and -, at most 15, a letter first",
            f"{W}.ports[1].name: a is already that of entry 0",
        ],
    ),
    "more successes than tasks": (
        document(replicas=2, completion={"minSucceeded": 3}),
        [f"{W}.completion.minSucceeded: 3 can't succeed of 2 tasks"],
    ),
    "more failures than tasks": (
        document(completion={"maxFailed": 2}),
        [f"{W}.completion.maxFailed: 2 can't fail of 1 task"],
    ),
    "successes and failures": (
        document(replicas=3, completion={"minSucceeded": 3, "maxFailed": 1}),
        [f"{W}.completion: 3 must succeed and 1 may fail, but there are 3 tasks; lower one of the two"],
    ),
    "a choice": (
        document(restart={"scope": "tasks"}),
        [f"{W}.restart.scope: 'tasks' is not one of never, task, role, gang; did you mean task?"],
    ),
    "a choice of another type": (
        document(restart={"scope": 1}),
        [f"{W}.restart.scope: needs one of never, task, role, gang, not the number 1"],
    ),
    "an event twice": (
        document(events=[{"on": "RoleFailed", "do": "Ignore"}, {"on": "RoleFailed", "do": "FailTaskSet"}]),
        [f"{W}.events[1].on: RoleFailed is already that of entry 0"],
    ),
    "an event of the seed platform": (
        document(events=[{"on": "RoleFailed", "do": "TaskSetFailed"}]),
        [f"{W}.events[0].do: 'TaskSetFailed' is not one of FailTaskSet, SucceedTaskSet, Ignore"],
    ),
    "two main roles": (
        document(
            spec(
                roles=[
                    {"name": "a", "command": ["x"], "main": True},
                    {"name": "b", "command": ["x"], "main": True},
                ]
            )
        ),
        ["spec.roles[1].main: only one role can be the main one, and roles[0] is already"],
    ),
    "yes for true": (document(main="yes"), [f"{W}.main: needs true or false, not the text 'yes'"]),
    "an endless time": (
        document(spec(gang={"timeoutSeconds": math.inf})),
        ["spec.gang.timeoutSeconds: inf is not a number of seconds above 0, at most 316224000"],
    ),
    "a time that is no number": (
        document(restart={"delaySeconds": math.nan}),
        [f"{W}.restart.delaySeconds: nan is not a number of seconds from 0 to 316224000"],
    ),
    "no time": (
        document(spec(lifetime={"maxRuntimeSeconds": 0})),
        ["spec.lifetime.maxRuntimeSeconds: 0 is not a number of seconds above 0, at most 316224000"],
    ),
    "a huge number": (
        document(spec(gang={"timeoutSeconds": 10**400})),
        [f"spec.gang.timeoutSeconds: 1{'0' * 59}... is not a number of seconds above 0, at most 316224000"],
    ),
    "part of a gang": (
        document(spec(gang={"minAvailable": 2}), replicas=3),
        ["spec.gang.minAvailable: 2 is not all tasks; gangs start whole so far, so write all or leave it out"],
    ),
    "a label of ours": (
        document(meta(labels={"octopus-hub.io/queue": "x"})),
        ["metadata.labels.octopus-hub.io/queue: keys under octopus-hub.io/ are octopus-hub's own; use another"],
    ),
    "a label's value": (
        document(meta(labels={"team": "a b"})),
        ["metadata.labels.team: 'a b' is not a label's value: letters, digits, -, _ and ., at most 63, or empty"],
    ),
    "a label's key": (
        document(meta(labels={"Example.org/x": "a"})),
        [
            "metadata.labels.Example.org/x: 'Example.org/x' is not a label's key: letters, digits, -, _ and ., "
            "at most 63, with an optional domain before a /"
        ],
    ),
    "an output outside": (
        document(spec(outputs=["../x", "/etc/passwd", "a/../../b", "a/.."])),
        [
            f"spec.outputs[{at}]: {text!r} is not a relative path that stays inside (no / at its start, no ..)"
            for at, text in enumerate(["../x", "/etc/passwd", "a/../../b", "a/.."])
        ],
    ),
    "a notebook outside": (
        document(spec(run={"notebook": "../a.ipynb"})),
        ["spec.run.notebook: '../a.ipynb' is not the path of a notebook (.ipynb) inside the workspace"],
    ),
    "parameters": (
        document(spec(run={"notebook": "a.ipynb", "parameters": {"a b": 1, "c": [math.nan, 2**70, {1, 2}]}})),
        [
            "spec.run.parameters.a b: 'a b' is not a parameter's name: letters, digits and _, no digit first",
            "spec.run.parameters.c[0]: nan is not a finite number; give it as a text",
            "spec.run.parameters.c[1]: 1180591620717411303424 is not a possible number",
            "spec.run.parameters.c[2]: needs a text, number, true or false, list or mapping, not a set",
        ],
    ),
    "too large parameters": (
        document(spec(run={"notebook": "a.ipynb", "parameters": {"a": ["x" * 1000] * 200}})),
        ["spec.run.parameters: is too large; at most 100000 characters are possible"],
    ),
    "a digest": (
        document(spec(workspace={"digest": "sha256:abc"})),
        ["spec.workspace.digest: 'sha256:abc' is not a digest: sha256: and 64 hexadecimal digits"],
    ),
    "a template that is no mapping": (
        document(template=[1]),
        [f"{W}.template: needs a mapping of names to values, not a list"],
    ),
    "a role that is no mapping": (document(spec(roles=["w"])), ["spec.roles[0]: needs a mapping, not the text 'w'"]),
    "a negative seed": (document(spec(seed=-1)), ["spec.seed: -1 is not a number of 0 or more"]),
    "too many labels": (
        document(meta(labels={f"l{n}": "x" for n in range(65)})),
        ["metadata.labels: has 65 entries, at most 64 are possible"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    given, expected = REFUSED[case]
    assert problems_of(given) == expected


def test_all_problems_at_once() -> None:
    given = document(
        meta(name="A", labels={"": "x"}),
        spec(hold="no", after=[{"nam": "x"}], unknown=1),
        replicas="x",
        restart=3,
        volumes=[{"kind": "x"}],
    )
    found = problems_of(given)
    paths = [problem.split(":")[0] for problem in found]
    assert paths == [
        "metadata.name",
        "metadata.labels.",
        f"{W}.replicas",
        f"{W}.restart",
        f"{W}.volumes[0].name",
        f"{W}.volumes[0].mountPath",
        "spec.hold",
        "spec.after[0].nam",
        "spec.after[0].name",
        "spec.unknown",
    ]
    with pytest.raises(InvalidSpec) as caught:
        TaskSet.parse(given)
    assert caught.value.message == "A can't be accepted; 10 things are wrong"
    assert str(caught.value).count("\n") == 10


def test_problems_are_bounded() -> None:
    found = problems_of(document(env={f"{n}A": "x" for n in range(3000)}))
    assert len(found) == MOST_PROBLEMS + 1 and found[-1] == f"and {3000 - MOST_PROBLEMS} more problems"


def test_what_the_service_sets_is_dropped() -> None:
    printed = document(
        meta(
            namespace="alice",
            uid="u",
            createdAt=1.5,
            owner="alice",
            version=3,
            stopRequestedAt=2,
            deletionRequestedAt="whatever",
        ),
        lambda made: made.update(status={"phase": "Running", "new": 1}, resolved=[1], queuePlace=None),
    )
    assert TaskSet.parse(printed) == TaskSet.parse(document())


def test_what_yaml_1_1_readers_make_of_on() -> None:
    given = document(spec(after=[{"name": "x", True: "Failed"}]), events=[{True: "RoleFailed", "do": "Ignore"}])
    taskset = TaskSet.parse(given)
    assert taskset.spec.after[0].on == "Failed" and taskset.spec.roles[0].events[0].on == "RoleFailed"


@pytest.mark.parametrize(
    ("case", "text", "problem"),
    [
        (
            "not JSON",
            "{",
            "the document is not JSON: line 1, column 2: expecting property name enclosed in double quotes",
        ),
        ("not UTF-8", b"\xff", "the document is not UTF-8 text"),
        ("empty", "", "the document is not JSON: line 1, column 1: expecting value"),
        ("a key twice", '{"metadata": {"name": "a", "name": "b"}}', "the key 'name' is given twice in one mapping"),
        ("NaN", '{"spec": NaN}', "NaN is not a number that JSON knows; give it as a text"),
        ("infinite", '{"spec": -Infinity}', "-Infinity is not a number that JSON knows; give it as a text"),
        ("a huge number", '{"spec": ' + "9" * 5000 + "}", "a number of 5000 digits is too large"),
        ("too deep", '{"spec": ' + "[" * 200_000, "the document is nested too deeply"),
        ("a text", '"mnist"', "a TaskSet is a mapping, not the text 'mnist'"),
    ],
)
def test_json_texts_that_are_refused(case: str, text: str | bytes, problem: str) -> None:
    assert problems_of(text) == [problem]


def test_json_texts() -> None:
    text = json.dumps(document(env={"A": "x"}))
    assert TaskSet.parse(text) == TaskSet.parse(text.encode()) == TaskSet.parse(document(env={"A": "x"}))
    assert TaskSet.parse(b"\xef\xbb\xbf" + text.encode()).name == "mnist"
    written = text.replace('"x"', "1.10")
    assert TaskSet.parse(written).spec.roles[0].env == {"A": "1.10"}
    deep: Any = 1
    for _ in range(200):
        deep = {"a": deep}
    assert problems_of(document(template=deep))[0].endswith("is nested deeper than 20 levels")
    assert problems_of('{"metadata":{"name":"a"},"spec":{"seed":1e400}}')[0].startswith("spec.seed: needs a whole")


def test_the_parsed_value_shares_nothing_with_the_document() -> None:
    given = document(template={"a": [1]}, env={"A": "1"})
    taskset = TaskSet.parse(given)
    given["spec"]["roles"][0]["template"]["a"].append(2)
    given["spec"]["roles"][0]["env"]["A"] = "2"
    assert taskset.spec.roles[0].template == {"a": [1]} and taskset.spec.roles[0].env == {"A": "1"}


class Strange(Mapping[str, Any]):
    """A mapping that is no dict."""

    def __init__(self, content: dict[str, Any]) -> None:
        self._content = content

    def __getitem__(self, key: str) -> Any:
        return self._content[key]

    def __iter__(self) -> Any:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)


def test_any_mapping_will_do() -> None:
    assert TaskSet.parse(Strange(document(env=Strange({"A": "x"})))) == TaskSet.parse(document(env={"A": "x"}))


_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3),
    max_leaves=6,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in entries for place in _places(each, (*path, key)))]


PLACES = [place for place in _places(WHOLE) if place]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PLACES), _values), min_size=1, max_size=4))
def test_whatever_stands_anywhere_is_a_taskset_or_a_list_of_problems(
    changes: list[tuple[tuple[Any, ...], Any]],
) -> None:
    made = json.loads(json.dumps(WHOLE))
    for place, value in changes:
        target = made
        try:
            for step in place[:-1]:
                target = target[step]
            target[place[-1]] = value
        except (TypeError, KeyError, IndexError):
            continue  # an earlier change took that place away
    try:
        taskset = TaskSet.parse(made)
    except InvalidSpec as error:
        assert error.problems and all(isinstance(each, str) for each in error.problems)
    else:
        assert TaskSet.parse(taskset.to_dict()) == taskset
