"""Calls about queues and cohorts as data, and both clients that make them."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest

from octopus_hub.client import definitions
from octopus_hub.client.aio import AsyncClient
from octopus_hub.client.calls import Call
from octopus_hub.client.sync import Client
from octopus_hub.service.access import ROUTES

CALLS: list[tuple[Call[Any], str, str, object]] = [
    (definitions.get("queue", "night"), "GET", "/queues/night", None),
    (definitions.get("cohort", ".."), "GET", "/cohorts/%2E%2E", None),
    (definitions.define("queue", "a/b", {"weight": 3}), "PUT", "/queues/a%2Fb", {"weight": 3}),
    (definitions.change("cohort", "lab", {"weight": None}), "PATCH", "/cohorts/lab", {"weight": None}),
    (definitions.remove("queue", "night"), "DELETE", "/queues/night", None),
    (definitions.reset("cohort", "lab"), "POST", "/cohorts/lab/reset", None),
]


@pytest.mark.parametrize(("call", "method", "path", "body"), CALLS, ids=[f"{c[1]} {c[2]}" for c in CALLS])
def test_method_path_and_body(call: Call[Any], method: str, path: str, body: object) -> None:
    assert (call.method, call.path) == (method, path)
    assert isinstance(call.body, bytes) and (json.loads(call.body) if call.body else None) == body
    kind = path.split("/")[1]
    route = f"/{kind}/{{name}}" + ("/reset" if path.endswith("/reset") else "")
    assert (method, route) in {(each.method, each.path) for each in ROUTES}


def test_both_clients_have_the_same_ones() -> None:
    for name in ("cohorts", "definition", "define", "change", "remove", "reset"):
        sync, asynchronous = getattr(Client, name), getattr(AsyncClient, name)
        assert list(inspect.signature(sync).parameters) == list(inspect.signature(asynchronous).parameters)
        assert inspect.iscoroutinefunction(asynchronous) and not inspect.iscoroutinefunction(sync)
