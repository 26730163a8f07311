"""What is parsed, written and parsed again is equal; its canonical form and digest depend on nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from octopus_hub.client.documents import dump_document, load_documents
from octopus_hub.model.canonical import canonical, digest
from octopus_hub.model.taskset import Metadata, Resources, Role, RunSpec, Spec, TaskSet
from tests.model.documents import documents, shuffled

slowly = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@slowly
@given(documents())
def test_round_trip(document: dict[str, Any]) -> None:
    taskset = TaskSet.parse(document)
    assert TaskSet.parse(taskset.to_dict()) == taskset
    assert TaskSet.parse(json.dumps(taskset.to_dict())) == taskset
    assert msgspec.json.decode(msgspec.json.encode(taskset), type=TaskSet) == taskset
    assert msgspec.convert(msgspec.to_builtins(taskset), TaskSet) == taskset


@slowly
@given(documents())
def test_round_trip_through_what_is_printed(document: dict[str, Any]) -> None:
    taskset = TaskSet.parse(document)
    (printed,) = load_documents(dump_document(taskset.to_dict()), "f.yaml")
    assert TaskSet.parse(printed) == taskset


@slowly
@given(documents(), st.data())
def test_digest_is_that_of_the_content(document: dict[str, Any], data: st.DataObject) -> None:
    taskset, other = TaskSet.parse(document), TaskSet.parse(shuffled(document, data))
    assert canonical(taskset) == canonical(other) and digest(taskset.spec) == digest(other.spec)
    assert msgspec.json.decode(canonical(taskset), type=TaskSet) == taskset
    assert digest(msgspec.structs.replace(taskset.spec, hold=not taskset.spec.hold)) != digest(taskset.spec)


def test_digest_does_not_change_from_release_to_release() -> None:
    spec = TaskSet.parse(
        {"metadata": {"name": "a"}, "spec": {"roles": [{"name": "w", "command": ["x"], "resources": {"cpu": 0.5}}]}}
    ).spec
    assert canonical(spec) == b'{"roles":[{"command":["x"],"name":"w","resources":{"cpu":"500m"}}]}'
    assert digest(spec) == "sha256:f2202acbb8b3106d10204885d424876bfe693c20b5cd2782fef96741bda055ba"


def test_defaults_and_their_absence_are_the_same() -> None:
    plain = {"metadata": {"name": "a"}, "spec": {"roles": [{"name": "w", "command": ["x"]}]}}
    role = {"name": "w", "command": ["x"], "replicas": 1, "env": {}, "resources": {"cpu": "0.1", "shm": "1024Mi"}}
    full = {"metadata": {"name": "a", "labels": {}}, "spec": {"roles": [role], "hold": False, "seed": None, "gang": {}}}
    assert TaskSet.parse(plain) == TaskSet.parse(full)
    assert canonical(TaskSet.parse(plain)) == canonical(TaskSet.parse(full))


FLAT = TaskSet(
    "mnist",
    labels={"team": "vision"},
    exact_name=True,
    framework="pytorch",
    outputs=["model.npz"],
    seed=1,
    roles=[
        Role("ps", command=["python", "ps.py"]),
        Role("worker", replicas=3, cpu=0.5, memory="1.5Gi", devices={"gpu": 1}, shm="64Mi", command=["python", "w.py"]),
    ],
)
FULL = TaskSet(
    metadata=Metadata(name="mnist", labels={"team": "vision"}, exact_name=True),
    spec=Spec(
        framework="pytorch",
        outputs=["model.npz"],
        seed=1,
        roles=[
            Role(name="ps", command=["python", "ps.py"]),
            Role(
                name="worker",
                replicas=3,
                resources=Resources(cpu="0.5", memory="1.5Gi", devices={"gpu": 1}, shm="64Mi"),
                command=["python", "w.py"],
            ),
        ],
    ),
)
WIRE = {
    "metadata": {"name": "mnist", "labels": {"team": "vision"}, "exactName": True},
    "spec": {
        "framework": "pytorch",
        "outputs": ["model.npz"],
        "seed": 1,
        "roles": [
            {"name": "ps", "command": ["python", "ps.py"]},
            {
                "name": "worker",
                "replicas": 3,
                "resources": {"cpu": "500m", "memory": "1536Mi", "devices": {"gpu": 1}, "shm": "64Mi"},
                "command": ["python", "w.py"],
            },
        ],
    },
}


def test_the_flat_form_is_the_full_form() -> None:
    assert FLAT == FULL
    assert TaskSet.parse(FLAT.to_dict()) == TaskSet.parse(FULL.to_dict()) == TaskSet.parse(WIRE)


@slowly
@given(documents())
def test_every_role_and_taskset_in_the_flat_form(document: dict[str, Any]) -> None:
    taskset = TaskSet.parse(document)
    fields = {name: getattr(taskset.spec, name) for name in taskset.spec.__struct_fields__ if name != "roles"}
    roles = []
    for role in taskset.spec.roles:
        own = {name: getattr(role, name) for name in role.__struct_fields__ if name not in ("name", "resources")}
        asked = {name: getattr(role.resources, name) for name in role.resources.__struct_fields__}
        roles.append(Role(role.name, **own, **asked))
    meta = {name: getattr(taskset.metadata, name) for name in ("labels", "annotations", "exact_name")}
    flat = TaskSet(taskset.name, roles=roles, **fields, **meta)
    assert flat == taskset and TaskSet.parse(flat.to_dict()) == taskset


def test_values_of_other_libraries_become_plain() -> None:
    role = Role("w", command=["python", Path("train.py")], env={"N": np.int64(3), "RATE": np.float32(0.5), "ON": True})
    run = RunSpec(notebook="a.ipynb", parameters={"sizes": np.arange(3), "on": np.bool_(True)})
    taskset = TaskSet.parse(TaskSet("a", roles=[role], run=run).to_dict())
    assert taskset.spec.roles[0].command == ["python", "train.py"]
    assert taskset.spec.roles[0].env == {"N": "3", "RATE": "0.5", "ON": "true"}
    assert taskset.spec.run is not None and taskset.spec.run.parameters == {"sizes": [0, 1, 2], "on": True}
    with pytest.raises(TypeError, match="a TaskSet can't hold a object; give texts"):
        TaskSet("a", roles=[Role("w", env={"A": object()})]).to_dict()


@pytest.mark.parametrize(
    ("case", "make", "message"),
    [
        ("a role's field", lambda: Role("w", replica=3), "Role has no field replica; did you mean replicas?"),
        ("a TaskSet's field", lambda: TaskSet("a", rols=[]), "TaskSet has no field rols; did you mean roles?"),
        ("two positions", lambda: Role("w", 3), "only the name may be given by position"),
        ("both forms", lambda: Role("w", cpu=1, resources=Resources()), "give resources= or cpu=, not both"),
        ("both specs", lambda: TaskSet("a", roles=[], spec=Spec()), "give spec= or roles=, not both"),
    ],
)
def test_wrong_arguments_of_the_flat_form(case: str, make: Any, message: str) -> None:
    with pytest.raises(TypeError) as caught:
        make()
    assert str(caught.value) == message
