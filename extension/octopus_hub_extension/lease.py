"""Holds this server's lease: TaskSets submitted from it with ``lifetime: server`` live as long as it does.

The lease's name is put into the environment, where kernels and terminals of this server find it. One silent connection
to the service, tried again while the service is away.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import uuid
from collections.abc import MutableMapping

import httpx

from octopus_hub.client import transport
from octopus_hub.client.lease import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, SERVER_LEASE
from octopus_hub.model.errors import OctopusError
from octopus_hub_extension.upstream import Upstream


class ServerLease:
    """The lease of one server."""

    def __init__(self, upstream: Upstream, environ: MutableMapping[str, str] = os.environ) -> None:
        self._upstream = upstream
        self._task: asyncio.Task[None] | None = None
        self.name = environ[SERVER_LEASE] = f"server-{uuid.uuid4().hex}"

    def start(self) -> None:
        """Begin to hold it; needs a running loop."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._keep(), name="octopus-lease")

    async def stop(self) -> None:
        """Give it up; the service stops what is tied to it after its grace."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _keep(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            with contextlib.suppress(OctopusError, httpx.HTTPError):
                async with self._upstream.open("GET", f"/leases/{self.name}", transport.STREAM_TIMEOUT) as response:
                    if response.status_code == 200:
                        async for _ in response.aiter_raw():
                            pause = FIRST_PAUSE_SECONDS
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
