"""Sizes of elastic gangs: growing into idle room, giving up what a claimant needs, starting with what fits."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from scheduling_builders import amounts, assert_no_overcommit, gang, node, role, usage_of

from octopus_hub.core import elastic
from octopus_hub.core.placement import find
from octopus_hub.core.plan import Resize
from octopus_hub.core.sizes import size
from octopus_hub.core.snapshot import Running, Snapshot, Usage, Waiting, held
from octopus_hub.core.trial import Trial
from octopus_hub.model.queue import Queue, QueuePreemption
from octopus_hub.model.status import Span

NOW = 10_000.0
RULES = QueuePreemption(min_runtime_seconds=600.0, review_seconds=600.0)
LONG_AGO = 1_000.0


def everything(gang: Waiting, total: Mapping[str, int]) -> bool:
    return True


def worker(least: int, most: int, **rest: Any) -> Any:
    return replace(role("worker", least, **rest), most=most)


def running(waiting: Waiting, *where: tuple[str, int], since: float = LONG_AGO, **rest: Any) -> Running:
    """A gang whose workers are placed as (node, tasks)."""
    spans, first = [], 0
    for name, count in where:
        spans.append(Span(node=name, first=first, count=count))
        first += count
    return Running(waiting, {"worker": tuple(spans)}, since, **rest)


def view(nodes: Sequence[Any], *gangs: Running, queue: Queue | None = None) -> Snapshot:
    return Snapshot(
        nodes=tuple(nodes),
        usage=held([(each.gang, each.placement) for each in gangs]),
        queues={"q": queue or Queue(name="q", preemption=RULES)},
        running={each.gang.uid: each for each in gangs},
    )


def where(resize: Resize) -> dict[str, int]:
    found: dict[str, int] = {}
    for span in resize.placement["worker"]:
        found[span.node] = found.get(span.node, 0) + span.count
    return found


def grow(snapshot: Snapshot, now: float = NOW, allows: Any = everything) -> dict[str, Resize]:
    return {resize.uid: resize for resize in elastic.grow(Trial(snapshot), now, allows)}


def gpu(name: str, count: int = 4, **labels: str) -> Any:
    return node(name, labels=labels, gpu=count)


# --- growing
def test_it_grows_into_what_is_idle_and_who_runs_stays_where_it_is() -> None:
    one = running(gang("a", worker(2, 8, gpu=1)), ("n2", 2))
    found = grow(view([gpu("n1"), gpu("n2")], one))
    spans = found["a"].placement["worker"]
    assert found["a"].rule == "grow" and where(found["a"]) == {"n1": 4, "n2": 4}
    assert spans[0] == Span(node="n2", first=0, count=4), "indexes 0 and 1 keep their node"
    assert [index for span in spans for index in range(span.first, span.first + span.count)] == list(range(8))


def test_nothing_grows_beyond_its_most_or_what_is_free() -> None:
    one = running(gang("a", worker(2, 3, gpu=1)), ("n1", 2))
    assert where(grow(view([gpu("n1")], one))["a"]) == {"n1": 3}
    fixed = running(gang("b", role(count=2, gpu=1)), ("n1", 2))
    assert grow(view([gpu("n1")], fixed)) == {}
    full = running(gang("a", worker(4, 8, gpu=1)), ("n1", 4))
    assert grow(view([gpu("n1")], full)) == {}


def test_those_with_the_least_beyond_their_minimum_grow_first() -> None:
    large = running(gang("a", worker(2, 16, gpu=1)), ("n1", 4))
    small = running(gang("b", worker(2, 16, gpu=1)), ("n2", 2))
    found = grow(view([gpu("n1"), gpu("n2")], large, small))
    assert set(found) == {"b"} and where(found["b"]) == {"n2": 4}
    both = [
        running(gang(uid, worker(2, 16, gpu=1), at=at), (name, 2)) for uid, at, name in (("a", 2, "n1"), ("b", 1, "n2"))
    ]
    found = grow(view([gpu("n1"), gpu("n2")], *both))
    assert sum(where(found["a"]).values()) == sum(where(found["b"]).values()) == 4


def test_an_attempt_is_left_alone_for_a_review_period_and_its_minimum_runtime() -> None:
    queue = Queue(name="q", preemption=QueuePreemption(review_seconds=600, min_runtime_seconds=900))
    one = running(gang("a", worker(2, 8, gpu=1)), ("n1", 2), since=NOW - 800)
    snapshot = view([gpu("n1")], one, queue=queue)
    assert grow(snapshot) == {}
    assert elastic.review_at(snapshot, NOW) == NOW + 100
    assert "a" in grow(snapshot, NOW + 100)
    wished = replace(one, gang=replace(one.gang, scaled_at=NOW - 5))
    assert "a" in grow(view([gpu("n1")], wished, queue=queue)), "its owner need not wait"
    own = replace(one, gang=replace(one.gang, min_runtime=0.0))
    assert "a" in grow(view([gpu("n1")], own, queue=queue))


def test_growing_has_to_pay_for_the_restart() -> None:
    big = running(gang("a", worker(100, 200)), ("n1", 100))
    little = [node("n1", cpu=105, memory=1000)]
    assert grow(view(little, big)) == {}, "5 more of 100 don't make up for a minute of 100"
    assert "a" in grow(view([node("n1", cpu=112, memory=1000)], big))
    behind = replace(big, checkpoint_at=NOW - 3600)
    assert grow(view([node("n1", cpu=112, memory=1000)], behind)) == {}, "an hour of 100 tasks would be lost"


def test_what_is_too_little_for_two_is_enough_for_one() -> None:
    pair = [
        running(gang(uid, worker(50, 100), at=at), (name, 50)) for uid, at, name in (("a", 1, "n1"), ("b", 2, "n2"))
    ]
    found = grow(view([node("n1", cpu=54, memory=999), node("n2", cpu=54, memory=999)], *pair))
    assert set(found) == {"a"} and where(found["a"]) == {"n1": 54, "n2": 4}


def test_a_gang_that_would_start_again_does_not_grow() -> None:
    fresh = replace(gang("a", worker(2, 8, gpu=1)), resumes=False)
    assert grow(view([gpu("n1")], running(fresh, ("n1", 2)))) == {}
    assert "a" in grow(view([gpu("n1")], running(replace(fresh, scaled_at=NOW), ("n1", 2)))), "unless it is asked to"


def test_one_on_its_way_out_is_left_alone() -> None:
    one = running(gang("a", worker(2, 8, gpu=1)), ("n1", 2), leaving=True)
    assert grow(view([gpu("n1")], one)) == {} and elastic.review_at(view([gpu("n1")], one), 0.0) is None


def test_quotas_bound_it() -> None:
    one = running(gang("a", worker(2, 8, gpu=1)), ("n1", 2))
    trial = Trial(view([gpu("n1", 8)], one))

    def five(waiting: Waiting, total: Mapping[str, int]) -> bool:
        return trial.quotas.used(waiting.queue).get("gpu", 0) + total["gpu"] <= 5

    (resize,) = elastic.grow(trial, NOW, five)
    assert where(resize) == {"n1": 5} and trial.quotas.used("q")["gpu"] == 5


def test_a_required_level_holds_and_a_preferred_one_comes_first() -> None:
    nodes = [gpu("n1", 2, rack="r1"), gpu("n2", 2, rack="r2"), gpu("n3", 2, rack="r1")]
    need = worker(2, 8, gpu=1, topology="rack", topology_required=True)
    found = grow(view(nodes, running(gang("a", need), ("n1", 2))))
    assert where(found["a"]) == {"n1": 2, "n3": 2}
    preferred = running(gang("a", replace(need, topology_required=False, most=3)), ("n1", 2))
    assert where(grow(view(nodes, preferred))["a"]) == {"n1": 2, "n3": 1}


def test_a_spread_role_stays_spread() -> None:
    nodes = [gpu("n1", 4, rack="r1"), gpu("n2", 4, rack="r2")]
    bound = replace(worker(2, 8, gpu=1), spread="rack", spread_most=2)
    assert where(grow(view(nodes, running(gang("a", bound), ("n1", 1), ("n2", 1))))["a"]) == {"n1": 2, "n2": 2}
    even = replace(bound, spread_most=None, most=6)
    assert where(grow(view(nodes, running(gang("a", even), ("n1", 1), ("n2", 1))))["a"]) == {"n1": 3, "n2": 3}


def test_more_than_its_owner_wishes_is_given_up() -> None:
    scaled = replace(gang("a", worker(2, 3, gpu=1)), scaled_at=NOW - 1)
    snapshot = view([gpu("n1"), gpu("n2")], running(scaled, ("n1", 4), ("n2", 2), since=NOW - 60))
    (resize,) = elastic.wishes(snapshot, NOW)
    assert resize.rule == "shrink" and where(resize) == {"n1": 3}
    assert elastic.wishes(snapshot, NOW, among=["b"]) == [] and grow(snapshot) == {}


# --- starting
def test_it_starts_with_as_many_as_fit() -> None:
    waiting = gang("a", worker(2, 8, gpu=1))
    trial = Trial(view([gpu("n1"), gpu("n2", 2)]))
    before = [list(row) for row in trial.free]
    placement = find(trial, waiting)
    assert placement is not None
    placed = elastic.start_size(trial, waiting, placement, everything)
    assert size(placed, "worker") == 6 and trial.free == before
    assert trial.quotas.used("q").get("gpu", 0) == 0
    fixed = gang("b", role(count=2, gpu=1))
    assert elastic.start_size(trial, fixed, {"worker": (Span(node="n1", first=0, count=2),)}, everything) == {
        "worker": (Span(node="n1", first=0, count=2),)
    }


# --- shrinking
def fits(claimant: Waiting) -> Any:
    return lambda trial: find(trial, claimant) is not None


def test_it_gives_up_as_few_as_the_claimant_needs() -> None:
    victim = running(gang("a", worker(2, 8, gpu=1)), ("n1", 4), ("n2", 4))
    claimant = gang("c", role(count=2, gpu=1))
    trial = Trial(view([gpu("n1"), gpu("n2")], victim))
    resize = elastic.shrink(trial, victim, claimant, fits(claimant), NOW)
    assert resize is not None and resize.by == "c" and resize.rule == "shrink"
    assert size(resize.placement, "worker") == 6
    assert find(trial, claimant) is not None, "the trial has it"
    whole_node = gang("c", role(count=1, gpu=4))
    trial = Trial(view([gpu("n1"), gpu("n2")], victim))
    resize = elastic.shrink(trial, victim, whole_node, fits(whole_node), NOW)
    assert resize is not None and len(where(resize)) == 1 and size(resize.placement, "worker") == 4


def test_it_never_goes_below_its_minimum_and_a_refused_try_leaves_no_trace() -> None:
    victim = running(gang("a", worker(3, 8, gpu=1)), ("n1", 4))
    claimant = gang("c", role(count=2, gpu=1))
    trial = Trial(view([gpu("n1")], victim))
    before = [list(row) for row in trial.free]
    assert elastic.shrink(trial, victim, claimant, fits(claimant), NOW) is None
    assert trial.free == before and trial.quotas.used("q")["gpu"] == 4
    fresh = replace(victim, since=NOW - 1)
    one = gang("c", role(count=1, gpu=1))
    assert elastic.shrink(trial, fresh, one, fits(one), NOW) is None, "left alone for a while"
    assert elastic.shrink(trial, replace(victim, leaving=True), one, fits(one), NOW) is None


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=4),
    st.integers(1, 4),
    st.integers(1, 3),
    st.sampled_from([1, 2, 3, 4]),
)
def test_shrink_takes_the_fewest_and_none_in_vain(tasks: list[int], least: int, count: int, each: int) -> None:
    """Against every way to take tasks away, in small clusters."""
    total = sum(tasks)
    if total <= least:
        return
    places = [(f"n{at}", number) for at, number in enumerate(tasks) if number]
    victim = running(gang("a", worker(least, 20, gpu=1)), *places)
    claimant = gang("c", role(count=count, gpu=each))
    snapshot = view([gpu(f"n{at}") for at in range(len(tasks))], victim)
    if find(Trial(snapshot), claimant) is not None:
        return
    found = elastic.shrink(Trial(snapshot), victim, claimant, fits(claimant), NOW)
    ways = (way for way in itertools.product(*(range(number + 1) for number in tasks)) if sum(way) <= total - least)
    possible = [sum(way) for way in ways if _room(tasks, way, each) >= count]
    if not possible:
        assert found is None
        return
    assert found is not None
    taken = total - size(found.placement, "worker")
    assert taken == min(possible)


def _room(tasks: list[int], way: Sequence[int], each: int) -> int:
    return sum((4 - number + gone) // each for number, gone in zip(tasks, way, strict=True))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_law_7_growing_never_overcommits(data: Any) -> None:
    nodes = [gpu(f"n{at}", data.draw(st.integers(1, 6))) for at in range(data.draw(st.integers(1, 4)))]
    trial = Trial(Snapshot(nodes=tuple(nodes), queues={"q": Queue(name="q")}))
    gangs = []
    for number in range(data.draw(st.integers(1, 4))):
        least = data.draw(st.integers(1, 3))
        waiting = gang(f"g{number}", worker(least, least + data.draw(st.integers(0, 9)), gpu=1), at=float(number))
        placement = find(trial, waiting)
        if placement is not None:
            trial.add(waiting, placement)
            gangs.append(Running(waiting, placement, LONG_AGO))
    snapshot = view(nodes, *gangs)
    limit = data.draw(st.integers(0, 20))
    after = Trial(snapshot)

    def allows(waiting: Waiting, total: Mapping[str, int]) -> bool:
        return after.quotas.used("q").get("gpu", 0) + total["gpu"] <= limit

    resizes = elastic.grow(after, NOW, allows)
    grown = {resize.uid: resize.placement for resize in resizes}
    usage = held([(each.gang, grown.get(each.gang.uid, each.placement)) for each in gangs])
    assert_no_overcommit(snapshot, Usage(), usage)
    assert usage.nodes == {name: used for name, used in usage_of(after).nodes.items() if used != amounts()}
    before = sum(size(each.placement, "worker") for each in gangs)
    total = sum(size(grown.get(each.gang.uid, each.placement), "worker") for each in gangs)
    assert total <= max(limit, before)
    for each in gangs:
        if each.gang.uid in grown:
            old = [span.node for span in each.placement["worker"] for _ in range(span.count)]
            new = [span.node for span in grown[each.gang.uid]["worker"] for _ in range(span.count)]
            assert new[: len(old)] == old and len(new) <= (each.gang.needs[0].most or 0)
    if not resizes and total < limit:
        free = sum(row[2] for row in after.free)
        assert not free or all(
            size(each.placement, "worker") == each.gang.needs[0].most or each.gang.needs[0].count > 10 * free
            for each in gangs
        )
