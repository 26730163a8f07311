"""What ``advance`` asks for. Names and numbers only; ``control.apply`` carries them out."""

from __future__ import annotations

from dataclasses import dataclass

from octopus_hub.model.status import Status


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """A member of a gang in one attempt."""

    role: str
    index: int
    attempt: int


@dataclass(frozen=True, slots=True)
class CreateTasks:
    """Reserve addresses, render and create these members, all or none."""

    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class ReleaseTasks:
    """Open the barrier: user code may run now."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StopTasks:
    """SIGTERM, then SIGKILL after the grace; the end reason is ``why``."""

    names: tuple[str, ...]
    grace_seconds: float
    why: str = "Stopped"


@dataclass(frozen=True, slots=True)
class DeleteTasks:
    """Forget rows of ended tasks (their logs stay)."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WriteRecord:
    """Write the record of this gang attempt, then set ``status.recorded_attempt``."""

    attempt: int


@dataclass(frozen=True, slots=True)
class DeleteTaskSet:
    """Delete the TaskSet and everything of it but its records (user's delete, or ttl)."""


Action = CreateTasks | ReleaseTasks | StopTasks | DeleteTasks | WriteRecord | DeleteTaskSet


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a life cycle.

    ``status`` is written before the actions are carried out; ``wake_at`` is when time alone changes something.
    """

    status: Status
    actions: tuple[Action, ...] = ()
    wake_at: float | None = None
