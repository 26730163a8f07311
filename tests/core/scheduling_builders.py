"""Builders of clusters and gangs for the scheduling tests, and hypothesis strategies over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from octopus_hub.core.reason import unflat
from octopus_hub.core.snapshot import NodeView, RoleNeed, Snapshot, Usage, Waiting, held
from octopus_hub.core.trial import Trial
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.queue import Queue
from octopus_hub.model.status import Span

GIB = 2**30


def amounts(cpu: int = 0, memory: int = 0, **devices: int) -> Amounts:
    """CPUs, GiB, devices."""
    return Amounts(cpu_millis=cpu * 1000, memory_bytes=memory * GIB, devices=devices)


def node(
    name: str, cpu: int = 16, memory: int = 64, usable: bool = True, labels: Any = None, **devices: int
) -> NodeView:
    return NodeView(name=name, capacity=amounts(cpu, memory, **devices), labels=dict(labels or {}), usable=usable)


def role(name: str = "worker", count: int = 1, cpu: int = 1, memory: int = 1, **rest: Any) -> RoleNeed:
    """Device counts and RoleNeed's other fields by keyword."""
    fields = {key: rest.pop(key) for key in ("node_selector", "topology", "topology_required") if key in rest}
    return RoleNeed(role=name, count=count, each=amounts(cpu, memory, **rest), **fields)


def gang(uid: str, *needs: RoleNeed, queue: str = "q", at: float = 0.0, owner: str = "ann", **rest: Any) -> Waiting:
    return Waiting(
        uid=uid,
        namespace=owner,
        name=f"job-{uid}",
        owner=owner,
        queue=queue,
        priority=rest.pop("priority", 0),
        queued_at=at,
        needs=needs or (role(),),
        avoid=rest.pop("avoid", {}),
    )


def snapshot(
    *nodes: NodeView, queues: Sequence[Queue] = (Queue(name="q", policy="fifo", backfill="none"),), running: Any = ()
) -> Snapshot:
    """``running``: (gang, placement) pairs that are admitted already."""
    return Snapshot(nodes=nodes, usage=held(running), queues={queue.name: queue for queue in queues})


def tasks_by_node(placement: Mapping[str, Sequence[Span]], name: str = "worker") -> dict[str, int]:
    return {span.node: span.count for span in placement[name]}


def assert_whole(waiting: Waiting, placement: Mapping[str, Sequence[Span]]) -> None:
    """Law 1: every index of every role has exactly one node."""
    assert set(placement) == {need.role for need in waiting.needs}
    for need in waiting.needs:
        covered = [index for span in placement[need.role] for index in range(span.first, span.first + span.count)]
        assert sorted(covered) == list(range(need.count)), f"{need.role}: {covered}"


def assert_no_overcommit(view: Snapshot, usage: Usage, added: Usage) -> None:
    """Law 7: wherever something was added, the new sum is within node, queue and user bounds. All integers."""
    for node_view in view.nodes:
        more = added.nodes.get(node_view.name, Amounts())
        after = usage.nodes.get(node_view.name, Amounts()).plus(more)
        _assert_within(more, after, node_view.capacity)
    for name, more in added.queues.items():
        after = usage.queues.get(name, Amounts()).plus(more)
        if view.queues[name].nominal is not None:
            _assert_within_quota(more, after, view.queues[name].nominal)
    for (name, owner), more in added.users.items():
        after = usage.users.get((name, owner), Amounts()).plus(more)
        if view.queues[name].per_user is not None:
            _assert_within_quota(more, after, view.queues[name].per_user)


def _assert_within(more: Amounts, after: Amounts, bound: Amounts) -> None:
    assert all(type(value) is int for value in (after.cpu_millis, after.memory_bytes, *after.devices.values()))
    assert not more.cpu_millis or after.cpu_millis <= bound.cpu_millis
    assert not more.memory_bytes or after.memory_bytes <= bound.memory_bytes
    for kind, count in more.devices.items():
        assert not count or after.devices[kind] <= bound.devices.get(kind, 0)


def _assert_within_quota(more: Amounts, after: Amounts, quota: Amounts | None) -> None:
    assert quota is not None
    assert not more.cpu_millis or not quota.cpu_millis or after.cpu_millis <= quota.cpu_millis
    assert not more.memory_bytes or not quota.memory_bytes or after.memory_bytes <= quota.memory_bytes
    if quota.devices:
        for kind, count in more.devices.items():
            assert not count or after.devices[kind] <= quota.devices.get(kind, 0)


