"""Runs tasks on this machine as processes under small parents that outlive the engine, and learns how they end.

Files in a task's folder are the truth; the runner only turns them into :class:`Task` values and tells them through
``on_change``. It stores no rows and decides nothing: the local backend's facade owns the store and calls it.
All methods are for the event loop's thread; slow preparation happens in a few worker threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from octopus_hub.backends.local import logfile, orphans, outputs, process, taskfiles
from octopus_hub.backends.local.limits import Cgroups
from octopus_hub.backends.local.livetask import Live, key_of, logged
from octopus_hub.backends.local.prepare import EnvironmentPaths, Layout, Prepared, prepare, refusal
from octopus_hub.backends.local.taskfiles import read_json, write_json
from octopus_hub.model.errors import OctopusError
from octopus_hub.model.node import Device
from octopus_hub.model.task import Task, TaskState

__all__ = ["EnvironmentPaths", "Prepared", "Runner"]

_log = logging.getLogger(__name__)

LOG_LIMIT_BYTES = 64 << 20
SAMPLE_SECONDS = 2.0
RESCAN_SECONDS = 5.0  # a lost wake-up costs at most this
MISSING_PARENT_SECONDS = 10.0


class Runner:
    """See the module's docstring.

    Parameters
    ----------
    root : Path
        State folder; tasks live in ``root/tasks/{namespace}/{taskset}/{task}/``.
    clock : callable
        Unix seconds.
    on_change : callable
        Called in the loop's thread with each changed Task.
    blob_path : callable
        File of a blob by digest; raises NotFound.
    marker : str
        Names this state folder in the environment of tasks, so that two engines never touch each other's strays.
    separate_accounts : bool
        Run each task as the system account ``spec.owner`` (needs root).
    """

    def __init__(
        self,
        root: Path,
        *,
        clock: Callable[[], float],
        on_change: Callable[[Task], None],
        blob_path: Callable[[str], Path],
        log_limit_bytes: int = LOG_LIMIT_BYTES,
        marker: str,
        separate_accounts: bool = False,
    ) -> None:
        self._clock = clock
        self._on_change = on_change
        self._geometry = logfile.Geometry.of(log_limit_bytes)
        self._layout = Layout(
            root=root.absolute(),
            marker=marker,
            geometry=self._geometry,
            blob_path=blob_path,
            cgroups=Cgroups.discover(root.absolute()),
            separate_accounts=separate_accounts,
        )
        self._live: dict[str, Live] = {}  # by "namespace/task"
        self._pool = ThreadPoolExecutor(8, thread_name_prefix="prepare")
        self._background: set[asyncio.Task[None]] = set()
        self._events = -1
        self._closed = False

    # --- opening and closing

    async def adopt(self, tasks: Sequence[Task]) -> None:
        """Take up tasks of an earlier engine: living ones, those that ended meanwhile, those without a trace."""
        self._open_events()
        self._layout.open()
        for task in tasks:
            if not task.state.terminal:
                live = Live(task, self._layout.folder(task.namespace, task.taskset, task.name))
                self._live[key_of(task)] = live
                self._observe(live)
                if self._known(live):
                    self._watch(live)
        await asyncio.to_thread(
            orphans.kill_marked, self._layout, self._live.keys()
        )  # a live one's watch deals with it
        self._layout.cgroups.sweep(self._live.keys())

    async def close(self) -> None:
        """Stop watching; tasks keep running."""
        self._closed = True
        if self._events >= 0:
            asyncio.get_running_loop().remove_reader(self._events)
            os.close(self._events)
            self._events = -1
        pending = [*self._background, *(live.watch for live in self._live.values() if live.watch)]
        for job in pending:
            job.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._live.clear()
        self._layout.cgroups.close()

    def _open_events(self) -> None:
        if self._events >= 0:
            return
        path = self._layout.events
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path, 0o600)
        self._events = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        asyncio.get_running_loop().add_reader(self._events, self._on_events)
        for job in (self._sampler(), self._rescanner()):
            self._spawn(job)

    def _spawn(self, job: Any) -> asyncio.Task[None]:
        started: asyncio.Task[None] = asyncio.create_task(job)
        self._background.add(started)
        started.add_done_callback(self._background.discard)
        return started

    # --- what the facade asks for

    async def start(self, prepared: Sequence[Prepared]) -> None:
        """Prepare folders and start parents, which wait at the barrier; returns at once, news come by on_change."""
        self._open_events()
        for item in prepared:
            key = key_of(item.task)
            if key in self._live:
                continue
            live = Live(item.task, self._layout.folder(item.spec.namespace, item.spec.taskset, item.spec.name))
            self._live[key] = live
            if (live.folder / "spec.json").exists():  # begun by an earlier engine: never a second time
                self._observe(live)
                if self._known(live):
                    self._watch(live)
                continue
            live.preparing = True
            self._spawn(self._prepare(live, item))

    async def release(self, tasks: Sequence[Task]) -> None:
        """Open the barrier."""
        for task in tasks:
            live = self._live.get(key_of(task))
            if live is not None:
                (live.folder / "release").touch(mode=0o600)
        for task in tasks:
            live = self._live.get(key_of(task))
            if live is not None:
                process.poke(live.folder)

    async def stop(self, tasks: Sequence[Task], grace_seconds: float, why: str) -> None:
        """Ask tasks to end; their parents kill what is left after the grace. Returns at once."""
        for task in tasks:
            live = self._live.get(key_of(task))
            if live is None:
                continue
            first = live.wishes or read_json(live.folder / "stop")  # the first reason is the one that is told
            live.wishes = {"grace_seconds": grace_seconds, "why": first.get("why", why), "asked_at": self._clock()}
            if not live.preparing:
                self._write_stop(live)

    def read_log(
        self, namespace: str, task_name: str, *, offset: int = 0, follow: bool = False
    ) -> AsyncIterator[bytes]:
        """Yield the kept log from byte ``offset`` on (-n: the last n bytes); with ``follow`` until the task ends."""
        key = f"{namespace}/{task_name}"
        live = self._live.get(key)  # its folder may not be there yet: who follows waits for it
        folder = live.folder if live is not None else self._layout.find(namespace, task_name)
        if folder is None:
            return _nothing()
        return logfile.stream(
            folder, self._geometry, offset=offset, follow=follow, ended=lambda: self._closed or key not in self._live
        )

    async def collect(self, namespace: str, task_name: str, patterns: Sequence[str]) -> list[tuple[str, Path]]:
        """Return (relative path, file) of the regular files in the task's work folder that match."""
        folder = self._layout.find(namespace, task_name)
        if folder is None:
            return []
        return await asyncio.to_thread(outputs.collect, folder / "work", list(patterns))

    def owner(self, namespace: str, task_name: str) -> int | None:
        """Return the account that the task's work folder belongs to."""
        folder = self._layout.find(namespace, task_name)
        return None if folder is None else outputs.owner_of(folder / "work")

    async def forget(self, namespace: str, taskset: str) -> None:
        """Remove the folders of a TaskSet's tasks (all ended)."""
        folder = self._layout.taskset_folder(namespace, taskset)
        await asyncio.to_thread(shutil.rmtree, folder, True)

    async def discard(self, tasks: Sequence[Task]) -> None:
        """Remove the folders of single tasks (ended, and never released)."""
        folders = [self._layout.folder(task.namespace, task.taskset, task.name) for task in tasks]
        if folders:
            await asyncio.to_thread(orphans.remove, folders)

    # --- starting

    async def _prepare(self, live: Live, item: Prepared) -> None:
        loop = asyncio.get_running_loop()
        try:
            live.process = await loop.run_in_executor(self._pool, prepare, self._layout, item)
        except (OSError, OctopusError) as error:
            self._give_up(live, *refusal(error))
            return
        live.preparing = False
        if live.wishes:
            self._write_stop(live)
        self._observe(live)
        if self._known(live):
            self._watch(live)

    def _known(self, live: Live) -> bool:
        """Say whether the task has not ended. Its name may be another task's meanwhile, so the object counts."""
        return self._live.get(key_of(live.task)) is live

    def _give_up(self, live: Live, reason: str, message: str) -> None:
        """End a task that has no parent."""
        live.preparing = False
        now = self._clock()
        end = {"end_reason": reason, "message": message, "finished_at": now}
        with contextlib.suppress(OSError):
            write_json(live.folder / "exit.json", end)
        self._end(live, end)

    def _write_stop(self, live: Live) -> None:
        try:
            write_json(live.folder / "stop", live.wishes or {})
        except OSError:  # a full disk, or no folder any more: the signal says it without words
            identity = read_json(live.folder / "parent.json") or live.parent
            if process.lives(identity):
                os.kill(identity["pid"], 15)
        process.poke(live.folder)

    # --- watching

    def _watch(self, live: Live) -> None:
        if live.watch is None or live.watch.done():
            live.watch = asyncio.create_task(self._follow(live))

    async def _follow(self, live: Live) -> None:
        """Stay with a task until it has ended or its parent is dead."""
        identity = None
        if self._known(live):
            live.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            identity = await self._identity(live)
            if identity is not None and process.lives(identity):
                live.parent = identity
                await process.until_gone(identity)
        if live.process is not None:
            await asyncio.to_thread(live.process.wait)
        self._observe(live)
        if not self._known(live):
            return
        live.folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # user code may have removed it
        with process.folder_lock(live.folder) as free:
            if not free:  # a parent that is ending, or one we have not seen yet
                await asyncio.sleep(0.2)
                return  # the rescan looks again
            await self._vanished(live, identity)

    async def _identity(self, live: Live) -> dict[str, Any] | None:
        """Return parent.json, waiting for a parent that is just starting."""
        deadline = asyncio.get_running_loop().time() + MISSING_PARENT_SECONDS
        while True:
            found = read_json(live.folder / "parent.json")
            if found or (live.folder / "exit.json").exists() or asyncio.get_running_loop().time() > deadline:
                return found or None
            if live.process is not None and live.process.poll() is not None:
                return None
            if live.process is None and self._nobody(live.folder):
                return None
            await asyncio.sleep(0.05)

    def _nobody(self, folder: Path) -> bool:
        """Say whether no parent holds the folder's lock."""
        try:
            with process.folder_lock(folder) as free:
                return free
        except OSError:
            return True

    async def _vanished(self, live: Live, identity: dict[str, Any] | None) -> None:
        """The parent left no exit: kill what it left behind, only then say so."""
        spec = read_json(live.folder / "spec.json")
        marker = self._layout.marker_of(live.task.namespace, live.task.name)
        main = read_json(live.folder / "started.json")
        while await asyncio.to_thread(process.kill_strays, marker, spec.get("cgroup", ""), main):  # noqa: ASYNC110 - nothing tells it
            await asyncio.sleep(0.05)
        self._layout.cgroups.remove(spec.get("cgroup", ""))
        self._observe(live)
        if not self._known(live):
            return
        rebooted = bool(identity) and identity is not None and identity.get("boot_id") != process.boot_id()
        if rebooted:
            self._give_up(live, "NodeLost", "the machine was restarted while the task ran")
        elif live.process is not None and live.process.returncode == 28:
            self._give_up(live, "DiskFull", "the disk that holds the state folder is full; free some space")
        else:
            words = taskfiles.last_line(live.folder / "parent.err")
            self._give_up(live, "Vanished", "the task's parent process is gone" + (f": {words}" if words else ""))

    def _on_events(self) -> None:
        names: set[str] = set()
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._events, 65536):
                names.update(data.decode(errors="replace").splitlines())
        for name in names:
            live = self._live.get(name)
            if live is not None:
                with logged(live):
                    self._observe(live)

    def _observe(self, live: Live) -> None:
        """Turn the folder's files into the task's state and tell what changed."""
        if live.preparing or not self._known(live):
            return
        end = read_json(live.folder / "exit.json")
        if end:
            self._end(live, end)
        elif changes := taskfiles.progress(live.folder, live.task):
            self._tell(live, **changes)

    def _end(self, live: Live, end: dict[str, Any]) -> None:
        """Tell the end of a task once; kept and told again should the listener fail."""
        if not self._known(live):
            return
        self._tell(live, **taskfiles.ending(live.folder, live.task, end, self._clock()))
        self._live.pop(key_of(live.task), None)
        if live.process is not None and live.watch is None:
            self._watch(live)

    def _tell(self, live: Live, **changes: Any) -> None:
        task = msgspec.structs.replace(live.task, **changes)
        self._on_change(task)
        live.task = task

    # --- looking from time to time

    def devices_observed(self, devices: Mapping[str, Device]) -> None:
        """Tell the running tasks' rows how much their devices (by id) are used."""
        for live in list(self._live.values()):
            held = [devices[each] for ids in live.task.devices.values() for each in ids if each in devices]
            if live.task.state is not TaskState.RUNNING or not held:
                continue
            usage = msgspec.structs.replace(
                live.task.usage,
                device_percent={each.id: each.percent for each in held if each.percent is not None},
                device_memory_bytes={
                    each.id: each.used_memory_bytes for each in held if each.used_memory_bytes is not None
                },
            )
            if usage != live.task.usage:
                self._tell(live, usage=usage)

    async def _sampler(self) -> None:
        """Read what parents measured, in proportion to the number of tasks: idle costs nothing."""
        while True:
            await asyncio.sleep(max(SAMPLE_SECONDS, len(self._live) / 50))
            for live in list(self._live.values()):
                if live.task.state is TaskState.RUNNING and (stamp := taskfiles.stamp(live.folder)) != live.sampled:
                    live.sampled = stamp
                    with logged(live):
                        self._tell(live, **taskfiles.measured(live.folder, live.task.usage))

    async def _rescanner(self) -> None:
        """Level, not edge: look at every task's files now and then, should a wake-up have been lost."""
        while True:
            await asyncio.sleep(max(RESCAN_SECONDS, len(self._live) / 50))
            for live in list(self._live.values()):
                with logged(live):
                    self._observe(live)
                    if not live.preparing and self._known(live):
                        self._watch(live)


async def _nothing() -> AsyncIterator[bytes]:
    parts: list[bytes] = []
    for part in parts:
        yield part
