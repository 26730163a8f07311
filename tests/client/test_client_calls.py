"""Every operation as data: method, path, query, body, and whether it may be sent twice."""

from __future__ import annotations

import inspect
import json
from typing import Any

import msgspec
import pytest

from octopus_hub.client import calls
from octopus_hub.client.aio import AsyncClient
from octopus_hub.client.calls import Call, LogQuery
from octopus_hub.client.sync import Client
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.taskset import Role, TaskSet
from octopus_hub.service.access import ROUTES

TASKSET = TaskSet("mnist", roles=[Role("worker", command=["true"])])
DIGEST = "sha256:" + "a" * 64


def chunks() -> Any:
    """Give the bytes of a blob."""
    yield b"blob"


# name of the operation: (call, method, path, query)
TABLE: dict[str, tuple[Call[Any], str, str, dict[str, str]]] = {
    "submit": (calls.submit(TASKSET, key="k"), "POST", "/tasksets", {}),
    "list_tasksets": (
        calls.list_tasksets("*", "Running", "a=b"),
        "GET",
        "/tasksets",
        {"namespace": "*", "phase": "Running", "label": "a=b"},
    ),
    "get_taskset": (calls.get_taskset("mnist"), "GET", "/tasksets/-/mnist", {}),
    "delete_taskset": (calls.delete_taskset("mnist", "ada"), "DELETE", "/tasksets/ada/mnist", {}),
    "intent": (calls.intent("stop", "mnist"), "POST", "/tasksets/-/mnist/stop", {}),
    "scale": (calls.scale("mnist", {"worker": 3, "ps": None}), "POST", "/tasksets/-/mnist/scale", {}),
    "list_tasks": (calls.list_tasks("mnist"), "GET", "/tasksets/-/mnist/tasks", {}),
    "read_log": (
        calls.read_log("mnist", LogQuery("worker", 0, 2, True, 0)),
        "GET",
        "/tasksets/-/mnist/logs",
        {"role": "worker", "index": "0", "attempt": "2", "follow": "true", "tail": "0"},
    ),
    "stream": (calls.stream("ada", "mnist"), "GET", "/stream", {"namespace": "ada", "name": "mnist"}),
    "hold_lease": (calls.hold_lease("kernel-1"), "GET", "/leases/kernel-1", {}),
    "list_nodes": (calls.list_nodes(), "GET", "/nodes", {}),
    "list_node_use": (calls.list_node_use(), "GET", "/nodes", {}),
    "list_queues": (calls.list_queues(), "GET", "/queues", {}),
    "list_priorities": (calls.list_priorities(), "GET", "/priorities", {}),
    "list_images": (calls.list_images(), "GET", "/images", {}),
    "list_cohorts": (calls.list_cohorts(), "GET", "/cohorts", {}),
    "why": (calls.why("mnist"), "GET", "/tasksets/-/mnist/why", {}),
    "plan": (calls.plan(TASKSET), "POST", "/plan", {}),
    "list_records": (calls.list_records("mnist"), "GET", "/records", {"name": "mnist"}),
    "get_record": (calls.get_record("mnist", attempt=2), "GET", "/records/-/mnist", {"attempt": "2"}),
    "read_outputs": (calls.read_outputs("mnist"), "GET", "/records/-/mnist/outputs", {}),
    "read_crate": (calls.read_crate("mnist", "ada", 1), "GET", "/records/ada/mnist/record.zip", {"attempt": "1"}),
    "replay": (calls.replay({"name": "mnist"}, key="k"), "POST", "/replay", {}),
    "has_blob": (calls.has_blob(DIGEST), "HEAD", "/blobs/sha256%3A" + "a" * 64, {}),
    "put_blob": (calls.put_blob(DIGEST, 4, chunks), "PUT", "/blobs/sha256%3A" + "a" * 64, {}),
    "get_blob": (calls.get_blob(DIGEST), "GET", "/blobs/sha256%3A" + "a" * 64, {}),
    "list_secrets": (calls.list_secrets(), "GET", "/secrets", {}),
    "put_secret": (calls.put_secret("token", "s3cret"), "PUT", "/secrets/token", {}),
    "delete_secret": (calls.delete_secret("token"), "DELETE", "/secrets/token", {}),
    "version": (calls.version(), "GET", "/version", {}),
    "whoami": (calls.whoami(), "GET", "/whoami", {}),
}


