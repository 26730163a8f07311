"""Fills value templates of descriptors for one member of a gang (grammar and names: ``model.template``).

Pure: a :class:`Gang` is built once per expansion from the TaskSet and its addresses, and keeps the cluster lists, which
are equal for all members, so that a gang of n tasks does not join n lists of n. Called by ``core.expand`` only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from octopus_hub.core.actions import Member
from octopus_hub.model.errors import Unavailable
from octopus_hub.model.parts import split
from octopus_hub.model.task import Address
from octopus_hub.model.taskset import Role, TaskSet
from octopus_hub.model.template import DISTRIBUTED, ELASTIC, Placeholder, parse

Identity = tuple[str, int]
MAIN_PORT = "main"


@dataclass(frozen=True, slots=True)
class Gang:
    """What all members share: order of ranks, addresses, nodes."""

    taskset: TaskSet
    roles: tuple[Role, ...]  # in rank order
    first_rank: Mapping[str, int]  # role -> rank of its index 0
    world_size: int
    addresses: Mapping[Identity, Address]
    nodes: Mapping[Identity, str]
    local_ranks: Mapping[Identity, int]
    local_sizes: Mapping[str, int]  # node -> members on it
    shared: dict[Placeholder, Any] = field(default_factory=dict)  # values that don't depend on the member

    @classmethod
    def of(cls, taskset: TaskSet, addresses: Mapping[Identity, Address]) -> Gang:
        """Return the gang of a placed TaskSet."""
        framework = taskset.resolved.descriptors.framework
        roles = in_rank_order(taskset.spec.roles, framework.rank_order if framework else ())
        first_rank: dict[str, int] = {}
        world_size = 0
        for role in roles:
            first_rank[role.name] = world_size
            world_size += taskset.size(role)
        nodes = _nodes(taskset)
        local_ranks: dict[Identity, int] = {}
        local_sizes: dict[str, int] = {}
        for role in roles:
            for index in range(taskset.size(role)):
                node = nodes.get((role.name, index), "")
                local_ranks[role.name, index] = local_sizes.get(node, 0)
                local_sizes[node] = local_sizes.get(node, 0) + 1
        return cls(taskset, roles, first_rank, world_size, addresses, nodes, local_ranks, local_sizes)

    @property
    def elastic(self) -> bool:
        """Some role may have another number of tasks in another attempt."""
        return any(role.elastic for role in self.roles)

    def size(self, role: Role) -> int:
        """Return how many tasks the attempt has of a role."""
        return self.taskset.size(role)

    def rank(self, identity: Identity) -> int:
        """Return the rank of a member."""
        return self.first_rank[identity[0]] + identity[1]

    def node(self, identity: Identity) -> str:
        """Return the node of a member; raises Unavailable if it was not placed."""
        try:
            return self.nodes[identity]
        except KeyError:
            raise Unavailable(
                f"{identity[0]} {identity[1]} of {self.taskset.name} has no node; it is placed again"
            ) from None

    def address(self, identity: Identity) -> Address:
        """Return the address of a member; raises Unavailable if none was reserved."""
        try:
            return self.addresses[identity]
        except KeyError:
            raise Unavailable(
                f"no address is reserved for {identity[0]} {identity[1]} of {self.taskset.name}"
            ) from None

    def port(self, identity: Identity, name: str = MAIN_PORT) -> int:
        """Return a port of a member; raises Unavailable if it has none of that name."""
        try:
            return self.address(identity).ports[name]
        except KeyError:
            raise Unavailable(f"{identity[0]} {identity[1]} of {self.taskset.name} has no port {name!r}") from None

    def master(self) -> Identity:
        """Return the member of rank 0."""
        return next(role.name for role in self.roles if self.size(role)), 0

    def chosen(self, names: str) -> tuple[Role, ...]:
        """Return the roles of a role list (``worker,chief`` or ``*``), in rank order, without empty ones."""
        wanted = names.split(",")
        return tuple(role for role in self.roles if self.size(role) and (names == "*" or role.name in wanted))

    def endpoints(self, role: Role, port: str) -> list[str]:
        """Return ``host:port`` of each task of a role."""
        members = [(role.name, index) for index in range(self.size(role))]
        return [f"{self.address(member).host}:{self.port(member, port)}" for member in members]


def in_rank_order(roles: Sequence[Role], order: Sequence[str]) -> tuple[Role, ...]:
    """Return the roles as ranks are counted: those of ``order`` first, the others as the spec has them."""
    place = {name: at for at, name in enumerate(order)}
    return tuple(sorted(roles, key=lambda role: place.get(role.name, len(place))))


def _nodes(taskset: TaskSet) -> dict[Identity, str]:
    return {
        (role, index): span.node
        for role, spans in taskset.status.placement.items()
        for span in spans
        for index in range(span.first, span.first + span.count)
    }


def render(text: str, gang: Gang, member: Member) -> str | None:
    """Return the filled template; None if a ``{when:...}`` in it is not fulfilled."""
    filled: list[str] = []
    for part in parse(text):
        if isinstance(part, str):
            filled.append(part)
        elif part.name == "when":
            if not CONDITIONS[part.args[0]](gang):
                return None
        else:
            filled.append(_text(part, gang, member))
    return "".join(filled)


def _text(part: Placeholder, gang: Gang, member: Member) -> str:
    collective = COLLECTIVE.get(part.name)
    if collective is None:
        return _write(part, VALUES[part.name](gang, member, part.args))
    if part not in gang.shared:
        gang.shared[part] = _write(part, collective(gang, part.args))
    text: str = gang.shared[part]
    return text


def _write(part: Placeholder, value: Any) -> str:
    if part.json or isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return ",".join(value) if isinstance(value, list) else str(value)


def _role(gang: Gang, member: Member) -> Role:
    return gang.taskset.role(member.role)


def _identity(member: Member) -> Identity:
    return member.role, member.index


def _processes(gang: Gang, role: Role) -> int:
    """Return one for each device; parts of a type are one, since they may lie on the same device."""
    return max(1, sum(1 if split(kind)[1] > 1 else count for kind, count in gang.taskset.each(role).devices.items()))


def _slots(gang: Gang, names: str) -> list[str]:
    found: dict[str, int] = {}
    for role in gang.chosen(names):
        for index in range(gang.size(role)):
            host = gang.address((role.name, index)).host
            found[host] = found.get(host, 0) + _processes(gang, role)
    return [f"{host}:{count}" for host, count in found.items()]


def _sizes(gang: Gang) -> str:
    least = sum(role.count for role in gang.roles)
    return f"{least}:{gang.world_size}" if gang.elastic else str(gang.world_size)


# What {when:...} asks of the gang.
CONDITIONS: dict[str, Callable[[Gang], bool]] = {
    DISTRIBUTED: lambda gang: gang.world_size > 1,
    ELASTIC: lambda gang: gang.elastic,
}

# Values of the whole gang.
COLLECTIVE: dict[str, Callable[[Gang, tuple[str, ...]], Any]] = {
    "taskset": lambda gang, args: gang.taskset.name,
    "namespace": lambda gang, args: gang.taskset.metadata.namespace,
    "gang_attempt": lambda gang, args: gang.taskset.status.attempt,
    "world_size": lambda gang, args: gang.world_size,
    "sizes": lambda gang, args: _sizes(gang),
    "processes": lambda gang, args: sum(_processes(gang, role) * gang.size(role) for role in gang.chosen(args[0])),
    "processes.least": lambda gang, args: sum(_processes(gang, role) * role.count for role in gang.chosen(args[0])),
    "slots": lambda gang, args: _slots(gang, args[0]),
    "seed": lambda gang, args: "" if gang.taskset.spec.seed is None else gang.taskset.spec.seed,
    "master.host": lambda gang, args: gang.address(gang.master()).host,
    "master.port": lambda gang, args: gang.port(gang.master(), *args),
    "count": lambda gang, args: sum(gang.size(role) for role in gang.chosen(args[0])),
    "hosts": lambda gang, args: [each for role in gang.chosen(args[0]) for each in gang.endpoints(role, args[1])],
    "cluster": lambda gang, args: {role.name: gang.endpoints(role, args[1]) for role in gang.chosen(args[0])},
    "open": lambda gang, args: "{",
}

# Values of one member.
VALUES: dict[str, Callable[[Gang, Member, tuple[str, ...]], Any]] = {
    "role": lambda gang, member, args: member.role,
    "index": lambda gang, member, args: member.index,
    "attempt": lambda gang, member, args: member.attempt,
    "replicas": lambda gang, member, args: gang.size(_role(gang, member)),
    "rank": lambda gang, member, args: gang.rank(_identity(member)),
    "local_rank": lambda gang, member, args: gang.local_ranks[_identity(member)],
    "local_world_size": lambda gang, member, args: gang.local_sizes[gang.node(_identity(member))],
    "device_count": lambda gang, member, args: _processes(gang, _role(gang, member)),
    "node": lambda gang, member, args: gang.node(_identity(member)),
    "hostname": lambda gang, member, args: f"{gang.taskset.name}-{member.role}-{member.index}",
    "host": lambda gang, member, args: gang.address(_identity(member)).host,
    "port": lambda gang, member, args: gang.port(_identity(member), *args),
}
