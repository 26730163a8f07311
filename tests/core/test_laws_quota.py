"""Law 7 over trees of cohorts: exact in integers, equal to the obvious version, undone without a trace."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from octopus_hub.core.quota import LAST, Quotas
from octopus_hub.core.reason import unflat
from octopus_hub.core.snapshot import Snapshot, Usage, held
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.queue import Cohort, Queue
from octopus_hub.model.status import Span
from tests.core.quota_builders import RESOURCES, Slow, Use, trees, uses
from tests.core.scheduling_builders import gang, node, role

property_test = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
CAPACITY = {"cpu_millis": 20, "gpu": 10, "npu": 6}

Tree = tuple[dict[str, Queue], dict[str, Cohort]]


def fresh(tree: Tree, usage: Usage | None = None) -> Quotas:
    return Quotas(*tree, usage or Usage(), CAPACITY)


def usage_of(charged: list[Use]) -> Usage:
    queues: dict[str, dict[str, int]] = {}
    users: dict[tuple[str, str], dict[str, int]] = {}
    groups: dict[tuple[str, str], dict[str, int]] = {}
    tasks: dict[tuple[str, str], int] = {}
    for use in charged:
        key = (use.gang.queue, use.gang.owner)
        tasks[key] = tasks.get(key, 0) + sum(need.count for need in use.gang.needs)
        tables = [queues.setdefault(use.gang.queue, {}), users.setdefault(key, {})]
        tables += [groups.setdefault((use.gang.queue, name), {}) for name in use.gang.groups]
        for table in tables:
            for resource, amount in use.total.items():
                table[resource] = table.get(resource, 0) + amount
    return Usage(
        queues={name: unflat(table) for name, table in queues.items()},
        users={key: unflat(table) for key, table in users.items()},
        groups={key: unflat(table) for key, table in groups.items()},
        tasks=tasks,
    )


def state(quotas: Quotas) -> object:
    """Everything that an answer depends on, without zeros."""
    nodes = {}
    for name in quotas.queues:
        leaf = quotas.node(name)
        assert leaf is not None
        for place in leaf.path:
            used = {resource: n for resource, n in place.used.items() if n}
            rooms = {resource: place.available(resource) for resource in RESOURCES}
            nodes[place.name, place.is_queue] = (used, rooms)
    shares = {name: (quotas.share(name), quotas.shares(name), quotas.borrows(name)) for name in quotas.queues}
    owners = {(name, owner): quotas.tasks(name, owner) for name in quotas.queues for owner in ("ann", "bob")}
    return nodes, shares, owners


@property_test
@given(trees(), st.lists(uses(), max_size=8), uses())
def test_law_7_quotas_answer_like_the_obvious_version(tree: Tree, charged: list[Use], next_one: Use) -> None:
    quotas = fresh(tree)
    for use in charged:  # whether it fits or not: quotas shrink, and then more is used than there is
        quotas.charge(use.gang, use.total, 1)
    slow = Slow(*tree, charged)
    assert (quotas.check(next_one.gang, next_one.total) is not None) == slow.refuses(next_one)
    assert (quotas.check_empty(next_one.gang, next_one.total) is not None) == slow.refuses(next_one, empty=True)
    for name in tree[0]:
        assert quotas.borrows(name) == any(
            slow.over(name, resource) for resource in RESOURCES if quotas.used(name).get(resource)
        )
    queue = next_one.gang.queue
    assert quotas.would_borrow(queue, next_one.total) == any(
        slow.over(queue, resource, amount) for resource, amount in next_one.total.items()
    )


@property_test
@given(trees(holders=False), st.lists(uses(), max_size=8), st.sampled_from("abcde"))
def test_law_7_the_room_that_a_queue_has_is_exactly_what_it_is_let_have(
    tree: Tree, charged: list[Use], queue: str
) -> None:
    quotas, slow = fresh(tree, usage_of(charged)), Slow(*tree, charged)
    place = quotas.node(queue)
    assert place is not None
    for resource in ("gpu", "gpu:a100"):
        for empty in (False, True):
            room = place.available(resource, empty=empty)
            if room is None:
                assert not slow.bounded(queue, resource)
                continue
            most, more = (Use(gang("n", queue=queue), {resource: amount}) for amount in (room, room + 1))
            assert slow.refuses(more, empty=empty), "one more is too much"
            assert not room or not slow.refuses(most, empty=empty)


@property_test
@given(trees(holders=False), st.lists(uses(), max_size=12))
def test_law_7_no_bound_of_the_tree_is_passed_by_what_was_let_in(tree: Tree, wanted: list[Use]) -> None:
    quotas = fresh(tree)
    inside: list[Use] = []
    for use in wanted:
        if quotas.check(use.gang, use.total) is None:
            quotas.charge(use.gang, use.total, 1)
            inside.append(use)
    slow = Slow(*tree, inside)
    for name in (*tree[0], *slow.cohorts):
        for resource in RESOURCES:
            if not slow.bounded(name, resource):
                continue
            taken = slow.taken(name, resource, inside)
            if not slow.parent(name):
                assert taken <= slow.quota(name, resource), f"law 7: {name} gave {taken} {resource}"


@property_test
@given(trees(), st.lists(uses(), max_size=6), st.lists(uses(), min_size=1, max_size=8), st.randoms())
def test_law_7_taking_charges_back_in_any_order_restores_everything(
    tree: Tree, before: list[Use], tried: list[Use], random: object
) -> None:
    quotas = fresh(tree, usage_of(before))
    was = state(quotas)
    for use in tried:
        quotas.charge(use.gang, use.total, 1)
    shuffled = list(tried)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for use in shuffled:
        quotas.charge(use.gang, use.total, -1)
    assert state(quotas) == was


@property_test
@given(trees(), st.lists(uses(), max_size=6), st.lists(uses(), max_size=6), st.lists(uses(), max_size=3))
def test_law_7_going_over_to_a_later_usage_equals_starting_from_it(
    tree: Tree, first: list[Use], then: list[Use], tried: list[Use]
) -> None:
    quotas = fresh(tree, usage_of(first))
    for use in tried:
        quotas.charge(use.gang, use.total, 1)
    quotas.sync(usage_of(then))
    assert state(quotas) == state(fresh(tree, usage_of(then)))


@property_test
@given(trees(holders=False), st.lists(uses(), max_size=8), uses())
def test_law_7_what_is_reclaimed_was_borrowed_and_the_claimant_has_a_right_to_it(
    tree: Tree, charged: list[Use], claim: Use
) -> None:
    quotas = fresh(tree, usage_of(charged))
    slow = Slow(*tree, charged)
    found = quotas.reclaimable(claim.gang, claim.total)
    assert claim.gang.queue not in found
    for name in found:
        assert quotas.borrows(name), "only what goes beyond its own is taken back"
        assert slow.path(name)[-1] == slow.path(claim.gang.queue)[-1], "of the same tree"
    if all(slow.over(claim.gang.queue, resource, amount) for resource, amount in claim.total.items()):
        assert not found, "who would borrow itself takes nothing back"


@property_test
@given(trees(holders=False), st.lists(uses(), max_size=8), uses())
def test_law_7_a_queue_within_what_stays_with_it_is_never_refused_by_its_tree(
    tree: Tree, charged: list[Use], claim: Use
) -> None:
    slow = Slow(*tree, charged)
    queue = claim.gang.queue
    own = all(
        not slow.bounded(queue, resource) or slow.taken(queue, resource, charged) + amount <= slow.kept(queue, resource)
        for resource, amount in claim.total.items()
    )
    if own:
        assert fresh(tree, usage_of(charged)).check(claim.gang, claim.total) is None


@property_test
@given(trees(), st.lists(uses(), max_size=8), uses())
def test_shares_grow_with_use_and_weightless_queues_come_last(tree: Tree, charged: list[Use], more: Use) -> None:
    quotas = fresh(tree, usage_of(charged))
    before = {name: (quotas.share(name), quotas.shares(name)) for name in tree[0]}
    for name, (share, shares) in before.items():
        place = quotas.node(name)
        assert place is not None and type(share) is int
        last = any(each.weight == 0 for each in place.path)
        assert (share >= LAST) == last == any(part >= LAST for part, _ in shares)
    quotas.charge(more.gang, more.total, 1)
    assert quotas.share(more.gang.queue) >= before[more.gang.queue][0]
    assert all(quotas.share(name) == before[name][0] for name in tree[0] if name != more.gang.queue)


def test_the_usage_of_placed_gangs_counts_skus_groups_and_tasks() -> None:
    asked = role(count=2, gpu=1, node_selector={"octopus-hub.io/sku": "a100"})
    placed = replace(gang("1", asked), groups=("lab",))
    usage = held([(placed, {"worker": (Span(node="n", first=0, count=2),)})])
    view = Snapshot(nodes=(node("n", gpu=8),), usage=usage)
    both = Amounts(cpu_millis=2000, memory_bytes=2 << 30, devices={"gpu": 2, "gpu:a100": 2})
    assert view.usage.queues == {"q": both} and view.usage.groups == {("q", "lab"): both}
    assert view.usage.tasks == {("q", "ann"): 2}
    assert view.usage.nodes["n"].devices == {"gpu": 2}, "nodes have devices, not SKUs"
