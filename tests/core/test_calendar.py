"""The calendar: which nodes are chosen, who may be on them when, who has to leave."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus_hub.core.calendar import (
    Closures,
    closed,
    frees,
    kept_for,
    lingering,
    overdue,
    settle,
    short_of,
    wake,
    windows,
)
from octopus_hub.core.placement import find
from octopus_hub.core.plan import Eviction
from octopus_hub.core.snapshot import Snapshot, Window
from octopus_hub.core.trial import Trial
from octopus_hub.model.reservation import Chosen
from tests.core.calendar_builders import HOUR, NAMES, booked, running, some_windows, waiting, window
from tests.core.scheduling_builders import node, role

CLUSTER = tuple(node(name, gpu=4, labels={"sku": "a100" if name < "n2" else "t4"}) for name in NAMES)


# --- which nodes
CHOICES = [
    ("the first by name", booked(), {}, {"n0", "n1"}),
    ("those that are empty", booked(), {"n0": 5.0, "n2": 9.0}, {"n1", "n3"}),
    ("those that are free first", booked(count=4), {"n0": 5.0, "n2": 9.0}, {"n0", "n1", "n3", "n4"}),
    ("by label", booked(node_selector={"sku": "t4"}), {}, {"n2", "n3"}),
    ("by name", booked(nodes=["n4", "n9"]), {}, {"n4", "n9"}),
    ("devices in whole nodes", booked(devices={"gpu": 9}), {}, {"n0", "n1", "n2"}),
    ("devices that nobody has", booked(devices={"npu": 1}), {}, set()),
    ("those of before", booked(chosen=[Chosen(start=10 * HOUR, nodes=["n3", "n4"])]), {"n3": 5.0}, {"n3", "n4"}),
    ("those of before that still are", booked(chosen=[Chosen(start=10 * HOUR, nodes=["n9", "n4"])]), {}, {"n0", "n4"}),
    ("not those of another time", booked(chosen=[Chosen(start=3 * HOUR, nodes=["n3", "n4"])]), {}, {"n0", "n1"}),
    ("fewer, if there are no more", booked(count=9), {}, set(NAMES)),
]


@pytest.mark.parametrize(("rule", "each", "busy", "expected"), CHOICES, ids=[case[0] for case in CHOICES])
def test_choice_of_nodes(rule: str, each: object, busy: dict, expected: set) -> None:
    (found,) = windows([each], CLUSTER, 0.0, frees=busy)
    assert found.nodes == expected


def test_nodes_that_are_down_are_chosen_last() -> None:
    (found,) = windows([booked()], (replace(CLUSTER[0], usable=False), *CLUSTER[1:]), 0.0)
    assert found.nodes == {"n1", "n2"}


def test_two_at_the_same_time_get_different_nodes_and_one_after_the_other_the_same() -> None:
    first, beside, after = booked("a"), booked("b", 11 * HOUR, 13 * HOUR), booked("c", 13 * HOUR, 14 * HOUR)
    found = {each.name: each.nodes for each in windows([after, beside, first], CLUSTER, 0.0)}
    assert found == {"a": {"n0", "n1"}, "b": {"n2", "n3"}, "c": {"n0", "n1"}}


def test_a_drained_node_is_not_chosen() -> None:
    drain = booked("drain.n0", 0.0, None, nodes=["n0"], queues=[], purpose="drain")
    found = {each.name: each.nodes for each in windows([booked(), drain], CLUSTER, 0.0)}
    assert found == {"r": {"n1", "n2"}, "drain.n0": {"n0"}}


def test_a_choice_that_was_stored_outlives_earlier_reservations_and_what_runs() -> None:
    reservations = [booked("late", 10 * HOUR)]
    (stored,) = settle(reservations, CLUSTER, 9 * HOUR, {"n0": 11 * HOUR})
    assert stored.chosen == [Chosen(start=10 * HOUR, nodes=["n1", "n2"])]
    again = windows([booked("early", 9 * HOUR, count=3), stored], CLUSTER, 9 * HOUR, frees={"n1": 99 * HOUR})
    assert {each.name: each.nodes for each in again} == {"early": {"n0", "n3", "n4"}, "late": {"n1", "n2"}}
    assert settle([stored], CLUSTER, 9.5 * HOUR, {}) == []  # nothing more to store


def test_a_choice_is_not_stored_before_the_nodes_close() -> None:
    each = booked(start=72 * HOUR, end=74 * HOUR)
    assert settle([each], CLUSTER, 47 * HOUR, {}) == []
    assert settle([each], CLUSTER, 48 * HOUR, {}) != []


def test_every_occurrence_has_a_choice_of_its_own() -> None:
    each = booked(every="day", lead_seconds=30 * HOUR)
    (stored,) = settle([each], CLUSTER, 9 * HOUR, {"n0": 11 * HOUR})
    assert [choice.start for choice in stored.chosen] == [10 * HOUR, 34 * HOUR]
    (later,) = settle([stored], CLUSTER, 13 * HOUR, {"n1": 99 * HOUR})  # what is over is forgotten
    assert later.chosen == [stored.chosen[1]]


def test_a_node_that_went_away_is_replaced_and_the_others_stay() -> None:
    (stored,) = settle([booked()], CLUSTER, 9 * HOUR, {"n0": 11 * HOUR})
    (again,) = settle([stored], CLUSTER[:1] + CLUSTER[2:], 9 * HOUR, {})
    assert again.chosen == [Chosen(start=10 * HOUR, nodes=["n0", "n2"])]


def test_what_a_reservation_lacks() -> None:
    assert short_of(booked(count=4), frozenset({"n0"}), CLUSTER) == "3 of 4 nodes"
    assert short_of(booked(devices={"gpu": 9}), frozenset({"n0", "n1"}), CLUSTER) == "1 of 9 gpu"
    assert short_of(booked(nodes=["n0", "n9"]), frozenset({"n0", "n9"}), CLUSTER) == "1 of 2 nodes (n9 does not exist)"
    assert short_of(booked(), frozenset({"n0", "n1"}), CLUSTER) == ""


# --- who may be where
MAY = [
    ("ends before it", 9.0, 10.0, "q", "ann", set()),
    ("ends a moment after the start", 9.0, 10.001, "q", "ann", {"n0", "n1"}),
    ("nobody knows when it ends", 9.0, None, "q", "ann", {"n0", "n1"}),
    ("before the nodes close", -15.0, None, "q", "ann", set()),
    ("while it is", 11.0, 11.5, "q", "ann", {"n0", "n1"}),
    ("after it", 12.0, None, "q", "ann", set()),
    ("its queue may at any time", 9.0, None, "course", "ann", set()),
    ("its owner may at any time", 11.0, None, "q", "tea", set()),
]


@pytest.mark.parametrize(("rule", "now", "until", "queue", "owner", "expected"), MAY, ids=[case[0] for case in MAY])
def test_closed(rule: str, now: float, until: float | None, queue: str, owner: str, expected: set) -> None:
    each = window(owners=["tea"])
    end = None if until is None else until * HOUR
    assert closed([each], now * HOUR, end, queue, owner) == expected


def test_its_own_work_is_steered_to_the_nodes_while_it_is() -> None:
    assert kept_for([window()], 11 * HOUR, "course", "ann") == {"n0", "n1"}
    assert kept_for([window()], 9 * HOUR, "course", "ann") == frozenset()
    assert kept_for([window()], 11 * HOUR, "q", "ann") == frozenset()


MOMENTS = st.integers(-48 * 60, 72 * 60).map(lambda minutes: minutes * 60.0)
QUEUES, OWNERS = st.sampled_from(["course", "lab", "q"]), st.sampled_from(["ann", "bob", "cat"])


@given(some_windows(), MOMENTS, MOMENTS, MOMENTS, QUEUES, OWNERS)
def test_later_ends_close_more_nodes(
    each: tuple[Window, ...], now: float, one: float, other: float, queue: str, owner: str
) -> None:
    early, late = sorted((one, other))
    unknown = closed(each, now, None, queue, owner)
    assert closed(each, now, early, queue, owner) <= closed(each, now, late, queue, owner) <= unknown


@given(some_windows(), MOMENTS, st.one_of(st.none(), MOMENTS), QUEUES, OWNERS)
def test_closures_answer_like_closed(
    each: tuple[Window, ...], now: float, until: float | None, queue: str, owner: str
) -> None:
    closures = Closures(each, now)
    found = closures.closed(until, queue, owner)
    assert found == closed(each, now, until, queue, owner)
    assert closures.closed(until, queue, owner) is found


@given(some_windows(), MOMENTS, st.one_of(st.none(), st.integers(1, 60).map(lambda hours: hours * HOUR)), OWNERS)
def test_no_gang_that_may_outlast_the_start_is_placed_on_the_nodes(
    each: tuple[Window, ...], now: float, max_runtime: float | None, owner: str
) -> None:
    """Promise to those who reserve: from the lead on only what has ended by the start, and what they let in."""
    gang = waiting(needs=(role(count=6, gpu=2),), owner=owner, max_runtime=max_runtime)
    until = None if max_runtime is None else now + max_runtime
    trial = Trial(Snapshot(nodes=CLUSTER, windows=each))
    shut = closed(each, now, until, gang.queue, owner)
    placement = find(trial, gang, frozenset(trial.cluster.index[name] for name in shut))
    open_nodes = [node for node in CLUSTER if node.name not in shut]
    assert (placement is None) == (2 * len(open_nodes) < 6)
    used = {span.node for span in (placement or {}).get("worker", ())}
    for one in each:
        over = one.end is not None and one.end <= now
        if used & one.nodes and not over and now >= one.start - one.ahead and owner not in one.owners:
            assert until is not None and until <= one.start


# --- who has to leave
EVICTED = [
    ("at the start minus its notice", 10 - 1 / 60, running(), True),
    ("not before", 10 - 2 / 60, running(), False),
    ("a longer notice is earlier", 9.5, running(notice=HOUR), True),
    ("not by a notice longer than the lead: it could be placed there again", -15.0, running(notice=99 * HOUR), False),
    ("at the start, should it still be there", 10.0, running(max_runtime=10 * HOUR), True),
    ("not what will have ended by then", 9.999, running(max_runtime=10 * HOUR), False),
    ("what may run longer, before", 9.999, running(max_runtime=10.5 * HOUR), True),
    ("while it is", 11.9, running(), True),
    ("not after it", 12.0, running(), False),
    ("not what can't be preempted", 11.0, running(preemptible=False), False),
    ("not what is leaving", 11.0, running(leaving=True), False),
    ("not its own work", 11.0, running(queue="course"), False),
    ("not what runs elsewhere", 11.0, running("g", "n2"), False),
    ("one task there is enough", 11.0, running("g", "n2", "n1"), True),
    ("whatever it has run", 11.0, running(since=11 * HOUR - 1, min_runtime=9 * HOUR), True),
]


@pytest.mark.parametrize(("rule", "now", "each", "leaves"), EVICTED, ids=[case[0] for case in EVICTED])
def test_overdue(rule: str, now: float, each: object, leaves: bool) -> None:
    found = overdue([window()], [each], now * HOUR)
    assert found == ([Eviction("g", "w", "window")] if leaves else [])


def test_nobody_leaves_a_node_that_is_only_closed() -> None:
    assert overdue([window(evict=False)], [running()], 11 * HOUR) == []


def test_one_eviction_for_two_windows() -> None:
    both = [window("b", 11 * HOUR), window("a", 10 * HOUR)]
    assert overdue(both, [running()], 11.5 * HOUR) == [Eviction("g", "a", "window")]


def test_who_stays_is_told() -> None:
    stays, leaves, own = running("a", preemptible=False), running("b", leaving=True), running("c", queue="course")
    each = window()
    assert lingering([each], [stays, leaves, own], 11 * HOUR) == [(each, stays), (each, leaves)]
    assert lingering([each], [stays], 9 * HOUR) == []


@given(some_windows(), MOMENTS, st.lists(st.sampled_from(NAMES), min_size=1, max_size=3), st.booleans())
def test_what_leaves_can_not_be_placed_there_again(
    each: tuple[Window, ...], now: float, nodes: list[str], preemptible: bool
) -> None:
    """Never a circle: whoever had to make room finds the nodes closed."""
    present = running("g", *dict.fromkeys(nodes), preemptible=preemptible)
    found = overdue(each, [present], now)
    assert preemptible or not found
    for eviction in found:
        by = next(one for one in each if one.name == eviction.by)
        assert by.nodes <= closed(each, now, None, "q", "ann")


@given(some_windows(), MOMENTS, st.lists(st.integers(1, 7200), max_size=3), st.integers(1, 600))
def test_nothing_changes_between_two_wakes(
    each: tuple[Window, ...], now: float, notices: list[int], minutes: int
) -> None:
    present = [running(f"g{number}", notice=float(notice)) for number, notice in enumerate(notices)]
    then = wake(each, now, present)
    later = now + minutes * 60.0
    if then is not None and later >= then:
        later = (now + then) / 2
    if later > now:
        for until in (None, later + 30 * HOUR):
            assert closed(each, now, until, "q", "ann") == closed(each, later, until, "q", "ann")
        assert overdue(each, present, now) == overdue(each, present, later)
        assert lingering(each, present, now) == lingering(each, present, later)


def test_when_nodes_are_free() -> None:
    present = [running("a", "n0", max_runtime=2 * HOUR), running("b", "n0", "n1", since=HOUR, max_runtime=HOUR * 5)]
    assert frees(["n0", "n2"], present, HOUR) == {"n0": 6 * HOUR}
    asked = frees(NAMES, [running("c", "n2"), running("d", "n3", preemptible=False)], 0.0)
    assert asked["n2"] < asked["n3"]


def test_the_windows_are_the_same_for_the_same_input() -> None:
    reservations = [booked("a"), booked("b", 11 * HOUR, 13 * HOUR, every="day"), booked("c", nodes=["n4"])]
    assert windows(reservations, CLUSTER, 0.0) == windows(reservations[::-1], CLUSTER[::-1], 0.0)
    (one, *_) = windows([msgspec.structs.replace(reservations[0], message="exam")], CLUSTER, 0.0)
    assert (one.message, one.ahead, one.evict, one.zone) == ("exam", 24 * HOUR, True, "UTC")
