"""The registry: what is packaged, what extra folders change, which files are refused and how, what a TaskSet resolves to."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from octopus_hub.core.mounts import PROVIDERS as MOUNT_PROVIDERS
from octopus_hub.model.descriptor import FrameworkDescriptor
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.taskset import Role, TaskSet, Volume
from octopus_hub.model.template import NAMES
from octopus_hub.plugins import checks, discovery
from octopus_hub.plugins.registry import KINDS, Registry, digest

EXAMPLES = Path(__file__).parents[2] / "examples" / "plugins"


def taskset(*roles: Role, **spec: Any) -> TaskSet:
    return TaskSet("job", roles=list(roles), **spec)


def worker(name: str = "worker", **fields: Any) -> Role:
    return Role(name, command=["true"], **fields)


def write(folder: Path, kind: str, text: str, name: str = "x.yaml") -> Path:
    file = folder / kind / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def refused(folder: Path, **fields: Any) -> list[str]:
    """Return the problems of loading a folder, without its name."""
    with pytest.raises(InvalidSpec) as caught:
        Registry.load([folder], **fields)
    return [problem.replace(f"{folder}/", "") for problem in caught.value.problems]


def test_what_is_packaged() -> None:
    registry = Registry.load()
    assert sorted(registry.frameworks) == ["horovod", "paddle", "pytorch", "script", "tensorflow"]
    assert sorted(registry.devices) == ["gpu", "virtual"]
    assert sorted(registry.storage) == ["folder", "scratch"]
    assert registry.hooks == {}
    assert registry.frameworks["script"].service_roles == ["ps"]
    assert registry.frameworks["tensorflow"].service_roles == ["ps"]
    assert registry.frameworks["paddle"].service_roles == ["ps", "server"]
    assert registry.frameworks["pytorch"].service_roles == []
    assert registry.devices["gpu"].discovery == "nvml" and registry.devices["virtual"].discovery == "declared"


def test_every_packaged_file_is_read_and_wired_frameworks_cite_their_source() -> None:
    registry = Registry.load()
    for kind in KINDS[:3]:
        files = [file.name for file in (resources.files("octopus_hub.plugins") / kind.folder).iterdir()]
        assert sorted(f"{name}.yaml" for name in getattr(registry, kind.folder)) == sorted(files)
    assert all(each.source.startswith("https://") for each in registry.frameworks.values() if each.roles)


def test_packaged_files_are_part_of_the_package(tmp_path: Path) -> None:
    """As an installed package has them: read from another folder, through importlib."""
    code = "from octopus_hub.plugins.registry import Registry; print(len(Registry.load().frameworks))"
    package = Path(__file__).parents[2] / "octopus_hub"
    shutil.copytree(package, tmp_path / "site" / "octopus_hub")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "5\n"


def test_resolve_gives_content_and_digests() -> None:
    registry = Registry.load(roots={"folder": "/srv"})
    roles = [
        worker("ps"),
        worker(
            devices={"virtual": 1},
            volumes=[
                Volume(kind="scratch", name="a", mount_path="/a"),
                Volume(kind="folder", name="b", mount_path="/b"),
            ],
        ),
    ]
    found = registry.resolve(taskset(*roles, framework="tensorflow"))
    assert found.framework == registry.frameworks["tensorflow"]
    assert list(found.devices) == ["gpu", "virtual"], "gpu too, as it hides what was not asked for"
    assert list(found.storage) == ["folder", "scratch"] and found.storage["folder"].root == "/srv"
    assert set(found.digests) == {
        "framework/tensorflow",
        "device/gpu",
        "device/virtual",
        "storage/folder",
        "storage/scratch",
    }
    assert all(value.startswith("sha256:") and len(value) == 71 for value in found.digests.values())
    assert list(registry.resolve(taskset(worker())).devices) == ["gpu"]


def test_a_digest_is_of_the_content() -> None:
    one = FrameworkDescriptor(name="a", image="x")
    assert digest(one) == digest(FrameworkDescriptor(name="a", image="x"))
    assert digest(one) != digest(FrameworkDescriptor(name="a", image="y"))


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (
            taskset(worker(), framework="pytroch"),
            "spec.framework: unknown framework 'pytroch'; did you mean pytorch? "
            "(known are horovod, paddle, pytorch, script, tensorflow)",
        ),
        (
            taskset(worker(), framework="mxnet9"),
            "spec.framework: unknown framework 'mxnet9'; known are horovod, paddle, pytorch, script, tensorflow",
        ),
        (
            taskset(worker("ps"), worker("wroker"), framework="tensorflow"),
            "spec.roles[1].name: unknown role of tensorflow 'wroker'; did you mean worker? "
            "(known are chief, evaluator, master, ps, worker)",
        ),
        (
            taskset(worker(devices={"gpus": 1})),
            "spec.roles[0].resources.devices: unknown device type 'gpus'; did you mean gpu? (known are gpu, virtual)",
        ),
        (
            taskset(worker(devices={"gpuu": 0.5})),
            "spec.roles[0].resources.devices: unknown device type 'gpuu'; did you mean gpu? (known are gpu, virtual)",
        ),
        (
            taskset(worker(devices={"gpu": "1/49"})),
            "spec.roles[0].resources.devices.gpu-1of49: a gpu can be divided into at most 48 parts (gpu-1of48)",
        ),
        (
            taskset(worker(volumes=[Volume(kind="scrach", name="a", mount_path="/a")])),
            "spec.roles[0].volumes[0].kind: unknown storage kind 'scrach'; did you mean scratch? "
            "(known are folder, scratch)",
        ),
        (
            taskset(worker(volumes=[Volume(kind="folder", name="a", mount_path="/a")])),
            "spec.roles[0].volumes[0].kind: folder has no allowed root on this machine; its administrator names one "
            "in octopus.yaml (storage.folder.root)",
        ),
    ],
)
def test_what_nobody_knows_is_refused(asked: TaskSet, problem: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        Registry.load().resolve(asked)
    assert caught.value.problems == [problem] and caught.value.message == problem


def test_a_part_needs_the_descriptor_of_its_device(tmp_path: Path) -> None:
    write(tmp_path, "devices", "name: npu\n")
    registry = Registry.load([tmp_path])
    found = registry.resolve(taskset(worker(devices={"virtual": 0.25})))
    assert list(found.devices) == ["gpu", "virtual"] and found.devices["virtual"].parts is not None
    assert registry.problems(taskset(worker(devices={"npu": 0.5}))) == [
        "spec.roles[0].resources.devices.npu-1of2: devices of type npu can't be divided; ask for whole ones (npu: 1)"
    ]


def test_every_problem_of_a_taskset_at_once() -> None:
    path = Volume(kind="folder", name="a", mount_path="/a", parameters={"path": "../etc"})
    asked = taskset(worker(devices={"x": 1}), worker("b", volumes=[path]), framework="nope")
    problems = Registry.load(roots={"folder": "/srv"}).problems(asked)
    assert [problem.split(":")[0] for problem in problems] == [
        "spec.framework",
        "spec.roles[0].resources.devices",
        "spec.roles[1].volumes[0].parameters.path",
    ]


def test_an_extra_folder_adds_and_replaces(tmp_path: Path) -> None:
    write(tmp_path, "frameworks", "name: mine\nroles: {'*': {env: {HOST: '{master.host}'}}}\n")
    write(tmp_path, "storage", "name: folder\nprovider: folder\nroot: /data\n")
    registry = Registry.load([tmp_path, tmp_path / "absent"])
    assert registry.frameworks["mine"].roles["*"].env == {"HOST": "{master.host}"}
    assert registry.storage["folder"].root == "/data"
    assert "script" in registry.frameworks
    assert Registry.load([tmp_path], roots={"folder": "/srv"}).storage["folder"].root == "/srv"


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("frameworks", "name: [", "while parsing a flow node"),
        ("frameworks", "- 1", "it holds no mapping of fields"),
        ("frameworks", "", "it holds no mapping of fields"),
        ("frameworks", "description: x", "missing required field `name`"),
        ("frameworks", "name: a\nrole: {}", "role: unknown field; did you mean roles? (known are "),
        ("frameworks", "name: a\nroles: {x: {envs: {}}}", "envs: unknown field; did you mean env?"),
        ("frameworks", "name: a\nroles: 3", "roles: Expected `object`, got `int`"),
        ("frameworks", "name: a\nkind: Device", "kind: 'Device' is not Framework, which the folder frameworks holds"),
        ("frameworks", "name: a\napiVersion: v9", "apiVersion: 'v9' is not octopus-hub.io/v1alpha1"),
        ("frameworks", "name: A b", "name: 'A b' is not a name"),
        (
            "frameworks",
            "name: a\nroles: {x: {env: {R: '{rnak}'}}}",
            "roles.x.env.R: unknown placeholder {rnak}; did you mean {rank}?",
        ),
        ("frameworks", "name: a\nroles: {x: {env: {R: '{rank'}}}", "roles.x.env.R: '{rank' is not closed"),
        ("frameworks", "name: a\nroles: {x: {env: {'1': x}}}", "roles.x.env.1: not a name of a variable"),
        ("frameworks", "name: a\nroles: {x: {env: {OCTOPUS_X: x}}}", "OCTOPUS_* are set by octopus-hub"),
        (
            "frameworks",
            "name: a\nroles: {x: {ports: [grad], env: {R: '{port:gard}'}}}",
            "unknown port 'gard'; did you mean grad? known are grad, main",
        ),
        (
            "frameworks",
            "name: a\nallowedRoles: [worker]\nroles: {'*': {env: {R: '{hosts:wroker:main}'}}}",
            "unknown role 'wroker'; did you mean worker?",
        ),
        ("frameworks", "name: a\nallowedRoles: [worker]\nserviceRoles: [ps]", "serviceRoles: unknown role 'ps'"),
        ("frameworks", "name: a\nallowedRoles: [a-b]", "roles: 'a-b' is not a role name"),
        ("frameworks", "name: a\nroles: {x: {files: {../y: x}}}", "a file is named relative to the task's folder"),
        ("devices", "name: a\ndiscovery: nvm", "discovery: unknown way 'nvm'; did you mean nvml?"),
        ("devices", "name: a\ndiscovery: command", "command: a program that lists the devices is needed"),
        ("devices", "name: a\nenv: {X: '{id}'}", "env.X: the value is {ids}"),
        ("devices", "name: a-1of4", "'a-1of4' is the name of a part of a; take another"),
        ("devices", "name: a\nparts: {max: 1}", "parts.max: 1 is not between 2 and 999"),
        ("devices", "name: a\nparts: {}", "missing required field `max`"),
        ("devices", "name: a\nparts: {max: 4, evn: {}}", "evn: unknown field; did you mean env?"),
        ("devices", f"name: {'a' * 29}\nparts: {{max: 4}}", "too long for parts, whose type is NAME-1of4"),
        ("devices", "name: a\nparts: {max: 4, env: {'1': x}}", "parts.env.1: not a name of a variable"),
        ("devices", "name: a\nparts: {max: 4, env: {OCTOPUS_X: x}}", "parts.env.OCTOPUS_X: is set already"),
        (
            "devices",
            "name: a\nparts: {max: 4, env: {X: '{percnt} of {parts}'}}",
            "parts.env.X: unknown placeholder '{percnt}'; did you mean {percent}?",
        ),
        ("devices", "name: a\nparts: {max: 4, env: {X: '{percent'}}", "parts.env.X: unknown placeholder '{percent'"),
        ("storage", "name: a\nprovider: nfs", "provider: unknown provider 'nfs'; known are scratch, folder"),
        ("storage", "name: a\nroot: data/..", "root: 'data/..' is not an absolute path"),
        ("hooks", "name: a\nstages: [finish]", "http, command: exactly one of the two is needed"),
        ("hooks", "name: a\ncommand: [x]", "stages: at least one stage is needed"),
        ("hooks", "name: a\ncommand: [x]\nstages: [finsh]", "stages: unknown stage 'finsh'; did you mean finish?"),
        ("hooks", "name: a\nhttp: ftp://x\nstages: [finish]", "http: 'ftp://x' is not an http:// or https:// address"),
        ("hooks", "name: a\ncommand: [x]\nstages: [finish]\nretries: 99", "retries: 99 is not between 0 and 10"),
        ("hooks", "name: a\ncommand: [x]\nstages: [finish]\ntimeoutSeconds: .nan", "timeoutSeconds: nan is not"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path: Path, kind: str, text: str, words: str) -> None:
    write(tmp_path, kind, text)
    (problem,) = refused(tmp_path)
    assert problem.startswith(f"{kind}/x.yaml: ") and words in problem


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "devices", "#" * (300 << 10))
    assert refused(tmp_path) == ["devices/x.yaml: it is larger than 256 KiB"]


def test_every_problem_of_every_file_at_once(tmp_path: Path) -> None:
    write(tmp_path, "devices", "name: a\ndiscovery: x\nenv: {Y: y}", "a.yaml")
    write(tmp_path, "storage", "nam: b", "b.yaml")
    assert [problem.split(":")[0] for problem in refused(tmp_path, roots={"nfs": "/x", "scratch": "x"})] == [
        "devices/a.yaml",
        "devices/a.yaml",
        "storage/b.yaml",
        "storage.nfs",
        "storage.scratch.root",
    ]


def test_a_program_lies_beside_the_file_that_names_it(tmp_path: Path) -> None:
    write(tmp_path, "devices", "name: a\ndiscovery: command\ncommand: [./list.sh, ./b]")
    write(tmp_path, "hooks", "name: h\ncommand: [sh, ./x]\nstages: [finish]")
    registry = Registry.load([tmp_path])
    assert registry.devices["a"].command == [str(tmp_path / "devices" / "list.sh"), "./b"]
    assert registry.hooks["h"].command == ["sh", "./x"]


def test_the_tables_agree() -> None:
    """Names that checks allow are names that somebody carries out."""
    assert set(checks.DISCOVERIES) == set(discovery.WAYS)
    assert set(checks.PROVIDERS) == set(MOUNT_PROVIDERS)


def test_the_examples_load() -> None:
    registry = Registry.load([EXAMPLES])
    assert {"jax", "script"} <= set(registry.frameworks)
    assert {"fpga", "npu", "gpu"} <= set(registry.devices)
    assert list(registry.hooks) == ["maintenance"]
    for descriptor in (registry.devices["fpga"], registry.devices["npu"], registry.hooks["maintenance"]):
        assert Path(descriptor.command[0]).stat().st_mode & 0o100


def test_the_guide_names_every_placeholder_and_field() -> None:
    guide = (EXAMPLES.parents[1] / "docs" / "how-to" / "add-a-framework.md").read_text()
    assert [name for name in NAMES if f"{{{name}" not in guide] == []
    wired = FrameworkDescriptor.__struct_encode_fields__
    assert [
        name for name in wired if f"`{name}`" not in guide and name not in ("apiVersion", "kind", "description")
    ] == []
    assert (EXAMPLES / "frameworks" / "jax.yaml").read_text().split("\n", 1)[1] in guide
