"""A small world that carries out plans, for the laws of scheduling over time, and hypothesis strategies of such worlds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

from octopus_hub.core.choices import choices_of, chosen
from octopus_hub.core.history import Chronicle, History, Life
from octopus_hub.core.plan import Plan
from octopus_hub.core.policies import POLICIES
from octopus_hub.core.resizing import shed
from octopus_hub.core.snapshot import (
    Delta,
    NodeView,
    Placement,
    RoleNeed,
    Running,
    Snapshot,
    Usage,
    Waiting,
    Way,
    Window,
    gang_total,
    held,
)
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.queue import Budget, Cohort, Queue, QueuePreemption
from tests.core.quota_builders import Slow, Use
from tests.core.scheduling_builders import amounts

NAMES = ("a", "b", "c")
NOTICE = 5.0


@dataclass
class World:
    """What waits and what runs. ``carry`` does what a plan says; nothing else happens by itself."""

    nodes: tuple[NodeView, ...]
    queues: dict[str, Queue]
    cohorts: dict[str, Cohort] = field(default_factory=dict)
    windows: tuple[Window, ...] = ()
    now: float = 1000.0
    waiting: dict[str, Waiting] = field(default_factory=dict)
    running: dict[str, Running] = field(default_factory=dict)
    attained: dict[tuple[str, str], float] = field(default_factory=dict)
    spent: dict[str, float] = field(default_factory=dict)
    history: History | None = None
    gone_at: dict[str, float] = field(default_factory=dict)  # of those that leave
    _shown: tuple[Snapshot, list[Waiting], object] | None = None

    # --- what a scheduler sees
    def show(self, delta: bool = False) -> tuple[Snapshot, list[Waiting]]:
        waiting = list(self.waiting.values())
        view = Snapshot(
            nodes=self.nodes,
            usage=self.usage(),
            queues=dict(self.queues),
            running=dict(self.running),
            cohorts=dict(self.cohorts),
            windows=self.windows,
            attained=dict(self.attained),
            spent=dict(self.spent),
            history=self.history,
        )
        token = object()
        if delta and self._shown is not None:
            view = replace(view, delta=difference(*self._shown, view, waiting, token))
        elif delta:
            view = replace(view, delta=Delta(object(), token, tuple(waiting), (), tuple(view.running.values()), (), ()))
        self._shown = (view, waiting, token) if delta else None
        return view, waiting

    def usage(self) -> Usage:
        return held(part for each in self.running.values() for part in parts(each))

    # --- what a plan does
    def carry(self, plan: Plan, failing: Callable[[str], bool] = lambda uid: False) -> None:
        """Do what a plan says, but for those gangs where that fails."""
        for admission in plan.admissions:
            if not failing(admission.uid):
                gang = self.waiting.pop(admission.uid)
                self.running[gang.uid] = Running(gang, admission.placement, self.now)
        for eviction in plan.evictions:
            if not failing(eviction.uid):
                victim = self.running[eviction.uid]
                self.running[eviction.uid] = replace(victim, leaving=True, claimed_by=eviction.by)
                self.gone_at[eviction.uid] = self.now + NOTICE
        for resize in plan.resizes:
            if not failing(resize.uid):
                known = self.running[resize.uid]
                self.running[resize.uid] = replace(
                    known,
                    placement=resize.placement,
                    leaving=True,
                    claimed_by=resize.by,
                    sheds=shed(known.placement, resize.placement),
                    resizing=True,
                )
                self.gone_at[resize.uid] = self.now + NOTICE

    def depart(self) -> None:
        """Let those go whose notice is over: they wait again in their old place, or go on with their new size."""
        for uid in [uid for uid, at in self.gone_at.items() if at <= self.now]:
            del self.gone_at[uid]
            was = self.running.pop(uid)
            gang = was.gang
            if gang.resumes:
                gang = replace(gang, served=gang.served + max(0.0, self.now - was.since))
            if was.resizing:
                self.running[uid] = Running(gang, was.placement, self.now)
            else:
                self.waiting[uid] = replace(gang, preempted_at=(*gang.preempted_at, self.now), yields_to=was.claimed_by)

    def end(self, uid: str) -> None:
        self.running.pop(uid, None)
        self.gone_at.pop(uid, None)

    def overrun(self) -> None:
        """Maximum runtimes are enforced."""
        for uid, each in list(self.running.items()):
            if each.deadline is not None and each.deadline <= self.now:
                self.end(uid)

    def join(self, *gangs: Waiting) -> None:
        for gang in gangs:
            if gang.uid not in self.running:
                self.waiting[gang.uid] = gang

    def without(self, uids: Sequence[str]) -> Snapshot:
        """Return what would be seen if these had gone."""
        stay = {uid: each for uid, each in self.running.items() if uid not in uids}
        usage = held(part for each in stay.values() for part in parts(each))
        return replace(self.show()[0], running=stay, usage=usage)


def parts(running: Running) -> list[tuple[Waiting, Placement]]:
    """Return what a running gang holds: while it is resized, what it gives up as well."""
    found = [(running.gang, running.placement)]
    return [*found, (running.gang, running.sheds)] if running.sheds else found


def difference(
    before: Snapshot, waited: list[Waiting], last: object, after: Snapshot, waiting: list[Waiting], token: object
) -> Delta:
    """Return what differs, written out plainly."""
    old, new = {id(gang) for gang in waited}, {id(gang) for gang in waiting}
    names = before.usage.nodes.keys() | after.usage.nodes.keys()
    return Delta(
        before=last,
        after=token,
        joined=tuple(gang for gang in waiting if id(gang) not in old),
        left=tuple(gang for gang in waited if id(gang) not in new),
        started=tuple(each for uid, each in after.running.items() if before.running.get(uid) is not each),
        ended=tuple(uid for uid in before.running if uid not in after.running),
        nodes=tuple(name for name in names if before.usage.nodes.get(name) != after.usage.nodes.get(name)),
    )


def assert_lawful(world: World, plan: Plan) -> None:
    """Law 7, before a plan is carried out: nothing that starts or grows exceeds a node or any quota of the tree."""
    cohorts = {"lab": Cohort(name="lab"), **world.cohorts}
    slow = Slow(world.queues, cohorts, [use(each.gang, each.placement) for each in world.running.values()])
    before = world.usage()
    added = []
    for admission in plan.admissions:
        gang = world.waiting[admission.uid]
        more = use(gang, admission.placement)
        assert not slow.refuses(more), f"{gang.uid} is beyond a quota"
        slow.charged.append(more)
        added.append((gang, admission.placement))
    for resize in plan.resizes:
        gang = world.running[resize.uid].gang
        added.append((gang, shed(resize.placement, world.running[resize.uid].placement)))
    after = held([*(part for each in world.running.values() for part in parts(each)), *added])
    nodes = {node.name: node for node in world.nodes}
    for name in held(added).nodes:
        was, now, most = before.nodes.get(name, Amounts()), after.nodes[name], nodes[name].capacity
        assert now.cpu_millis == was.cpu_millis or now.cpu_millis <= most.cpu_millis
        assert now.memory_bytes == was.memory_bytes or now.memory_bytes <= most.memory_bytes
        for kind, count in now.devices.items():
            assert type(count) is int
            assert count == was.devices.get(kind, 0) or count <= most.devices.get(kind, 0), f"{kind} of {name}"


def use(gang: Waiting, placement: Placement) -> Use:
    """Return what a placed gang is charged for; an elastic one may have more tasks than it asks for."""
    counts = {role: sum(span.count for span in spans) for role, spans in placement.items()}
    needs = tuple(replace(need, count=counts[need.role]) for need in chosen(gang.needs, choices_of(placement)))
    return Use(replace(gang, needs=needs), gang_total(needs))


# --- builders
def gpu_node(name: str, gpus: int, **labels: str) -> NodeView:
    return NodeView(name, amounts(64, 256, gpu=gpus), labels=labels)


def job(uid: str, gpus: int, queue: str = "a", at: float = 0.0, each: int = 1, **rest: Any) -> Waiting:
    """A gang of tasks with ``each`` GPUs."""
    needs = rest.pop("needs", None) or (
        RoleNeed("worker", gpus // each, amounts(0, 0, gpu=each), most=rest.pop("most", None)),
    )
    owner = rest.pop("owner", "ann")
    return Waiting(uid, owner, uid, owner, queue, rest.pop("priority", 0), at, needs, **rest)


def history_of(*ends: tuple[str, float, float]) -> History:
    """What is known after gangs of (owner, width, age) ended."""
    chronicle = Chronicle()
    for owner, width, age in ends:
        chronicle.ended(Life(owner, width, owner, age))
    return chronicle.history([])


# --- strategies
gpus = st.builds(lambda count: amounts(0, 0, gpu=count), st.integers(1, 6))
bounds = st.one_of(st.none(), st.none(), gpus)
SECONDS = st.sampled_from([10.0, 0.0, 60.0])


@st.composite
def preemptions(draw: st.DrawFn) -> QueuePreemption:
    return QueuePreemption(
        within=draw(st.integers(0, 5)) < 5,
        reclaim=draw(st.integers(0, 5)) < 5,
        min_runtime_seconds=draw(SECONDS),
        per_day=draw(st.sampled_from([24, 24, 1, 0])),
        review_seconds=draw(st.sampled_from([10.0, 1.0, 50.0])),
        patience_seconds=draw(st.sampled_from([60.0, 1e6])),
    )


@st.composite
def queue_of(
    draw: st.DrawFn, name: str, policies: Sequence[str] = tuple(sorted(POLICIES)), limits: bool = True
) -> Queue:
    cohort = draw(st.sampled_from(["", "lab", "lab"]))
    return Queue(
        name=name,
        policy=draw(st.sampled_from(list(policies))),
        backfill=draw(st.sampled_from(["none", "reserve", "any"])),
        preemption=draw(preemptions()),
        weight=draw(st.integers(0, 3)),
        cohort=cohort,
        nominal=draw(gpus) if cohort else draw(bounds),
        borrow=draw(bounds) if cohort else None,
        lend=draw(bounds) if cohort else None,
        per_user=draw(bounds) if limits else None,
        max_running_tasks_per_user=draw(st.sampled_from([None, None, None, 4])) if limits else None,
        budget=draw(budgets) if limits else None,
        paused=limits and draw(st.integers(0, 15)) == 15,
    )


budgets = st.one_of(
    st.none(),
    st.none(),
    st.builds(lambda end: Budget(device_hours=1, at_end=end), st.sampled_from(["finish", "stop", "low"])),
)


@st.composite
def needs_of(draw: st.DrawFn, plain: bool = False) -> tuple[RoleNeed, ...]:
    kind = "worker" if plain else draw(st.sampled_from(["worker"] * 5 + ["elastic", "two", "way", "rack"]))
    count, each = draw(st.integers(1, 5)), draw(st.sampled_from([1, 1, 2]))
    worker = RoleNeed("worker", count, amounts(0, 0, gpu=each))
    if kind == "elastic":
        worker = replace(worker, most=count + draw(st.integers(1, 3)))
    if kind == "way":
        worker = replace(worker, choices=(Way(amounts(0, 0, npu=1)),))
    if kind == "rack":
        worker = replace(worker, topology="rack", topology_required=draw(st.booleans()))
    return (worker, RoleNeed("ps", draw(st.integers(1, 2)), amounts(1, 1))) if kind == "two" else (worker,)


@st.composite
def jobs(draw: st.DrawFn, uid: str, now: float = 1000.0, plain: bool = False, names: Sequence[str] = NAMES) -> Waiting:
    owner = draw(st.sampled_from(["ann", "bob"]))
    return Waiting(
        uid=uid,
        namespace=owner,
        name=f"job-{uid}",
        owner=owner,
        queue=draw(st.sampled_from(names)),
        priority=draw(st.sampled_from([-100, 0, 100])),
        queued_at=now - draw(st.integers(0, 100)),
        needs=draw(needs_of(plain)),
        avoid={"n0": now + 20.0} if not plain and draw(st.integers(0, 9)) == 9 else {},
        served=draw(st.sampled_from([0.0, 0.0, 500.0, 5000.0, 50000.0])),
        max_runtime=draw(st.sampled_from([None, 20.0, 100.0])),
        preemptible=draw(st.integers(0, 5)) < 5,
        min_runtime=draw(st.sampled_from([None, None, 0.0, 30.0])),
        resumes=draw(st.booleans()),
        preempted_at=draw(st.sampled_from([(), (), (), (now - 200.0,), (now - 90000.0,)])),
        estimate=draw(st.sampled_from([None, 100.0, 10000.0])),
        kin=owner,
    )


@st.composite
def clusters(draw: st.DrawFn) -> tuple[NodeView, ...]:
    return tuple(
        NodeView(
            name=f"n{at}",
            capacity=amounts(
                8, 8, gpu=draw(st.sampled_from([2, 4, 4, 8])), **({"npu": 2} if draw(st.integers(0, 4)) == 4 else {})
            ),
            labels=draw(st.sampled_from([{}, {"rack": "r1"}, {"rack": "r2"}])),
            usable=draw(st.integers(0, 15)) < 15,
        )
        for at in range(draw(st.integers(1, 4)))
    )


@st.composite
def worlds(draw: st.DrawFn, policies: Sequence[str] = tuple(sorted(POLICIES)), limits: bool = True) -> World:
    """A cluster with work that the scheduler itself has placed and that has run for a while; others wait."""
    from octopus_hub.core.schedule import schedule

    cohorts = {"lab": Cohort(name="lab", nominal=draw(bounds))} if draw(st.booleans()) else {}
    queues = {name: draw(queue_of(name, policies, limits)) for name in NAMES}
    world = World(draw(clusters()), queues, cohorts)
    world.join(*(draw(jobs(f"r{at}")) for at in range(draw(st.integers(2, 9)))))
    plan = schedule(*world.show(), world.now)
    world.carry(replace(plan, evictions=(), resizes=()))
    world.waiting.clear()
    for uid, each in world.running.items():
        since = world.now - draw(st.sampled_from([500.0, 9000.0, 0.0, 15.0]))
        checkpoint = draw(st.sampled_from([None, None, since + 5.0]))
        world.running[uid] = replace(each, since=since, checkpoint_at=checkpoint)
    world.overrun()
    world.attained = {("a", "ann"): draw(st.sampled_from([0.0, 1e4, 1e6])), ("b", "bob"): 1e5}
    if limits and draw(st.booleans()):
        world.spent = {name: draw(st.sampled_from([0.0, 1800.0, 7200.0])) for name in NAMES if queues[name].budget}
    world.history = draw(st.sampled_from([None, history_of(("ann", 1.0, 60.0), ("bob", 4.0, 7000.0))]))
    world.join(*(draw(jobs(f"w{at}")) for at in range(draw(st.integers(1, 8)))))
    return world
