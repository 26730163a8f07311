"""What the controller says about a TaskSet: phase, verdict, placement, counts. Written by the controller only."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from octopus_hub.model.amounts import Amounts
from octopus_hub.model.base import ApiStruct


class Phase(StrEnum):
    """Life cycle of a TaskSet (design, section 5). The values are stable API."""

    HELD = "Held"  # kept from queuing until it is released
    QUEUED = "Queued"  # waits for its turn and for room; holds nothing
    ADMITTED = "Admitted"  # every member has a place; no task exists yet
    STARTING = "Starting"  # tasks are prepared and wait for each other; no user code has run
    RUNNING = "Running"  # all tasks were started together
    RESTARTING = "Restarting"  # a task, a role or the gang starts again after a failure
    PREEMPTING = "Preempting"  # asked to make room; still holds its place
    STOPPING = "Stopping"  # the verdict stands; what still runs is ended
    SUCCEEDED = "Succeeded"  # the roles that count have succeeded
    FAILED = "Failed"  # they have not; message and record say why
    STOPPED = "Stopped"  # ended by request

    def __repr__(self) -> str:
        """A notebook's cell shows the last value: that of ``job.wait()``."""
        return self.value

    @property
    def terminal(self) -> bool:
        """No further change will come."""
        return self in TERMINAL_PHASES

    @property
    def waiting(self) -> bool:
        """It holds nothing and has not ended."""
        return self in (Phase.HELD, Phase.QUEUED)


TERMINAL_PHASES = frozenset({Phase.SUCCEEDED, Phase.FAILED, Phase.STOPPED})

Verdict = Literal["Succeeded", "Failed", "Stopped"]


class Condition(ApiStruct, frozen=True, kw_only=True):
    """A named fact about a TaskSet, Kubernetes style."""

    type: str
    status: bool
    reason: str = ""
    message: str = ""
    at: float = 0.0


class Span(ApiStruct, frozen=True, kw_only=True):
    """Tasks ``first .. first + count - 1`` of a role on one node."""

    node: str
    first: int
    count: int


class ExceptionalTask(ApiStruct, frozen=True, kw_only=True):
    """A task worth a word: failed, restarting, lost."""

    index: int
    attempt: int
    state: str
    cause: str = ""
    advice: str = ""


class RoleStatus(ApiStruct, frozen=True, kw_only=True):
    """Counts of one role's current tasks by state, and the role's verdict."""

    name: str
    pending: int = 0
    bound: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    unknown: int = 0
    restarts: int = 0  # restarts charged to the user so far (transient failures are not)
    transient_restarts: int = 0
    restarts_before: int = 0  # of these, charged in earlier gang attempts
    transient_before: int = 0  # the same of the transient ones, and vanished tasks of this attempt
    verdict: Literal["Succeeded", "Failed"] | None = None
    exceptional: list[ExceptionalTask] = []


class Avoid(ApiStruct, frozen=True, kw_only=True):
    """A node on which the gang could not be bound; not tried again before ``until``."""

    node: str
    until: float
    strikes: int = 1


class TimelineEntry(ApiStruct, frozen=True, kw_only=True):
    """A phase change."""

    phase: Phase
    at: float
    reason: str = ""


class Status(ApiStruct, frozen=True, kw_only=True):
    """State of a TaskSet. Bounded in size whatever the gang (at most 50 exceptional tasks in all)."""

    phase: Phase = Phase.QUEUED
    reason: str = ""
    message: str = ""
    conditions: list[Condition] = []
    timeline: list[TimelineEntry] = []  # at most the last 50 phase changes
    attempt: int = 0  # gang attempts started; 0 before the first
    roles: list[RoleStatus] = []
    placement: dict[str, list[Span]] = {}
    choices: dict[str, int] = {}  # role -> which entry of its placement.sku it got at its last admission; 0 is left out
    resize_to: dict[str, list[Span]] = {}  # in Preempting: the place of the next attempt, which does not queue
    resized_at: float | None = None  # when the last resize was decided
    verdict: Verdict | None = None  # decided once, then frozen
    queued_at: float | None = None
    admitted_at: float | None = None
    starting_at: float | None = None  # tasks of the current attempt were created
    started_at: float | None = None  # first time all tasks of the gang ran
    finished_at: float | None = None
    restart_at: float | None = None  # in Restarting: not before
    restart_scope: str = ""  # in Restarting: "task", "role" or "gang"
    stopping_at: float | None = None
    avoid: list[Avoid] = []
    bind_failures: int = 0
    idle_since: float | None = None  # its devices have been below ``lifetime.idle.utilBelowPercent`` since then
    preempted_by: str = ""  # whom the last preemption made room for, as its owner may read it
    preempted_for: str = ""  # uid of that TaskSet, or the name of a calendar window
    preempted_rule: str = ""  # priority, service, fairness, reclaim or window
    preempted_at: list[float] = []  # when it was preempted, within a day before the last time
    preemptions: int = 0  # in all
    served_seconds: float = 0.0  # ran before its last preemption, of what was not lost
    checkpoint_at: float | None = None  # its last checkpoint, as reported in an attempt that was preempted
    recorded_attempt: int = 0  # attempts whose record stands
    record: str = ""  # where the last attempt's record stands
    epoch: int = 0  # the writer's epoch at the last write


class QueuePlace(ApiStruct, frozen=True, kw_only=True):
    """Why a waiting TaskSet waits (design, law 9); kept on the queue's board, not in the TaskSet."""

    uid: str
    place: int  # 1 is next
    code: str
    message: str
    need: Amounts = Amounts()
    free: Amounts = Amounts()
    where: str = ""
    estimate_seconds: float | None = None  # until it starts, from the board's time: the middle of the range
    earliest_seconds: float | None = None  # the range; None: nothing is known
    latest_seconds: float | None = None  # None: nothing bounds it
    basis: str = ""  # what the estimate rests on


class Board(ApiStruct, frozen=True, kw_only=True):
    """Places and reasons of everything that waits in one queue; ``conditions`` are facts about the queue itself."""

    queue: str
    at: float = 0.0
    places: list[QueuePlace] = []
    conditions: list[Condition] = []

    def says(self, other: Board | None) -> bool:
        """Say whether it says the same as another, whenever they were written."""
        return other is not None and (self.places, self.conditions) == (other.places, other.conditions)
