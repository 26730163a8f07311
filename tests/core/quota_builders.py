"""Random trees of cohorts and queues, and the slow, obvious version of what ``Quotas`` answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from octopus_hub.core.quota import limit
from octopus_hub.core.reason import CPU, MEMORY
from octopus_hub.core.snapshot import RoleNeed, Waiting
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.names import SKU_LABEL
from octopus_hub.model.queue import Cohort, Queue
from tests.core.scheduling_builders import gang

RESOURCES = (CPU, MEMORY, "gpu", "gpu:a100", "npu")

device_amounts = st.dictionaries(st.sampled_from(["gpu", "gpu:a100", "npu"]), st.integers(0, 9), max_size=2)
some = st.one_of(
    st.none(),
    st.builds(lambda cpu, devices: Amounts(cpu_millis=cpu, devices=devices), st.integers(0, 9), device_amounts),
)


small = st.integers(0, 6)
gpus = st.one_of(
    st.none(),
    st.builds(lambda gpu: Amounts(devices={"gpu": gpu}), small),
    st.builds(lambda gpu, sku: Amounts(devices={"gpu": gpu, "gpu:a100": sku}), small, small),
)
anything = st.one_of(gpus, gpus, some)


@dataclass(frozen=True)
class Use:
    """One charge: a gang and what it takes."""

    gang: Waiting
    total: Mapping[str, int]


@st.composite
def trees(draw: st.DrawFn, holders: bool = True) -> tuple[dict[str, Queue], dict[str, Cohort]]:
    """Queues in a tree of cohorts up to five deep; some stand alone, some name a cohort that nobody defined."""
    cohorts: dict[str, Cohort] = {}
    for at in range(draw(st.integers(0, 5))):
        parent = draw(st.sampled_from(["", *cohorts, *list(cohorts)[-1:]]))
        cohorts[f"c{at}"] = Cohort(
            name=f"c{at}",
            parent=parent,
            weight=draw(st.integers(0, 3)),
            nominal=draw(anything),
            borrow=draw(gpus),
            lend=draw(gpus),
        )
    places = ["undefined", *cohorts, *cohorts] if draw(st.booleans()) else ["", *list(cohorts)[-2:]]
    queues: dict[str, Queue] = {}
    for name in "abcde":
        bounds = {"nominal": draw(anything), "borrow": draw(gpus), "lend": draw(gpus)}
        if holders:
            most = draw(st.one_of(st.none(), st.integers(0, 6)))
            bounds |= {"per_user": draw(some), "per_group": draw(some), "max_running_tasks_per_user": most}
            bounds |= {"allowed_groups": draw(st.sampled_from([[], [], ["x"]]))}
        queues[name] = Queue(name=name, cohort=draw(st.sampled_from(places)), weight=draw(st.integers(0, 3)), **bounds)
    return queues, cohorts


@st.composite
def uses(draw: st.DrawFn) -> Use:
    needs = draw(st.lists(needs_of_one_role(), min_size=1, max_size=2))
    waiting = gang("g", *needs, queue=draw(st.sampled_from("abcde")), owner=draw(st.sampled_from(["ann", "bob"])))
    return Use(replace(waiting, groups=draw(st.sampled_from([(), ("x",), ("x", "y")]))), total_of(needs))


@st.composite
def needs_of_one_role(draw: st.DrawFn) -> RoleNeed:
    devices = draw(st.dictionaries(st.sampled_from(["gpu", "npu"]), st.integers(0, 3), max_size=2))
    each = Amounts(cpu_millis=draw(st.integers(0, 3)), devices={name: n for name, n in devices.items() if n})
    selector = draw(st.sampled_from([{}, {SKU_LABEL: "a100"}]))
    return RoleNeed("worker", draw(st.integers(1, 3)), each, node_selector=selector)


def total_of(needs: Iterable[RoleNeed]) -> dict[str, int]:
    """Written out once more: what quotas count."""
    found: dict[str, int] = {}
    for need in needs:
        entries = {CPU: need.each.cpu_millis, MEMORY: need.each.memory_bytes, **need.each.devices}
        if SKU_LABEL in need.node_selector:
            sku = need.node_selector[SKU_LABEL]
            entries.update({f"{name}:{sku}": count for name, count in need.each.devices.items()})
        for name, count in entries.items():
            if count:
                found[name] = found.get(name, 0) + count * need.count
    return found


class Slow:
    """Everything from scratch, from the definitions, for each question."""

    def __init__(self, queues: Mapping[str, Queue], cohorts: Mapping[str, Cohort], charged: Sequence[Use]) -> None:
        self.queues = queues
        self.cohorts = {"undefined": Cohort(name="undefined"), **cohorts}
        self.charged = list(charged)

    def parent(self, name: str) -> str:
        return self.queues[name].cohort if name in self.queues else self.cohorts[name].parent

    def source(self, name: str) -> Queue | Cohort:
        return self.queues[name] if name in self.queues else self.cohorts[name]

    def path(self, name: str) -> list[str]:
        found = [name]
        while self.parent(found[-1]):
            found.append(self.parent(found[-1]))
        return found

    def tree(self, name: str) -> list[str]:
        top = self.path(name)[-1]
        return [each for each in (*self.queues, *self.cohorts) if self.path(each)[-1] == top]

    def bounded(self, name: str, resource: str) -> bool:
        quotas = [self.source(each).nominal for each in self.tree(name)]
        named = [quota for quota in quotas if quota is not None]
        if resource == CPU:
            return any(quota.cpu_millis for quota in named)
        if resource == MEMORY:
            return any(quota.memory_bytes for quota in named)
        devices = {kind for quota in named for kind in quota.devices}
        if not devices or resource in devices:
            return bool(devices)
        kind, _, sku = resource.partition(":")
        return not sku or kind not in devices

    def members(self, name: str) -> list[str]:
        return [each for each in (*self.queues, *self.cohorts) if name and self.parent(each) == name]

    def quota(self, name: str, resource: str) -> int:
        nominal = self.source(name).nominal
        own = (limit(nominal, resource) or 0) if nominal is not None else 0
        return own + sum(self.quota(each, resource) - self.kept(each, resource) for each in self.members(name))

    def kept(self, name: str, resource: str) -> int:
        lend = self.source(name).lend
        bound = limit(lend, resource) if lend is not None else None
        if bound is None or not self.parent(name):
            return 0
        return max(0, self.quota(name, resource) - bound)

    def taken(self, name: str, resource: str, charged: Sequence[Use]) -> int:
        if name in self.queues:
            return sum(use.total.get(resource, 0) for use in charged if use.gang.queue == name)
        return sum(
            max(0, self.taken(each, resource, charged) - self.kept(each, resource)) for each in self.members(name)
        )

    def refuses(self, use: Use, *, empty: bool = False) -> bool:
        """Say whether adding it would take any bound of the path further than it may go."""
        before = [] if empty else self.charged
        after = [*before, use]
        return self._tree_refuses(use, before, after) or self._holder_refuses(use, after)

    def _tree_refuses(self, use: Use, before: Sequence[Use], after: Sequence[Use]) -> bool:
        for resource in use.total:
            if not self.bounded(use.gang.queue, resource):
                continue
            for name in self.path(use.gang.queue):
                was, now = (self.taken(name, resource, charged) for charged in (before, after))
                if now == was or now <= self.kept(name, resource):
                    break  # what stays with it is always its own
                borrow = self.source(name).borrow
                most = limit(borrow, resource) if borrow is not None else None
                if not self.parent(name):
                    most = 0
                if most is not None and now > self.quota(name, resource) + most:
                    return True
        return False

    def _holder_refuses(self, use: Use, after: Sequence[Use]) -> bool:
        queue = self.queues[use.gang.queue]
        here = [each for each in after if each.gang.queue == queue.name]
        of_user = [each for each in here if each.gang.owner == use.gang.owner]
        holders = [(queue.per_user, of_user)]
        for group in use.gang.groups:
            if not queue.allowed_groups or group in queue.allowed_groups:
                holders.append((queue.per_group, [each for each in here if group in each.gang.groups]))
        for quota, held in holders:
            for resource in use.total:
                bound = limit(quota, resource) if quota is not None else None
                if bound is not None and sum(each.total.get(resource, 0) for each in held) > bound:
                    return True
        count = sum(need.count for each in of_user for need in each.gang.needs)
        return queue.max_running_tasks_per_user is not None and count > queue.max_running_tasks_per_user

    def over(self, name: str, resource: str, more: int = 0) -> bool:
        if not self.bounded(name, resource):
            return False
        return self.taken(name, resource, self.charged) + more > self.quota(name, resource)
