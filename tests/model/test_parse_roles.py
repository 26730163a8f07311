"""What roles may not say, each with what the user is told."""

from __future__ import annotations

import datetime
import math
from typing import Any

import pytest

from tests.model.cases import W, document, problems_of, spec

REFUSED_ROLES: dict[str, tuple[Any, list[str]]] = {
    "no roles": (document(spec(roles=[])), ["spec.roles: is empty"]),
    "too many roles": (
        document(spec(roles=[{"name": f"r{n}", "command": ["x"]} for n in range(51)])),
        ["spec.roles: has 51 entries, at most 50 are possible"],
    ),
    "an unknown field": (document(replica=3), [f"{W}.replica: unknown field; did you mean replicas?"]),
    "a field in the wrong place": (
        document(devices={"gpu": 1}),
        [f"{W}.devices: unknown field; it belongs under resources (resources.devices)"],
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
    "a part that is not one of n": (
        document(resources={"devices": {"gpu": 0.3}}),
        [
            f"{W}.resources.devices.gpu: 0.3 is neither a whole number from 0 to 1000 nor one of n equal parts, "
            "such as 0.5, 0.25 or 1/3"
        ],
    ),
    "one and a half": (
        document(resources={"devices": {"gpu": 1.5}}),
        [
            f"{W}.resources.devices.gpu: 1.5 is neither a whole number from 0 to 1000 nor one of n equal parts, "
            "such as 0.5, 0.25 or 1/3"
        ],
    ),
    "a part of a part": (
        document(resources={"devices": {"gpu-1of4": 0.5}}),
        [f"{W}.resources.devices.gpu-1of4: gpu-1of4 is a part already; write gpu-1of4: 1"],
    ),
    "whole and in parts": (
        document(resources={"devices": {"gpu": 1, "gpu-1of4": 1}}),
        [
            f"{W}.resources.devices: asks for gpu and gpu-1of4; a task takes whole devices of a type or parts of one "
            "size, not both"
        ],
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
        [f"{W}.command: needs a list of texts, not the text 'python train.py'; write [python, train.py]"],
    ),
    "a shell command as a text": (
        document(command="a | b"),
        [f'{W}.command: needs a list of texts, not the text \'a | b\'; write ["sh", "-c", "..."] for a shell command'],
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
    "a time that is no number": (
        document(restart={"delaySeconds": math.nan}),
        [f"{W}.restart.delaySeconds: nan is not a number of seconds from 0 to 316224000"],
    ),
    "a template that is no mapping": (
        document(template=[1]),
        [f"{W}.template: needs a mapping of names to values, not a list"],
    ),
    "a role that is no mapping": (document(spec(roles=["w"])), ["spec.roles[0]: needs a mapping, not the text 'w'"]),
}


@pytest.mark.parametrize("case", REFUSED_ROLES)
def test_refused(case: str) -> None:
    given, expected = REFUSED_ROLES[case]
    assert problems_of(given) == expected
