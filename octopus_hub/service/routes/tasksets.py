"""TaskSets: submit, list, look, and the wishes stop, hold, release and delete. Wishes go to the backend, nowhere else."""

from __future__ import annotations

import re
from typing import ClassVar

from octopus_hub.model.errors import Conflict, InvalidSpec
from octopus_hub.model.status import Phase
from octopus_hub.model.taskset import TaskSet
from octopus_hub.service.caught_up import caught_up
from octopus_hub.service.handler import ApiHandler
from octopus_hub.service.plan import why_so
from octopus_hub.service.views import find, own_namespace, shown, taskset_json, view_json, visible

KEY = re.compile(r"[\x21-\x7e]{1,200}")
ALL = "*"
LOCATION = "{api}/tasksets/{namespace}/{name}"


def idempotency_key(handler: ApiHandler) -> str:
    """Return the request's idempotency key, "" if none; raises InvalidSpec for one we would not keep."""
    key = str(handler.request.headers.get("Idempotency-Key", ""))
    if key and not KEY.fullmatch(key):
        raise InvalidSpec("Idempotency-Key has 1 to 200 printable ASCII characters without spaces")
    return key


def answer_created(handler: ApiHandler, taskset: TaskSet, repeated: bool) -> None:
    """Answer with what a submission gave."""
    meta = taskset.metadata
    location = LOCATION.format(api=handler.service.settings.api, namespace=meta.namespace, name=meta.name)
    handler.set_header("Location", location)
    handler.answer(taskset_json(taskset), 200 if repeated else 201)


class TaskSets(ApiHandler):
    """``/tasksets``."""

    path = "/tasksets"

    async def post(self) -> None:
        """Submit; ``dryRun=true`` only says what would be stored."""
        submission = self.service.submission
        if self.flag("dryRun"):
            taskset = await submission.prepare(self.document(), self.who)
            submission.check(taskset)
            self.answer(taskset_json(taskset))
            return
        created = await submission.submit(self.document(), self.who, idempotency_key(self))
        answer_created(self, created.taskset, created.repeated)

    async def get(self) -> None:
        """List what the caller may see."""
        cache = self.service.cache
        namespace, phases, labels = self._namespace(), self._phases(), self._labels()
        rows = [
            view_json(cache, self.who, taskset)
            for taskset in sorted(cache.tasksets.values(), key=lambda each: (each.metadata.created_at, each.name))
            if (namespace == ALL or taskset.metadata.namespace == namespace)
            and visible(self.who, taskset.metadata.namespace)
            and (not phases or taskset.status.phase in phases)
            and all(taskset.metadata.labels.get(name) == value for name, value in labels.items())
        ]
        self.answer(b'{"items":[%b],"revision":%d}' % (b",".join(rows), cache.revision))

    def _namespace(self) -> str:
        wanted = self.query("namespace")
        return ALL if wanted == ALL and self.who.admin else own_namespace(self.who, wanted)

    def _phases(self) -> set[Phase]:
        words = [word for word in self.query("phase").split(",") if word]
        known = {phase.value.lower(): phase for phase in Phase}
        unknown = [shown(word) for word in words if word.lower() not in known]
        if unknown:
            phases = ", ".join(phase.value for phase in Phase)
            raise InvalidSpec(f"there is no phase {unknown[0]}; phases are {phases}")
        return {known[word.lower()] for word in words}

    def _labels(self) -> dict[str, str]:
        pairs = [part for text in self.get_query_arguments("label") for part in text.split(",") if part]
        if any("=" not in pair for pair in pairs):
            raise InvalidSpec("label is given as name=value")
        return dict(pair.split("=", 1) for pair in pairs)


