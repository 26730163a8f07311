"""What of the service's API a browser may reach: a table, and how a path is checked against it. Pure.

A path is never passed on as it came: its segments are decoded once, held against the table and against what a name
may be, and written anew, so that no spelling of dots and slashes reaches anything else. The same for the query, which
would otherwise carry this server's own ``token`` and ``_xsrf``.

Left out: ``/stream`` (a page has the WebSocket instead, and the server one stream for all), ``/blobs`` and ``/leases``
(archives of workspaces and signs of life, which kernels and shells send), and what only administrators may do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from octopus_hub.model.errors import NotFound, OctopusError

PREFIX = "octopus/api/v1/"  # below the server's base URL
STREAM = "octopus/api/stream"
_NAME = re.compile(r"-|[A-Za-z0-9][A-Za-z0-9._-]{0,252}")  # `-` is the caller's own namespace


class MethodNotAllowed(OctopusError):
    """The path is known, not with this method."""

    code = "method_not_allowed"
    status = 405


@dataclass(frozen=True, slots=True)
class Route:
    """A path below the API (parameters in braces), the methods and query parameters that are passed on."""

    path: str
    methods: tuple[str, ...] = ("GET",)
    query: tuple[str, ...] = ()


_TASKSET = "tasksets/{ns}/{name}"
_RECORD = "records/{ns}/{name}"

ROUTES: tuple[Route, ...] = (
    Route("tasksets", ("GET", "POST"), ("namespace", "phase", "label", "dryRun")),
    Route(_TASKSET, ("GET", "DELETE")),
    Route(f"{_TASKSET}/stop", ("POST",)),
    Route(f"{_TASKSET}/hold", ("POST",)),
    Route(f"{_TASKSET}/release", ("POST",)),
    Route(f"{_TASKSET}/scale", ("POST",)),
    Route(f"{_TASKSET}/tasks"),
    Route(f"{_TASKSET}/why"),
    Route(f"{_TASKSET}/logs", query=("role", "index", "attempt", "follow", "tail")),
    Route("nodes"),
    Route("queues"),
    Route("queues/{name}"),
    Route("cohorts"),
    Route("cohorts/{name}"),
    Route("reservations"),
    Route("reservations/{name}"),
    Route("priorities"),
    Route("images"),
    Route("plan", ("POST",)),
    Route("records", query=("namespace", "name")),
    Route(_RECORD, query=("attempt",)),
    Route(f"{_RECORD}/outputs", query=("attempt",)),
    Route(f"{_RECORD}/record.zip", query=("attempt",)),
    Route("replay", ("POST",)),
    Route("secrets"),
    Route("secrets/{name}", ("PUT", "DELETE")),
    Route("schema/{kind}"),
    Route("openapi.json"),
    Route("version"),
    Route("whoami"),
)

_SPLIT = tuple((route, route.path.split("/")) for route in ROUTES)


def resolve(method: str, raw: str) -> tuple[Route, str]:
    """Return the route and the path to ask the service for, with a slash in front.

    Parameters
    ----------
    raw : str
        What followed :data:`PREFIX`, percent-encoded as it came.

    Raises
    ------
    NotFound, MethodNotAllowed
    """
    segments = [unquote(segment, errors="replace") for segment in raw.split("/")]
    for route, pattern in _SPLIT:
        if len(pattern) == len(segments) and all(map(_fits, pattern, segments)):
            if method not in route.methods:
                raise MethodNotAllowed(f"{method} is not possible here; use {' or '.join(route.methods)}")
            return route, "/" + "/".join(quote(segment, safe="") for segment in segments)
    raise NotFound("there is nothing at this path for browsers; see openapi.json")


def _fits(pattern: str, segment: str) -> bool:
    return bool(_NAME.fullmatch(segment)) if pattern.startswith("{") else pattern == segment