def test_the_table_has_every_operation() -> None:
    operations = {
        name
        for name, function in vars(calls).items()
        if inspect.isfunction(function) and not name.startswith("_") and function.__module__ == calls.__name__
    }
    assert operations - {"field"} == set(TABLE)


@pytest.mark.parametrize("operation", TABLE)
def test_method_path_and_query(operation: str) -> None:
    call, method, path, params = TABLE[operation]
    assert (call.method, call.path, dict(call.params)) == (method, path, params)


def test_every_path_is_a_route_of_the_service() -> None:
    """The two sides name the same paths, so that neither can be renamed alone."""
    routes = {(route.method, route.path) for route in ROUTES}
    fill = {"mnist": "{name}", "-": "{ns}", "ada": "{ns}", "token": "{name}", "kernel-1": "{lease}"}
    missing = []
    for call, method, path, _ in TABLE.values():
        parts = ["{digest}" if part.startswith("sha256") else fill.get(part, part) for part in path.split("/")]
        wanted = "/".join(parts)
        if not any(method == known and _same(wanted, template) for known, template in routes):
            missing.append((call.method, wanted))
    assert missing == []


def _same(path: str, template: str) -> bool:
    left, right = path.split("/"), template.split("/")
    return len(left) == len(right) and all(
        a == b or (a.startswith("{") and b.startswith("{")) for a, b in zip(left, right, strict=True)
    )


def test_bodies() -> None:
    assert json.loads(bytes(calls.submit(TASKSET).body)) == TASKSET.to_dict()  # type: ignore[arg-type]
    assert json.loads(bytes(calls.plan(TASKSET).body)) == TASKSET.to_dict()  # type: ignore[arg-type]
    assert json.loads(bytes(calls.put_secret("token", "s3cret").body)) == {"value": "s3cret"}  # type: ignore[arg-type]
    assert json.loads(bytes(calls.replay({"name": "m"}, key="k").body)) == {"record": {"name": "m"}}  # type: ignore[arg-type]
    blob = calls.put_blob(DIGEST, 4, chunks)
    assert callable(blob.body)
    assert [b"".join(blob.body()) for _ in range(2)] == [b"blob", b"blob"], "each try sends the whole content"
    assert blob.headers["Content-Length"] == "4"


def test_what_may_be_sent_twice() -> None:
    """All but a submission that nothing tells from the next one."""
    assert {name for name, (call, *_) in TABLE.items() if not call.safe} == set()
    assert not calls.submit(TASKSET).safe
    assert calls.submit(TASKSET, key="k").safe
    assert calls.submit(TASKSET, key="k").headers["Idempotency-Key"] == "k"
    assert calls.submit(TASKSET, dry_run=True).safe
    assert calls.submit(TASKSET, dry_run=True).params == {"dryRun": "true"}


@pytest.mark.parametrize("key", ["a b", "\n", "ä", "x" * 201])
def test_a_key_that_no_header_can_carry_is_refused(key: str) -> None:
    with pytest.raises(InvalidSpec, match="idempotency key"):
        calls.submit(TASKSET, key=key)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("../../secrets", "/tasksets/-/..%2F..%2Fsecrets"),
        ("..", "/tasksets/-/%2E%2E"),
        (".", "/tasksets/-/%2E"),
        ("a?b#c", "/tasksets/-/a%3Fb%23c"),
        ("é", "/tasksets/-/%C3%A9"),
    ],
)
def test_a_name_never_leads_to_another_path(name: str, path: str) -> None:
    assert calls.get_taskset(name).path == path


def test_answers_of_a_newer_service_are_read() -> None:
    body = msgspec.json.encode({"items": [], "revision": 7, "somethingNew": {"x": 1}})
    assert calls.list_tasksets().decode(body) == []
    assert calls.list_secrets().decode(b'{"items": ["a", {"name": "b", "since": 1}]}') == ["a", "b"]


def test_both_clients_offer_the_same() -> None:
    def public(kind: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(member).parameters)
            for name, member in vars(kind).items()
            if callable(member) and not name.startswith("_")
        }

    sync, aio = public(Client), public(AsyncClient)
    sync["stream"].remove("deadline")  # an event loop has asyncio.timeout
    assert sync == aio
