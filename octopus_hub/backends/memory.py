"""A backend in memory that runs nothing: for tests of everything above it, and for speed measurements of control.

Tasks do what a test says (:meth:`MemoryBackend.set_task`), or with ``auto`` play their lives: bound on creation, running
on release, ended at the next turn of the loop (``false`` fails, ``sleep`` runs until it is stopped). Keeps nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from octopus_hub.backends.base import Beside, Image
from octopus_hub.backends.fanout import KEPT
from octopus_hub.backends.patterns import matcher
from octopus_hub.backends.taskrows import check_members
from octopus_hub.backends.truth import Truth
from octopus_hub.backends.truthcalls import TruthCalls
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.errors import InvalidSpec, NotFound, TooLarge, Unavailable
from octopus_hub.model.node import Device, Node
from octopus_hub.model.queue import DEFAULT_PRIORITIES, PriorityClass, Queue
from octopus_hub.model.record import Environment, OutputFile, Record
from octopus_hub.model.task import Address, Task, TaskSpec, TaskState
from octopus_hub.model.taskset import TaskSet

FIRST_PORT = 20000
LAST_PORT = 29999


def node(name: str, *, cpu: int = 8, memory: int = 16 << 30, **devices: int) -> Node:
    """Return a node with that many cores, bytes and devices of each type."""
    return Node(
        name=name,
        capacity=Amounts(cpu_millis=1000 * cpu, memory_bytes=memory, devices=dict(devices)),
        labels={"kubernetes.io/hostname": name},
        devices=[
            Device(id=f"{name}-{kind}-{number}", type=kind)
            for kind, count in devices.items()
            for number in range(count)
        ],
    )


class MemoryBackend(TruthCalls):
    """The Backend protocol in dictionaries.

    Parameters
    ----------
    nodes, queues, priorities
        What there is; two nodes with four virtual devices each and one queue ``default`` if not given.
    clock : callable
        Unix seconds.
    auto : bool
        Tasks play their lives by themselves.
    kept_changes : int
        A watcher that is further behind gets Gone.

    Attributes
    ----------
    released, stopped : list
        What was asked for: (namespace, task), and (namespace, task, grace, why).
    specs : dict
        The specification of every task created, by (namespace, task).
    """

    def __init__(
        self,
        *,
        nodes: Sequence[Node] = (),
        queues: Sequence[Queue] = (Queue(name="default"),),
        priorities: Sequence[PriorityClass] = DEFAULT_PRIORITIES,
        clock: Callable[[], float] = time.time,
        auto: bool = False,
        kept_changes: int = KEPT,
    ) -> None:
        self._clock = clock
        self._auto = auto
        self.truth = Truth(clock=clock, kept_changes=kept_changes)
        for each in nodes or (node("node-a", virtual=4), node("node-b", virtual=4)):
            self.truth.put_node(each)
        for queue in queues:
            self.truth.put_queue(queue)
        self.truth.priorities = tuple(priorities)
        self.specs: dict[tuple[str, str], TaskSpec] = {}
        self.released: list[tuple[str, str]] = []
        self.stopped: list[tuple[str, str, float, str]] = []
        self.images: dict[str, Image] = {}
        self.add_image("default")
        self.refuse_tasks: str = ""  # when set, create_tasks raises Unavailable with these words
        self._logs: dict[tuple[str, str], bytearray] = {}
        self._outputs: dict[tuple[str, str], dict[str, bytes]] = {}
        self._secrets: dict[tuple[str, str], str] = {}
        self._records: list[Record] = []
        self._recorded: dict[tuple[str, int], int] = {}  # where each (uid, attempt) stands in it
        self._blobs: tempfile.TemporaryDirectory[str] | None = None
        self._next_port = FIRST_PORT
        self._ending: list[Task] = []

    # --- what a test does to it
    def set_task(self, namespace: str, name: str, **changes: Any) -> Task:
        """Change a task as if it had been observed so; times follow from the state where they are not given."""
        task = self.truth.tasks[namespace, name]
        state = changes.get("state", task.state)
        now = self._clock()
        if state is not TaskState.PENDING and task.bound_at is None:
            changes.setdefault("bound_at", now)
        if state is TaskState.RUNNING and task.started_at is None:
            changes.setdefault("started_at", now)
        if state.terminal and task.finished_at is None:
            changes.setdefault("finished_at", now)
        if state is TaskState.SUCCEEDED:
            changes.setdefault("exit_code", 0)
        task = msgspec.structs.replace(task, **changes)
        self.truth.observe(task)
        return task

    def set_node(self, changed: Node) -> None:
        """Change or add a node."""
        self.truth.put_node(changed)

    def set_queue(self, changed: Queue) -> None:
        """Change or add a queue."""
        self.truth.put_queue(changed)

    def _rows(self) -> Truth:
        return self.truth

    def add_image(self, name: str, content: str = "") -> Image:
        """Add an environment; equal content gives an equal digest."""
        digest = "sha256:" + hashlib.sha256((content or name).encode()).hexdigest()
        image = Image(name=name, digest=digest, environment=Environment(image=name, digest=digest))
        self.images[name] = image
        return image

    def write_log(self, namespace: str, task: str, text: bytes) -> None:
        """Let a task write to its log."""
        self._logs.setdefault((namespace, task), bytearray()).extend(text)
        row = self.truth.tasks[namespace, task]
        self.truth.observe(msgspec.structs.replace(row, log_bytes=row.log_bytes + len(text)))

    def write_output(self, namespace: str, task: str, path: str, content: bytes) -> None:
        """Let a task leave a file."""
        self._outputs.setdefault((namespace, task), {})[path] = content

    # --- life
    async def open(self) -> None:
        """Begin a new epoch: writers of the one before are refused from now on."""
        self.truth.epoch += 1

    async def close(self) -> None:
        """End every watch."""
        self.truth.fanout.close()
        if self._blobs is not None:
            self._blobs.cleanup()
            self._blobs = None

    @property
    def epoch(self) -> int:
        """This writer's epoch."""
        return self.truth.epoch

    async def now(self) -> float:
        """Return the clock's time."""
        return self._clock()

    # --- truth
    async def delete(self, uid: str) -> None:
        """Remove a TaskSet and what its tasks left."""
        taskset = self.truth.deletable(uid)
        if taskset is not None:
            self.truth.delete(uid)
            gone = [key for key, spec in self.specs.items() if spec.taskset_uid == uid]
            for key in gone:
                self.specs.pop(key, None)
                self._logs.pop(key, None)
                self._outputs.pop(key, None)

    # --- tasks
    async def reserve(
        self, taskset: TaskSet, members: Sequence[tuple[str, int]], port_names: Mapping[str, Sequence[str]]
    ) -> dict[tuple[str, int], Address]:
        """Return addresses with port numbers that nobody else was given."""
        return self.truth.reserve(taskset, members, port_names, self._take_ports)

    async def create_tasks(self, specs: Sequence[TaskSpec]) -> None:
        """Create all rows or none."""
        check_members(specs)
        if self.refuse_tasks:
            raise Unavailable(self.refuse_tasks)
        for spec in specs:
            for secret in spec.secrets.values():
                if (spec.namespace, secret) not in self._secrets:
                    raise NotFound(f"there is no secret {secret}; set it before submitting")
            if spec.workspace:
                await self.blob_path(spec.workspace)
        placed = self.truth.place(specs)
        self.truth.add_tasks([task for _, task in placed])
        for spec, task in placed:
            self.specs[spec.namespace, spec.name] = spec
            if self._auto:
                self.set_task(task.namespace, task.name, state=TaskState.BOUND)

    async def release(self, names: Sequence[tuple[str, str]]) -> None:
        """Note it; with ``auto`` the tasks run."""
        self.released.extend(names)
        if self._auto:
            for task in self.truth.find(names):
                if task.state is TaskState.BOUND:
                    self._run(self.set_task(task.namespace, task.name, state=TaskState.RUNNING))

    async def stop_tasks(self, names: Sequence[tuple[str, str]], grace_seconds: float, why: str) -> None:
        """Note it; with ``auto`` the tasks end."""
        self.stopped.extend((namespace, name, grace_seconds, why) for namespace, name in names)
        if self._auto:
            for task in self.truth.find(names):
                if not task.state.terminal:
                    signal = 15 if task.started_at is not None else None
                    self.set_task(task.namespace, task.name, state=TaskState.FAILED, signal=signal, end_reason=why)

    async def delete_tasks(self, names: Sequence[tuple[str, str]]) -> None:
        """Forget rows."""
        self.truth.remove_tasks(names)

    async def read_log(
        self, namespace: str, task: str, *, offset: int = 0, follow: bool = False
    ) -> AsyncIterator[bytes]:
        """Yield what was written to the log."""
        key = namespace, task
        at = offset if offset >= 0 else max(0, len(self._logs.get(key, b"")) + offset)
        while True:
            row = self.truth.tasks.get(key)
            text = bytes(self._logs.get(key, b"")[at:])
            if text:
                at += len(text)
                yield text
            elif not follow or row is None or row.state.terminal:
                return
            else:
                await self.truth.fanout.changed()

    async def collect_outputs(self, namespace: str, task: str, patterns: Sequence[str]) -> list[OutputFile]:
        """Store what :meth:`write_output` left and matches."""
        wanted = matcher(patterns)
        found: list[OutputFile] = []
        for path, content in sorted(self._outputs.get((namespace, task), {}).items()):
            if wanted(path):
                digest = await self.put_blob(_once(content), limit=len(content))
                found.append(OutputFile(path=path, digest=digest, size=len(content)))
        return found

    # --- images, blobs, secrets
    async def resolve_image(self, name: str) -> Image:
        """Return an environment that was added."""
        name = name or "default"
        for image in self.images.values():
            if name in (image.name, image.digest):
                return image
        raise InvalidSpec(f"there is no image {name}; known are {', '.join(sorted(self.images))}")

    async def put_blob(self, chunks: AsyncIterator[bytes], *, digest: str | None = None, limit: int) -> str:
        """Store a blob in a temporary folder."""
        content = bytearray()
        async for chunk in chunks:
            content += chunk
            if len(content) > limit:
                raise TooLarge(f"larger than the limit of {limit} bytes", limit=limit)
        hexadecimal = hashlib.sha256(content).hexdigest()
        if digest is not None and digest != f"sha256:{hexadecimal}":
            raise InvalidSpec(f"the content has the digest sha256:{hexadecimal}, not {digest}; upload it again")
        if self._blobs is None:
            self._blobs = tempfile.TemporaryDirectory(prefix="octopus-blobs-")
        Path(self._blobs.name, hexadecimal).write_bytes(content)
        return f"sha256:{hexadecimal}"

    async def blob_path(self, digest: str) -> Path:
        """Return a blob's file."""
        if self._blobs is not None and digest.removeprefix("sha256:").isalnum():
            path = Path(self._blobs.name, digest.removeprefix("sha256:"))
            if path.is_file():
                return path
        raise NotFound(f"there is no blob {digest}; upload it again")

    async def put_secret(self, namespace: str, name: str, value: str) -> None:
        """Keep a secret."""
        self._secrets[namespace, name] = value

    async def list_secrets(self, namespace: str) -> list[str]:
        """Return names."""
        return sorted(name for owner, name in self._secrets if owner == namespace)

    async def delete_secret(self, namespace: str, name: str) -> None:
        """Remove a secret."""
        if self._secrets.pop((namespace, name), None) is None:
            raise NotFound(f"there is no secret {name}")

    # --- records
    async def put_record(self, record: Record, beside: Beside | None = None) -> Record:
        """Keep a record; its ``path`` is a name only."""
        record = msgspec.structs.replace(record, path=f"memory:{record.namespace}/{record.name}/{record.attempt}")
        at = self._recorded.setdefault((record.uid, record.attempt), len(self._records))
        self._records[at : at + 1] = [record]
        return record

    async def list_records(self, namespace: str | None) -> list[Record]:
        """Return records, newest first."""
        return [record for record in reversed(self._records) if namespace in (None, record.namespace)]

    async def get_record(self, namespace: str, name: str, attempt: int | None = None) -> Record:
        """Return a record by name or uid."""
        for record in reversed(self._records):
            if (
                record.namespace == namespace
                and name in (record.name, record.uid)
                and attempt in (None, record.attempt)
            ):
                return record
        raise NotFound(f"there is no record of {name}" + (f", attempt {attempt}" if attempt is not None else ""))

    # --- inner
    def _run(self, task: Task) -> None:
        command = self.specs[task.namespace, task.name].command
        if command[:1] == ["echo"]:
            self.write_log(task.namespace, task.name, " ".join(command[1:]).encode() + b"\n")
        if command[:1] != ["sleep"]:
            if not self._ending:
                asyncio.get_running_loop().call_soon(self._end_all)
            self._ending.append(task)

    def _end_all(self) -> None:
        ending, self._ending = self._ending, []
        for task in ending:
            row = self.truth.tasks.get((task.namespace, task.name))
            if row is None or row.state is not TaskState.RUNNING or row.taskset_uid != task.taskset_uid:
                continue
            failed = self.specs[task.namespace, task.name].command[:1] == ["false"]
            state = TaskState.FAILED if failed else TaskState.SUCCEEDED
            self.set_task(task.namespace, task.name, state=state, exit_code=int(failed))

    def _take_ports(self, count: int, taken: set[int]) -> list[int]:
        found: list[int] = []
        for _ in range(LAST_PORT - FIRST_PORT + 1):
            if len(found) == count:
                return found
            if self._next_port not in taken:
                found.append(self._next_port)
            self._next_port = self._next_port + 1 if self._next_port < LAST_PORT else FIRST_PORT
        if len(found) < count:
            raise Unavailable(f"only {len(found)} of {count} ports are free; stop TaskSets that run")
        return found


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
