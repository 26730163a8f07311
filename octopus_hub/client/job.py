"""A submitted TaskSet in a notebook or program: see it, wait for it, read its logs, fetch its results.

The public functions ``submit`` and ``run`` are here. Everything is pushed: waiting reads a stream, it never polls.
"""

from __future__ import annotations

import importlib
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from octopus_hub.client import jobtext, lease, submission
from octopus_hub.client.calls import LogQuery
from octopus_hub.client.connection import find_connection
from octopus_hub.client.failures import TaskSetFailed, WaitTimeout
from octopus_hub.client.following import Following
from octopus_hub.client.joblogs import Logs as Logs
from octopus_hub.client.joblogs import lines_of as lines_of
from octopus_hub.client.sync import Client
from octopus_hub.model.answers import TaskSetView
from octopus_hub.model.errors import Conflict, InvalidSpec, NotFound, OctopusError
from octopus_hub.model.record import OutputFile, Record
from octopus_hub.model.status import Phase, Status
from octopus_hub.model.task import Task
from octopus_hub.model.taskset import TaskSet

RECORD_SECONDS = 120.0  # outputs are collected between the end and the record


def submit(
    taskset: TaskSet | Mapping[str, Any],
    workspace: str | os.PathLike[str] | None = ".",
    *,
    wait: bool = False,
    client: Client | None = None,
) -> Job:
    """Submit a TaskSet together with the files of a folder.

    Parameters
    ----------
    taskset : TaskSet or mapping
        What shall run. It is checked here first; every problem is reported at once.
    workspace : path or None
        Folder whose files every task finds in its working directory (at most 256 MB without what
        ``.octopusignore`` lists). None takes nothing along.
    wait : bool
        Wait for the end.
    client : Client, optional
        Default: one that finds the service by itself.

    Returns
    -------
    Job
        A live view in notebooks. Submitting again gives a new TaskSet (``mnist-2``).

    Raises
    ------
    InvalidSpec, TooLarge, Refused, Unavailable
    """
    used = client or default_client()
    prepared = submission.prepare(taskset, workspace).tied(lease.tie)
    created = submission.create(used, prepared)
    lease.hold(used, created)
    for notice in prepared.notices:
        warnings.warn(notice, stacklevel=2)
    job = Job(used, TaskSetView(taskset=created))
    if wait:
        job.wait()
    return job


def run(
    taskset: TaskSet | Mapping[str, Any],
    workspace: str | os.PathLike[str] | None = ".",
    *,
    timeout: float | None = None,
    client: Client | None = None,
) -> Job:
    """Submit a TaskSet and wait for its success.

    Raises
    ------
    TaskSetFailed
        It failed or was stopped; the message says which task ended how.
    WaitTimeout
        It had not ended after ``timeout`` seconds; it keeps running.
    """
    job = submit(taskset, workspace, client=client)
    if job.wait(timeout) != Phase.SUCCEEDED:
        raise TaskSetFailed(jobtext.why_failed(job.view), name=job.name, phase=job.view.taskset.status.phase.value)
    return job


_clients: dict[int, Client] = {}


def default_client() -> Client:
    """Return this process's client; a new one after a fork or when the connection to use has changed."""
    client = _clients.get(os.getpid())
    if client is None or client.connection != find_connection():
        client = _clients[os.getpid()] = Client()
    return client


