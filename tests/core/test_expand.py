"""Rendering of tasks: every field of a task, the order of its environment, ranks, files, devices, what is refused."""

from __future__ import annotations

import ast
import json

import msgspec
import pytest

from octopus_hub.core.actions import Member
from octopus_hub.core.expand import LARGEST_VARIABLE_BYTES, PEERS_FILE, expand, needs, port_names
from octopus_hub.core.notebook import notebook_command
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.descriptor import (
    Descriptors,
    DeviceDescriptor,
    DeviceParts,
    FrameworkDescriptor,
    RoleWiring,
    StorageDescriptor,
)
from octopus_hub.model.errors import InvalidSpec, Unavailable
from octopus_hub.model.placing import GangPlacement, PlacementPreferences, SkuChoice, SpreadOver, Topology
from octopus_hub.model.task import Mount
from octopus_hub.model.taskset import (
    ElasticReplicas,
    Port,
    Role,
    RunSpec,
    Volume,
    Workspace,
)
from tests.core.expand_builders import addresses, framework, placed, rendered, role, with_resolved

GPU = DeviceDescriptor(
    name="gpu", discovery="nvml", hide=True, env={"CUDA_VISIBLE_DEVICES": "{ids}", "NVIDIA_VISIBLE_DEVICES": "{ids}"}
)
VIRTUAL = DeviceDescriptor(name="virtual", discovery="declared", env={"OCTOPUS_VIRTUAL_DEVICES": "{ids}"})


def test_needs_one_entry_per_role() -> None:
    worker = role(
        "worker",
        ElasticReplicas(min=2, max=8),
        cpu="2",
        memory="1Gi",
        devices={"gpu": 1, "virtual": 0},
        placement=PlacementPreferences(
            node_selector={"zone": "b"}, topology=Topology(level="rack", mode="required"), sku="a100"
        ),
    )
    ps, shaped = needs(placed([role("ps"), worker]))
    assert (ps.role, ps.count, ps.each) == ("ps", 1, Amounts(cpu_millis=100, memory_bytes=256 << 20))
    assert (shaped.count, shaped.each) == (2, Amounts(cpu_millis=2000, memory_bytes=1 << 30, devices={"gpu": 1}))
    assert shaped.node_selector == {"zone": "b", "octopus-hub.io/sku": "a100"}
    assert (shaped.topology, shaped.topology_required) == ("rack", True)


def test_needs_of_placement() -> None:
    workers = PlacementPreferences(
        sku=["a100", SkuChoice(sku="v100", devices=2)],
        tolerations=["course"],
        spread=SpreadOver(level="rack", max_per_domain=2),
    )
    servers = PlacementPreferences(near="worker", topology=Topology(level="host"))
    gang = GangPlacement(topology=Topology(level=["rack", "block"], mode="required"))
    roles = [role("ps", placement=servers), role("worker", devices={"gpu": 1}, placement=workers)]
    ps, worker = needs(placed(roles, placement=gang))
    assert (ps.near, ps.topology, ps.wider, ps.topology_required) == ("worker", "host", (), False), (
        "its own comes first"
    )
    assert (worker.topology, worker.wider, worker.topology_required) == ("rack", ("block",), True)
    assert (worker.tolerates, worker.spread, worker.spread_most) == (("course",), "rack", 2)
    assert worker.node_selector == {"octopus-hub.io/sku": "a100"} and worker.each.devices == {"gpu": 1}
    (other,) = worker.choices
    assert other.node_selector == {"octopus-hub.io/sku": "v100"} and other.each.devices == {"gpu": 2}


