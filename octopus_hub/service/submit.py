"""From a user's document to a stored TaskSet: parsed, checked against every rule, resolved to digests, stored once.

Everything that is wrong with a document is told at once. Decides nothing about when it runs; ``core.schedule.explain``
says whether it ever could. Called by the routes and by replay.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Protocol

import msgspec

from octopus_hub.backends.base import Backend
from octopus_hub.control.cache import Cache
from octopus_hub.control.waiting import as_waiting
from octopus_hub.core.schedule import explain
from octopus_hub.core.snapshot import Waiting
from octopus_hub.model.canonical import digest
from octopus_hub.model.descriptor import Descriptors
from octopus_hub.model.errors import InvalidSpec, NotFound, Refused
from octopus_hub.model.queue import DEFAULT_PRIORITIES
from octopus_hub.model.taskset import Metadata, Resolved, Spec, TaskSet
from octopus_hub.service.blobs import BlobAccess
from octopus_hub.service.caught_up import caught_up
from octopus_hub.service.identity import Identity
from octopus_hub.service.settings import ServiceSettings

DEFAULT_QUEUE = "default"
MOST_SEED = 2**31
KEYS_KEPT = 10_000
replace = msgspec.structs.replace


class Registry(Protocol):
    """What is needed of ``octopus_hub.plugins.registry``."""

    def resolve(self, taskset: TaskSet) -> Descriptors:
        """Return the descriptors a TaskSet uses; raises InvalidSpec."""


@dataclass(frozen=True, slots=True)
class Created:
    """A stored TaskSet; ``repeated`` when its key had made it before."""

    taskset: TaskSet
    repeated: bool


class Submission:
    """The pipeline."""

    def __init__(
        self, settings: ServiceSettings, backend: Backend, cache: Cache, registry: Registry, blobs: BlobAccess
    ) -> None:
        self._settings = settings
        self._backend = backend
        self._cache = cache
        self._registry = registry
        self._blobs = blobs
        self._creating: Counter[tuple[str, str]] = Counter()  # (namespace, queue): what the cache does not show yet
        self._keys: dict[tuple[str, str], str] = {}  # (namespace, key) -> uid, the latest
        self._locks: dict[tuple[str, str], _Lock] = {}

    async def prepare(self, document: Mapping[str, Any], who: Identity) -> TaskSet:
        """Return the TaskSet that would be stored; raises InvalidSpec with every problem, or Refused."""
        if not who.namespace:
            raise Refused("the token of a hub service can't submit; use a user's token")
        try:
            parsed = TaskSet.parse(document)
        except RecursionError:
            raise InvalidSpec("the document is nested too deeply", ["nested too deeply"]) from None
        meta = Metadata(
            name=parsed.metadata.name,
            namespace=who.namespace,
            owner=who.user,
            groups=sorted(who.groups),
            labels=parsed.metadata.labels,
            annotations=parsed.metadata.annotations,
            exact_name=parsed.metadata.exact_name,
        )
        spec = replace(parsed.spec, queue=parsed.spec.queue or DEFAULT_QUEUE)
        if spec.seed is None:
            spec = replace(spec, seed=secrets.randbelow(MOST_SEED))
        taskset = TaskSet(metadata=meta, spec=spec)
        problems = self._unknown_names(spec)
        descriptors = self._descriptors(taskset, problems)
        images, image_names = await self._images(spec, descriptors, problems)
        await self._references(spec, who, problems)
        if problems:
            raise InvalidSpec(_summary(parsed.metadata.name, problems), problems)
        self._may_use(spec.queue, who)
        resolved = Resolved(
            images=images, image_names=image_names, descriptors=descriptors, spec_digest=digest(parsed.spec)
        )
        return replace(taskset, resolved=resolved)

    def check(self, taskset: TaskSet) -> None:
        """Raise Refused where storing this prepared TaskSet would be refused."""
        self._never_fits(taskset)
        self._bounded(taskset.metadata.namespace)
        self._may_wait(taskset)

    async def create(self, taskset: TaskSet, who: Identity, key: str) -> Created:
        """Store a prepared TaskSet, or return the one that this key made before."""
        self.check(taskset)
        namespace = who.namespace
        place = namespace, taskset.spec.queue
        self._creating[place] += 1
        try:
            stored = await self._backend.create(taskset, key or None)
            repeated = stored.metadata.uid in self._cache.tasksets
            if key:
                self._remember((namespace, key), stored.metadata.uid)
            await caught_up(self._cache, stored, self._settings.caught_up_seconds)
        finally:
            self._creating[place] -= 1
            if not self._creating[place]:
                del self._creating[place]
        return Created(self._cache.tasksets.get(stored.metadata.uid, stored), repeated)

    async def submit(self, document: Mapping[str, Any], who: Identity, key: str) -> Created:
        """Prepare and create; with a key, one at a time, so that two submitters at once get one TaskSet."""
        if not key:
            return await self.create(await self.prepare(document, who), who, "")
        async with self._only_one(who.namespace, key):
            known = self._cache.tasksets.get(self._keys.get((who.namespace, key), ""))
            if known is not None:
                return Created(known, True)
            return await self.create(await self.prepare(document, who), who, key)

    # --- checks
    def _unknown_names(self, spec: Spec) -> list[str]:
        problems: list[str] = []
        if spec.queue not in self._cache.queues:
            problems.append(f"spec.queue: {_no_such('queue', spec.queue, list(self._cache.queues))}")
        known = list(self._cache.priorities) or [each.name for each in DEFAULT_PRIORITIES]
        if spec.priority not in known:
            problems.append(f"spec.priority: {_no_such('priority', spec.priority, known)}")
        return problems

    def _descriptors(self, taskset: TaskSet, problems: list[str]) -> Descriptors:
        try:
            return self._registry.resolve(taskset)
        except InvalidSpec as error:
            problems.extend(error.problems or [error.message])
            return Descriptors()

    async def _images(
        self, spec: Spec, descriptors: Descriptors, problems: list[str]
    ) -> tuple[dict[str, str], dict[str, str]]:
        default = descriptors.framework.image if descriptors.framework else ""
        digests: dict[str, str] = {}
        names: dict[str, str] = {}
        for at, role in enumerate(spec.roles):
            try:
                image = await self._backend.resolve_image(role.image or default)
            except (InvalidSpec, NotFound) as error:
                problems.append(f"spec.roles[{at}].image: {error.message}")
            else:
                digests[role.name], names[role.name] = image.digest, image.name
        return digests, names

    async def _references(self, spec: Spec, who: Identity, problems: list[str]) -> None:
        """Secrets and workspace exist and are the submitter's own; a foreign one is like a missing one."""
        wanted = {name for role in spec.roles for name in role.secrets.values()}
        if wanted:
            have = set(await self._backend.list_secrets(who.namespace))
            for at, role in enumerate(spec.roles):
                problems.extend(
                    f"spec.roles[{at}].secrets.{variable}: there is no secret {name}; set it first"
                    for variable, name in role.secrets.items()
                    if name not in have
                )
        workspace = spec.workspace.digest
        if workspace is not None:
            try:
                await self._blobs.path(workspace, who)
            except NotFound:
                problems.append("spec.workspace.digest: there is no such content; upload the workspace first")

    def _may_use(self, name: str, who: Identity) -> None:
        queue = self._cache.queues[name]
        if who.admin or not (queue.allowed_users or queue.allowed_groups):
            return
        if who.user in queue.allowed_users or who.groups & set(queue.allowed_groups):
            return
        groups = ", ".join(queue.allowed_groups) or "none"
        raise Refused(
            f"queue {name} is for certain users and groups ({groups}) and {who.user} is in none of them; "
            "use another queue or ask an administrator",
            rule="queueAccess",
            queue=name,
        )

    def _never_fits(self, taskset: TaskSet) -> None:
        reason = explain(self._cache.snapshot(), self.waiting(taskset))
        if reason is not None:
            raise Refused(
                f"{taskset.name} can never run here: {reason.message}",
                rule=reason.code,
                reason=msgspec.to_builtins(reason),
            )

    def _bounded(self, namespace: str) -> None:
        limit = self._settings.open_tasksets
        still = sum(
            1
            for known in self._cache.tasksets.values()
            if known.metadata.namespace == namespace and not known.status.phase.terminal
        )
        still += sum(count for (other, _), count in self._creating.items() if other == namespace)
        if still >= limit:
            raise Refused(
                f"{still} TaskSets of yours have not ended, {limit} is the limit for one user; "
                "stop some or wait until some have ended",
                rule="openTaskSets",
                usage=still,
                limit=limit,
            )

    def _may_wait(self, taskset: TaskSet) -> None:
        queue, meta = self._cache.queues.get(taskset.spec.queue), taskset.metadata
        if queue is None or queue.max_queued_per_user is None:
            return
        wait = sum(
            known.metadata.owner == meta.owner and known.spec.queue == queue.name and known.status.phase.waiting
            for known in self._cache.tasksets.values()
        )
        wait += self._creating[meta.namespace, queue.name]
        if wait >= queue.max_queued_per_user:
            raise Refused(
                f"{wait} TaskSets of yours wait in queue {queue.name}, which lets {queue.max_queued_per_user} of each "
                "user wait; submit again when some have started, or use another queue",
                rule="maxQueuedPerUser",
                usage=wait,
                limit=queue.max_queued_per_user,
            )

    def waiting(self, taskset: TaskSet) -> Waiting:
        """Return a TaskSet as the scheduler sees it while it waits."""
        return as_waiting(taskset, self._cache)

    # --- keys
    def _remember(self, key: tuple[str, str], uid: str) -> None:
        self._keys.pop(key, None)
        self._keys[key] = uid
        if len(self._keys) > KEYS_KEPT:
            del self._keys[next(iter(self._keys))]

    def _only_one(self, namespace: str, key: str) -> _Lock:
        return self._locks.setdefault((namespace, key), _Lock(self._locks, (namespace, key)))


class _Lock:
    """A lock that is forgotten when nobody waits for it."""

    def __init__(self, table: dict[tuple[str, str], _Lock], key: tuple[str, str]) -> None:
        self._table = table
        self._key = key
        self._lock = asyncio.Lock()
        self._users = 0

    async def __aenter__(self) -> None:
        self._users += 1
        try:
            await self._lock.acquire()
        except BaseException:
            self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()
        self._leave()

    def _leave(self) -> None:
        self._users -= 1
        if not self._users:
            self._table.pop(self._key, None)


def _summary(name: str, problems: list[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return f"{name} can't be accepted; {len(problems)} things are wrong"


def _no_such(what: str, name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(known)[:20]) or 'none'}"
    return f"there is no {what} {name}; {hint}"