class Job:
    """A submitted TaskSet.

    Parameters
    ----------
    client : Client
        How to reach the service.
    view : TaskSetView
        What is known of it.
    """

    def __init__(self, client: Client, view: TaskSetView) -> None:
        self.client = client
        self.view = view  # as last seen; refresh() asks
        self._record: Record | None = None

    @classmethod
    def find(cls, name: str, namespace: str = "-", client: Client | None = None) -> Job:
        """Return the job of a TaskSet that exists already."""
        used = client or default_client()
        return cls(used, used.get(name, namespace))

    @property
    def name(self) -> str:
        """Its name, perhaps with a suffix."""
        return self.view.taskset.name

    @property
    def namespace(self) -> str:
        """Its owner's namespace."""
        return self.view.taskset.metadata.namespace or "-"

    @property
    def uid(self) -> str:
        """What tells it from any other of the same name."""
        return self.view.taskset.metadata.uid

    @property
    def phase(self) -> Phase:
        """Where it stands now."""
        return self.status().phase

    @property
    def tasks(self) -> list[Task]:
        """Rows of its tasks, asked now."""
        return list(self.client.tasks(self.name, self.namespace))

    @property
    def timeline(self) -> jobtext.Text:
        """When it changed its phase, as text."""
        return jobtext.timeline(self.status())

    @property
    def metrics(self) -> dict[str, float]:
        """Last values that the first task of each role reported by ``octopus_hub.log``."""
        if self.status().phase.terminal:
            return dict(self.record.metrics)
        return {name: value for task in self.tasks if task.index == 0 for name, value in task.metrics.items()}

    @property
    def record(self) -> Record:
        """The record of its last attempt, with its ``path``; raises Conflict while it has not ended."""
        if self._record is None:
            if not self.status().phase.terminal:
                raise Conflict(f"{self.name} has not ended, so it has no record yet; wait() for it first")
            self._await_record()
            self._record = self.client.record(self.name, self.namespace)
        return self._record

    @property
    def outputs(self) -> Outputs:
        """The files it left that match its declared outputs."""
        return Outputs(self)

    def refresh(self) -> TaskSetView:
        """Ask for its present state."""
        found = self.client.get(self.name, self.namespace)
        if self.uid and found.taskset.metadata.uid != self.uid:
            raise NotFound(f"{self.name} was deleted; another TaskSet has that name now")
        self.view = found
        return found

    def status(self) -> Status:
        """Return its present status."""
        if not self._settled():
            self.refresh()
        return self.view.taskset.status

    def why(self) -> jobtext.Text:
        """Return why it waits, runs where it does, or ended as it did: a line for each fact."""
        return jobtext.reasons(self.client.why(self.name, self.namespace))

    def watch(self, timeout: float | None = None) -> Iterator[TaskSetView]:
        """Yield its view at each change until it has ended.

        Raises WaitTimeout after ``timeout`` seconds, NotFound when it was deleted.
        """
        for view in self._changes(timeout):
            yield view
            if view.taskset.status.phase.terminal:
                return

    def wait(self, timeout: float | None = None) -> Phase:
        """Wait for its end and return the last phase; interrupting leaves it running."""
        if not self.view.taskset.status.phase.terminal:
            try:
                for _ in self.watch(timeout):
                    pass
            except KeyboardInterrupt:
                raise KeyboardInterrupt(f"{self.name} keeps running; job.stop() stops it") from None
        return self.view.taskset.status.phase

    def logs(
        self,
        role: str | None = None,
        index: int = 0,
        *,
        follow: bool = False,
        attempt: int | None = None,
        tail: int | None = None,
    ) -> Logs:
        """Return the log of one task: iterate over its lines, print it, or let a cell show it.

        Parameters
        ----------
        role : str, optional
            May be left out where there is one role, or a main one.
        follow : bool
            Go on until the task ends; interrupting ends the reading only.
        attempt : int, optional
            Default: the last.
        tail : int, optional
            The last so many lines only.
        """
        chosen = choose_role(self.view.taskset, role)
        return Logs(self, LogQuery(chosen, index, attempt, follow, tail))

    def stop(self) -> None:
        """Stop it; what it reported so far is recorded."""
        self._intent("stop")

    def hold(self) -> None:
        """Keep it from starting."""
        self._intent("hold")

    def release(self) -> None:
        """Let it start."""
        self._intent("release")

    def scale(self, **sizes: int | None) -> None:
        """Wish sizes of elastic roles, ``job.scale(worker=6)``; None takes a wish back.

        It grows when there is room, and keeps its checkpoints: a resize starts all of its tasks again.
        """
        stored = self.client.scale(self.name, sizes, self.namespace)
        self.view = TaskSetView(taskset=stored, queue_place=self.view.queue_place, tasks=self.view.tasks)

    def delete(self) -> None:
        """Delete it; its records stay."""
        self.client.delete(self.name, self.namespace)

    def _settled(self) -> bool:
        status = self.view.taskset.status
        return status.phase.terminal and status.recorded_attempt >= status.attempt

    def _intent(self, verb: str) -> None:
        changed: TaskSet = getattr(self.client, verb)(self.name, self.namespace)
        self.view = TaskSetView(taskset=changed, queue_place=self.view.queue_place, tasks=self.view.tasks)

    def _changes(self, timeout: float | None) -> Iterator[TaskSetView]:
        deadline = None if timeout is None else time.monotonic() + timeout
        following = Following(self.view.taskset)
        try:
            for frame in self.client.stream(self.namespace, self.name, deadline=deadline):
                changed = following.apply(frame)
                if following.gone:
                    raise NotFound(f"{self.name} was deleted")
                if following.unknown:  # deleted, or newer than the snapshot: the service knows
                    self.refresh()
                    following = Following(self.view.taskset)
                    yield self.view
                elif changed:
                    self.view = following.view
                    yield self.view
        except WaitTimeout:
            phase = self.view.taskset.status.phase.value
            raise WaitTimeout(f"{self.name} is still {phase} after {timeout:g} s; it keeps running") from None

    def _await_record(self) -> None:
        if self._settled():
            return
        try:
            for _ in self._changes(RECORD_SECONDS):
                if self._settled():
                    return
        except WaitTimeout:
            raise WaitTimeout(f"the record of {self.name} was not written within {RECORD_SECONDS:g} s") from None

    def __repr__(self) -> str:
        return f"<Job {self.namespace}/{self.name} {self.view.taskset.status.phase.value}>"

    def __str__(self) -> str:
        note = ""
        if not self._settled():
            try:
                self.refresh()
            except OctopusError as error:
                note = f"\n  as last seen; {error}"
        return jobtext.summary(self.view, time.time()) + note

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": str(self)}

    def _ipython_display_(self) -> None:
        """Show the live view in a kernel that has the widgets; otherwise IPython takes the text."""
        if not _shown_live(self):
            raise NotImplementedError


