"""The Backend protocol: where truth lives and where tasks run. Implementations never import each other.

A backend holds TaskSets, Tasks, Nodes, Queues and Boards, tells every change through :meth:`Backend.watch`,
and runs tasks. It decides nothing: control does. All methods are idempotent; every name that reaches a backend
has been validated by the model. Errors are :mod:`octopus_hub.model.errors` only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from octopus_hub.model.base import ApiStruct
from octopus_hub.model.errors import OctopusError
from octopus_hub.model.node import Node
from octopus_hub.model.queue import Cohort, PriorityClass, Queue
from octopus_hub.model.record import Environment, OutputFile, Record
from octopus_hub.model.reservation import Reservation
from octopus_hub.model.status import Board, Status
from octopus_hub.model.task import Address, Task, TaskSpec
from octopus_hub.model.taskset import TaskSet


class Gone(OctopusError):
    """The asked revision is no longer kept (or the watcher was too slow): list again, then watch from there."""

    code = "gone"
    status = 410


class Listing(ApiStruct, frozen=True, kw_only=True):
    """A consistent listing; watch from ``revision`` on."""

    revision: int
    tasksets: list[TaskSet] = []
    tasks: list[Task] = []
    nodes: list[Node] = []
    queues: list[Queue] = []
    cohorts: list[Cohort] = []
    boards: list[Board] = []
    priorities: list[PriorityClass] = []
    reservations: list[Reservation] = []


class Change(ApiStruct, frozen=True, kw_only=True):
    """One change. ``object`` is the full object after it (the last one known when ``deleted``)."""

    revision: int
    type: Literal["put", "deleted"]
    object: (
        TaskSet | Task | Node | Queue | Cohort | Board | Reservation
    )  # never serialised as a union; dispatch with isinstance


class Image(ApiStruct, frozen=True, kw_only=True):
    """A resolved environment."""

    name: str
    digest: str
    environment: Environment = Environment()


MAX_OUTPUT_FILES = 10_000  # collected of one task
Beside = Callable[[Record], Mapping[str, bytes]]  # further files of a record's folder by relative path; may block


class Backend(Protocol):
    """See the module's docstring. ``namespace`` is a tenant (a hub user); ``name`` a TaskSet's or a task's name."""

    # --- life of the backend itself
    async def open(self) -> None:
        """Take the lock, migrate, adopt living tasks, learn missed exits; raises StateError with the way out."""

    async def close(self) -> None:
        """Stop watching and writing; tasks keep running."""

    @property
    def epoch(self) -> int:
        """This writer's epoch: grows at every open."""

    async def now(self) -> float:
        """Return the backend's time, Unix seconds."""

    # --- truth
    async def listing(self) -> Listing:
        """Return everything, consistent with one revision."""

    def watch(self, revision: int) -> AsyncIterator[Change]:
        """Yield every change after ``revision``, in order, for ever; raises Gone."""

    async def create(self, taskset: TaskSet, idempotency_key: str | None = None) -> TaskSet:
        """Store a new TaskSet: gives uid, created_at and, unless ``exact_name``, a free name (``mnist-2``).

        The same (namespace, key) returns the TaskSet created first. Raises Conflict when an exact name is taken.
        """

    async def update_status(self, uid: str, status: Status, *, version: int, epoch: int) -> TaskSet:
        """Replace the status if the stored version is ``version``; raises Conflict (stale), NotFound."""

    async def update_intent(
        self,
        uid: str,
        *,
        stop: bool = False,
        delete: bool = False,
        hold: bool | None = None,
        why: str = "",
        sizes: Mapping[str, int] | None = None,
    ) -> TaskSet:
        """Set the user's wishes: stop, delete (sets the request times once), hold or release, sizes of elastic roles.

        ``why`` is kept with a stop that its owner did not ask for.
        """

    async def delete(self, uid: str) -> None:
        """Remove the TaskSet, its tasks' rows, folders and logs. Records, outputs and blobs of records stay."""

    async def put_board(self, board: Board) -> None:
        """Store a queue's board (skips a write that changes nothing)."""

    async def put_reservation(self, reservation: Reservation, *, known: Reservation | None = None) -> None:
        """Store a reservation in place of the one of its name; with ``known`` only if that is it, else Conflict."""

    async def delete_reservation(self, name: str) -> None:
        """Remove a reservation; raises NotFound."""

    async def declared(self) -> list[Queue | Cohort]:
        """Return the queues and cohorts as the configuration has them; live definitions of their names win."""

    async def put_queue(self, queue: Queue) -> None:
        """Store a live definition of a queue; raises InvalidSpec for one that the tree can't have."""

    async def delete_queue(self, name: str) -> None:
        """Remove a queue; raises NotFound, Conflict while it is declared or TaskSets wait or run in it."""

    async def reset_queue(self, name: str) -> None:
        """Forget the live definition; raises NotFound, Conflict where none is declared."""

    async def put_cohort(self, cohort: Cohort) -> None:
        """Store a live definition of a cohort; raises InvalidSpec for one that the tree can't have."""

    async def delete_cohort(self, name: str) -> None:
        """Remove a cohort; raises NotFound, Conflict while it is declared or has members."""

    async def reset_cohort(self, name: str) -> None:
        """Forget the live definition; raises NotFound, Conflict where none is declared."""

    # --- tasks
    async def reserve(
        self, taskset: TaskSet, members: Sequence[tuple[str, int]], port_names: Mapping[str, Sequence[str]]
    ) -> dict[tuple[str, int], Address]:
        """Return an address for each (role, index); the same again until the TaskSet ends.

        ``port_names`` names the ports each role's tasks need. Reserved ports are free on the machine and given to
        nobody else meanwhile.
        """

    async def create_tasks(self, specs: Sequence[TaskSpec]) -> None:
        """Create all tasks or none (by name, idempotent). Devices are assigned here; no user code runs yet.

        Raises Unavailable if the gang can't be created; nothing of it is left then.
        """

    async def release(self, names: Sequence[tuple[str, str]]) -> None:
        """Open the barrier of tasks given as (namespace, task name)."""

    async def stop_tasks(self, names: Sequence[tuple[str, str]], grace_seconds: float, why: str) -> None:
        """Ask them to end; kill them and every process of theirs after the grace. Returns at once."""

    async def delete_tasks(self, names: Sequence[tuple[str, str]]) -> None:
        """Forget rows of ended tasks. Their logs stay until the TaskSet is deleted."""

    def read_log(self, namespace: str, task: str, *, offset: int = 0, follow: bool = False) -> AsyncIterator[bytes]:
        """Yield the kept log from byte ``offset`` on (-n: the last n bytes); with ``follow`` until the task ends."""

    async def collect_outputs(self, namespace: str, task: str, patterns: Sequence[str]) -> list[OutputFile]:
        """Store the ended task's files that match as blobs, at most :data:`MAX_OUTPUT_FILES` of them.

        Paths are relative, links are skipped. Raises OctopusError for what can't be read.
        """

    # --- images, blobs, secrets
    async def resolve_image(self, name: str) -> Image:
        """Return the environment of that name, tag or digest (``""`` is the default); raises InvalidSpec."""

    async def put_blob(self, chunks: AsyncIterator[bytes], *, digest: str | None = None, limit: int) -> str:
        """Store a blob, return ``sha256:<hex>``; raises TooLarge, InvalidSpec (wrong digest)."""

    async def blob_path(self, digest: str) -> Path:
        """Return the file of a blob; raises NotFound."""

    async def put_secret(self, namespace: str, name: str, value: str) -> None:
        """Store a secret, encrypted at rest."""

    async def list_secrets(self, namespace: str) -> list[str]:
        """Return names; values are never given out."""

    async def delete_secret(self, namespace: str, name: str) -> None:
        """Remove a secret; raises NotFound."""

    # --- records
    async def put_record(self, record: Record, beside: Beside | None = None) -> Record:
        """Store the record of an attempt (replaces one of the same uid and attempt); returns it with its ``path``.

        A backend that keeps records as folders puts there what ``beside`` says, too; others never call it.
        """

    async def list_records(self, namespace: str | None) -> list[Record]:
        """Return the namespace's records, or everybody's (None), newest first."""

    async def get_record(self, namespace: str, name: str, attempt: int | None = None) -> Record:
        """Return a record by TaskSet name (the last attempt's) or uid; raises NotFound."""

    # --- ledger
    async def get_ledger(self, name: str) -> dict[str, Any]:
        """Return the ledger of that name ({} if none): accumulators with an as-of time."""

    async def put_ledger(self, name: str, content: dict[str, Any]) -> None:
        """Store a ledger."""
