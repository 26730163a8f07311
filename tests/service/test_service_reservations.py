"""Reservations and drains over HTTP: seen by everybody, changed by administrators, refused in one sentence."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from octopus_hub.model.reservation import DAY
from octopus_hub.model.status import Phase
from tests.service.running import Running, document, running

COURSE = {
    "start": "2032-11-29T10:00",
    "end": "2032-11-29T12:00",
    "zone": "Europe/Berlin",
    "count": 1,
    "queues": ["default"],
}


async def put(client: httpx.AsyncClient, name: str, **fields: Any) -> dict[str, Any]:
    answer = await client.put(f"reservations/{name}", json={**COURSE, **fields})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_an_administrator_reserves_and_everybody_sees_it(service: Running) -> None:
    root, alice = service.client("root-token"), service.client("alice-token")
    made = await put(root, "course", every="week", owners=["alice", "bob"])
    assert made["start"] == datetime(2032, 11, 29, 9, tzinfo=UTC).timestamp()
    assert made["state"]["nodes"] == ["node-a"]
    assert made["state"]["text"] == (
        "node-a is reserved for default, alice, bob from Mon 29 Nov 2032 10:00 to Mon 29 Nov 2032 12:00 (Europe/Berlin)"
    )
    (seen,) = (await alice.get("reservations")).json()["items"]
    assert seen["owners"] == ["alice"], "whom else it is for is not everyone's business"
    assert "bob" not in seen["state"]["text"]
    assert (await alice.get("reservations/course")).json() == seen
    again = await root.put("reservations/course", json=(await root.get("reservations/course")).json())
    assert again.status_code == 200 and again.json() == made, "an answer can be put again"
    assert (await root.delete("reservations/course")).status_code == 204
    assert (await root.delete("reservations/course")).status_code == 404
    assert (await root.get("reservations/course")).status_code == 404


async def test_only_administrators_change(service: Running) -> None:
    alice = service.client("alice-token")
    for method, path in (
        ("PUT", "reservations/x"),
        ("DELETE", "reservations/x"),
        ("POST", "nodes/node-a/drain"),
        ("POST", "nodes/node-a/close"),
        ("POST", "nodes/node-a/open"),
    ):
        assert (await alice.request(method, path, json={})).status_code == 403


REFUSED = [
    ({"zone": "Europe/Berlinn"}, "zone: there is no time zone 'Europe/Berlinn'; did you mean Europe/Berlin?"),
    ({"end": "2032-11-29T09:00"}, "end: is not after start; give a later one"),
    ({"end": "2034-11-29T09:00"}, "end: is 730 days after start, at most 366 are possible; drain the nodes"),
    ({"start": "2020-11-29T09:00", "end": "2020-11-29T10:00"}, "end: it is over since"),
    ({"count": 9}, "count: asks for 9 nodes; there are 2"),
    ({"queues": ["defalt"]}, "queues[0]: there is no queue defalt; did you mean default?"),
    ({"name": "y"}, "name: y is not x, under which it is put; leave the field out"),
    ({"purpose": "drain"}, "purpose: drains are made by octopus nodes drain NAME"),
    (
        {"count": 2},
        "count: 1 of 2 nodes can't be had at Mon 29 Nov 2032 10:00 beside other; ask for less or another time",
    ),
]


@pytest.mark.parametrize(("fields", "words"), REFUSED, ids=[str(case[0]) for case in REFUSED])
async def test_refused(service: Running, fields: dict[str, Any], words: str) -> None:
    root = service.client("root-token")
    await put(root, "other")
    answer = await root.put("reservations/x", json={**COURSE, **fields})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(words)


async def test_a_changed_time_keeps_the_nodes_that_were_chosen(service: Running) -> None:
    root, now = service.client("root-token"), time.time()
    async with running(engine=True) as engine:
        root = engine.client("root-token")
        await put(root, "course", start=now + 600, end=now + 1200)
        await engine.until(lambda: engine.cache.calendar.reservations["course"].chosen)
        (chosen,) = engine.cache.calendar.reservations["course"].chosen
        longer = await put(root, "course", start=now + 600, end=now + 3600)
        assert longer["chosen"] == [{"start": chosen.start, "nodes": chosen.nodes}]


async def test_nodes_are_drained_closed_and_opened(service: Running) -> None:
    root, alice = service.client("root-token"), service.client("alice-token")

    async def states() -> dict[str, str]:
        return dict((await alice.get("nodes")).json()["states"])

    assert await states() == {}
    drained = await root.post("nodes/node-a/drain", json={"reason": "new fan"})
    assert drained.status_code == 200, drained.text
    assert (drained.json()["name"], drained.json()["state"]["text"]) == ("drain.node-a", "node-a is drained: new fan")
    assert (await root.post("nodes/node-b/close")).json()["state"]["text"] == "node-b is closed"
    assert await states() == {"node-a": "drained", "node-b": "closed"}
    at = (time.time() + 3 * 3600) // 3600 * 3600
    later = await root.post("nodes/node-a/drain", json={"at": at, "until": at + 2 * DAY})
    assert later.status_code == 200 and later.json()["start"] == at
    assert (await states())["node-a"].startswith("drains at ")
    assert (await root.post("nodes/node-a/open")).status_code == 204
    assert (await root.post("nodes/node-a/open")).status_code == 204, "it may be repeated"
    assert await states() == {"node-b": "closed"}
    assert [each["name"] for each in (await alice.get("reservations")).json()["items"]] == ["drain.node-b"]


WRONG = [
    ("nodes/node-x/drain", {}, 404, "there is no node node-x; see `octopus nodes`"),
    ("nodes/node-x/open", {}, 404, "there is no node node-x"),
    ("nodes/node-a/drain", {"at": "soon"}, 422, "at: 'soon' is no time"),
    ("nodes/node-a/drain", {"until": 5}, 422, "until: is not after the drain begins"),
    ("nodes/node-a/drain", {"at": 9e9, "graceSeconds": 5}, 422, "at: 9000000000.0 is not a number of Unix seconds"),
    ("nodes/node-a/drain", {"at": 6e9, "graceSeconds": 5}, 422, "graceSeconds: is given beside at"),
    ("nodes/node-a/close", {"reason": 5}, 422, "reason: needs a text"),
]


@pytest.mark.parametrize(("path", "body", "status", "words"), WRONG, ids=[f"{case[0]} {case[1]}" for case in WRONG])
async def test_wrong_drains(service: Running, path: str, body: dict[str, Any], status: int, words: str) -> None:
    answer = await service.client("root-token").post(path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"].startswith(words)


async def test_who_is_still_there_is_named_to_whom_it_concerns() -> None:
    async with running(engine=True) as service:
        alice, bob, root = (service.client(f"{name}-token") for name in ("alice", "bob", "root"))
        spec = document("stays", preemption={"allowed": False})
        made = await alice.post("tasksets", json=spec)
        assert made.status_code == 201, made.text
        namespace = made.json()["metadata"]["namespace"]
        await service.until(
            lambda: any(each.status.phase is Phase.STARTING for each in service.cache.tasksets.values())
        )
        (taskset,) = service.cache.tasksets.values()
        (name,) = {span.node for spans in taskset.status.placement.values() for span in spans}
        drained = (await root.post(f"nodes/{name}/drain", json={})).json()
        assert drained["state"]["occupied"] == [f"{namespace}/stays"]
        (seen,) = (await bob.get("reservations")).json()["items"]
        assert (seen["state"]["occupied"], seen["state"]["occupiedByOthers"]) == ([], 1)
