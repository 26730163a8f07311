"""An engine for the tests of records: the real controller on the local backend, and short ways to use it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import sys
import tarfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from octopus_hub.backends.local import process
from octopus_hub.backends.local.backend import LocalBackend
from octopus_hub.control.cache import Cache
from octopus_hub.control.loop import Controller
from octopus_hub.model.descriptor import Descriptors
from octopus_hub.model.errors import OctopusError
from octopus_hub.model.record import Record
from octopus_hub.model.status import Phase
from octopus_hub.model.task import Task
from octopus_hub.model.taskset import Metadata, Resolved, Role, RunSpec, Spec, TaskSet, Workspace
from octopus_hub.plugins.registry import Registry
from octopus_hub.runs.archives import Archives
from octopus_hub.runs.record import RecordWriter

DEADLINE = 90.0
OWNER = "anna"
replace = msgspec.structs.replace


class Recorder(RecordWriter):
    """The real writer, which a test can make wait before or after its work, and whose failures it can count."""

    def __init__(self, backend: LocalBackend) -> None:
        super().__init__(backend)
        self.halt = ""  # "before" | "after": wait there for ever
        self.reached = asyncio.Event()
        self.failures = 0

    async def record(self, taskset: TaskSet, tasks: Sequence[Task], attempt: int) -> Record:
        if self.halt == "before":
            await self._wait()
        try:
            written = await super().record(taskset, tasks, attempt)
        except OctopusError:
            self.failures += 1
            raise
        if self.halt == "after":
            await self._wait()
        return written

    async def _wait(self) -> None:
        self.reached.set()
        await asyncio.Event().wait()


class Engine:
    """Backend, controller and archives over one state folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registry = Registry.load()
        self.reset()

    def reset(self) -> None:
        """Make everything anew, as another process would."""
        self.backend = LocalBackend(self.folder, descriptors=())
        self.cache = Cache()
        self.archives = Archives(self.backend, self.registry.resolve)
        self.recorder = Recorder(self.backend)
        self._controller = Controller(self.backend, self.cache, self.recorder)

    async def open(self) -> None:
        """Start; what an earlier engine left is taken up."""
        await self.backend.open()
        await self._controller.start()

    async def close(self) -> None:
        """Stop; tasks keep running."""
        await self._controller.stop()
        await self.backend.close()

    async def submit(self, name: str, workspace: Mapping[str, str] | None = None, **spec: Any) -> TaskSet:
        """Store a TaskSet resolved as the service does, with a workspace of these files."""
        spec.setdefault("roles", [Role("main")])
        spec.setdefault("seed", 7)
        if workspace is not None:
            digest = await self.backend.put_blob(_once(packed(workspace)), limit=1 << 30)
            spec["workspace"] = Workspace(digest=digest)
        document = TaskSet(metadata=Metadata(name=name), spec=Spec(**spec))
        return await self.create(document)

    async def create(self, document: TaskSet) -> TaskSet:
        """Store a document as the service would: images and descriptors resolved."""
        meta = Metadata(name=document.name, namespace=OWNER, owner=OWNER, labels=document.metadata.labels)
        images = {role.name: await self.backend.resolve_image(role.image) for role in document.spec.roles}
        resolved = Resolved(
            images={role: image.digest for role, image in images.items()},
            image_names={role: image.name for role, image in images.items()},
            descriptors=self.descriptors(document),
            spec_digest="sha256:" + "5" * 64,
        )
        spec = replace(document.spec, queue=document.spec.queue or "default")
        return await self.backend.create(replace(document, metadata=meta, spec=spec, resolved=resolved))

    def descriptors(self, document: TaskSet) -> Descriptors:
        return self.registry.resolve(document)

    async def until(self, holds: Callable[[], Any]) -> Any:
        """Wait until something of the cache holds, woken by changes."""
        async with asyncio.timeout(DEADLINE):
            changes = self.backend.watch((await self.backend.listing()).revision)
            while not (found := holds()):
                await anext(changes)
                await asyncio.sleep(0)  # the controller sees the change, too
            return found

    async def until_file(self, path: Path) -> None:
        """Wait until a task has made a file."""
        async with asyncio.timeout(DEADLINE):
            while not path.exists():  # noqa: ASYNC110  (tasks tell nobody)
                await asyncio.sleep(0.02)

    async def phase(self, job: TaskSet, *phases: Phase) -> TaskSet:
        """Wait for a phase."""
        uid = job.metadata.uid
        known = self.cache.tasksets
        found: TaskSet = await self.until(lambda: uid in known and known[uid].status.phase in phases and known[uid])
        return found

    async def recorded(self, job: TaskSet, attempt: int | None = None) -> Record:
        """Wait for the record of an attempt (the last one's by default), after the end if there is no attempt given."""
        uid = job.metadata.uid

        def done() -> bool:
            status = self.cache.tasksets[uid].status if uid in self.cache.tasksets else None
            if status is None:
                return False
            last = status.recorded_attempt >= status.attempt and status.phase.terminal
            return status.recorded_attempt >= attempt if attempt else last

        await self.until(done)
        return await self.backend.get_record(OWNER, uid, attempt)

    async def run(self, name: str, workspace: Mapping[str, str] | None = None, **spec: Any) -> Record:
        """Submit and wait for the record."""
        return await self.recorded(await self.submit(name, workspace, **spec))

    def stop_before_record(self) -> asyncio.Event:
        """Let no record be written any more; the event says that one should have been."""
        self.recorder.halt = "before"
        return self.recorder.reached

    def stop_after_record(self) -> asyncio.Event:
        """Let nothing happen after the next record was written."""
        self.recorder.halt = "after"
        return self.recorder.reached

    async def happened(self, event: asyncio.Event) -> None:
        """Wait for an event."""
        await asyncio.wait_for(event.wait(), DEADLINE)

    async def failures(self, count: int) -> None:
        """Wait until writing a record has failed so often."""
        async with asyncio.timeout(DEADLINE):
            while self.recorder.failures < count:  # noqa: ASYNC110  (the writer tells nobody)
                await asyncio.sleep(0.01)

    async def log(self, task: Task) -> bytes:
        return b"".join([part async for part in self.backend.read_log(task.namespace, task.name)])

    async def end_all(self) -> None:
        """Stop whatever runs, so that nothing outlives the test."""
        tasks = [task for task in (await self.backend.listing()).tasks if not task.state.terminal]
        await self.backend.stop_tasks([(task.namespace, task.name) for task in tasks], 0.0, "Stopped")
        names = {task.name for task in tasks}
        await self.until(lambda: not any(t.name in names and not t.state.terminal for t in self.cache.tasks.values()))


