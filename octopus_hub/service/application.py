"""Puts the service together: one tornado application over a backend, a live cache and a registry.

``octopus_hub.app`` calls :func:`make_app` and :func:`make_server`, and listens; nothing here opens a socket.
"""

from __future__ import annotations

import logging
import re
import resource
import time
from collections.abc import Callable
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.routing import URLSpec
from tornado.web import Application

from octopus_hub.backends.base import Backend
from octopus_hub.control.cache import Cache
from octopus_hub.service.blobs import BlobAccess
from octopus_hub.service.context import Service
from octopus_hub.service.handler import ApiHandler, UnknownPath
from octopus_hub.service.identity import Authenticator
from octopus_hub.service.leases import Leases
from octopus_hub.service.limits import Buckets, Slots
from octopus_hub.service.routes import (
    about,
    cluster,
    content,
    leases,
    logs,
    pages,
    probes,
    queues,
    records,
    reservations,
    scaling,
    secrets,
    streaming,
    tasksets,
)
from octopus_hub.service.runs import Runs
from octopus_hub.service.settings import ServiceSettings
from octopus_hub.service.stream import Streams
from octopus_hub.service.submit import Registry, Submission

log = logging.getLogger(__name__)

IDLE_SECONDS = 300.0
HEADER_BYTES = 64 * 1024
TOLD_SECONDS = 60.0  # between two words in the log about connections that are refused

HANDLERS: tuple[type[ApiHandler], ...] = (
    tasksets.TaskSets,
    tasksets.OneTaskSet,
    tasksets.Tasks,
    tasksets.Why,
    tasksets.Stop,
    tasksets.Hold,
    scaling.Scale,
    tasksets.Release,
    logs.Logs,
    streaming.Events,
    leases.Lease,
    cluster.Nodes,
    reservations.DrainNode,
    reservations.CloseNode,
    reservations.OpenNode,
    reservations.Reservations,
    reservations.OneReservation,
    queues.Queues,
    queues.OneQueue,
    queues.ResetQueue,
    queues.Cohorts,
    queues.OneCohort,
    queues.ResetCohort,
    cluster.Priorities,
    cluster.Images,
    cluster.Plan,
    records.Records,
    records.OneRecord,
    records.Outputs,
    records.Crate,
    records.Replay,
    content.Blob,
    secrets.Secrets,
    secrets.OneSecret,
    about.Version,
    about.Whoami,
    about.Schema,
    about.OpenAPI,
    probes.Health,
    probes.Ready,
    probes.Metrics,
    pages.StatusPage,
)


def make_app(
    settings: ServiceSettings,
    backend: Backend,
    cache: Cache,
    registry: Registry,
    runs: Runs,
    authenticator: Authenticator,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Application:
    """Return the application; ``application.settings["service"].close()`` ends its streams.

    Parameters
    ----------
    settings : ServiceSettings
        Limits and names.
    backend : Backend
        Where wishes, blobs, secrets and records go; open.
    cache : Cache
        Kept up to date by the controller (or by a watch of the service's own).
    registry : Registry
        Finds the descriptors that a TaskSet uses.
    runs : Runs
        Reads archives of records and prepares replays.
    authenticator : Authenticator
        Finds out who calls.
    clock : callable
        Monotonic seconds of the rate limits; replaced in tests.
    """
    blobs = BlobAccess(backend, cache)
    service = Service(
        settings=settings,
        backend=backend,
        cache=cache,
        runs=runs,
        authenticator=authenticator,
        submission=Submission(settings, backend, cache, registry, blobs),
        blobs=blobs,
        streams=Streams(cache),
        requests=Buckets(settings.requests_per_second, settings.burst, clock),
        failures=Buckets(settings.failures_per_second, settings.failure_burst, clock),
        slots=Slots(settings.streams_per_user),
        leases=Leases(backend, cache, settings.lease_seconds),
    )
    context = {"service": service}
    specs = [URLSpec(pattern_of(handler, settings), handler, context) for handler in HANDLERS]
    if authenticator.hub is not None:
        specs.append(URLSpec(f"{re.escape(settings.prefix)}oauth_callback", pages.Callback, context))
    return Application(
        specs,
        default_handler_class=UnknownPath,
        default_handler_args=context,
        cookie_secret=settings.cookie_secret,
        service=service,
        log_function=lambda handler: None,  # paths hold users' names; errors are logged where they happen
    )


def make_server(application: Application) -> HTTPServer:
    """Return a server for the application; the caller gives it sockets.

    Silent connections are closed after a while, and there is a most of them, so that they can't use up the process'
    open files. Addresses in ``X-Forwarded-For`` are not believed: any process of the machine could send them.
    """
    return BoundedServer(application, idle_connection_timeout=IDLE_SECONDS, max_header_size=HEADER_BYTES)


class BoundedServer(HTTPServer):
    """Closes connections beyond a third of what the process may open: tasks, database and logs need files, too."""

    def initialize(self, *arguments: Any, **options: Any) -> None:
        """Called by tornado instead of ``__init__``."""
        super().initialize(*arguments, **options)
        self.most = max(16, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 3)
        self._open = 0
        self._told_at = float("-inf")

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Take a connection, or close it at once."""
        if self._open >= self.most:
            stream.close()
            if time.monotonic() - self._told_at > TOLD_SECONDS:
                self._told_at = time.monotonic()
                log.warning("connections are refused: %d are open, the most", self._open)
            return
        self._open += 1
        super().handle_stream(stream, address)

    def on_close(self, server_conn: object) -> None:
        """A connection has ended."""
        self._open -= 1
        super().on_close(server_conn)


def pattern_of(handler: type[ApiHandler], settings: ServiceSettings) -> str:
    """Return the URL pattern of a handler: each parameter is one segment."""
    base = settings.api if handler.base == "api" else settings.prefix.rstrip("/")
    parts = re.split(r"(\{\w+\})", base + handler.path)
    return "".join(f"(?P<{part[1:-1]}>[^/]+)" if part.startswith("{") else re.escape(part) for part in parts)