class OneTaskSet(ApiHandler):
    """``/tasksets/{ns}/{name}``."""

    path = "/tasksets/{ns}/{name}"

    async def get(self, ns: str, name: str) -> None:
        """The TaskSet, why it waits, and its tasks."""
        cache = self.service.cache
        taskset = find(cache, self.who, ns, name)
        self.answer(view_json(cache, self.who, taskset, cache.tasks_of(taskset.metadata.uid)))

    async def delete(self, ns: str, name: str) -> None:
        """Ask for its end and removal."""
        taskset = find(self.service.cache, self.who, ns, name)
        stored = await self.service.backend.update_intent(taskset.metadata.uid, delete=True)
        await caught_up(self.service.cache, stored, self.service.settings.caught_up_seconds)
        self.answer(taskset_json(stored))


class Tasks(ApiHandler):
    """``/tasksets/{ns}/{name}/tasks``."""

    path = "/tasksets/{ns}/{name}/tasks"

    async def get(self, ns: str, name: str) -> None:
        """Rows of the tasks."""
        cache = self.service.cache
        tasks = cache.tasks_of(find(cache, self.who, ns, name).metadata.uid)
        tasks.sort(key=lambda task: (task.role, task.index, task.attempt))
        self.answer({"items": tasks})


class Why(ApiHandler):
    """``.../why``."""

    path = "/tasksets/{ns}/{name}/why"

    async def get(self, ns: str, name: str) -> None:
        """Why it waits, runs where it does, or ended as it did."""
        service = self.service
        taskset = find(service.cache, self.who, ns, name)
        self.answer(await why_so(service.cache, service.submission, taskset, self.who))


class Wish(ApiHandler):
    """What the three wishes share: they may be repeated, and answer with the TaskSet as it is after them."""

    async def post(self, ns: str, name: str) -> None:
        """Write the wish, unless it holds already."""
        cache = self.service.cache
        taskset = find(cache, self.who, ns, name)
        if self.wanted(taskset):
            taskset = await self.wish(taskset.metadata.uid)
            await caught_up(cache, taskset, self.service.settings.caught_up_seconds)
        self.answer(taskset_json(cache.tasksets.get(taskset.metadata.uid, taskset)))

    def wanted(self, taskset: TaskSet) -> bool:
        """Say whether there is something to write; raises Conflict where the phase does not allow it."""
        raise NotImplementedError

    async def wish(self, uid: str) -> TaskSet:
        """Write it."""
        raise NotImplementedError


class Stop(Wish):
    """``.../stop``."""

    path: ClassVar[str] = "/tasksets/{ns}/{name}/stop"

    def wanted(self, taskset: TaskSet) -> bool:
        """What has ended is stopped."""
        return not taskset.status.phase.terminal

    async def wish(self, uid: str) -> TaskSet:
        """Ask for the stop."""
        return await self.service.backend.update_intent(uid, stop=True)


class Hold(Wish):
    """``.../hold``."""

    path: ClassVar[str] = "/tasksets/{ns}/{name}/hold"

    def wanted(self, taskset: TaskSet) -> bool:
        """Only what waits can be held."""
        if not taskset.status.phase.waiting:
            raise Conflict(
                f"{taskset.name} is {taskset.status.phase.value}; only a TaskSet that waits can be held",
                phase=taskset.status.phase.value,
            )
        return not taskset.spec.hold

    async def wish(self, uid: str) -> TaskSet:
        """Hold."""
        return await self.service.backend.update_intent(uid, hold=True)


class Release(Wish):
    """``.../release``."""

    path: ClassVar[str] = "/tasksets/{ns}/{name}/release"

    def wanted(self, taskset: TaskSet) -> bool:
        """What is not held is released; what has ended can't be."""
        if taskset.status.phase.terminal:
            raise Conflict(
                f"{taskset.name} is {taskset.status.phase.value}; only a TaskSet that waits can be released",
                phase=taskset.status.phase.value,
            )
        return taskset.spec.hold

    async def wish(self, uid: str) -> TaskSet:
        """Release."""
        return await self.service.backend.update_intent(uid, hold=False)