def usage_of(trial: Trial, *gangs: Waiting) -> Usage:
    """Return what is used in a trial: by node, by queue, and by the owners of these gangs."""
    cluster = trial.cluster
    nodes = {}
    for at, free in enumerate(trial.free):
        used = [a - b for a, b in zip(cluster.capacity[at], free, strict=True)]
        if any(used):
            nodes[cluster.nodes[at].name] = unflat(dict(zip(cluster.resources, used, strict=True)))
    return Usage(
        nodes=nodes,
        queues={name: unflat(trial.quotas.used(name)) for name in trial.queues},
        users={(gang.queue, gang.owner): unflat(trial.quotas.used_by(gang)) for gang in gangs},
    )


def admitted(plan: Any, waiting: Sequence[Waiting]) -> list[tuple[Waiting, Mapping[str, tuple[Span, ...]]]]:
    by_uid = {each.uid: each for each in waiting}
    return [(by_uid[admission.uid], admission.placement) for admission in plan.admissions]


# --- strategies

devices = st.dictionaries(st.sampled_from(["gpu", "npu"]), st.integers(0, 4), max_size=2)
RACKS = st.sampled_from([{}, {"rack": "r1"}, {"rack": "r2"}])


@st.composite
def node_views(draw: st.DrawFn, most: int = 5) -> tuple[NodeView, ...]:
    count = draw(st.integers(1, most))
    return tuple(
        NodeView(
            name=f"node-{at}",
            capacity=amounts(draw(st.integers(0, 8)), draw(st.integers(0, 8)), **draw(devices)),
            labels=draw(RACKS),
            usable=draw(st.integers(0, 9)) > 0,
        )
        for at in range(count)
    )


@st.composite
def role_needs(draw: st.DrawFn) -> tuple[RoleNeed, ...]:
    names = draw(st.sampled_from([("worker",), ("worker",), ("ps", "worker"), ("chief", "ps", "worker")]))
    return tuple(
        RoleNeed(
            role=name,
            count=draw(st.integers(1, 4)),
            each=amounts(draw(st.integers(0, 3)), draw(st.integers(0, 3)), **draw(devices)),
            node_selector=draw(st.sampled_from([{}, {}, {}, {"rack": "r1"}])),
            topology=draw(st.sampled_from([None, None, "rack"])),
            topology_required=draw(st.booleans()),
        )
        for name in names
    )


quotas = st.one_of(
    st.none(),
    st.builds(amounts, st.integers(0, 9), st.integers(0, 9)),
    st.builds(lambda gpus, npus: amounts(0, 0, gpu=gpus, npu=npus), st.integers(1, 5), st.integers(1, 5)),
)


@st.composite
def queue_tables(draw: st.DrawFn, policies: Sequence[str] = ("fifo", "priority")) -> dict[str, Queue]:
    return {
        name: Queue(
            name=name,
            policy=draw(st.sampled_from(list(policies))),
            backfill="none",
            nominal=draw(quotas),
            per_user=draw(quotas),
            paused=draw(st.integers(0, 9)) == 0,
        )
        for name in ("a", "b", "c")
    }


@st.composite
def gangs(draw: st.DrawFn, most: int = 10, prefix: str = "g", avoid: bool = True) -> list[Waiting]:
    count = draw(st.integers(0, most))
    held_off = st.dictionaries(st.sampled_from(["node-0", "node-1", "gone"]), st.sampled_from([5.0, 50.0]), max_size=2)
    return [
        Waiting(
            uid=f"{prefix}{at}",
            namespace=draw(st.sampled_from(["ann", "bob"])),
            name=f"job-{at}",
            owner=draw(st.sampled_from(["ann", "bob"])),
            queue=draw(st.sampled_from(["a", "a", "b", "c", "nowhere"])),
            priority=draw(st.sampled_from([-100, 0, 100])),
            queued_at=float(draw(st.integers(0, 6))),
            needs=draw(role_needs()),
            avoid=draw(held_off) if avoid and draw(st.integers(0, 3)) == 0 else {},
        )
        for at in range(count)
    ]


@st.composite
def situations(draw: st.DrawFn) -> tuple[Snapshot, list[Waiting], float]:
    """A cluster with work that runs already (placed by the scheduler itself, some nodes shrunk since) and a queue."""
    from octopus_hub.core.schedule import schedule

    nodes = draw(node_views())
    queues = draw(queue_tables())
    before = draw(gangs(most=5, prefix="r"))
    empty = Snapshot(nodes=nodes, queues=queues)
    running = admitted(schedule(empty, before, 0.0), before)
    if draw(st.integers(0, 4)) == 0:  # one node lost half of its capacity after work was placed there
        small = Amounts(cpu_millis=nodes[0].capacity.cpu_millis // 2, memory_bytes=nodes[0].capacity.memory_bytes // 2)
        nodes = (NodeView(name=nodes[0].name, capacity=small, labels=nodes[0].labels), *nodes[1:])
    view = Snapshot(nodes=nodes, usage=held(running), queues=queues)
    return view, draw(gangs()), draw(st.sampled_from([0.0, 10.0]))