@contextlib.asynccontextmanager
async def started(folder: Path) -> AsyncIterator[Engine]:
    """Give an engine; nothing of it lives afterwards."""
    engine = Engine(folder)
    await engine.open()
    try:
        yield engine
    finally:
        try:
            await engine.end_all()
        finally:
            await engine.close()
            assert process.marked(f"{folder.as_posix()}/") == []


def python(text: str) -> list[str]:
    """Return a command that runs a Python text."""
    return [sys.executable, "-c", text]


def notebook(*cells: str | dict[str, Any], language: str = "python", kernel: str = "python3") -> str:
    """Return a notebook; a text is a code cell, a mapping a cell's fields."""
    full = [cell if isinstance(cell, dict) else {"source": cell} for cell in cells]
    common = {"cell_type": "code", "metadata": {}}
    made = [{**common, "id": f"cell-{at}", **cell} for at, cell in enumerate(full)]
    for cell in made:
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    meta = {"kernelspec": {"name": kernel, "language": language, "display_name": kernel}}
    return json.dumps({"cells": made, "metadata": meta, "nbformat": 4, "nbformat_minor": 5})


def parameters(source: str) -> dict[str, Any]:
    """Return a cell that holds defaults of parameters."""
    return {"source": source, "metadata": {"tags": ["parameters"]}}


def run_of(notebook: str = "train.ipynb", /, **values: Any) -> dict[str, Any]:
    """Return the fields of a spec that runs a notebook."""
    return {"run": RunSpec(notebook=notebook, parameters=values)}


def packed(files: Mapping[str, str]) -> bytes:
    """Return a workspace archive."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return target.getvalue()


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
