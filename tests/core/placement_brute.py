"""A slow placement that tries every distribution of tasks over nodes, to compare with, and a check of a placement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from octopus_hub.core.reason import flat
from octopus_hub.core.snapshot import NodeView, RoleNeed, Snapshot, Waiting
from octopus_hub.model.placing import tolerates
from octopus_hub.model.status import Span
from tests.core.scheduling_builders import amounts, gang, node, snapshot

Spread = dict[str, dict[int, int]]  # role -> node -> tasks


def distributions(count: int, nodes: Sequence[int]) -> Iterator[dict[int, int]]:
    """Yield every way to put ``count`` equal tasks on nodes."""
    if not nodes:
        if not count:
            yield {}
        return
    for here in range(count + 1):
        for rest in distributions(count - here, nodes[1:]):
            yield {nodes[0]: here, **rest} if here else rest


def may_use(view: NodeView, need: RoleNeed) -> bool:
    return (
        view.usable
        and all(view.labels.get(label) == value for label, value in need.node_selector.items())
        and tolerates(need.tolerates, view.taints)
    )


def fits(view: Snapshot, needs: Sequence[RoleNeed], spread: Spread) -> bool:
    """Say whether tasks may lie so: resources, nodes, required levels, bounds of spreading."""
    for at, each in enumerate(view.nodes):
        asked: dict[str, int] = {}
        for need in needs:
            count = spread[need.role].get(at, 0)
            if count and not may_use(each, need):
                return False
            for resource, amount in flat(need.each).items():
                asked[resource] = asked.get(resource, 0) + amount * count
        used = flat(view.usage.nodes[each.name]) if each.name in view.usage.nodes else {}
        have = flat(each.capacity)
        if any(amount and amount > have.get(name, 0) - used.get(name, 0) for name, amount in asked.items()):
            return False
    return all(_spread_kept(view, need, spread[need.role]) for need in needs) and _levels_kept(view, needs, spread)


def _spread_kept(view: Snapshot, need: RoleNeed, counts: Mapping[int, int]) -> bool:
    if need.spread is None:
        return True
    domains: dict[str, int] = {}
    for at, count in counts.items():
        domain = view.nodes[at].labels.get(need.spread)
        if domain is None:
            return False
        domains[domain] = domains.get(domain, 0) + count
    return need.spread_most is None or all(count <= need.spread_most for count in domains.values())


def _levels_kept(view: Snapshot, needs: Sequence[RoleNeed], spread: Spread) -> bool:
    groups: dict[tuple[str, ...], list[RoleNeed]] = {}
    for need in needs:
        if need.topology:
            groups.setdefault((need.topology, *need.wider), []).append(need)
    for levels, group in groups.items():
        if not any(need.topology_required for need in group):
            continue
        used = {at for need in group for at, count in spread[need.role].items() if count}
        if not used:
            continue
        domains = [{view.nodes[at].labels.get(level) for at in used} for level in levels]
        if not any(len(each) == 1 and None not in each for each in domains):
            return False
    return True


def brute(view: Snapshot, needs: Sequence[RoleNeed]) -> bool:
    """Say whether any placement fits."""

    def tried(at: int, spread: Spread) -> bool:
        if at == len(needs):
            return fits(view, needs, spread)
        need = needs[at]
        usable = [place for place, each in enumerate(view.nodes) if may_use(each, need)]
        for counts in distributions(need.count, usable):
            spread[need.role] = counts
            bare = [_bare(each) if each.role in spread else None for each in needs]
            if fits(view, [each for each in bare if each is not None], spread) and tried(at + 1, spread):
                return True
        spread.pop(need.role, None)
        return False

    return tried(0, {})


def _bare(need: RoleNeed) -> RoleNeed:
    return RoleNeed(need.role, need.count, need.each, need.node_selector, tolerates=need.tolerates)


def as_spread(view: Snapshot, placement: Mapping[str, Sequence[Span]]) -> Spread:
    index = {each.name: at for at, each in enumerate(view.nodes)}
    return {role: {index[span.node]: span.count for span in spans} for role, spans in placement.items()}


@st.composite
def small_clusters(draw: st.DrawFn, most: int = 4) -> Snapshot:
    """Up to four nodes in two racks of one or two blocks, some tainted, some down."""
    nodes = []
    for at in range(draw(st.integers(1, most))):
        labels = {"rack": f"r{draw(st.integers(0, 1))}", "block": f"b{draw(st.integers(0, 1))}"}
        if draw(st.integers(0, 5)) == 0:
            labels.pop("rack")
        view = node(
            f"node-{at}",
            cpu=draw(st.integers(1, 6)),
            memory=draw(st.integers(1, 6)),
            gpu=draw(st.integers(0, 4)),
            labels=labels,
            usable=draw(st.integers(0, 7)) > 0,
        )
        taints = draw(st.sampled_from([(), (), (), ("course=ml",), ("old",)]))
        nodes.append(NodeView(view.name, view.capacity, view.labels, view.usable, taints))
    return snapshot(*nodes)


@st.composite
def small_needs(draw: st.DrawFn, roles: int, constrained: bool = True) -> tuple[RoleNeed, ...]:
    """Roles of up to three tasks."""
    needs = []
    for at in range(roles):
        more: dict[str, Any] = {}
        if constrained:
            more = {
                "node_selector": draw(st.sampled_from([{}, {}, {"rack": "r0"}])),
                "topology": draw(st.sampled_from([None, None, "rack", "block"])),
                "topology_required": draw(st.booleans()),
                "tolerates": draw(st.sampled_from([(), ("course",), ("course=ml", "old"), ("*",)])),
                "spread": draw(st.sampled_from([None, None, "rack"])),
                "spread_most": draw(st.sampled_from([None, 1, 2])),
            }
            more["wider"] = ("block",) if more["topology"] == "rack" and draw(st.booleans()) else ()
        each = amounts(draw(st.integers(0, 3)), draw(st.integers(0, 3)), gpu=draw(st.integers(0, 2)))
        needs.append(RoleNeed(role="abc"[at], count=draw(st.integers(0, 3)), each=each, **more))
    return tuple(needs)


def waiting(needs: Sequence[RoleNeed]) -> Waiting:
    return gang("g", *needs)
