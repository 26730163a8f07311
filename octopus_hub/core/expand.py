"""Renders a placed TaskSet into tasks: command, environment, ports, files, mounts, devices; no choice is left after it.

Pure: values in, values out. ``control.loop`` calls :func:`needs`, ``control.apply`` calls :func:`port_names` (before it
reserves addresses) and :func:`expand`. Descriptors come from ``taskset.resolved`` and nodes from
``taskset.status.placement``, so what runs is what was submitted.

Order of the environment, later wins: the framework's variables, the role's ``env``, ``OCTOPUS_*``. Variables through
which devices are assigned (``CUDA_VISIBLE_DEVICES``) are not taken from the role. ``OCTOPUS_OUTPUTS``,
``OCTOPUS_METRICS``, ``OCTOPUS_CHECKPOINTS``, ``OCTOPUS_CHECKPOINT_REPORT`` and ``OCTOPUS_DEVICES`` are added by the
backend, which alone knows folders and device ids.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

import msgspec

from octopus_hub.core.actions import Member
from octopus_hub.core.mounts import mounts
from octopus_hub.core.notebook import notebook_command, notebook_files
from octopus_hub.core.snapshot import RoleNeed, Way
from octopus_hub.core.template import MAIN_PORT, Gang, Identity, render
from octopus_hub.model.descriptor import Descriptors, RoleWiring
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.names import SKU_LABEL
from octopus_hub.model.parts import split
from octopus_hub.model.placing import Topology
from octopus_hub.model.quantity import parse_memory
from octopus_hub.model.task import Address, TaskSpec
from octopus_hub.model.taskset import Role, TaskSet

PEERS_FILE = ".octopus/peers.json"
LARGEST_VARIABLE_BYTES = 100_000  # Linux ends at 128 KiB for one variable, 2 MiB for all


def needs(taskset: TaskSet) -> tuple[RoleNeed, ...]:
    """Return what the scheduler has to place: one entry per role, elastic roles at their minimum, with their most."""
    return tuple(
        RoleNeed(
            role=role.name,
            count=role.count,
            each=role.amounts(),
            node_selector=_selector(role, 0),
            most=taskset.most(role) if role.elastic else None,
            tolerates=tuple(role.placement.tolerations),
            choices=tuple(Way(role.amounts(at), _selector(role, at)) for at in range(1, len(role.placement.skus))),
            near=role.placement.near,
            spread=role.placement.spread.level if role.placement.spread else None,
            spread_most=role.placement.spread.max_per_domain if role.placement.spread else None,
            **_topology(role.placement.topology or taskset.spec.placement.topology),
        )
        for role in taskset.spec.roles
    )


class _Levels(TypedDict, total=False):
    topology: str
    wider: tuple[str, ...]
    topology_required: bool


def _topology(asked: Topology | None) -> _Levels:
    if asked is None:
        return {}
    first, *wider = asked.levels
    return {"topology": first, "wider": tuple(wider), "topology_required": asked.mode == "required"}


def _selector(role: Role, choice: int) -> dict[str, str]:
    skus = role.placement.skus
    return {**role.placement.node_selector, **({SKU_LABEL: skus[choice].sku} if skus else {})}


def port_names(taskset: TaskSet) -> dict[str, list[str]]:
    """Return the ports to reserve for each task of each role: ``main``, the framework's, the role's own."""
    found: dict[str, list[str]] = {}
    for role in taskset.spec.roles:
        names = [MAIN_PORT, *_wiring(taskset, role.name).ports, *(port.name for port in role.ports)]
        found[role.name] = list(dict.fromkeys(names))
    return found


def expand(taskset: TaskSet, members: Sequence[Member], addresses: Mapping[tuple[str, int], Address]) -> list[TaskSpec]:
    """Return the task of each member.

    Parameters
    ----------
    taskset : TaskSet
        Resolved (images, descriptors) and placed.
    members : sequence of Member
        The members to render, with their attempts; any subset of the gang.
    addresses : mapping
        Address of every member of the gang by (role, index), with the ports of :func:`port_names`.

    Raises
    ------
    InvalidSpec
        A role has neither command nor notebook, or a volume leaves its root.
    Unavailable
        A member has no node or no address.
    """
    gang = Gang.of(taskset, addresses)
    peers = _peers(gang)
    shapes: dict[str, _Shape] = {}
    specs = []
    for member in members:
        shape = shapes.get(member.role)
        if shape is None:
            shape = shapes[member.role] = _shape(taskset, member.role)
        specs.append(_task(gang, shape, member, peers))
    return specs


@dataclass(frozen=True, slots=True)
class _Shape:
    """What all tasks of a role share."""

    role: Role
    wiring: RoleWiring
    part_env: Mapping[str, str]  # how large its part of a device is
    own_env: Mapping[str, str]  # the role's variables that it may set
    files: Mapping[str, str]  # the program and parameters of a notebook run
    common: TaskSpec  # every field but those of the single member


def _shape(taskset: TaskSet, name: str) -> _Shape:
    role = taskset.role(name)
    path = f"spec.roles[{taskset.spec.roles.index(role)}]"
    descriptors, resolved = taskset.resolved.descriptors, taskset.resolved
    device_env, device_aliases = _device_variables(descriptors, role)
    framework_image = descriptors.framework.image if descriptors.framework else ""
    taken = {*device_env.values(), *(alias for aliases in device_aliases.values() for alias in aliases)}
    common = TaskSpec(
        name="",
        namespace=taskset.metadata.namespace,
        taskset=taskset.name,
        taskset_uid=taskset.metadata.uid,
        role=name,
        index=0,
        attempt=0,
        gang_attempt=taskset.status.attempt,
        node="",
        hostname="",
        command=_command(taskset, role, path),
        secrets=dict(role.secrets),
        working_dir=role.working_dir,
        image=resolved.images.get(name, ""),
        image_name=resolved.image_names.get(name, role.image or framework_image),
        amounts=taskset.each(role),
        shm_bytes=parse_memory(role.resources.shm),
        mounts=mounts(role, descriptors.storage, path),
        workspace=taskset.spec.workspace.digest,
        outputs=list(taskset.spec.outputs),
        owner=taskset.metadata.owner,
        device_env=device_env,
        device_aliases=device_aliases,
    )
    part_env = _part_environment(descriptors, role)
    taken.update(part_env)
    own_env = {key: value for key, value in role.env.items() if key not in taken}
    run = None if role.command or role.args else taskset.spec.run
    return _Shape(role, _wiring(taskset, name), part_env, own_env, notebook_files(run) if run else {}, common)


def _task(gang: Gang, shape: _Shape, member: Member, peers: str) -> TaskSpec:
    identity: Identity = (member.role, member.index)
    hostname = f"{gang.taskset.name}-{member.role}-{member.index}"
    env, files = _framework_environment(gang, shape, member)
    return msgspec.structs.replace(
        shape.common,
        name=f"{hostname}-{member.attempt}",
        hostname=hostname,
        index=member.index,
        attempt=member.attempt,
        node=gang.node(identity),
        env={**env, **shape.own_env, **shape.part_env, **_octopus_environment(gang, member)},
        ports=dict(gang.address(identity).ports),
        files={**files, **shape.files, PEERS_FILE: peers},
    )


def _command(taskset: TaskSet, role: Role, path: str) -> list[str]:
    if role.command or role.args:
        return [*role.command, *role.args]
    if taskset.spec.run is not None:
        return notebook_command(role.working_dir)
    raise InvalidSpec(f"{path}.command: {role.name} has no command; give one, or spec.run for a notebook")


def _wiring(taskset: TaskSet, role: str) -> RoleWiring:
    """Return a role's wiring: what holds for every role (``*``), then the role's own."""
    framework = taskset.resolved.descriptors.framework
    if framework is None:
        return RoleWiring()
    every, own = framework.roles.get("*", RoleWiring()), framework.roles.get(role, RoleWiring())
    return RoleWiring(
        env={**every.env, **own.env},
        ports=list(dict.fromkeys([*every.ports, *own.ports])),
        files={**every.files, **own.files},
    )


def _framework_environment(gang: Gang, shape: _Shape, member: Member) -> tuple[dict[str, str], dict[str, str]]:
    """Return variables and files. What comes out empty is not set; what is too long for a variable goes to a file."""
    env: dict[str, str] = {}
    files: dict[str, str] = {}
    for name, text in shape.wiring.env.items():
        if name in shape.own_env:
            continue
        value = render(text, gang, member)
        if not value:
            continue
        if len(value.encode()) > LARGEST_VARIABLE_BYTES:
            path = f".octopus/{name.lower()}"
            env[f"{name}_FILE"], files[path] = path, value
        else:
            env[name] = value
    for path, text in shape.wiring.files.items():
        content = render(text, gang, member)
        if content is not None:
            files[path] = content
    return env, files


def _octopus_environment(gang: Gang, member: Member) -> dict[str, str]:
    taskset, identity = gang.taskset, (member.role, member.index)
    env = {
        "OCTOPUS_TASKSET": taskset.name,
        "OCTOPUS_NAMESPACE": taskset.metadata.namespace,
        "OCTOPUS_ROLE": member.role,
        "OCTOPUS_INDEX": str(member.index),
        "OCTOPUS_ATTEMPT": str(member.attempt),
        "OCTOPUS_RANK": str(gang.rank(identity)),
        "OCTOPUS_WORLD_SIZE": str(gang.world_size),
        "OCTOPUS_REPLICAS": str(taskset.size(taskset.role(member.role))),
        "OCTOPUS_HOST": gang.address(identity).host,
        "OCTOPUS_PORT": str(gang.port(identity)),
        "OCTOPUS_PEERS": PEERS_FILE,  # the backend makes the path absolute
    }
    role = taskset.role(member.role)
    if role.elastic:
        env |= {"OCTOPUS_MIN_REPLICAS": str(role.count), "OCTOPUS_MAX_REPLICAS": str(role.most)}
    if taskset.spec.seed is not None:
        env["OCTOPUS_SEED"] = str(taskset.spec.seed)
    return env


def _peers(gang: Gang) -> str:
    """Return the content of the peers file: ``{role: [{"host", "ports": {name: port}}]}``."""
    content = {}
    for role in gang.taskset.spec.roles:
        members = [gang.address((role.name, index)) for index in range(gang.size(role))]
        content[role.name] = [{"host": each.host, "ports": each.ports} for each in members]
    return json.dumps(content, separators=(",", ":"))


def _device_variables(descriptors: Descriptors, role: Role) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return by asked device type the first variable that gets the assigned ids, and the further ones."""
    first: dict[str, str] = {}
    further: dict[str, list[str]] = {}
    for kind, descriptor in descriptors.devices.items():
        asked = _asked(role, kind)
        variables = list(descriptor.env)
        if variables and (asked or descriptor.hide):
            first[asked or kind] = variables[0]
            if variables[1:]:
                further[asked or kind] = variables[1:]
    return first, further


def _asked(role: Role, kind: str) -> str:
    """Return as what a role asks for devices of a type, whole or in parts; "" if it doesn't."""
    return next((name for name, count in role.resources.devices.items() if count and split(name)[0] == kind), "")


def _part_environment(descriptors: Descriptors, role: Role) -> dict[str, str]:
    """Return what tells a task with a part of a device how large it is: each part is one of n, also beside others."""
    env: dict[str, str] = {}
    shares = []
    for kind, descriptor in descriptors.devices.items():
        parts = split(_asked(role, kind))[1]
        if parts == 1 or descriptor.parts is None:
            continue
        shares.append(f"1/{parts}")
        for name, text in descriptor.parts.env.items():
            env[name] = text.replace("{parts}", str(parts)).replace("{percent}", str(max(1, 100 // parts)))
    return {**env, "OCTOPUS_DEVICE_PART": ",".join(shares)} if shares else env
