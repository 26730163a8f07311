"""The table of routes: what it says is what the handlers, the documents and the hub's scopes say."""

from __future__ import annotations

import httpx
import pytest

from octopus_hub.hub import scopes as hub_scopes
from octopus_hub.service.access import ADMIN, ALL_SCOPES, ANYONE, PUBLIC, READ, ROUTES, WRITE, Route, may, widened
from octopus_hub.service.application import HANDLERS
from octopus_hub.service.openapi import document
from tests.service.running import LOCAL, Running

VERBS = ("get", "head", "post", "put", "delete", "patch", "options")


def _implemented(handler: type) -> set[str]:
    from tornado.web import RequestHandler

    return {verb.upper() for verb in VERBS if getattr(handler, verb) is not getattr(RequestHandler, verb)}


def test_every_method_of_every_handler_is_in_the_table_and_the_other_way_round() -> None:
    coded = {(handler.base, handler.path, method) for handler in HANDLERS for method in _implemented(handler)}
    assert coded == {(route.base, route.path, route.method) for route in ROUTES}


def test_the_table_names_only_scopes_that_the_hub_grants() -> None:
    assert set(ALL_SCOPES) == set(hub_scopes.CUSTOM)
    assert {route.scope for route in ROUTES} <= {*ALL_SCOPES, ANYONE, PUBLIC}


def test_write_and_admin_widen_and_filtered_scopes_do_not_count() -> None:
    assert widened([WRITE]) == {WRITE, READ}
    assert widened([ADMIN]) >= set(ALL_SCOPES)
    assert READ not in widened([f"{READ}!user=alice"])


def test_every_route_is_documented_and_nothing_else() -> None:
    described = document("/services/octopus/api/v1")
    there = {
        (path.removeprefix("/../.."), method.upper()) for path, item in described["paths"].items() for method in item
    }
    assert there == {(route.path, route.method) for route in ROUTES}
    operations = [operation["operationId"] for item in described["paths"].values() for operation in item.values()]
    assert len(operations) == len(set(operations))


def test_every_reference_of_the_document_leads_somewhere() -> None:
    described = document("/services/octopus/api/v1")
    references: list[str] = []

    def walk(node: object) -> None:
        if isinstance(node, dict):
            references.extend(value for name, value in node.items() if name == "$ref" and isinstance(value, str))
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(described)
    assert references
    for reference in references:
        at: object = described
        for part in reference.removeprefix("#/").split("/"):
            assert isinstance(at, dict) and part in at, reference
            at = at[part]


def _url(route: Route, running: Running) -> str:
    path = (
        route.path.format_map(
            {"ns": "-", "name": "absent", "digest": "sha256:" + "0" * 64, "kind": "taskset", "lease": "held-1"}
        )
        if "{" in route.path
        else route.path
    )
    base = "/services/octopus/api/v1" if route.base == "api" else "/services/octopus"
    return f"http://127.0.0.1:{running.port}{base}{path}"


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation)
async def test_without_a_token_only_public_routes_answer(service: Running, route: Route) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.request(route.method, _url(route, service))
    if route.scope == PUBLIC:
        assert answer.status_code == 200
    elif route.operation == "statusPage":
        assert answer.status_code == 302 and "/hub/api/oauth2/authorize" in answer.headers["location"]
    else:
        assert answer.status_code == 401
        if route.method != "HEAD":
            assert answer.json()["code"] == "unauthenticated"


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.scope.startswith("custom:")], ids=lambda route: route.operation
)
async def test_a_token_without_the_scope_is_refused(service: Running, route: Route) -> None:
    others = tuple(scope for scope in hub_scopes.USER if scope != route.scope and route.scope not in widened([scope]))
    from tests.service.hubapi import model

    service.hub.tokens["narrow-token"] = model("alice", scopes=others)
    async with httpx.AsyncClient(trust_env=False, headers={"Authorization": "token narrow-token"}) as client:
        answer = await client.request(route.method, _url(route, service))
    assert answer.status_code == 403
    if route.method != "HEAD":
        assert answer.json()["scope"] == route.scope


def test_may_is_the_table() -> None:
    for route in ROUTES:
        assert may(frozenset(), route) == (route.scope in (PUBLIC, ANYONE))
        assert may(widened([ADMIN]), route)


async def test_the_local_token_may_everything(service: Running) -> None:
    who = (await service.client(LOCAL).get("whoami")).json()
    assert who["admin"] and who["user"] == "owner" and set(who["scopes"]) == set(ALL_SCOPES)
