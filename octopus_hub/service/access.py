"""The table of routes: which method and path needs which scope, what goes in and comes out.

One table drives the handlers' checks, the OpenAPI document and the test of who may do what. It holds no code.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

READ = "custom:octopus:tasksets:read"
WRITE = "custom:octopus:tasksets:write"
SECRETS = "custom:octopus:secrets"
RECORDS = "custom:octopus:records"
ADMIN = "custom:octopus:admin"
ALL_SCOPES = (READ, WRITE, SECRETS, RECORDS, ADMIN)
IMPLIES: dict[str, tuple[str, ...]] = {ADMIN: ALL_SCOPES, WRITE: (READ,)}

PUBLIC = ""  # no token needed
ANYONE = "identified"  # any user who may use the service at all

Base = Literal["api", "service"]


@dataclass(frozen=True, slots=True)
class Route:
    """One operation.

    Attributes
    ----------
    path : str
        Below the API (or, ``base="service"``, below the service's prefix), parameters in braces.
    scope : str
        A scope, :data:`ANYONE` or :data:`PUBLIC`.
    query : tuple of str
        Names of query parameters.
    body, answer : str
        Name of a schema of the model (see ``openapi``), or a media type; "" is none.
    """

    method: str
    path: str
    operation: str
    summary: str
    scope: str
    query: tuple[str, ...] = ()
    body: str = ""
    answer: str = ""
    status: int = 200
    base: Base = "api"


_TASKSET = "/tasksets/{ns}/{name}"
_QUEUE = "/queues/{name}"
_COHORT = "/cohorts/{name}"
_NODE = "/nodes/{name}"
_RESERVATION = "/reservations/{name}"
_RECORD = "/records/{ns}/{name}"
_BYTES = "application/octet-stream"

ROUTES: tuple[Route, ...] = (
    Route("POST", "/tasksets", "submit", "Submit a TaskSet", WRITE, ("dryRun",), "TaskSet", "TaskSet", 201),
    Route("GET", "/tasksets", "listTaskSets", "List TaskSets", READ, ("namespace", "phase", "label"), "", "TaskSetList"),
    Route("GET", _TASKSET, "getTaskSet", "One TaskSet, its queue place and tasks", READ, (), "", "TaskSetView"),
    Route("DELETE", _TASKSET, "deleteTaskSet", "Delete it; one that runs is stopped first", WRITE, (), "", "TaskSet"),
    Route("POST", f"{_TASKSET}/stop", "stopTaskSet", "Stop it", WRITE, (), "", "TaskSet"),
    Route("POST", f"{_TASKSET}/hold", "holdTaskSet", "Hold it back while it waits", WRITE, (), "", "TaskSet"),
    Route("POST", f"{_TASKSET}/release", "releaseTaskSet", "Let a held one queue", WRITE, (), "", "TaskSet"),
    Route("POST", f"{_TASKSET}/scale", "scaleTaskSet", "Wish sizes of elastic roles", WRITE, (), "ScaleRequest", "TaskSet"),
    Route("GET", f"{_TASKSET}/tasks", "listTasks", "Rows of its tasks", READ, (), "", "TaskList"),
    Route("GET", f"{_TASKSET}/why", "whyTaskSet", "Why it waits, runs where it does, or ended as it did", READ, (), "", "WhyAnswer"),
    Route(
        "GET", f"{_TASKSET}/logs", "readLog", "A task's log", READ,
        ("role", "index", "attempt", "follow", "tail"), "", "text/plain",
    ),
    Route("GET", "/stream", "stream", "Snapshot and deltas as events", READ, ("namespace", "name"), "", "text/event-stream"),
    Route("GET", "/leases/{lease}", "holdLease", "Hold a lease: TaskSets tied to it live while this is open", WRITE, (), "", "text/event-stream"),
    Route("GET", "/nodes", "listNodes", "Nodes with capacity, devices and use", READ, (), "", "NodeList"),
    Route("POST", f"{_NODE}/drain", "drainNode", "Set a node aside from a time on", ADMIN, (), "Drain", "ReservationView"),
    Route("POST", f"{_NODE}/close", "closeNode", "Start nothing more on a node", ADMIN, (), "CloseRequest", "ReservationView"),
    Route("POST", f"{_NODE}/open", "openNode", "Take back a drain or a close", ADMIN, (), "", "", 204),
    Route("GET", "/reservations", "listReservations", "Reservations and drains with their state", READ, (), "", "ReservationList"),
    Route("GET", _RESERVATION, "getReservation", "One reservation as in the list", READ, (), "", "ReservationView"),
    Route("PUT", _RESERVATION, "putReservation", "Reserve nodes for a time", ADMIN, (), "Reservation", "ReservationView"),
    Route("DELETE", _RESERVATION, "deleteReservation", "Remove a reservation", ADMIN, (), "", "", 204),
    Route("GET", "/queues", "listQueues", "Queues with usage and board", READ, (), "", "QueueList"),
    Route("GET", _QUEUE, "getQueue", "One queue as in the list", READ, (), "", "QueueView"),
    Route("PUT", _QUEUE, "putQueue", "Define a queue; wins over the configuration file", ADMIN, (), "Queue", "QueueView"),
    Route("PATCH", _QUEUE, "changeQueue", "Change some fields of a queue (merge patch)", ADMIN, (), "QueueChange", "QueueView"),
    Route("DELETE", _QUEUE, "deleteQueue", "Remove a queue that nothing uses", ADMIN, (), "", "", 204),
    Route("POST", f"{_QUEUE}/reset", "resetQueue", "Go back to the configuration file's", ADMIN, (), "", "QueueView"),
    Route("GET", "/cohorts", "listCohorts", "Cohorts with members and use", READ, (), "", "CohortList"),
    Route("GET", _COHORT, "getCohort", "One cohort as in the list", READ, (), "", "CohortView"),
    Route("PUT", _COHORT, "putCohort", "Define a cohort; wins over the configuration file", ADMIN, (), "Cohort", "CohortView"),
    Route("PATCH", _COHORT, "changeCohort", "Change some fields of a cohort (merge patch)", ADMIN, (), "CohortChange", "CohortView"),
    Route("DELETE", _COHORT, "deleteCohort", "Remove a cohort without members", ADMIN, (), "", "", 204),
    Route("POST", f"{_COHORT}/reset", "resetCohort", "Go back to the configuration file's", ADMIN, (), "", "CohortView"),
    Route("GET", "/priorities", "listPriorities", "Priority classes", READ, (), "", "PriorityList"),
    Route("GET", "/images", "listImages", "Environments that `image` can name", READ, (), "", "ImageList"),
    Route("POST", "/plan", "plan", "What would happen if this were submitted now", READ, (), "TaskSet", "PlanAnswer"),
    Route("GET", "/records", "listRecords", "Own run records, newest first", RECORDS, ("namespace", "name"), "", "RecordList"),
    Route("GET", _RECORD, "getRecord", "The record of an attempt", RECORDS, ("attempt",), "", "Record"),
    Route("GET", f"{_RECORD}/outputs", "readOutputs", "Collected outputs", RECORDS, ("attempt",), "", "application/gzip"),
    Route("GET", f"{_RECORD}/record.zip", "readCrate", "The record as a crate", RECORDS, ("attempt",), "", "application/zip"),
    Route("POST", "/replay", "replay", "Run a record again", WRITE, (), "ReplayRequest", "TaskSet", 201),
    Route("PUT", "/blobs/{digest}", "putBlob", "Store content under its digest", WRITE, (), _BYTES, "BlobAnswer", 201),
    Route("HEAD", "/blobs/{digest}", "hasBlob", "Whether it is there", READ),
    Route("GET", "/blobs/{digest}", "getBlob", "Content by digest", READ, (), "", _BYTES),
    Route("GET", "/secrets", "listSecrets", "Names of own secrets", SECRETS, (), "", "SecretList"),
    Route("PUT", "/secrets/{name}", "putSecret", "Store a secret", SECRETS, (), "SecretValue", "", 204),
    Route("DELETE", "/secrets/{name}", "deleteSecret", "Remove a secret", SECRETS, (), "", "", 204),
    Route("GET", "/schema/{kind}", "getSchema", "JSON Schema of a kind", ANYONE, (), "", "application/schema+json"),
    Route("GET", "/openapi.json", "getOpenAPI", "This document", ANYONE, (), "", "application/json"),
    Route("GET", "/version", "getVersion", "Version of the service", ANYONE, (), "", "VersionAnswer"),
    Route("GET", "/whoami", "whoami", "Who the token belongs to", ANYONE, (), "", "WhoamiAnswer"),
    Route("GET", "/healthz", "healthz", "The process answers", PUBLIC, base="service", answer="HealthAnswer"),
    Route("GET", "/readyz", "readyz", "The engine behind it answers", PUBLIC, base="service", answer="HealthAnswer"),
    Route("GET", "/metrics", "metrics", "Prometheus metrics", ADMIN, base="service", answer="text/plain"),
    Route("GET", "/", "statusPage", "A page for browsers", READ, base="service", answer="text/html"),
)  # fmt: skip

_BY_KEY = {(route.base, route.path, route.method): route for route in ROUTES}


def route_of(base: Base, path: str, method: str) -> Route | None:
    """Return the route of a handler's path and a method."""
    return _BY_KEY.get((base, path, method))


def methods_of(base: Base, path: str) -> list[str]:
    """Return the methods that a path knows."""
    return sorted(route.method for route in ROUTES if (route.base, route.path) == (base, path))


def widened(scopes: Iterable[str]) -> frozenset[str]:
    """Return scopes with those that they imply. A scope that is filtered (``...!user=x``) grants nothing here."""
    found = set(scopes)
    for scope in list(found):
        found.update(IMPLIES.get(scope, ()))
    return frozenset(found)


def may(scopes: frozenset[str], route: Route) -> bool:
    """Say whether somebody identified with these (widened) scopes may use the route."""
    return route.scope in (PUBLIC, ANYONE) or route.scope in scopes
