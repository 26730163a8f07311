"""Queues and cohorts over HTTP: looked at by everybody, changed by administrators, counted from the next cycle."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from octopus_hub.backends.memory import MemoryBackend, node
from octopus_hub.model.queue import Budget, Queue
from octopus_hub.model.status import Phase
from tests.service.running import Running, document, running


async def put(client: httpx.AsyncClient, path: str, **fields: Any) -> dict[str, Any]:
    answer = await client.put(path, json=fields)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_an_administrator_puts_changes_and_removes(service: Running) -> None:
    root, alice = service.client("root-token"), service.client("alice-token")
    await put(root, "cohorts/lab", nominal={"devices": {"gpu": 8}}, weight=2)
    made = await put(root, "queues/night", policy="las", cohort="lab", nominal={"cpu": "2", "devices": {"gpu": 4}})
    assert made["nominal"] == {"cpuMillis": 2000, "devices": {"gpu": 4}} and made["board"]["waiting"] == 0
    changed = await root.patch("queues/night", json={"nominal": {"devices": {"gpu": 6}}, "policy": None, "weight": 3})
    assert changed.json()["nominal"] == {"cpuMillis": 2000, "devices": {"gpu": 6}}
    seen = (await alice.get("queues/night")).json()
    assert "policy" not in seen and seen["weight"] == 3, "read as it was written; defaults are left out"
    again = await root.put("queues/night", json=seen)
    assert again.status_code == 200 and again.json() == seen, "an answer can be put again"
    cohort = (await alice.get("cohorts/lab")).json()
    assert (cohort["queues"], cohort["cohorts"], cohort["weight"]) == (["night"], [], 2)
    assert (await alice.get("cohorts")).json()["items"] == [cohort]
    assert (await root.delete("cohorts/lab")).status_code == 409
    assert (await root.delete("queues/night")).status_code == 204
    assert (await root.delete("cohorts/lab")).status_code == 204
    assert (await root.get("queues/night")).status_code == 404 and (await root.get("cohorts/lab")).status_code == 404


REFUSED = [
    ("put", "queues/a", {"weight": -1}, 422, "weight: -1 is not from 0 to 1000000"),
    ("put", "queues/a", {"policy": "fairr"}, 422, "policy: unknown policy 'fairr'; did you mean fair?"),
    ("put", "queues/a", {"cohort": "lab"}, 422, "a: there is no cohort lab; none is defined"),
    ("put", "queues/a%2Fb", {}, 422, "name: 'a/b' is not a name without spaces and slashes, at most 253 characters"),
    ("put", "queues/a", {"name": "b"}, 422, "name: 'b' is not a, under which it is put; leave the field out"),
    ("patch", "queues/nowhere", {"weight": 1}, 404, "there is no queue nowhere; see `octopus queues`"),
    ("put", "cohorts/x", {"parent": "x"}, 422, "x: the cohorts x -> x go in a circle; let one of them have no parent"),
    ("delete", "queues/default", None, 409, "queue default is declared in the configuration file; take it out there"),
]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"), REFUSED, ids=[f"{r[1]} {r[2]}" for r in REFUSED]
)
async def test_what_is_refused(service: Running, method: str, path: str, body: object, status: int, words: str) -> None:
    answer = await service.client("root-token").request(method.upper(), path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"].startswith(words)
    assert [each.name for each in service.cache.queues.values()] == ["default"] and not service.cache.cohorts


async def test_users_look_and_do_not_change(service: Running) -> None:
    alice = service.client("alice-token")
    for method, path in (("put", "queues/a"), ("patch", "queues/default"), ("delete", "queues/default")):
        answer = await alice.request(method.upper(), path, json={})
        assert answer.status_code == 403 and answer.json()["scope"] == "custom:octopus:admin"


async def test_reset_goes_back_to_the_file(service: Running) -> None:
    root = service.client("root-token")
    await root.patch("queues/default", json={"weight": 9})
    assert (await root.post("queues/default/reset")).json().get("weight", 1) == 1
    assert service.cache.queues["default"].weight == 1
    assert (await root.post("queues/nowhere/reset")).status_code == 404


async def test_figures_of_queues_that_borrow_and_lend() -> None:
    backend = MemoryBackend(nodes=[node("n", gpu=8)])
    async with running(backend=backend, engine=True) as service:
        root = service.client("root-token")
        await put(root, "cohorts/lab")
        await put(root, "queues/a", cohort="lab", nominal={"devices": {"gpu": 2}})
        await put(root, "queues/b", cohort="lab", nominal={"devices": {"gpu": 6}})
        roles = [{"name": "w", "replicas": 4, "command": ["sleep"], "resources": {"devices": {"gpu": 1}}}]
        answer = await service.client("alice-token").post("tasksets", json=document(queue="a", roles=roles))
        uid = answer.json()["metadata"]["uid"]
        await service.until(lambda: service.cache.tasksets[uid].status.phase is not Phase.QUEUED)
        a, b = [(await root.get(f"queues/{name}")).json() for name in "ab"]
        assert (a["borrowed"], a["lent"], a["running"]) == ({"devices": {"gpu": 2}}, {}, 1)
        assert (b["borrowed"], b["lent"], b["running"]) == ({}, {"devices": {"gpu": 2}}, 0)
        assert a["share"] == 2_000_000 and b["share"] == 0, "half of the devices; its part is half of half of them"
        assert a["used"]["devices"] == {"gpu": 4} and a["preemptionsToday"] == 0
        refused = await root.delete("queues/a")
        assert refused.json()["detail"].startswith("1 TaskSet waits or runs in queue a; pause it")


async def test_a_queue_bounds_how_many_of_a_user_wait_in_it() -> None:
    backend = MemoryBackend(queues=[Queue(name="default"), Queue(name="short", max_queued_per_user=2)])
    async with running(backend=backend) as service:
        alice = service.client("alice-token")
        for _ in range(2):
            assert (await alice.post("tasksets", json=document(queue="short"))).status_code == 201
        refused = await alice.post("tasksets", json=document(queue="short"))
        assert refused.status_code == 403
        told = refused.json()
        assert (told["rule"], told["usage"], told["limit"]) == ("maxQueuedPerUser", 2, 2)
        assert told["detail"].startswith("2 TaskSets of yours wait in queue short, which lets 2 of each user wait;")
        assert (await alice.post("tasksets", json=document())).status_code == 201, "another queue"
        bob = service.client("bob-token")
        assert (await bob.post("tasksets", json=document(queue="short"))).status_code == 201, "another user"


async def test_a_budget_is_told_with_its_window() -> None:
    queue = Queue(name="default", budget=Budget(device_hours=10, window="day", at_end="low"))
    async with running(backend=MemoryBackend(queues=[queue])) as service:
        told = (await service.client("alice-token").get("queues/default")).json()["budgetUse"]
        assert (told["usedHours"], told["leftHours"], told["action"]) == (0, 10, "")
        assert told["until"] - told["since"] == 86_400
