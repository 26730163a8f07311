"""What the service gives out of records: their outputs, the whole as a research object crate, and a document to replay.

Content comes from the backend's blobs and, for logs, from the record's folder where the backend keeps one. Implements
``octopus_hub.service.runs.Runs``; made by the composition root.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from octopus_hub.backends.base import Backend
from octopus_hub.model.descriptor import Descriptors
from octopus_hub.model.errors import NotFound, Unavailable
from octopus_hub.model.record import Record
from octopus_hub.model.taskset import TaskSet
from octopus_hub.runs.replay import replay
from octopus_hub.runs.streams import Member, in_thread, tar_gz, zipped

LOG_BYTES = 256 << 20  # of a log that no folder holds: kept logs are bounded well below


class Archives:
    """See the module's docstring.

    Parameters
    ----------
    backend : Backend
        Open backend.
    descriptors : callable, optional
        Resolves the descriptors a TaskSet would get now (``Registry.resolve``); a replay compares them with those of
        the record. Not compared if not given.
    """

    def __init__(self, backend: Backend, descriptors: Callable[[TaskSet], Descriptors] | None = None) -> None:
        self._backend = backend
        self._descriptors = descriptors

    async def outputs(self, record: Record) -> AsyncIterator[bytes]:
        """Yield a tar.gz archive of the outputs; raises NotFound before any byte."""
        members = await self._outputs(record)
        async for piece in in_thread(tar_gz(members)):
            yield piece

    async def crate(self, record: Record) -> AsyncIterator[bytes]:
        """Yield the record with everything of it as a zip archive; raises NotFound, Unavailable before any byte."""
        try:
            from octopus_hub.runs import crate
        except ModuleNotFoundError as error:
            raise Unavailable(
                f"a crate can't be made here ({error}); install octopus-hub[runs] where the service runs"
            ) from None
        outputs = [Member(f"outputs/{member.name}", member.content) for member in await self._outputs(record)]
        logs = [Member(task.log, await self._log(record, task.name, task.log)) for task in record.tasks if task.log]
        workspace = await self._workspace(record, crate.WORKSPACE)
        described = await asyncio.to_thread(lambda: crate.descriptions(record, code=bool(workspace)))
        about = [Member(name, content) for name, content in described.items()]
        members = [*about, Member(crate.RECORD, crate.record_file(record)), *workspace, *logs, *outputs]
        async for piece in in_thread(zipped(members)):
            yield piece

    async def replay(self, record: Record) -> TaskSet:
        """Return the document that runs the record again; raises InvalidSpec with everything that can't be had."""
        return await replay(self._backend, record, self._descriptors)

    async def _outputs(self, record: Record) -> list[Member]:
        members: list[Member] = []
        for output in sorted(record.outputs, key=lambda each: each.path):
            try:
                members.append(Member(output.path, await self._backend.blob_path(output.digest)))
            except NotFound:
                raise NotFound(
                    f"the content of {output.path} is gone from the store; `octopus replay` runs {record.name} again"
                ) from None
        return members

    async def _workspace(self, record: Record, name: str) -> list[Member]:
        """Return the code; none where it was pruned: the rest is worth having without it."""
        if record.workspace:
            with contextlib.suppress(NotFound):
                return [Member(name, await self._backend.blob_path(record.workspace))]
        return []

    async def _log(self, record: Record, task: str, name: str) -> Path | bytes:
        """Return a task's kept log: beside the record, else what the backend still has."""
        kept = Path(record.path, name)
        if record.path and kept.is_file():
            return kept
        content = bytearray()
        async for piece in self._backend.read_log(record.namespace, task):
            content += piece
            if len(content) > LOG_BYTES:
                break
        return bytes(content)
