"""What a simulation runs on and under which rules: nodes, queues, policy, what a preemption costs. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b

from octopus_hub.core.policies import POLICIES
from octopus_hub.core.snapshot import NodeView, RoleNeed, Window
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.problems import near
from octopus_hub.model.queue import Cohort, Queue, QueuePreemption
from octopus_hub.simulate.jobs import Job

QUEUE = "pool"
GPU = "gpu"
BACKFILLS = ("none", "reserve", "any")
QUEUES = ("one", "cluster")
SHARES = ("use", "equal")
STRICT = ("fifo", "priority")  # policies in which nobody passes the head, unless told so


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The settings of one run.

    Attributes
    ----------
    gpus : int
        Size of the pool, in nodes of ``node_gpus``; not looked at where ``nodes`` are given.
    policy : str
        Name of a queue policy; ``+none``, ``+reserve`` or ``+any`` after it is the backfill. Without it nobody passes
        the head under ``fifo`` and ``priority``, and whoever fits under the others.
    preemption : QueuePreemption
        The rules of the queues; the product's defaults unless told otherwise.
    queues : str
        ``one`` queue for all, or a queue per ``cluster`` of the trace, all in one cohort that lends everything.
    shares : str
        Nominal of those queues: by the GPU-time of their jobs (``use``) or ``equal``.
    notice_seconds : float
        What an evicted gang still holds its place for, without getting on.
    restart_seconds : float
        What a gang needs to get to where it was when it starts again, on everything it holds.
    checkpointing : float
        Share of jobs that go on where they were; the others start again from nothing. Drawn from the uid.
    task_gpus : int
        Gangs are made of tasks of so many GPUs, and one of the rest; with 1 they spread in any way.
    half_life_seconds : float
        Of the decayed use that fair share looks at.
    estimates : int
        Every so many-th job that has to wait gets a start estimate, to see how good they are; 0: none.
    """

    gpus: int = 0
    policy: str = "fifo"
    preemption: QueuePreemption = field(default_factory=QueuePreemption)
    queues: str = "one"
    shares: str = "use"
    notice_seconds: float = 60.0
    restart_seconds: float = 60.0
    checkpointing: float = 1.0
    task_gpus: int = 1
    node_gpus: int = 8
    nodes: tuple[NodeView, ...] = ()
    windows: tuple[Window, ...] = ()
    half_life_seconds: float = 7 * 86400.0
    estimates: int = 0

    @property
    def size(self) -> int:
        """Devices of the pool."""
        return sum(sum(node.capacity.devices.values()) for node in self.nodes) if self.nodes else self.gpus

    def check(self) -> None:
        """Raise InvalidSpec for what can't be simulated."""
        if self.nodes and not self.size:
            raise InvalidSpec("none of these nodes has a device")
        if not self.nodes and (self.gpus < self.node_gpus or self.gpus % self.node_gpus):
            raise InvalidSpec(f"{self.gpus} GPUs are no whole nodes; give a multiple of {self.node_gpus}")
        if not 0 <= self.checkpointing <= 1:
            raise InvalidSpec(f"{self.checkpointing:g} is no share of the jobs; give a number from 0 to 1")
        if not 1 <= self.task_gpus <= self.node_gpus:
            raise InvalidSpec(f"no node has {self.task_gpus} GPUs for a task; give a number from 1 to {self.node_gpus}")
        for name, given, known in (("queues", self.queues, QUEUES), ("shares", self.shares, SHARES)):
            if given not in known:
                raise InvalidSpec(f"there is no way {given!r} to make {name}; {near(given, list(known))}")
        self.template()

    def template(self) -> Queue:
        """Return a queue with the policy, the backfill and the rules of preemption."""
        policy, _, backfill = self.policy.partition("+")
        if policy not in POLICIES:
            raise InvalidSpec(f"there is no policy {policy!r}; {near(policy, list(POLICIES))}")
        usual = "none" if policy in STRICT else "any"
        kind = next((kind for kind in BACKFILLS if kind == (backfill or usual)), None)
        if kind is None:
            raise InvalidSpec(f"there is no backfill {backfill!r}; {near(backfill, list(BACKFILLS))}")
        return Queue(name=QUEUE, policy=policy, backfill=kind, preemption=self.preemption)  # type: ignore[arg-type]

    def resumes(self, job: Job) -> bool:
        """Say whether a job goes on where it was after a preemption: by its uid, so always the same ones."""
        if self.checkpointing in (0.0, 1.0):
            return self.checkpointing == 1.0
        drawn = int.from_bytes(blake2b(job.uid.encode(), digest_size=8).digest(), "big")
        return drawn < self.checkpointing * (1 << 64)


def nodes_of(setup: Setup) -> tuple[NodeView, ...]:
    """Return the nodes of the pool."""
    if setup.nodes:
        return setup.nodes
    capacity = Amounts(devices={GPU: setup.node_gpus})
    return tuple(NodeView(f"node-{at:05d}", capacity) for at in range(setup.gpus // setup.node_gpus))


def queues_of(setup: Setup, jobs: Iterable[Job], gpus: int) -> tuple[dict[str, Queue], dict[str, Cohort]]:
    """Return the queues and cohorts for these jobs on a pool of ``gpus``."""
    template = setup.template()
    if setup.queues == "one":
        return {QUEUE: template}, {}
    weights: dict[str, float] = {}
    for job in jobs:
        weights[job.cluster] = weights.get(job.cluster, 0.0) + job.duration * job.gpus
    if setup.shares == "equal":
        weights = dict.fromkeys(weights, 1.0)
    queues = {
        name: Queue(
            name=name,
            policy=template.policy,
            backfill=template.backfill,
            preemption=template.preemption,
            cohort=QUEUE,
            nominal=Amounts(devices={GPU: share}),
        )
        for name, share in shares_of(weights, gpus).items()
    }
    return queues, {QUEUE: Cohort(name=QUEUE)}


def shares_of(weights: dict[str, float], gpus: int) -> dict[str, int]:
    """Return whole GPUs in proportion to weights, that add up to ``gpus``: largest remainders first, ties by name."""
    total = sum(weights.values())
    names = sorted(weights)
    exact = {name: gpus * weights[name] / total if total else gpus / len(names) for name in names}
    shares = {name: int(exact[name]) for name in names}
    left = sorted(names, key=lambda name: (shares[name] - exact[name], name))
    for name in left[: gpus - sum(shares.values())]:
        shares[name] += 1
    return shares


def needs_of(setup: Setup, job: Job) -> tuple[RoleNeed, ...]:
    """Return the roles of a job: equal tasks, and one task of the rest where the GPUs don't divide.

    Its own roles, with processors and memory, count only where nodes that have some are given.
    """
    if job.needs and setup.nodes:
        return job.needs
    if not job.gpus:
        return (RoleNeed("worker", 1, Amounts()),)
    size = min(setup.task_gpus, job.gpus)
    count, rest = divmod(job.gpus, size)
    most = job.most // size if job.most is not None and not rest else None
    needs = [RoleNeed("worker", count, Amounts(devices={GPU: size}), most=most)]
    if rest:
        needs.append(RoleNeed("rest", 1, Amounts(devices={GPU: rest})))
    return tuple(needs)
