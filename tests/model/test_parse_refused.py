"""What documents may not say above their roles, each with what the user is told."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.model.cases import document, meta, problems_of, spec

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
    "an unknown field in other letters": (
        document(spec(Framework="x")),
        ["spec.Framework: unknown field; did you mean framework?"],
    ),
    "an unknown field like no other": (
        document(spec(workspace={"zzz": 1})),
        ["spec.workspace.zzz: unknown field; known are snapshot, digest, git"],
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
    "an endless time": (
        document(spec(gang={"timeoutSeconds": math.inf})),
        ["spec.gang.timeoutSeconds: inf is not a number of seconds above 0, at most 316224000"],
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
