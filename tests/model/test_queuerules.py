"""Documents of queues and cohorts: bad values one by one, each with one clear sentence; written back they are the same."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octopus_hub.model.amounts import Amounts
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.queue import Budget, Cohort, Queue
from octopus_hub.model.queuerules import (
    MOST,
    MOST_WEIGHT,
    amounts_document,
    document_of,
    merged,
    parse_cohort,
    parse_queue,
    tree_problems,
)

POLICIES = ("fifo", "priority", "las", "gittins")

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"nominal": {"devices": {"gpu": -1}}}, "nominal.devices.gpu: -1 is not from 0"),
    ({"nominal": {"devices": {"gpu": MOST + 1}}}, "nominal.devices.gpu: 9007199254740993 is not"),
    ({"nominal": {"cpu": "-1"}}, "nominal.cpu: '-1' is negative"),
    ({"nominal": {"memory": "9Ei"}}, "nominal.memory: "),
    ({"nominal": {"memory": "9P"}}, ""),
    ({"nominal": {"memory": "8Ei"}}, "nominal.memory: "),
    ({"nominal": {"memory": "10P"}}, "nominal.memory: 10P is more than 2^53"),
    ({"nominal": {"cpuMillis": -5}}, "nominal.cpuMillis: -5 is not"),
    ({"nominal": {"cpu": 1, "cpuMillis": 1000}}, "nominal.cpuMillis: is given twice"),
    ({"nominal": {"cpu": True}}, "nominal.cpu: needs an amount, not true"),
    ({"nominal": {"gpus": 3}}, "nominal.gpus: unknown field"),
    ({"nominal": 3}, "nominal: needs a mapping such as"),
    ({"borrow": {"devices": {"gpu": -1}}}, "borrow.devices.gpu: -1 is not"),
    ({"lend": {"devices": {"gpu": 10**30}}}, "lend.devices.gpu: "),
    ({"nominal": {"devices": {"gpu:": 1}}}, "nominal.devices.gpu:: "),
    ({"nominal": {"devices": {"gpu:a100": 1}}, "lend": {"devices": {"gpu:a100": 7}}}, ""),
    ({"weight": 0}, ""),
    ({"weight": -1}, "weight: -1 is not from 0 to 1000000"),
    ({"weight": MOST_WEIGHT + 1}, "weight: 1000001 is not"),
    ({"weight": 1.5}, "weight: needs a whole number"),
    ({"policy": "lass"}, "policy: unknown policy 'lass'; did you mean las?"),
    ({"policy": 3}, "policy: needs a text"),
    ({"backfill": "yes"}, "backfill: 'yes' is not one of"),
    ({"preemption": {"minRuntimeSeconds": -1}}, "preemption.minRuntimeSeconds: "),
    ({"preemption": {"minRuntimeSeconds": float("nan")}}, "preemption.minRuntimeSeconds: "),
    ({"preemption": {"perDay": 10**9}}, "preemption.perDay: "),
    ({"budget": {"window": "day"}}, "budget.deviceHours: is missing"),
    ({"budget": {"deviceHours": MOST}}, "budget.deviceHours: "),
    ({"budget": None}, ""),
    ({"maxQueuedPerUser": -1}, "maxQueuedPerUser: -1 is not"),
    ({"name": "b"}, "name: 'b' is not a, under which it is put"),
    ({"allowedGroups": "lab"}, "allowedGroups: needs a list of names"),
    ({"paused": "no"}, "paused: needs true or false"),
    ({"wieght": 1}, "wieght: unknown field; did you mean weight?"),
]


@pytest.mark.parametrize(("document", "words"), REFUSED, ids=[f"{document}" for document, _ in REFUSED])
def test_values_of_a_queue(document: dict[str, Any], words: str) -> None:
    if not words:
        assert parse_queue(document, "a", POLICIES).name == "a"
        return
    with pytest.raises(InvalidSpec) as caught:
        parse_queue(document, "a", POLICIES)
    assert len(caught.value.problems) == 1 and caught.value.problems[0].startswith(words), caught.value.problems


def test_a_name_that_can_be_no_part_of_an_address_is_refused() -> None:
    for name in ("", "a/b", "a b", "x" * 254):
        with pytest.raises(InvalidSpec, match="name"):
            parse_queue({}, name, POLICIES)


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_cohort({"parent": 3, "weight": -1, "lend": {"cpu": "x"}}, "lab")
    assert len(caught.value.problems) == 3


amounts = st.one_of(
    st.none(),
    st.builds(
        Amounts,
        cpu_millis=st.integers(0, 10**9),
        memory_bytes=st.integers(0, MOST),
        devices=st.dictionaries(st.sampled_from(["gpu", "gpu:a100"]), st.integers(0, MOST), max_size=2),
    ),
)
queues = st.builds(
    Queue,
    name=st.just("a"),
    policy=st.sampled_from(POLICIES),
    weight=st.integers(0, MOST_WEIGHT),
    cohort=st.sampled_from(["", "lab"]),
    nominal=amounts,
    per_user=amounts,
    borrow=amounts,
    lend=amounts,
    max_queued_per_user=st.one_of(st.none(), st.integers(0, 9)),
    budget=st.one_of(st.none(), st.builds(Budget, device_hours=st.integers(0, 9), window=st.just("week"))),
    allowed_groups=st.lists(st.sampled_from(["x", "y"]), max_size=2),
    paused=st.booleans(),
)


@settings(max_examples=100, deadline=None)
@given(queues)
def test_a_queue_that_is_written_and_read_is_the_same(queue: Queue) -> None:
    assert parse_queue(document_of(queue), "a", POLICIES) == queue
    plain = {key: value for key, value in msgspec.to_builtins(queue).items() if key != "kind"}
    assert parse_queue(plain, "a", POLICIES) == queue, "what the service answers can be put again"


def test_a_merge_patch_changes_what_it_names() -> None:
    queue = Queue(name="a", nominal=Amounts(cpu_millis=500, devices={"gpu": 4, "npu": 1}), weight=3, paused=True)
    patch = {"nominal": {"devices": {"gpu": 8, "npu": None}}, "weight": None, "perUser": {"cpu": 1}}
    changed = parse_queue(merged(document_of(queue), patch), "a", POLICIES)
    assert changed == Queue(
        name="a",
        nominal=Amounts(cpu_millis=500, devices={"gpu": 8}),
        per_user=Amounts(cpu_millis=1000),
        paused=True,
    )
    assert amounts_document(Amounts(memory_bytes=3 << 30)) == {"memory": "3Gi"}


def test_trees() -> None:
    def told(*cohorts: Cohort, **queues: str) -> list[str]:
        found = tree_problems(
            {name: Queue(name=name, cohort=cohort) for name, cohort in queues.items()},
            {cohort.name: cohort for cohort in cohorts},
        )
        return [f"{name}: {what}" for name, what in found]

    assert told(Cohort(name="x"), Cohort(name="y", parent="x"), a="y", b="") == []
    assert told(Cohort(name="x"), a="xx") == ["a: there is no cohort xx; did you mean x?"]
    (own,) = told(Cohort(name="x", parent="x"))
    assert own == "x: the cohorts x -> x go in a circle; let one of them have no parent"
    beside = told(Cohort(name="z", parent="x"), Cohort(name="x", parent="y"), Cohort(name="y", parent="x"))
    assert [line.split(":")[0] for line in beside] == ["x", "y"], "z only hangs on the circle"
    deep = [Cohort(name=f"c{at}", parent=f"c{at - 1}" if at else "") for at in range(40)]
    assert len(told(*deep)) == 8 and "cohorts deep" in told(*deep)[0]
