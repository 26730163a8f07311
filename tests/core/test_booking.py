"""Whether a reservation can be had: one sentence for each thing in its way."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octopus_hub.core.booking import refusals
from octopus_hub.core.calendar import settle, windows
from octopus_hub.model.reservation import DAY, Chosen, Reservation
from tests.core.calendar_builders import HOUR, NAMES, booked
from tests.core.scheduling_builders import node

CLUSTER = tuple(node(name, gpu=4, labels={"sku": "a100" if name < "n2" else "t4"}) for name in NAMES)
LAB = booked("lab", queues=["lab"], count=4)
QUEUES = ("course", "lab")

REFUSED = [
    ("over", booked(start=HOUR, end=2 * HOUR), [], "end: it is over since 02:00; give a later time"),
    (
        "repeating ended",
        booked(start=0.0, end=HOUR, every="day", until=2 * HOUR),
        [],
        "end: it is over since 02:00; give a later time",
    ),
    ("unknown node", booked(nodes=["n9"]), [], "nodes[0]: there is no node n9; known are n0, n1, n2, n3, n4"),
    ("twice", booked(nodes=["n1", "n1"]), [], "nodes[1]: n1 is named twice"),
    ("unknown queue", booked(queues=["cours"]), [], "queues[0]: there is no queue cours; did you mean course?"),
    ("too many nodes", booked(count=6), [], "count: asks for 6 nodes; there are 5"),
    (
        "too many of a label",
        booked(count=3, node_selector={"sku": "a100"}),
        [],
        "count: asks for 3 nodes labelled sku=a100; there are 2",
    ),
    (
        "no node of a label",
        booked(node_selector={"sku": "x"}),
        [],
        "count: asks for 2 nodes labelled sku=x; there are none",
    ),
    ("too many devices", booked(devices={"gpu": 21}), [], "devices.gpu: asks for 21; the nodes have 20 in all"),
    (
        "a node that another has",
        booked(nodes=["n1"]),
        [booked("exam", 11 * HOUR, 13 * HOUR, nodes=["n1", "n2"])],
        "nodes: n1 is reserved by exam until 13:00, but asked for from 10:00 on",
    ),
    (
        "a node that was chosen for another",
        booked(nodes=["n4"]),
        [booked("exam", chosen=[Chosen(start=10 * HOUR, nodes=["n3", "n4"])])],
        "nodes: n4 is reserved by exam until 12:00, but asked for from 10:00 on",
    ),
    (
        "not enough are left",
        booked(),
        [LAB],
        "count: 1 of 2 nodes can't be had at 10:00 beside lab; ask for less or another time",
    ),
    (
        "not enough devices are left",
        booked(devices={"gpu": 6}),
        [LAB],
        "devices: 2 of 6 gpu can't be had at 10:00 beside lab; ask for less or another time",
    ),
    (
        "named nodes that a reservation by number needs",
        booked(nodes=["n0", "n1"]),
        [LAB],
        "nodes: would take what lab has then (10:00): it would lack 1 of 4 nodes",
    ),
    (
        "an earlier one that would take what a later one needs",
        booked(start=9 * HOUR, end=11 * HOUR),
        [LAB],
        "count: would take what lab has then (10:00): it would lack 1 of 4 nodes",
    ),
    (
        "a meeting in weeks",
        booked(every="week"),
        [booked("exam", 28 * DAY + 11 * HOUR, 28 * DAY + 13 * HOUR, count=4, queues=["lab"])],
        "count: would take what exam has then (Thu 29 Jan 11:00): it would lack 1 of 4 nodes",
    ),
]


@pytest.mark.parametrize(("rule", "wanted", "others", "message"), REFUSED, ids=[case[0] for case in REFUSED])
def test_refused(rule: str, wanted: Reservation, others: list[Reservation], message: str) -> None:
    assert refusals(wanted, others, CLUSTER, 3 * HOUR, QUEUES) == [message]


TAKEN = [
    ("alone", booked(), []),
    ("beside another", booked(), [booked("lab", count=3)]),
    ("right after another", booked(count=5), [booked("lab", 8 * HOUR, 10 * HOUR, count=5)]),
    ("itself, changed", booked(count=5), [booked(count=4)]),
    ("what is running", booked(start=0.0), []),
    ("over a drain", booked(nodes=["n0"]), [booked("drain.n0", 0.0, None, nodes=["n0"], queues=[], purpose="drain")]),
    (
        "a drain over a reservation",
        booked("drain.n0", 0.0, None, nodes=["n0"], queues=[], purpose="drain"),
        [booked(nodes=["n0"])],
    ),
    ("named nodes from under a preliminary choice", booked(nodes=["n0"]), [booked("exam", count=2)]),
]


@pytest.mark.parametrize(("rule", "wanted", "others"), TAKEN, ids=[case[0] for case in TAKEN])
def test_taken(rule: str, wanted: Reservation, others: list[Reservation]) -> None:
    assert refusals(wanted, others, CLUSTER, 3 * HOUR, QUEUES) == []


@st.composite
def some(draw: st.DrawFn, name: str) -> Reservation:
    start = HOUR * draw(st.integers(0, 40))
    fields: dict[str, Any] = draw(
        st.one_of(
            st.fixed_dictionaries({"count": st.integers(1, 5)}),
            st.fixed_dictionaries({"nodes": st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)}),
            st.fixed_dictionaries({"devices": st.fixed_dictionaries({"gpu": st.integers(1, 20)})}),
        )
    )
    every = draw(st.sampled_from(["once", "day", "week"]))
    return booked(name, start, start + HOUR * draw(st.integers(1, 20)), every=every, **fields)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_reservations_that_were_let_in_all_have_their_nodes_to_themselves(data: st.DataObject) -> None:
    """In whatever order they come, and however often choices are stored meanwhile."""
    held: list[Reservation] = []
    for number in range(data.draw(st.integers(2, 5))):
        wanted = data.draw(some(f"r{number}"))
        if not refusals(wanted, held, CLUSTER, 0.0):
            held.append(wanted)
        if data.draw(st.booleans()):
            stored = {each.name: each for each in settle(held, CLUSTER, 0.0, {})}
            held = [stored.get(each.name, each) for each in held]
    seen = windows(held, CLUSTER, 0.0, horizon=10 * DAY)
    wanted_by_name = {each.name: each for each in held}
    for at, one in enumerate(seen):
        asked = wanted_by_name[one.name]
        if asked.count is not None:
            assert len(one.nodes) == asked.count
        elif asked.devices:
            assert 4 * len(one.nodes) >= asked.devices["gpu"]
        for other in seen[at + 1 :]:
            assert other.start >= (one.end or 0.0) or one.nodes.isdisjoint(other.nodes)
