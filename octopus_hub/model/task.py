"""Tasks: one member of a gang in one attempt; its rendered specification and what a backend observed about it."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from octopus_hub.model.amounts import Amounts
from octopus_hub.model.base import ApiStruct


class TaskState(StrEnum):
    """State of a task. ``Bound``: placed, prepared and waiting at the barrier; no user code has run."""

    PENDING = "Pending"  # created, being prepared
    BOUND = "Bound"  # prepared, waits for the other members
    RUNNING = "Running"  # the program runs
    SUCCEEDED = "Succeeded"  # ended with exit code 0
    FAILED = "Failed"  # ended in any other way
    UNKNOWN = "Unknown"  # its node can't be reached

    @property
    def terminal(self) -> bool:
        """The task and every process of it are confirmed gone."""
        return self in (TaskState.SUCCEEDED, TaskState.FAILED)


FailureClass = Literal["permanent", "transient", "unknown"]

# Facts a backend can know about an end, beyond exit code and signal. "" means: exit code or signal says all.
EndReason = Literal[
    "",
    "OOMKilled",  # killed for memory
    "CommandNotFound",
    "NotExecutable",
    "StartFailed",  # could not be prepared: workspace, image, mount; message says what
    "ImageMissing",
    "Refused",  # a hook, or a rule of the engine, forbids it; message says which
    "NodeLost",
    "Evicted",
    "Preempted",
    "Resized",  # its gang goes on with another number of tasks
    "Stopped",  # we stopped it (user's stop, clean-up, deadline)
    "Vanished",  # gone without a trace (its parent was killed, machine restarted)
    "DiskFull",
]


class Mount(ApiStruct, frozen=True, kw_only=True):
    """A volume as the task sees it, after a storage descriptor was applied."""

    name: str
    kind: str  # scratch | folder | ...
    mount_path: str
    read_only: bool = False
    source: str = ""  # a path (folder), or "" for a fresh folder of the task (scratch)
    root: str = ""  # folder: the allowed root; the source, links followed, must lie in it


class Usage(ApiStruct, frozen=True, kw_only=True):
    """What a task uses or used."""

    memory_bytes: int = 0
    peak_memory_bytes: int = 0
    cpu_seconds: float = 0.0
    device_percent: dict[str, float] = {}  # device id -> utilisation in percent, where it can be known
    device_memory_bytes: dict[str, int] = {}
    checkpoint_at: float | None = None  # when it last reported a checkpoint (octopus_hub.checkpoint)


class TaskSpec(ApiStruct, frozen=True, kw_only=True):
    """Everything a backend needs to run one task: rendered by ``core.expand``, no further choices left.

    Templates that only the backend can fill are left as environment markers: ``$(OCTOPUS_HOST)`` never appears;
    addresses are reserved before rendering.
    """

    name: str  # {taskset}-{role}-{index}-{attempt}
    namespace: str
    taskset: str
    taskset_uid: str
    role: str
    index: int
    attempt: int
    gang_attempt: int
    node: str
    hostname: str  # {taskset}-{role}-{index}
    command: list[str]
    env: dict[str, str] = {}
    secrets: dict[str, str] = {}  # environment variable -> secret name
    working_dir: str = ""
    image: str = ""  # digest
    image_name: str = ""
    amounts: Amounts = Amounts()
    shm_bytes: int = 0
    mounts: list[Mount] = []
    ports: dict[str, int] = {}
    workspace: str | None = None  # blob digest
    files: dict[str, str] = {}  # relative path in the task's folder -> content (large cluster lists)
    outputs: list[str] = []
    owner: str = ""  # hub user (system account where they are separated)
    device_env: dict[str, str] = {}  # device type -> variable that gets the assigned ids, comma-separated
    device_aliases: dict[str, list[str]] = {}  # device type -> further variables that get the same


class Task(ApiStruct, frozen=True, kw_only=True):
    """A task as observed. Rows of a TaskSet's current attempt; ended attempts go to the record."""

    name: str
    namespace: str
    taskset: str
    taskset_uid: str
    role: str
    index: int
    attempt: int
    gang_attempt: int = 1
    state: TaskState = TaskState.PENDING
    node: str = ""
    devices: dict[str, list[str]] = {}  # device type -> ids assigned
    ports: dict[str, int] = {}
    created_at: float = 0.0
    bound_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    end_reason: EndReason = ""
    message: str = ""  # the backend's words: which file was missing, which limit was hit
    memory_limit_bytes: int = 0
    usage: Usage = Usage()
    log_bytes: int = 0
    metrics: dict[str, float] = {}  # last values the task reported through octopus_hub.log

    @property
    def identity(self) -> tuple[str, int]:
        """(role, index)."""
        return self.role, self.index


class Address(ApiStruct, frozen=True, kw_only=True):
    """Where peers reach a member: a host name or address, and a port number for each port name."""

    host: str
    ports: dict[str, int] = {}
