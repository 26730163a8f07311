"""The Backend of one machine: rows in SQLite, tasks as processes under their runner, blobs and records as files.

A facade: it wires store, runner, blobs, vault, images and records together and keeps them consistent (rows first, then
processes; folders first, then rows, when a TaskSet goes). It decides nothing. Made by the composition root.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from octopus_hub.backends.base import Beside, Image
from octopus_hub.backends.local import orphans, statefolder
from octopus_hub.backends.local.blobs import YOUNG_SECONDS, Blobs
from octopus_hub.backends.local.config import Config
from octopus_hub.backends.local.division import Divisible
from octopus_hub.backends.local.images import Images
from octopus_hub.backends.local.nodes import nodes
from octopus_hub.backends.local.ports import PortPool
from octopus_hub.backends.local.prepare import EnvironmentPaths
from octopus_hub.backends.local.records import Records
from octopus_hub.backends.local.runner import Prepared, Runner
from octopus_hub.backends.local.store import Store
from octopus_hub.backends.local.vault import Vault
from octopus_hub.backends.taskrows import check_members
from octopus_hub.backends.truth import Truth
from octopus_hub.backends.truthcalls import TruthCalls
from octopus_hub.model.descriptor import DeviceDescriptor
from octopus_hub.model.errors import OctopusError, Unavailable
from octopus_hub.model.record import OutputFile, Record
from octopus_hub.model.task import Address, Task, TaskSpec
from octopus_hub.model.taskset import TaskSet
from octopus_hub.plugins import discovery

FLUSH_RETRY_SECONDS = 1.0
BACKUP_SECONDS = 24 * 3600.0
OBSERVE_SECONDS = 5.0  # while tasks hold real devices; twelve times rarer otherwise

_log = logging.getLogger(__name__)


class LocalBackend(TruthCalls):
    """See the module's docstring; the methods are those of :class:`octopus_hub.backends.base.Backend`.

    Parameters
    ----------
    folder : Path, optional
        State folder; the one that the environment names if not given.
    config : Config
        What ``octopus.yaml`` says.
    descriptors : sequence of DeviceDescriptor
        Device types to look for on this machine.
    clock : callable
        Unix seconds.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        config: Config | None = None,
        descriptors: Sequence[DeviceDescriptor] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = folder or statefolder.default_folder()
        self.config = config or Config()
        self._descriptors = descriptors
        self._clock = clock
        self._epoch = 0
        self._flushing = False
        self._closed = False
        self._background: list[asyncio.Task[None]] = []
        self._closing = contextlib.AsyncExitStack()

    # --- life
    async def open(self) -> None:
        """Lock, check, migrate, load, back up, adopt; raises StateError, InvalidSpec (configuration)."""
        async with contextlib.AsyncExitStack() as stack:
            self.folder = statefolder.prepare(self.folder)
            stack.callback(statefolder.Lock(self.folder).release)
            self._store = Store(self.folder)
            stack.callback(self._store.close)
            stored = self._store.load()
            self._store.back_up()
            self._epoch = self._store.next_epoch()
            self._truth = Truth(clock=self._clock, journal=self._store.write, epoch=self._epoch, stored=stored)
            stack.callback(self._truth.fanout.close)
            await self._look_around()
            self._wire()
            stack.callback(self._flush_last)
            stack.push_async_callback(self._runner.close)
            await self._adopt()
            self._records.reindex()
            for job in (self._back_up_daily(), self._observe_devices()):
                self._background.append(asyncio.create_task(job))
            stack.push_async_callback(self._stop_background)
            self._closing = stack.pop_all()

    async def close(self) -> None:
        """Stop watching and writing; tasks keep running."""
        await self._closing.aclose()

    async def _look_around(self) -> None:
        """Learn what this machine has and what the configuration allows."""
        found = [device for each in self._descriptors for device in await asyncio.to_thread(discovery.discover, each)]
        self._discovered = {device.id for device in found}
        most = {each.name: each.parts.max for each in self._descriptors if each.parts is not None}
        for node in nodes(self.config.nodes, lambda: found, divisible=Divisible(most, self._truth.held_as())):
            self._truth.put_node(node)
        for cohort in self.config.cohorts:
            self._truth.tree.cohorts.declare(cohort)
        for queue in self.config.queues:
            self._truth.put_queue(queue)
        self._truth.priorities = self.config.priorities

    def _wire(self) -> None:
        self._blobs = Blobs(self.folder)
        self._blobs.open()
        self._vault = Vault(self.folder, self._store)
        self._images = Images(self.config.images, self._store, clock=self._clock)
        self._ports = PortPool()
        self._runner = Runner(
            self.folder,
            clock=self._clock,
            on_change=self._on_change,
            blob_path=self._blobs.path,
            log_limit_bytes=self.config.limits.log,
            marker=self.folder.as_posix(),
            separate_accounts=self.config.separate_accounts,
        )
        self._records = Records(
            self.folder, self._store, blob_path=self._blobs.path, read_log=self._runner.read_log, clock=self._clock
        )

    async def _adopt(self) -> None:
        """Take up the rows' tasks; end tasks that no row knows (an older database was put back)."""
        known = list(self._truth.tasks.values())
        strangers = orphans.living(self.folder / "tasks", self._truth.tasks)
        await self._runner.adopt([*known, *strangers])
        if strangers:
            _log.warning("%d running tasks that the database does not know are ended", len(strangers))
            await self._runner.stop(strangers, 0, "Vanished")
        keys = {taskset.key for taskset in self._truth.tasksets.values()}
        keys.update((task.namespace, task.taskset) for task in strangers)
        await asyncio.to_thread(orphans.sweep, self.folder / "tasks", keys)

    @property
    def epoch(self) -> int:
        """This writer's epoch; 0 before it was opened."""
        return self._epoch

    async def now(self) -> float:
        """Return the clock's time."""
        return self._clock()

    def _rows(self) -> Truth:
        return self._truth

    # --- truth
    async def delete(self, uid: str) -> None:
        """Remove a TaskSet; its folders first, so that a crash in between leaves something to delete again."""
        taskset = self._truth.deletable(uid)
        if taskset is not None:
            await self._runner.forget(*taskset.key)
            self._truth.delete(uid)

    # --- tasks
    async def reserve(
        self, taskset: TaskSet, members: Sequence[tuple[str, int]], port_names: Mapping[str, Sequence[str]]
    ) -> dict[tuple[str, int], Address]:
        """Return addresses on this machine, stored until the TaskSet ends."""
        return self._truth.reserve(taskset, members, port_names, self._ports.take)

    async def create_tasks(self, specs: Sequence[TaskSpec]) -> None:
        """Store all rows, then start the parents, which wait at the barrier."""
        check_members(specs)
        environments: dict[tuple[str, str], EnvironmentPaths] = {}
        for name, digest in {(spec.image_name, spec.image) for spec in specs}:
            environments[name, digest] = await self._images.paths(name, digest)
        secrets = {spec.name: self._vault.values(spec.namespace, spec.secrets) for spec in specs}
        for workspace in {spec.workspace for spec in specs if spec.workspace}:
            self._blobs.path(workspace)
        placed = self._truth.place(specs)
        self._truth.add_tasks([task for _, task in placed])
        try:
            await self._runner.start(
                [
                    Prepared(
                        spec=spec,
                        task=task,
                        environment=environments[spec.image_name, spec.image],
                        secrets=secrets[spec.name],
                    )
                    for spec, task in placed
                ]
            )
        except OSError as error:
            self._truth.withdraw([task for _, task in placed])
            raise Unavailable(statefolder.disk_full(self.folder, error).message) from error

    async def release(self, names: Sequence[tuple[str, str]]) -> None:
        """Open the barrier."""
        try:
            await self._runner.release(self._truth.find(names))
        except OSError as error:
            raise statefolder.disk_full(self.folder, error) from error

    async def stop_tasks(self, names: Sequence[tuple[str, str]], grace_seconds: float, why: str) -> None:
        """Ask them to end; parents kill what is left after the grace."""
        alive = [task for task in self._truth.find(names) if not task.state.terminal]
        await self._runner.stop(alive, grace_seconds, why)

    async def delete_tasks(self, names: Sequence[tuple[str, str]]) -> None:
        """Forget rows of ended tasks. One that never ran leaves nothing, because its name may be used again."""
        unused = [task for task in self._truth.find(names) if task.state.terminal and task.started_at is None]
        await self._runner.discard(unused)
        self._truth.remove_tasks(names)

    async def read_log(
        self, namespace: str, task: str, *, offset: int = 0, follow: bool = False
    ) -> AsyncIterator[bytes]:
        """Yield the kept log."""
        async for chunk in self._runner.read_log(namespace, task, offset=offset, follow=follow):
            yield chunk

    async def collect_outputs(self, namespace: str, task: str, patterns: Sequence[str]) -> list[OutputFile]:
        """Store the files that match as blobs."""
        found: list[OutputFile] = []
        owner = self._runner.owner(namespace, task)
        for relative, path in await self._runner.collect(namespace, task, patterns):
            try:
                digest, size = await asyncio.to_thread(self._blobs.put_file, path, owner)
            except FileNotFoundError:  # gone, or replaced by a link, since it was found
                continue
            found.append(OutputFile(path=relative, digest=digest, size=size))
        return found

    # --- images, blobs, secrets
    async def resolve_image(self, name: str) -> Image:
        """Return a named environment, or the one that had a digest."""
        return await self._images.resolve(name)

    @property
    def image_names(self) -> list[str]:
        """Names of environments that can be asked for."""
        return self._images.names

    async def put_blob(self, chunks: AsyncIterator[bytes], *, digest: str | None = None, limit: int) -> str:
        """Store a blob."""
        return await self._blobs.put(chunks, digest=digest, limit=limit)

    async def blob_path(self, digest: str) -> Path:
        """Return a blob's file."""
        return self._blobs.path(digest)

    async def prune(self, young_seconds: float = YOUNG_SECONDS) -> tuple[int, int]:
        """Remove blobs that no TaskSet and no record needs; returns how many and their bytes."""
        keep = self._records.referenced()
        keep.update(each.spec.workspace.digest for each in self._truth.tasksets.values() if each.spec.workspace.digest)
        return await asyncio.to_thread(self._blobs.collect_garbage, keep, young_seconds)

    async def put_secret(self, namespace: str, name: str, value: str) -> None:
        """Store a secret, encrypted."""
        self._vault.put(namespace, name, value)

    async def list_secrets(self, namespace: str) -> list[str]:
        """Return names."""
        return self._vault.names(namespace)

    async def delete_secret(self, namespace: str, name: str) -> None:
        """Remove a secret."""
        self._vault.delete(namespace, name)

    # --- records
    async def put_record(self, record: Record, beside: Beside | None = None) -> Record:
        """Store a record with outputs, logs and workspace beside it."""
        return await self._records.put(record, beside)

    async def list_records(self, namespace: str | None) -> list[Record]:
        """Return records, newest first."""
        return await self._records.list(namespace)

    async def get_record(self, namespace: str, name: str, attempt: int | None = None) -> Record:
        """Return a record by name or uid."""
        return self._records.get(namespace, name, attempt)

    # --- what the runner tells
    def _on_change(self, task: Task) -> None:
        """Tell it at once, write it with what else comes in this turn of the loop."""
        if self._truth.observe(task) and not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._closed:
            return
        try:
            self._truth.flush()
        except OctopusError as error:  # nothing is lost: tasks' folders say the same, and it is tried again
            _log.error("states of tasks could not be written, trying again: %s", error)
            self._flushing = True
            asyncio.get_running_loop().call_later(FLUSH_RETRY_SECONDS, self._flush)

    def _flush_last(self) -> None:
        self._closed = True
        try:
            self._truth.flush()
        except OctopusError as error:
            _log.error("states of tasks could not be written; they are learned again at the next start: %s", error)

    # --- background
    async def _back_up_daily(self) -> None:
        while True:
            await asyncio.sleep(BACKUP_SECONDS)
            try:
                await asyncio.to_thread(self._store.back_up)
            except OctopusError as error:
                _log.error("no backup was made: %s", error)

    async def _observe_devices(self) -> None:
        """Tell the use of real devices; costs nothing where there are none."""
        real = [each for each in self._descriptors if each.discovery in ("nvml", "command")]
        while real and self._discovered:
            busy = any(task.devices and not task.state.terminal for task in self._truth.tasks.values())
            for descriptor in real:
                await self._observe(descriptor)
            await asyncio.sleep(OBSERVE_SECONDS if busy else 12 * OBSERVE_SECONDS)

    async def _observe(self, descriptor: DeviceDescriptor) -> None:
        known = [
            device
            for node in self._truth.nodes.values()
            for device in node.devices
            if device.type == descriptor.name and device.id in self._discovered
        ]
        seen = {device.id: device for device in await asyncio.to_thread(discovery.observe, descriptor, known)}
        self._runner.devices_observed(seen)
        for node in list(self._truth.nodes.values()):
            # as a node divides it: what was seen is the device itself
            now = [msgspec.structs.replace(seen.get(each.id, each), parts=each.parts) for each in node.devices]
            if now != node.devices:
                self._truth.put_node(msgspec.structs.replace(node, devices=now))

    async def _stop_background(self) -> None:
        for job in self._background:
            job.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self._background.clear()
