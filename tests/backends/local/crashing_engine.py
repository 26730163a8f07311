"""A whole engine (local backend and controller) as a program that is killed at any moment and started again.

``python -m tests.backends.local.crashing_engine STATE JOBS``: submits the TaskSets of the JSON file under keys of their
own, runs until all have ended with their records, prints ``done`` and leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from octopus_hub.backends.local.backend import LocalBackend
from octopus_hub.control.cache import Cache
from octopus_hub.control.loop import Controller
from octopus_hub.model.errors import Conflict
from octopus_hub.model.taskset import Lifetime, Metadata, Restart, Role, Spec, TaskSet
from octopus_hub.runs.record import RecordWriter


def taskset(job: dict[str, Any]) -> TaskSet:
    """Return the TaskSet of a job: roles with a command, replicas, a restart scope."""
    roles = [
        Role(
            role["name"],
            replicas=role.get("replicas", 1),
            command=role["command"],
            restart=Restart(scope=role.get("scope", "never"), max_restarts=1, delay_seconds=0.2),
        )
        for role in job["roles"]
    ]
    owner = job.get("owner", "anna")
    lifetime = Lifetime(ttl_seconds_after_finished=job.get("ttl"))
    metadata = Metadata(name=job["name"], namespace=owner, owner=owner)
    return TaskSet(metadata=metadata, spec=Spec(roles=roles, queue="default", lifetime=lifetime))


async def main(folder: Path, jobs: list[dict[str, Any]]) -> None:
    backend = LocalBackend(folder)
    await backend.open()
    controller = Controller(backend, Cache(), RecordWriter(backend))
    await controller.start()
    print("open", flush=True)
    waiting: set[str] = set()
    for job in jobs:
        with contextlib.suppress(Conflict):  # created by an engine before this one, and deleted since
            waiting.add((await backend.create(taskset(job), job["name"])).metadata.uid)
    listing = await backend.listing()
    rows = {each.metadata.uid: each for each in listing.tasksets}
    changes = backend.watch(listing.revision)
    while True:
        for each in rows.values():
            if each.status.phase.terminal and each.status.recorded_attempt == each.status.attempt:
                waiting.discard(each.metadata.uid)
        if not waiting:
            break
        change = await anext(changes)
        if isinstance(change.object, TaskSet):
            rows[change.object.metadata.uid] = change.object
            if change.type == "deleted":
                waiting.discard(change.object.metadata.uid)
    print("done", flush=True)
    await controller.stop()
    await backend.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())))
