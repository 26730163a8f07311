"""Import of the seed platform's TaskSets, after its user manual's own example and the manifests its server makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from octopus_hub.client.documents import load_documents
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.seed import Imported, import_seed
from octopus_hub.model.taskset import Completion, Restart, RoleEvent, TaskSet

MANUAL = (Path(__file__).parent / "seed_manual.yaml").read_text()


def seed(*roles: dict[str, Any], **spec: Any) -> dict[str, Any]:
    given = [
        {"name": f"r{at}", "template": {"spec": {"containers": [{"command": ["x"]}]}}, **role}
        for at, role in enumerate(roles or ({},))
    ]
    return {
        "apiVersion": "octopus.openi.pcl.cn/v1alpha1",
        "kind": "TaskSet",
        "metadata": {"name": "demo"},
        "spec": {"roles": given, **spec},
    }


def with_container(pod: dict[str, Any] | None = None, **container: Any) -> dict[str, Any]:
    return seed({"template": {"spec": {"containers": [{"command": ["x"], **container}], **(pod or {})}}})


def imported(document: dict[str, Any]) -> Imported:
    found = import_seed(document)
    assert TaskSet.parse(found.taskset.to_dict()) == found.taskset
    return found


def test_the_manuals_example() -> None:
    found = imported(load_documents(MANUAL, "seed.yaml")[0])
    ps, worker = found.taskset.spec.roles
    assert found.taskset.name == "tensorflowdemo"
    assert (ps.name, ps.count, ps.image, ps.command) == ("ps", 1, "busybox", ["sh", "-c", "sleep 100;exit 0"])
    assert ps.completion == Completion(min_succeeded=1, max_failed=0) and ps.restart == Restart() and ps.events == []
    assert (worker.count, worker.resources.devices) == (3, {"gpu": 1})
    assert worker.completion == Completion(min_succeeded=2, max_failed=1)
    assert worker.restart == Restart(scope="task", max_restarts=2, delay_seconds=10.0)
    assert worker.events == [RoleEvent(on="RoleSucceeded", do="SucceedTaskSet")]
    images = [f"spec.roles[{at}].template.spec.containers[0].image" for at in (0, 1)]
    assert [warning.split(": ")[0] for warning in found.warnings] == images


@pytest.mark.parametrize(
    ("case", "policy", "completion", "warned"),
    [
        ("none", {}, Completion(), ""),
        ("failed at one", {"maxFailed": 1}, Completion(max_failed=0), ""),
        ("failed at three", {"maxFailed": 3}, Completion(max_failed=2), ""),
        ("failed at zero", {"maxFailed": 0}, Completion(max_failed=0), "maxFailed: 0 failed the role before any task"),
        ("no bound", {"maxFailed": -1}, Completion(max_failed=4), "maxFailed: -1 sets no bound; 4 of 4 may fail here"),
        ("some succeed", {"minSucceeded": 2}, Completion(min_succeeded=2), ""),
        ("none succeed", {"minSucceeded": 0}, Completion(), "minSucceeded: 0 is not a number of tasks"),
        ("too many succeed", {"minSucceeded": 9}, Completion(min_succeeded=4), "minSucceeded: 9 of 4 can't succeed"),
        (
            "failures that could never be reached",
            {"minSucceeded": 3, "maxFailed": 4},
            Completion(min_succeeded=3, max_failed=1),
            "",
        ),
        (
            "no bound beside some that succeed",
            {"minSucceeded": 1, "maxFailed": -1},
            Completion(min_succeeded=1, max_failed=3),
            "maxFailed: -1 sets no bound",
        ),
    ],
)
def test_completion(case: str, policy: dict[str, int], completion: Completion, warned: str) -> None:
    found = imported(seed({"replicas": 4, "completionPolicy": policy}))
    assert found.taskset.spec.roles[0].completion == completion
    assert [warning.startswith(f"spec.roles[0].completionPolicy.{warned}") for warning in found.warnings] == (
        [True] if warned else []
    )


@pytest.mark.parametrize(
    ("case", "role", "gang", "restart", "warnings"),
    [
        ("neither", {"retry": False, "maxRetryCount": 5}, {"retry": False}, ("never", 3, 10.0), 0),
        ("the role", {"retry": True, "delay": 5, "maxRetryCount": 2}, {}, ("task", 2, 5.0), 0),
        ("the TaskSet", {}, {"retry": True, "maxRetryCount": 1}, ("gang", 1, 0.0), 0),
        ("both", {"retry": True, "maxRetryCount": 2}, {"retry": True}, ("task", 2, 0.0), 1),
        ("too often", {"retry": True, "maxRetryCount": 10**6}, {}, ("task", 1000, 0.0), 1),
    ],
)
def test_restarts(
    case: str, role: dict[str, Any], gang: dict[str, Any], restart: tuple[str, int, float], warnings: int
) -> None:
    found = imported(seed({"retryPolicy": role}, retryPolicy=gang))
    got = found.taskset.spec.roles[0].restart
    assert (got.scope, got.max_restarts, got.delay_seconds) == restart
    assert len(found.warnings) == warnings


@pytest.mark.parametrize(
    ("case", "policy", "events"),
    [
        (
            "the default, spelled out",
            [("RoleFailed", "TaskSetFailed"), ("RoleSucceeded", "NoAction")],
            ["RoleFailed: FailTaskSet"],
        ),
        (
            "a main role as the seed's server writes it",
            [
                ("RoleFailed", "TaskSetFailed"),
                ("RoleSucceeded", "TaskSetSucceeded"),
                ("RoleCompleted", "TaskSetCompleted"),
            ],
            ["RoleFailed: FailTaskSet", "RoleSucceeded: SucceedTaskSet"],
        ),
        (
            "completed ends the TaskSet as the role did",
            [("RoleCompleted", "TaskSetCompleted")],
            ["RoleFailed: FailTaskSet", "RoleSucceeded: SucceedTaskSet"],
        ),
        ("nothing happens", [("RoleCompleted", "NoAction")], ["RoleFailed: Ignore"]),
        (
            "the special rule comes before the general one",
            [("RoleCompleted", "TaskSetSucceeded"), ("RoleFailed", "NoAction")],
            ["RoleFailed: Ignore", "RoleSucceeded: SucceedTaskSet"],
        ),
        (
            "the first of two rules",
            [("RoleFailed", "NoAction"), ("RoleFailed", "TaskSetFailed")],
            ["RoleFailed: Ignore"],
        ),
    ],
)
def test_events(case: str, policy: list[tuple[str, str]], events: list[str]) -> None:
    given = [{"event": event, "action": action} for event, action in policy]
    found = imported(seed({"eventPolicy": given}))
    assert [f"{each.on}: {each.do}" for each in found.taskset.spec.roles[0].events] == events
    assert found.warnings == []


def test_what_is_no_rule_is_told() -> None:
    found = imported(seed({"eventPolicy": [{"event": "RoleFailed", "action": "FailTaskSet"}]}))
    assert found.warnings == [
        "spec.roles[0].eventPolicy[0]: 'RoleFailed' with 'FailTaskSet' is no rule of the seed platform"
    ]


def test_names_and_labels() -> None:
    document = seed({"name": "Main-Worker_0123456789"}, {"name": "main-worker-0123456789"}, {"name": "ps"})
    document["metadata"] = {
        "name": "My_Job",
        "namespace": "21232f29",
        "uid": "x",
        "resourceVersion": "3",
        "labels": {"job-type": "dgx", "bad key": "x", "octopus-hub.io/queue": "y"},
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "note": "some words"},
    }
    found = imported(document)
    assert found.taskset.name == "my-job"
    assert [role.name for role in found.taskset.spec.roles] == ["mainworker01234", "mainworker01232", "ps"]
    assert found.taskset.metadata.labels == {"job-type": "dgx"}
    assert found.taskset.metadata.annotations == {"note": "some words"}
    assert [warning.split(": ")[0] for warning in found.warnings] == [
        "spec.roles[0].name",
        "spec.roles[1].name",
        "metadata.namespace",
        "metadata.name",
        "metadata.labels.bad key",
        "metadata.labels.octopus-hub.io/queue",
    ]


def test_the_pod() -> None:
    pod = {
        "nodeSelector": {"zone": "b"},
        "restartPolicy": "Never",
        "schedulerName": "kube-batch",
        "hostNetwork": False,
        "tolerations": [{"key": "gpu"}],
        "volumes": [
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
            {"name": "cache", "emptyDir": {}},
            {"name": "gdata", "hostPath": {"path": "/gdata"}},
            {"name": "data", "persistentVolumeClaim": {"claimName": "dataset"}},
            {"name": "conf", "configMap": {"name": "x"}},
        ],
    }
    document = with_container(
        pod,
        name="main",
        command=["sh", "-c", "run $TASKROLE_REPLICA_INDEX"],
        args=["-v"],
        env=[
            {"name": "A", "value": "1"},
            {"name": "EMPTY"},
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token"}}},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        ],
        resources={"limits": {"cpu": "2", "memory": "8Gi", "huawei.com/Ascend910": "2"}, "requests": {"cpu": "2000m"}},
        ports=[{"containerPort": 22}, {"name": "web", "containerPort": 80, "protocol": "UDP"}],
        workingDir="/workspace/src",
        imagePullPolicy="Always",
        volumeMounts=[
            {"name": "shm", "mountPath": "/dev/shm"},
            {"name": "cache", "mountPath": "/cache"},
            {"name": "gdata", "mountPath": "/gdata", "readOnly": True},
            {"name": "data", "mountPath": "/data", "readOnly": True},
            {"name": "conf", "mountPath": "/conf"},
            {"name": "none", "mountPath": "/none"},
        ],
    )
    found = imported(document)
    role = found.taskset.spec.roles[0]
    assert (role.command, role.args) == (["sh", "-c", "run $TASKROLE_REPLICA_INDEX"], ["-v"])
    assert role.env == {"A": "1", "EMPTY": ""} and role.secrets == {"TOKEN": "hf"}
    assert (role.resources.cpu, role.resources.memory, role.resources.shm) == ("2", "8Gi", "64Mi")
    assert role.resources.devices == {"npu": 2} and role.working_dir == "/workspace/src"
    assert [(port.name, port.port) for port in role.ports] == [("port22", 22), ("web", 80)]
    assert [(volume.kind, volume.name, volume.mount_path, volume.read_only) for volume in role.volumes] == [
        ("scratch", "cache", "/cache", False),
        ("pvc", "dataset", "/data", True),
    ]
    assert role.placement.node_selector == {"zone": "b"}
    pod_path, container = "spec.roles[0].template.spec", "spec.roles[0].template.spec.containers[0]"
    assert found.warnings == [
        f"{pod_path}.schedulerName: gangs are scheduled whole here, without another scheduler",
        f"{pod_path}.tolerations: an administrator says which nodes are for whom",
        f"{container}.env[2]: TOKEN is the secret hf here: octopus secret set hf",
        f"{container}.env[3].valueFrom: NODE has no value here; give it in env",
        f"{container}.ports[1].protocol: UDP is not taken over; a port is reserved for TCP",
        f"{container}.command: uses TASKROLE_REPLICA_INDEX, which is OCTOPUS_INDEX here",
        f"{container}.volumeMounts[2]: /gdata was the folder /gdata of the node; "
        "ask for a storage kind that gives it (octopus.yaml)",
        f"{container}.volumeMounts[3]: /data is the claim dataset; it needs the storage kind pvc, which clusters have",
        f"{container}.volumeMounts[4]: /conf was configMap, which has no equivalent",
        f"{container}.volumeMounts[5]: /none was a volume that is not declared, which has no equivalent",
    ]


@pytest.mark.parametrize(
    ("case", "document", "warning"),
    [
        (
            "a second container",
            seed({"template": {"spec": {"containers": [{"command": ["x"]}, {}]}}}),
            "containers[1]: only",
        ),
        (
            "an unknown device",
            with_container(resources={"limits": {"x.io/My_FPGA": 1}}),
            "is the device type my-fpga here",
        ),
        (
            "a request below the limit",
            with_container(resources={"limits": {"memory": "2Gi"}, "requests": {"memory": "1Gi"}}),
            "1Gi differs from the limit",
        ),
        ("a folder of the image", with_container(workingDir="/root"), "/root is not inside the workspace"),
        ("an unknown field", seed({"scaling": 3}), "spec.roles[0].scaling: has no equivalent"),
        ("an unknown field above", seed(minMember=3), "spec.minMember: has no equivalent"),
        (
            "an init container",
            with_container({"initContainers": [{}]}),
            "initContainers: put what they do into the command",
        ),
        (
            "part of a volume",
            with_container(
                {"volumes": [{"name": "a", "emptyDir": {}}]},
                volumeMounts=[{"name": "a", "mountPath": "/a", "subPath": "b"}],
            ),
            "subPath: b has no equivalent",
        ),
        ("a restarting pod", with_container({"restartPolicy": "Always"}), "restartPolicy: has no equivalent"),
        (
            "a host port",
            with_container(ports=[{"containerPort": 1, "hostPort": 2}]),
            "ports[0].hostPort: has no equivalent",
        ),
        (
            "a pod group",
            seed(
                {
                    "template": {
                        "metadata": {"annotations": {"scheduling.k8s.io/group-name": "pg"}},
                        "spec": {"containers": [{"command": ["x"]}]},
                    }
                }
            ),
            "gangs start whole without it",
        ),
        (
            "a size in words",
            with_container(resources={"limits": {"ephemeral-storage": "1Gi"}}),
            "ephemeral-storage: has no equivalent",
        ),
    ],
)
def test_what_has_no_equivalent_is_told(case: str, document: dict[str, Any], warning: str) -> None:
    (found,) = imported(document).warnings
    assert warning in found


@pytest.mark.parametrize(
    ("case", "document", "problems"),
    [
        ("a list", [], ["a TaskSet is a mapping, not a list"]),
        ("another kind", {"kind": "Job"}, ["apiVersion: this is not a TaskSet of octopus.openi.pcl.cn/v1alpha1"]),
        (
            "one of ours",
            {"apiVersion": "octopus-hub.io/v1alpha1", "kind": "TaskSet"},
            [
                "apiVersion: this is not a TaskSet of octopus.openi.pcl.cn/v1alpha1; it is a TaskSet of ours already: "
                "octopus submit FILE"
            ],
        ),
        (
            "nothing in it",
            {"apiVersion": "octopus.openi.pcl.cn/v1alpha1", "kind": "TaskSet"},
            ["spec.roles: needs a list with at least one role", "metadata.name: is missing"],
        ),
        (
            "wrong types",
            seed({"completionPolicy": {"maxFailed": "two"}, "retryPolicy": {"retry": "yes"}}),
            [
                "spec.roles[0].completionPolicy.maxFailed: needs a whole number, not the text 'two'",
                "spec.roles[0].retryPolicy.retry: needs true or false, not the text 'yes'",
            ],
        ),
        (
            "no command",
            with_container(command=None),
            [
                "spec.roles[0].command: is missing; a role needs a command (a list of texts), unless spec.run names a "
                "notebook"
            ],
        ),
        ("too many replicas", seed({"replicas": 10_001}), ["spec.roles[0].replicas: 10001 is not from 1 to 10000"]),
    ],
)
def test_what_cannot_be_converted(case: str, document: Any, problems: list[str]) -> None:
    with pytest.raises(InvalidSpec) as caught:
        import_seed(document)
    assert caught.value.problems == problems


def test_json_text() -> None:
    text = '{"apiVersion": "octopus.openi.pcl.cn/v1alpha1", "kind": "TaskSet", "metadata": {"name": "a", "name": "b"}}'
    with pytest.raises(InvalidSpec, match="the key 'name' is given twice"):
        import_seed(text)