def test_a_task_gets_the_devices_of_the_model_that_was_chosen() -> None:
    wired = framework({"PROCESSES": "{device_count}"})
    worker = role(
        devices={"gpu": 1},
        name="worker",
        placement=PlacementPreferences(sku=["a100", SkuChoice(sku="v100", devices=2)]),
    )
    taskset = placed([worker], wired)
    for choices, count in (({}, 1), ({"worker": 1}, 2)):
        status = msgspec.structs.replace(taskset.status, choices=choices)
        (spec,) = rendered(msgspec.structs.replace(taskset, status=status)).values()
        assert spec.amounts.devices == {"gpu": count}
        assert spec.env["PROCESSES"] == str(count)
        assert msgspec.structs.replace(taskset, status=status).amounts().devices == {"gpu": count}


def test_every_task_has_a_port_named_main() -> None:
    wired = FrameworkDescriptor(
        name="test", roles={"*": RoleWiring(ports=["rpc"]), "worker": RoleWiring(ports=["grad", "rpc"])}
    )
    roles = [role("ps"), role("worker", ports=[Port(name="tensorboard", port=6006), Port(name="main")])]
    assert port_names(placed(roles, Descriptors(framework=wired))) == {
        "ps": ["main", "rpc"],
        "worker": ["main", "rpc", "grad", "tensorboard"],
    }
    assert port_names(placed(roles)) == {"ps": ["main"], "worker": ["main", "tensorboard"]}


def test_every_field_of_a_task() -> None:
    worker = Role(
        "worker",
        replicas=3,
        command=["python"],
        args=["train.py"],
        env={"EPOCHS": "3"},
        secrets={"HF_TOKEN": "hf"},
        working_dir="/workspace/src",
        cpu="2",
        memory="8Gi",
        devices={"virtual": 2},
        shm="2Gi",
        volumes=[Volume(kind="scratch", name="tmp", mount_path="/tmp/x")],
    )
    taskset = placed(
        [role("ps"), worker],
        Descriptors(
            framework=FrameworkDescriptor(name="script"),
            devices={"virtual": VIRTUAL},
            storage={"scratch": StorageDescriptor(name="scratch")},
        ),
        workspace=Workspace(digest="sha256:aa"),
        outputs=["out/*.csv"],
        seed=7,
    )
    taskset = with_resolved(taskset, images={"worker": "sha256:bb"}, image_names={"worker": "host"})
    task = rendered(taskset, attempt=4)["worker-2"]
    assert task.command == ["python", "train.py"]
    assert (task.name, task.hostname, task.attempt, task.gang_attempt) == ("job-worker-2-4", "job-worker-2", 4, 1)
    assert (task.namespace, task.taskset, task.taskset_uid, task.owner) == ("ada", "job", "u1", "ada")
    assert (task.role, task.index, task.node) == ("worker", 2, "n1")
    assert task.secrets == {"HF_TOKEN": "hf"} and task.working_dir == "/workspace/src"
    assert (task.image, task.image_name) == ("sha256:bb", "host")
    assert task.amounts == Amounts(cpu_millis=2000, memory_bytes=8 << 30, devices={"virtual": 2})
    assert task.shm_bytes == 2 << 30
    assert task.mounts == [Mount(name="tmp", kind="scratch", mount_path="/tmp/x")]
    assert task.ports == {"main": 22040}
    assert task.workspace == "sha256:aa" and task.outputs == ["out/*.csv"]
    assert task.device_env == {"virtual": "OCTOPUS_VIRTUAL_DEVICES"} and task.device_aliases == {}
    assert task.env == {
        "EPOCHS": "3",
        "OCTOPUS_TASKSET": "job",
        "OCTOPUS_NAMESPACE": "ada",
        "OCTOPUS_ROLE": "worker",
        "OCTOPUS_INDEX": "2",
        "OCTOPUS_ATTEMPT": "4",
        "OCTOPUS_RANK": "3",
        "OCTOPUS_WORLD_SIZE": "4",
        "OCTOPUS_REPLICAS": "3",
        "OCTOPUS_HOST": "127.0.0.1",
        "OCTOPUS_PORT": "22040",
        "OCTOPUS_PEERS": PEERS_FILE,
        "OCTOPUS_SEED": "7",
    }
    assert json.loads(task.files[PEERS_FILE]) == {
        "ps": [{"host": "127.0.0.1", "ports": {"main": 21000}}],
        "worker": [{"host": "127.0.0.1", "ports": {"main": 22000 + 20 * index}} for index in range(3)],
    }


