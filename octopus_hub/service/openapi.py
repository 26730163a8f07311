"""The OpenAPI 3.1 document and the JSON Schemas, made from the table of routes and the model. Nothing is written by hand.

Pure; called by the routes and by ``tools/generate.py``.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import msgspec

from octopus_hub._version import __version__
from octopus_hub.model.answers import AnswerStruct
from octopus_hub.model.reservation import Drain
from octopus_hub.model.schema import KINDS
from octopus_hub.service.access import ANYONE, PUBLIC, ROUTES, Route

_LISTS = {
    "TaskSetList": "TaskSetView",
    "TaskList": "Task",
    "NodeList": "Node",
    "PriorityList": "PriorityClass",
    "RecordList": "Record",
}
_INTEGERS = frozenset({"index", "attempt", "tail"})
_BOOLEANS = frozenset({"dryRun", "follow"})
_PARAMETER = re.compile(r"\{(\w+)\}")


class Problem(AnswerStruct, frozen=True, kw_only=True):
    """An error (RFC 9457); more members give the facts."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    problems: list[str] = []


@cache
def document(api: str) -> dict[str, Any]:
    """Return the OpenAPI document of a service whose API lies at that path."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        where = route.path if route.base == "api" else f"/../..{route.path}"
        paths.setdefault(where, {})[route.method.lower()] = operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "octopus-hub",
            "version": __version__,
            "description": "TaskSets, their tasks, records and streams.",
        },
        "servers": [{"url": api}],
        "paths": paths,
        "components": {"schemas": _schemas(), "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def operation(route: Route) -> dict[str, Any]:
    """Return the description of one route."""
    described: dict[str, Any] = {
        "operationId": route.operation,
        "summary": route.summary,
        "parameters": [*_path_parameters(route), *(_query_parameter(name) for name in route.query)],
        "responses": {str(route.status): _response(route), "default": {"$ref": "#/components/responses/problem"}},
    }
    described["responses"]["default"] = {
        "description": "An error",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    described["security"] = [] if route.scope == PUBLIC else [{"token": _scopes(route)}]
    if route.body:
        described["requestBody"] = {"required": True, "content": _content(route.body)}
    if route.operation in ("submit", "replay"):
        described["parameters"].append(
            {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "maxLength": 200}}
        )
    return described


def _scopes(route: Route) -> list[str]:
    return [] if route.scope == ANYONE else [route.scope]


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(route.path)
    ]


def _query_parameter(name: str) -> dict[str, Any]:
    kind = "integer" if name in _INTEGERS else "boolean" if name in _BOOLEANS else "string"
    return {"name": name, "in": "query", "schema": {"type": kind}}


def _response(route: Route) -> dict[str, Any]:
    response: dict[str, Any] = {"description": route.summary}
    if route.answer:
        response["content"] = _content(route.answer)
    return response


def _content(what: str) -> dict[str, Any]:
    if "/" in what:
        return {what: {}}
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{what}"}}}


def _schemas() -> dict[str, Any]:
    kinds = [*KINDS.values(), Drain, Problem]
    _, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    schemas: dict[str, Any] = dict(components)
    schemas.update({name: _list(item) for name, item in _LISTS.items()})
    amounts = {name: _ref("Amounts") for name in ("used", "usedByYou", "borrowed", "lent")}
    whole = {name: {"type": "integer"} for name in ("share", "running", "preemptionsToday")}
    schemas["QueueView"] = _object({"name": _TEXT, **amounts, **whole, "board": {"type": "object"}})
    schemas["QueueList"] = _items(_ref("QueueView"))
    names = {"type": "array", "items": _TEXT}
    schemas["CohortView"] = _object({"name": _TEXT, "queues": names, "cohorts": names, "used": _ref("Amounts")})
    schemas["CohortList"] = _items(_ref("CohortView"))
    schemas["QueueChange"] = schemas["CohortChange"] = {"type": "object"}
    schemas["ReservationView"] = _object({"name": _TEXT, "start": {"type": "number"}, "state": {"type": "object"}})
    schemas["ReservationList"] = _items(_ref("ReservationView"))
    schemas["CloseRequest"] = {"type": "object", "properties": {"reason": _TEXT}}
    schemas["ImageList"] = _items(_object({"name": _TEXT, "digest": _TEXT, "python": _TEXT, "default": _BOOLEAN}))
    schemas["SecretList"] = _items(_object({"name": _TEXT}))
    schemas["SecretValue"] = _object({"value": _TEXT})
    schemas["BlobAnswer"] = _object({"digest": _TEXT})
    schemas["ReplayRequest"] = _object({"record": {"type": "object"}})
    schemas["ScaleRequest"] = _object(
        {"sizes": {"type": "object", "additionalProperties": {"type": ["integer", "null"], "minimum": 1}}}
    )
    schemas["VersionAnswer"] = _object({"version": _TEXT, "apiVersion": _TEXT, "api": _TEXT})
    schemas["HealthAnswer"] = _object({"status": _TEXT, "version": _TEXT})
    texts = {"type": "array", "items": _TEXT}
    schemas["WhoamiAnswer"] = _object(
        {"user": _TEXT, "namespace": _TEXT, "groups": texts, "scopes": texts, "admin": _BOOLEAN}
    )
    return schemas


_TEXT = {"type": "string"}
_BOOLEAN = {"type": "boolean"}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _items(item: dict[str, Any]) -> dict[str, Any]:
    return _object({"items": {"type": "array", "items": item}})


def _list(item: str) -> dict[str, Any]:
    return _items(_ref(item))
