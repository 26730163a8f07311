"""Engine and service in one process: backend, controller, REST service, on one state folder. No hub in here.

The sole writer of the state folder (the backend holds its lock). Started by :mod:`octopus_hub.app.workbench`, by tests,
and by benchmarks; everything that it starts is stopped in reverse order, tasks excepted, which outlive it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from octopus_hub.app.checks import private_file, write_private
from octopus_hub.backends.local import config as configuration
from octopus_hub.backends.local.backend import LocalBackend
from octopus_hub.control import garbage
from octopus_hub.control.cache import Cache
from octopus_hub.control.loop import Controller
from octopus_hub.control.metrics import Metrics
from octopus_hub.model.taskset import TaskSet
from octopus_hub.plugins.hooks import Hooks
from octopus_hub.plugins.registry import Registry
from octopus_hub.runs.archives import Archives
from octopus_hub.runs.record import RecordWriter
from octopus_hub.service.application import make_app, make_server
from octopus_hub.service.identity import Authenticator, LocalToken, hub_oauth
from octopus_hub.service.settings import ServiceSettings

CLIENT_FILE = "client.json"
PLUGINS = "plugins"
LOOPBACK = "127.0.0.1"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HubLink:
    """How the service asks the hub who calls.

    Attributes
    ----------
    api_url : str
        The hub's API on loopback.
    api_token : str
        The service's own token.
    public_base : str
        The hub's base URL as browsers see it.
    """

    api_url: str
    api_token: str = field(repr=False)
    public_base: str = "/"


class Engine:
    """One engine with its service.

    Parameters
    ----------
    state : Path
        The state folder.
    user : str
        Whom the local command line acts as.
    port : int
        Loopback port of the service; 0 takes a free one.
    config_file : Path, optional
        ``octopus.yaml``; default: the one in the state folder, if there is one.
    hub : HubLink, optional
        None: only the account's own token is known.
    """

    def __init__(
        self,
        state: Path,
        user: str,
        *,
        port: int = 0,
        config_file: Path | None = None,
        hub: HubLink | None = None,
        settings: ServiceSettings | None = None,
    ) -> None:
        self.state = state
        self.user = user
        self.port = port
        self._hub = hub
        self._config_file = config_file
        self._settings = settings or ServiceSettings()
        self._stack = contextlib.AsyncExitStack()
        self.cache = Cache()
        self.backend: LocalBackend
        self.controller: Controller

    @property
    def url(self) -> str:
        """Address of the service on loopback."""
        return f"http://{LOOPBACK}:{self.port}{self._settings.prefix}"

    async def start(self) -> None:
        """Open everything; raises OctopusError with the way out, and nothing is left open then."""
        async with contextlib.AsyncExitStack() as stack:
            await self._open(stack)
            self._stack = stack.pop_all()

    async def stop(self) -> None:
        """Stop serving, deciding and writing; tasks keep running."""
        await self._stack.aclose()

    def unfinished(self) -> list[TaskSet]:
        """Return the TaskSets that have not ended."""
        return [each for each in self.cache.tasksets.values() if not each.status.phase.terminal]

    @property
    def separate_accounts(self) -> bool:
        """Whether tasks run as the system accounts of their owners."""
        return self.backend.config.separate_accounts

    async def until_ended(self, uids: Collection[str] | None = None) -> None:
        """Return when these TaskSets (default: all) have ended and their records stand."""
        changed = asyncio.Event()
        unsubscribe = self.cache.subscribe(lambda _: changed.set())
        try:
            while any(_open_ended(each) for uid, each in self.cache.tasksets.items() if uids is None or uid in uids):
                await changed.wait()
                changed.clear()
        finally:
            unsubscribe()

    async def _open(self, stack: contextlib.AsyncExitStack) -> None:
        config = configuration.load(self._config_file or self.state / configuration.FILE)
        registry = Registry.load(_extra(self.state), config.storage)
        self.backend = LocalBackend(self.state, config=config, descriptors=list(registry.devices.values()))
        await self.backend.open()
        stack.push_async_callback(self.backend.close)
        metrics = Metrics()
        hooks = Hooks(list(registry.hooks.values()))
        writer = RecordWriter(self.backend)
        self.controller = Controller(self.backend, self.cache, writer, metrics=metrics, hooks=hooks)
        await self.controller.start()
        stack.push_async_callback(self.controller.stop)
        collecting = asyncio.create_task(garbage.look_seldom(), name="garbage")
        stack.callback(collecting.cancel)
        await self._serve(stack, registry, metrics, config)

    async def _serve(
        self,
        stack: contextlib.AsyncExitStack,
        registry: Registry,
        metrics: Metrics,
        config: configuration.Config,
    ) -> None:
        settings = replace(
            self._settings,
            metrics=metrics.registry,
            image_names=tuple(self.backend.image_names),
            blob_bytes=config.limits.blob,
            cookie_secret=private_file(self.state / "service_cookie_secret", 32).encode(),
        )
        token = private_file(self.state / "client_token", 32)
        hub: Any = None
        if self._hub is not None:
            hub = hub_oauth(
                api_url=self._hub.api_url,
                api_token=self._hub.api_token,
                prefix=settings.prefix,
                public_base=self._hub.public_base,
            )
        authenticator = Authenticator(LocalToken(token, self.user), hub)
        app = make_app(
            settings, self.backend, self.cache, registry, Archives(self.backend, registry.resolve), authenticator
        )
        server = make_server(app)
        sockets = bind_sockets(self.port, LOOPBACK)
        self.port = int(sockets[0].getsockname()[1])
        server.add_sockets(sockets)
        stack.push_async_callback(_close_server, server)
        stack.callback(app.settings["service"].close)
        log.info("engine and service of %s listen at %s", self.state, self.url)
        document = {"url": self.url.rstrip("/"), "token": token, "user": self.user}
        write_private(self.state / CLIENT_FILE, json.dumps(document))


def _open_ended(taskset: TaskSet) -> bool:
    status = taskset.status
    return not status.phase.terminal or status.recorded_attempt < status.attempt


async def _close_server(server: HTTPServer) -> None:
    server.stop()
    await server.close_all_connections()


def _extra(state: Path) -> Sequence[Path]:
    return [state / PLUGINS] if (state / PLUGINS).is_dir() else []