def test_only_the_asked_members_with_their_own_attempts() -> None:
    taskset = placed([role("worker", 3)])
    tasks = expand(taskset, [Member("worker", 2, 5), Member("worker", 0, 1)], addresses(taskset))
    assert [task.name for task in tasks] == ["job-worker-2-5", "job-worker-0-1"]
    assert all(len(json.loads(task.files[PEERS_FILE])["worker"]) == 3 for task in tasks)


def test_order_of_the_environment() -> None:
    wired = framework({"A": "framework", "B": "framework", "EMPTY": "{hosts:ps:main}"})
    taskset = placed([role("worker", env={"B": "role", "OCTOPUS_RANK": "99", "OCTOPUS_MINE": "1"})], wired)
    env = rendered(taskset)["worker-0"].env
    assert (env["A"], env["B"]) == ("framework", "role")
    assert env["OCTOPUS_RANK"] == "0" and env["OCTOPUS_MINE"] == "1"
    assert "EMPTY" not in env, "what comes out empty is not set"


def test_ranks_follow_the_framework_then_the_spec() -> None:
    roles = [role("tail"), role("worker", 2), role("master")]
    ordered = rendered(placed(roles, framework(rank_order=["master", "worker"])))
    assert {name: int(task.env["OCTOPUS_RANK"]) for name, task in ordered.items()} == {
        "master-0": 0,
        "worker-0": 1,
        "worker-1": 2,
        "tail-0": 3,
    }
    plain = rendered(placed(roles))
    assert [task.env["OCTOPUS_RANK"] for task in plain.values()] == ["0", "1", "2", "3"]


def test_an_elastic_role_starts_at_its_minimum() -> None:
    tasks = rendered(placed([role("worker", ElasticReplicas(min=2, max=5))]))
    assert list(tasks) == ["worker-0", "worker-1"]
    assert tasks["worker-0"].env["OCTOPUS_WORLD_SIZE"] == "2"


def test_a_large_value_goes_to_a_file() -> None:
    wired = framework({"HOSTS": "{hosts:worker:main}", "COUNT": "{count:worker}"})
    count = LARGEST_VARIABLE_BYTES // len("127.0.0.1:21000,") + 1
    taskset = placed([role("worker", count)], wired, per_node=count)
    known = {("worker", index): addresses(placed([role("worker")]))["worker", 0] for index in range(count)}
    (task,) = expand(taskset, [Member("worker", 1, 1)], known)
    assert task.env["COUNT"] == str(count)
    assert "HOSTS" not in task.env and task.env["HOSTS_FILE"] == ".octopus/hosts"
    assert task.files[".octopus/hosts"].count(",") == count - 1
    few = rendered(placed([role("worker", 2)], wired))["worker-0"]
    assert few.env["HOSTS"] == "127.0.0.1:21000,127.0.0.1:21020" and "HOSTS_FILE" not in few.env
    assert list(few.files) == [PEERS_FILE]


def test_the_roles_own_value_replaces_a_large_one() -> None:
    wired = framework({"TEXT": "x" * (LARGEST_VARIABLE_BYTES + 1)})
    env = rendered(placed([role("worker", env={"TEXT": "mine"})], wired))["worker-0"].env
    assert env["TEXT"] == "mine" and "TEXT_FILE" not in env


def test_files_of_a_framework() -> None:
    wired = FrameworkDescriptor(name="test", roles={"*": RoleWiring(files={"hostfile": "{hosts:*:main}\n"})})
    task = rendered(placed([role("worker", 2)], Descriptors(framework=wired)))["worker-1"]
    assert task.files["hostfile"] == "127.0.0.1:21000,127.0.0.1:21020\n"


