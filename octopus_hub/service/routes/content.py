"""``/blobs/{digest}``: content in and out as a stream, verified by its digest, inside the tenant's border."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import ClassVar

from octopus_hub.model.errors import InvalidSpec, TooLarge
from octopus_hub.service.access import Route
from octopus_hub.service.blobs import DIGEST
from octopus_hub.service.context import Service
from octopus_hub.service.handler import PIECE, ApiHandler
from octopus_hub.service.views import shown

BINARY = "application/octet-stream"
CHUNKS_WAITING = 4


class Blob(ApiHandler):
    """One blob."""

    path = "/blobs/{digest}"
    body_seconds: ClassVar[float] = 3600.0

    def initialize(self, service: Service) -> None:
        """Bodies are as large as workspaces here."""
        super().initialize(service)
        self.body_bytes = service.settings.blob_bytes
        self._incoming: asyncio.Queue[bytes | None] = asyncio.Queue(CHUNKS_WAITING)
        self._storing: asyncio.Task[str] | None = None

    async def prepare(self) -> None:
        """Begin to store before the body comes."""
        await super().prepare()
        if self.request.method != "PUT" or self._finished:
            return
        digest = str(self.path_kwargs["digest"])
        store = self.service.blobs.put(digest, self._arriving(), self.who, self.body_bytes)
        self._storing = asyncio.create_task(store, name="blob")

    async def _admit(self, route: Route) -> None:
        await super()._admit(route)
        digest = str(self.path_kwargs["digest"])
        if route.method == "PUT" and not DIGEST.fullmatch(digest):
            raise InvalidSpec(f"{shown(digest)} is not a digest; it looks like sha256:<64 hexadecimal digits>")

    async def data_received(self, chunk: bytes) -> None:
        """Hand a chunk over; waits while the disk is slower than the network."""
        if self._storing is None:
            return
        putting = asyncio.create_task(self._incoming.put(chunk))
        await asyncio.wait({putting, self._storing}, return_when=asyncio.FIRST_COMPLETED)
        if not putting.done():  # storing has ended early: the rest is not kept
            putting.cancel()

    async def put(self, digest: str) -> None:
        """The body has come in whole."""
        assert self._storing is not None
        ending = asyncio.create_task(self._incoming.put(None))
        await asyncio.wait({ending, self._storing}, return_when=asyncio.FIRST_COMPLETED)
        self.answer({"digest": await self._storing}, 201)
        ending.cancel()

    async def get(self, digest: str) -> None:
        """Send the content."""
        path = await self.service.blobs.path(digest, self.who)
        await self.send(read(path), BINARY)

    async def head(self, digest: str) -> None:
        """Say that it is there, and how large."""
        path = await self.service.blobs.path(digest, self.who)
        self.set_header("Content-Type", BINARY)
        self.set_header("Content-Length", path.stat().st_size)
        self.finish()

    def on_connection_close(self) -> None:
        """An upload that broke off is not stored."""
        super().on_connection_close()
        if self._storing is not None:
            self._storing.cancel()

    def on_finish(self) -> None:
        """Nothing stays behind after a refusal."""
        if self._storing is not None and not self._storing.done():
            self._storing.cancel()

    async def _arriving(self) -> AsyncIterator[bytes]:
        size = 0
        while (chunk := await self._incoming.get()) is not None:
            size += len(chunk)
            if size > self.body_bytes:
                raise TooLarge(f"the content has more than {self.body_bytes} bytes, the limit", limit=self.body_bytes)
            yield chunk


async def read(path: Path) -> AsyncIterator[bytes]:
    """Yield a file's bytes, read outside the loop."""
    with await asyncio.to_thread(path.open, "rb") as file:
        while chunk := await asyncio.to_thread(file.read, PIECE):
            yield chunk
