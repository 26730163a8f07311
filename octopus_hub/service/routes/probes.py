"""For whoever keeps the service running: alive, ready, metrics."""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from octopus_hub._version import __version__
from octopus_hub.model.errors import OctopusError, Unavailable
from octopus_hub.service.access import Route
from octopus_hub.service.handler import ApiHandler

READY_SECONDS = 5.0


class Health(ApiHandler):
    """``/healthz``."""

    path = "/healthz"
    base = "service"

    async def get(self) -> None:
        """The loop turns."""
        self.answer({"status": "ok", "version": __version__})


class Ready(ApiHandler):
    """``/readyz``."""

    path = "/readyz"
    base = "service"

    async def get(self) -> None:
        """The backend answers and the cache has been filled."""
        try:
            await asyncio.wait_for(self.service.backend.now(), READY_SECONDS)
        except (OctopusError, TimeoutError):
            raise Unavailable("the engine behind the service does not answer; see its log") from None
        if not self.service.cache.queues:
            raise Unavailable("the engine is starting; try again in a moment")
        self.answer({"status": "ready", "version": __version__})


class Metrics(ApiHandler):
    """``/metrics``."""

    path = "/metrics"
    base = "service"

    async def _admit(self, route: Route) -> None:
        if not self.service.settings.public_metrics:
            await super()._admit(route)

    async def get(self) -> None:
        """Counters of the engine in Prometheus' text format."""
        registry = self.service.settings.metrics or CollectorRegistry()
        self.answer(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
