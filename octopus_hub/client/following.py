"""One TaskSet seen through a stream: frames in, its present view out. Pure; jobs and the command line's progress use it."""

from __future__ import annotations

from octopus_hub.model.answers import Frame, TaskSetView
from octopus_hub.model.status import QueuePlace
from octopus_hub.model.task import Task
from octopus_hub.model.taskset import TaskSet


class Following:
    """What is known of one TaskSet.

    Parameters
    ----------
    taskset : TaskSet
        As known at the start; its uid tells it from a later one of the same name.
    """

    def __init__(self, taskset: TaskSet) -> None:
        self._taskset = taskset
        self._tasks: dict[str, Task] = {}
        self._place: QueuePlace | None = None
        self.gone = False  # deleted
        self.unknown = False  # the last snapshot did not hold it: deleted, or too new for that snapshot

    @property
    def view(self) -> TaskSetView:
        """The present view."""
        place = self._place if self._taskset.status.phase.waiting else None
        tasks = sorted(self._tasks.values(), key=lambda task: (task.role, task.index, task.attempt))
        return TaskSetView(taskset=self._taskset, queue_place=place, tasks=tasks)

    def apply(self, frame: Frame) -> bool:
        """Take a frame in; returns whether it said anything about this TaskSet."""
        uid = self._taskset.metadata.uid
        before = (self._taskset, self._place, len(self._tasks))
        found = [taskset for taskset in frame.tasksets if taskset.metadata.uid == uid]
        if frame.snapshot:
            self._tasks.clear()
            self._place = None
            self.unknown = not found
        if found and found[-1].metadata.version >= self._taskset.metadata.version:
            self._taskset = found[-1]
        rows = [task for task in frame.tasks if task.taskset_uid == uid]
        self._tasks.update({task.name: task for task in rows})
        namespace = self._taskset.metadata.namespace
        for name in frame.removed.tasks:
            of, _, task = name.rpartition("/")
            if of == namespace:
                self._tasks.pop(task, None)
        self._place = frame.places.get(uid, self._place)
        self.gone = self.gone or uid in frame.removed.tasksets
        return frame.snapshot or self.gone or bool(rows) or before != (self._taskset, self._place, len(self._tasks))
