"""A task's log as it was written, with ``follow`` until the task ends. Bytes are never decoded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from octopus_hub.backends.base import Change
from octopus_hub.model.errors import InvalidSpec, NotFound
from octopus_hub.model.names import task_name
from octopus_hub.model.task import Task
from octopus_hub.model.taskset import Role, TaskSet
from octopus_hub.service.handler import ApiHandler
from octopus_hub.service.views import find, shown

TEXT = "text/plain; charset=utf-8"
BINARY = "application/octet-stream"
TAIL_BYTES = 1 << 20  # how far back the last lines are looked for
FIRST_ATTEMPT = 1


class Logs(ApiHandler):
    """``/tasksets/{ns}/{name}/logs``."""

    path = "/tasksets/{ns}/{name}/logs"

    async def get(self, ns: str, name: str) -> None:
        """Send the log of one member: of the main (or first) role's task 0 and its latest attempt unless named."""
        taskset = find(self.service.cache, self.who, ns, name)
        role, index = self._member(taskset)
        attempt, tail, follow = self.number("attempt", 1), self.number("tail"), self.flag("follow")
        media_type = BINARY if BINARY in self.request.headers.get("Accept", "") else TEXT
        with self.service.slots.hold(self.who.user) if follow else contextlib.nullcontext():
            with self.while_connected():
                if follow:
                    self.set_header("Content-Type", media_type)
                    await self.write_out(b"")  # headers at once: the first line may be long in coming
                    task = await self._appears(taskset, role.name, index, attempt)
                else:
                    task = await self._known(taskset, role.name, index, attempt)
                if task is not None:
                    await self._send(taskset.metadata.namespace, task, tail, follow, media_type)
            if not self._gone:
                self.finish()

    async def _send(self, namespace: str, task: str, tail: int | None, follow: bool, media_type: str) -> None:
        read = self.service.backend.read_log
        if tail is None:
            chunks = read(namespace, task, follow=follow)
        else:
            chunks = last_lines(
                tail,
                read(namespace, task, offset=-TAIL_BYTES),
                read(namespace, task, offset=-TAIL_BYTES, follow=True) if follow else None,
            )
        first = await anext(chunks, b"")  # a missing log is told before anything is sent
        if not follow:
            self.set_header("Content-Type", media_type)
        now = asyncio.get_running_loop().time
        recheck = now() + self.service.settings.recheck_seconds
        await self.write_out(first)
        async for chunk in chunks:
            if now() > recheck:
                await self.service.authenticator.recheck(self, self.who)
                recheck = now() + self.service.settings.recheck_seconds
            await self.write_out(chunk)

    def _member(self, taskset: TaskSet) -> tuple[Role, int]:
        roles = taskset.spec.roles
        wanted = self.query("role")
        role = next((each for each in roles if (each.name == wanted if wanted else each.main)), None)
        if role is None and not wanted:
            role = roles[0]
        if role is None:
            names = ", ".join(each.name for each in roles)
            raise NotFound(f"{taskset.name} has no role {shown(wanted)}; its roles are {names}")
        index = self.number("index") or 0
        if index >= role.most:
            raise NotFound(f"role {role.name} of {taskset.name} has no task {index}; the last one is {role.most - 1}")
        return role, index

    def _latest(self, taskset: TaskSet, role: str, index: int, attempt: int | None) -> Task | None:
        rows = [
            task
            for task in self.service.cache.tasks_of(taskset.metadata.uid)
            if task.identity == (role, index) and attempt in (None, task.attempt)
        ]
        return max(rows, key=lambda task: task.attempt, default=None)

    async def _known(self, taskset: TaskSet, role: str, index: int, attempt: int | None) -> str:
        """Return the task's name; logs outlive the rows of ended attempts, so one that is named needs no row."""
        row = self._latest(taskset, role, index, attempt)
        if row is not None:
            return row.name
        if attempt is None and not taskset.status.attempt:
            raise NotFound(
                f"{taskset.name} is {taskset.status.phase.value} and has no log yet; following it waits for the first line"
            )
        if attempt is not None and attempt > 1_000_000:
            raise InvalidSpec("attempt is too large")
        number = attempt or await self._recorded(taskset, role, index)
        return task_name(taskset.name, role, index, number)

    async def _recorded(self, taskset: TaskSet, role: str, index: int) -> int:
        """Return the last attempt of a member in the last record, 1 where there is none."""
        try:
            record = await self.service.backend.get_record(taskset.metadata.namespace, taskset.metadata.uid)
        except NotFound:
            return FIRST_ATTEMPT
        ends = [end.attempt for end in record.tasks if (end.role, end.index) == (role, index)]
        return max(ends, default=FIRST_ATTEMPT)

    async def _appears(self, taskset: TaskSet, role: str, index: int, attempt: int | None) -> str | None:
        """Wait until the member has a row; None when the TaskSet ended without."""
        uid = taskset.metadata.uid
        cache = self.service.cache
        changed = asyncio.Event()

        def look(change: Change) -> None:
            item = change.object
            if (item.metadata.uid if isinstance(item, TaskSet) else getattr(item, "taskset_uid", "")) == uid:
                changed.set()

        unsubscribe = cache.subscribe(look)
        try:
            while True:
                changed.clear()
                current = cache.tasksets.get(uid)
                row = self._latest(taskset, role, index, attempt)
                if row is not None:
                    return row.name
                if current is None or current.status.phase.terminal:
                    known = attempt is not None or (current is not None and current.status.attempt > 0)
                    return await self._known(current or taskset, role, index, attempt) if known else None
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), self.service.settings.recheck_seconds)
                    continue
                await self.service.authenticator.recheck(self, self.who)
        finally:
            unsubscribe()


async def last_lines(
    count: int, kept: AsyncIterator[bytes], following: AsyncIterator[bytes] | None
) -> AsyncIterator[bytes]:
    """Yield the last ``count`` lines of what is kept, then what follows.

    The length of what is kept tells how much of the following stream is old, so nothing is lost or sent twice in
    between; lines that are further back than ``TAIL_BYTES`` are left out.
    """
    old = b"".join([chunk async for chunk in kept])
    if following is None:
        yield _tail(old, count)
        return
    seen = bytearray()
    async for chunk in following:
        if len(seen) >= len(old):
            yield chunk
            continue
        seen += chunk
        if len(seen) >= len(old):
            yield _tail(bytes(seen[: len(old)]), count) + bytes(seen[len(old) :])
    if len(seen) < len(old):
        yield _tail(bytes(seen), count)


def _tail(text: bytes, count: int) -> bytes:
    if count == 0:
        return b""
    start = len(text) - 1 if text.endswith(b"\n") else len(text)
    for _ in range(count):
        start = text.rfind(b"\n", 0, start)
        if start < 0:
            return text
    return text[start + 1 :]