def test_a_task_with_a_part_is_told_how_large_it_is() -> None:
    gpu = msgspec.structs.replace(
        GPU, parts=DeviceParts(max=48, env={"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "{percent}", "OF": "of {parts}"})
    )
    own = {"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "100", "MINE": "1"}
    roles = [role("third", devices={"gpu-1of3": 2}, env=own), role("whole", devices={"gpu": 2}), role("none")]
    tasks = rendered(placed(roles, Descriptors(devices={"gpu": gpu})))
    third = tasks["third-0"]
    assert third.device_env == {"gpu-1of3": "CUDA_VISIBLE_DEVICES"}
    assert third.device_aliases == {"gpu-1of3": ["NVIDIA_VISIBLE_DEVICES"]}
    told = {
        name: third.env[name] for name in ("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "OF", "OCTOPUS_DEVICE_PART", "MINE")
    }
    assert told == {
        "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "33",
        "OF": "of 3",
        "OCTOPUS_DEVICE_PART": "1/3",
        "MINE": "1",
    }
    for name in ("whole-0", "none-0"):
        assert tasks[name].device_env == {"gpu": "CUDA_VISIBLE_DEVICES"}, "hidden where it was not asked for"
        assert not {"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "OF", "OCTOPUS_DEVICE_PART"} & tasks[name].env.keys()


def test_devices_that_were_not_asked_for_are_hidden() -> None:
    descriptors = Descriptors(devices={"gpu": GPU, "virtual": VIRTUAL})
    tasks = rendered(placed([role("cpu"), role("worker", devices={"gpu": 1, "virtual": 1})], descriptors))
    assert tasks["cpu-0"].device_env == {"gpu": "CUDA_VISIBLE_DEVICES"}
    assert tasks["worker-0"].device_env == {"gpu": "CUDA_VISIBLE_DEVICES", "virtual": "OCTOPUS_VIRTUAL_DEVICES"}
    assert tasks["worker-0"].device_aliases == {"gpu": ["NVIDIA_VISIBLE_DEVICES"]}


def test_a_role_cannot_take_devices_by_a_variable() -> None:
    mine = {"CUDA_VISIBLE_DEVICES": "0,1", "NVIDIA_VISIBLE_DEVICES": "all", "OTHER": "1"}
    env = rendered(placed([role("cpu", env=mine)], Descriptors(devices={"gpu": GPU})))["cpu-0"].env
    assert "CUDA_VISIBLE_DEVICES" not in env and "NVIDIA_VISIBLE_DEVICES" not in env and env["OTHER"] == "1"


@pytest.mark.parametrize(
    ("volume", "source", "read_only"),
    [
        (Volume(kind="folder", name="data", mount_path="/data"), "/srv/data", False),
        (
            Volume(kind="folder", name="d", mount_path="/d", parameters={"path": "sets/./mnist"}),
            "/srv/sets/mnist",
            False,
        ),
        (Volume(kind="folder", name="d", mount_path="/d", parameters={"path": "."}, read_only=True), "/srv", True),
    ],
)
def test_a_folder_below_its_root(volume: Volume, source: str, read_only: bool) -> None:
    storage = {"folder": StorageDescriptor(name="folder", provider="folder", root="/srv/")}
    (mount,) = rendered(placed([role("worker", volumes=[volume])], Descriptors(storage=storage)))["worker-0"].mounts
    assert (mount.source, mount.root, mount.read_only) == (source, "/srv", read_only)


@pytest.mark.parametrize("path", ["..", "../x", "a/../../b", "/etc", "a/..", "x\0y"])
def test_a_folder_outside_its_root_is_refused(path: str) -> None:
    storage = {"folder": StorageDescriptor(name="folder", provider="folder", root="/srv")}
    volume = Volume(kind="folder", name="d", mount_path="/d", parameters={"path": path})
    with pytest.raises(InvalidSpec, match=r"spec\.roles\[1\]\.volumes\[0\]\.parameters\.path: .* leaves the allowed"):
        rendered(placed([role("ps"), role("worker", volumes=[volume])], Descriptors(storage=storage)))


@pytest.mark.parametrize(
    ("storage", "words"),
    [
        ({"folder": StorageDescriptor(name="folder", provider="folder")}, "no allowed root .*storage.folder.root"),
        ({"scratch": StorageDescriptor(name="scratch")}, "unknown storage kind 'folder'; known are scratch"),
    ],
)
def test_a_volume_that_cannot_be_had(storage: dict[str, StorageDescriptor], words: str) -> None:
    volume = Volume(kind="folder", name="d", mount_path="/d")
    with pytest.raises(InvalidSpec, match=words):
        rendered(placed([role("worker", volumes=[volume])], Descriptors(storage=storage)))


def test_a_role_without_a_command() -> None:
    with pytest.raises(InvalidSpec, match=r"spec\.roles\[0\]\.command: worker has no command"):
        rendered(placed([Role("worker")]))


def test_a_member_without_node_or_address() -> None:
    taskset = placed([role("worker", 2)])
    homeless = msgspec.structs.replace(taskset, status=msgspec.structs.replace(taskset.status, placement={}))
    with pytest.raises(Unavailable, match="worker 1 of job has no node"):
        expand(homeless, [Member("worker", 1, 1)], addresses(taskset))
    with pytest.raises(Unavailable, match="no address is reserved for worker 0 of job"):
        expand(taskset, [Member("worker", 1, 1)], {})


def test_a_notebook_runs_by_a_program_that_travels_with_the_task() -> None:
    run = RunSpec(notebook="nb/train.ipynb", parameters={"lr": 1e-05, "name": "1"})
    tasks = rendered(placed([Role("runner"), role("helper")], run=run))
    assert tasks["runner-0"].command == ["python", ".octopus/notebook.py"]
    files = tasks["runner-0"].files
    assert json.loads(files[".octopus/run.json"]) == {
        "notebook": "nb/train.ipynb",
        "output": "outputs/train.ipynb",
        "parameters": {"lr": 1e-05, "name": "1"},
    }
    tree = ast.walk(ast.parse(files[".octopus/notebook.py"]))
    used = {part.module for part in tree if isinstance(part, ast.ImportFrom)}
    assert not any(str(name).startswith("octopus_hub") for name in used), "the environment need not have it"
    assert set(tasks["helper-0"].files) == {".octopus/peers.json"}


@pytest.mark.parametrize(
    ("working_dir", "up"), [("", ""), ("/workspace", ""), ("/workspace/a/b", "../../"), ("a/", "../"), (".", "")]
)
def test_the_program_is_found_from_every_working_directory(working_dir: str, up: str) -> None:
    assert notebook_command(working_dir) == ["python", f"{up}.octopus/notebook.py"]


def test_rendering_is_pure() -> None:
    taskset = placed([role("ps"), role("worker", 3)], framework({"HOSTS": "{hosts:*:main}"}))
    before = msgspec.json.encode(taskset)
    assert rendered(taskset) == rendered(taskset)
    assert msgspec.json.encode(taskset) == before
    tasks = rendered(taskset)
    tasks["ps-0"].env["X"] = "1"
    assert "X" not in rendered(taskset)["ps-0"].env


def test_an_elastic_role_is_rendered_in_the_size_that_was_placed() -> None:
    tasks = rendered(placed([role("worker", ElasticReplicas(min=2, max=8))], sizes={"worker": 5}))
    assert len(tasks) == 5
    for task in tasks.values():
        bounds = (task.env["OCTOPUS_MIN_REPLICAS"], task.env["OCTOPUS_MAX_REPLICAS"])
        assert (task.env["OCTOPUS_WORLD_SIZE"], task.env["OCTOPUS_REPLICAS"], *bounds) == ("5", "5", "2", "8")
        assert len(json.loads(task.files[PEERS_FILE])["worker"]) == 5
    assert "OCTOPUS_MIN_REPLICAS" not in rendered(placed([role("worker")]))["worker-0"].env