class Outputs:
    """The output files of a job."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def list(self) -> list[OutputFile]:
        """Return path, digest and size of each."""
        return list(self._job.record.outputs)

    def download(self, to: str | os.PathLike[str] | None = None) -> tuple[Path, ...]:
        """Fetch them into a folder (default: ``{name}-outputs``); returns the files, checked by their digests."""
        folder = Path(to) if to is not None else Path(f"{self._job.name}-outputs")
        if not self._job.record.outputs:
            return ()
        return tuple(self._job.client.outputs(self._job.name, folder, self._job.namespace))

    def __iter__(self) -> Iterator[OutputFile]:
        return iter(self.list())

    def __repr__(self) -> str:
        rows = [(file.path, jobtext.size(file.size), file.digest) for file in self.list()]
        return jobtext.columns(("PATH", "SIZE", "DIGEST"), rows) if rows else "no outputs"


def choose_role(taskset: TaskSet, role: str | None) -> str:
    """Return the role that is meant; raises InvalidSpec naming the roles there are."""
    names = [each.name for each in taskset.spec.roles]
    if role is not None:
        if role not in names:
            raise NotFound(f"{taskset.name} has no role {role!r}; its roles are {', '.join(names)}")
        return role
    main = [each.name for each in taskset.spec.roles if each.main]
    if len(names) == 1 or len(main) == 1:
        return (main or names)[0]
    raise InvalidSpec(f"{taskset.name} has the roles {', '.join(names)}; say which")


def _shown_live(job: Job) -> bool:
    """Show the widget; False where there is no kernel, no widgets package, or it can't be made."""
    try:
        shell = importlib.import_module("IPython").get_ipython()
        if shell is None or not hasattr(shell, "kernel"):
            return False
        importlib.import_module("octopus_widgets").show(job)
    except Exception:
        return False  # the text says the same; a view must never be what stops a user
    return True
