"""Whose a blob is: a tenant may read what he uploaded, and what a TaskSet or record of his uses. Others find nothing.

Content is stored once however many upload it; knowing a digest is not a right to read, so who uploaded is kept beside
(a ledger per namespace). Administrators read every blob.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

from octopus_hub.backends.base import Backend
from octopus_hub.control.cache import Cache
from octopus_hub.model.errors import NotFound, Refused
from octopus_hub.model.record import Record
from octopus_hub.service.identity import Identity

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
UPLOADS_KEPT = 20_000  # of one tenant; older ones are readable through what uses them


class BlobAccess:
    """Blobs with their borders."""

    def __init__(self, backend: Backend, cache: Cache) -> None:
        self._backend = backend
        self._cache = cache
        self._noting = asyncio.Lock()

    async def put(self, digest: str, chunks: AsyncIterator[bytes], who: Identity, limit: int) -> str:
        """Store content and note whose it is; the backend verifies the digest."""
        if not who.namespace:
            raise Refused("the token of a hub service can't upload; use a user's token")
        stored = await self._backend.put_blob(chunks, digest=digest, limit=limit)
        await self._note(stored, who.namespace)
        return stored

    async def path(self, digest: str, who: Identity) -> Path:
        """Return the file of a blob the caller may read; NotFound says the same about a missing and a foreign one."""
        if not DIGEST.fullmatch(digest) or not await self._may_read(digest, who):
            raise _missing(digest)
        try:
            return await self._backend.blob_path(digest)
        except NotFound:
            raise _missing(digest) from None

    async def _may_read(self, digest: str, who: Identity) -> bool:
        if who.admin:
            return True
        if not who.namespace:
            return False
        ledger = await self._backend.get_ledger(_ledger(who.namespace))
        if digest in ledger.get("uploads", ()):
            return True
        mine = (each for each in self._cache.tasksets.values() if each.metadata.namespace == who.namespace)
        if any(each.spec.workspace.digest == digest for each in mine):
            return True
        return any(_uses(record, digest) for record in await self._backend.list_records(who.namespace))

    async def _note(self, digest: str, namespace: str) -> None:
        async with self._noting:
            name = _ledger(namespace)
            uploads = list((await self._backend.get_ledger(name)).get("uploads", ()))
            if digest not in uploads:
                await self._backend.put_ledger(name, {"uploads": [*uploads, digest][-UPLOADS_KEPT:]})


def _ledger(namespace: str) -> str:
    return f"blobs.{namespace}"


def _uses(record: Record, digest: str) -> bool:
    return record.workspace == digest or any(output.digest == digest for output in record.outputs)


def _missing(digest: str) -> NotFound:
    known = digest if DIGEST.fullmatch(digest) else "of that name"
    return NotFound(f"there is no blob {known}; digests look like sha256:<64 hexadecimal digits>")
