"""The OpenAPI document and the page of the service's operations, both from the service's table of routes."""

from __future__ import annotations

import json

from octopus_hub.service.access import ANYONE, IMPLIES, PUBLIC, ROUTES, Route
from octopus_hub.service.openapi import document
from octopus_hub.service.settings import ServiceSettings
from tools.generation.phases import table

API = ServiceSettings().prefix.rstrip("/") + "/api/v1"

HEADER = f"""# The service's API

Generated from the table of routes by `make generate`; do not edit. [openapi.json](openapi.json) says the same to programs.

Base: `{API}`. JSON in camelCase; fields that have their default are left out. Send the hub's token as
`Authorization: Bearer TOKEN`. `{{ns}}` is a namespace (a hub user), `-` is your own; what belongs to somebody else is 404
for you. Errors are `application/problem+json` with a stable `code`, see
[phases-and-reasons.md](phases-and-reasons.md#errors). `POST /tasksets` and `POST /replay` take an `Idempotency-Key`: the
same key gives the same TaskSet again.

`GET /stream` sends server-sent events: a `snapshot`, then a `delta` with full rows of what changed, at most ten a second.
`id:` is the revision. A reader that falls behind is cut off and gets a snapshot when it connects again.
"""


def openapi() -> str:
    """Return the document as text."""
    return json.dumps(document(API), indent=2, ensure_ascii=False) + "\n"


def page() -> str:
    """Return the page."""
    rows = [_row(route) for route in ROUTES]
    implied = "; ".join(f"`{_short(scope)}` includes {_list(of)}" for scope, of in IMPLIES.items())
    scopes = f"Scopes stand without their prefix `custom:octopus:`; {implied}.\n"
    body = table(("operation", "scope", "query", "body", "answer", ""), rows)
    return f"{HEADER}\n## Operations\n\n{scopes}\n{body}\n"


def _row(route: Route) -> tuple[str, ...]:
    path = route.path if route.base == "api" else f"{API.removesuffix('/api/v1')}{route.path}"
    scope = {PUBLIC: "none", ANYONE: "any user"}.get(route.scope, f"`{_short(route.scope)}`")
    query = ", ".join(f"`{name}`" for name in route.query)
    answer = " ".join(filter(None, [str(route.status), route.answer]))
    return f"`{route.method} {path}`", scope, query, route.body, answer, route.summary


def _short(scope: str) -> str:
    return scope.removeprefix("custom:octopus:")


def _list(scopes: tuple[str, ...]) -> str:
    return ", ".join(f"`{_short(scope)}`" for scope in scopes)
