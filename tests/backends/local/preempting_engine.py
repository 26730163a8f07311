"""A whole engine on real processes that preempts, and dies after the n-th effect of its preemptions.

``python -m tests.backends.local.preempting_engine GROUND N``: state, scripts and what tasks leave are in GROUND. Submits
two gangs that fill both devices, then one that needs both of them and has priority; prints ``done`` when all have ended.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from octopus_hub.backends.local import config as configuration
from octopus_hub.backends.local.backend import LocalBackend
from octopus_hub.control.cache import Cache
from octopus_hub.control.loop import Controller
from octopus_hub.model.status import Phase
from octopus_hub.model.taskset import Metadata, PreemptionSpec, Role, Spec, TaskSet
from octopus_hub.runs.record import RecordWriter
from tests.control.played import EFFECTS

CONFIG = {
    "nodes": [{"name": "n1", "cpu": "8", "memory": "4Gi", "devices": {"virtual": 2}}],
    "queues": [{"name": "default", "policy": "priority", "preemption": {"minRuntimeSeconds": 0, "reviewSeconds": 1}}],
}
# Whoever runs says so, and looks who else does; a victim saves its work when it is asked to leave, and goes on from there.
BEGIN = """
cd "$1"; me="$OCTOPUS_TASKSET $OCTOPUS_INDEX $OCTOPUS_ATTEMPT"
mkdir "held/$me"; if [ "$(ls held | wc -l)" -gt 2 ]; then ls held >> over; fi
echo "$me" >> began
"""
VICTIM = (
    BEGIN
    + """
save() { echo half > "$OCTOPUS_CHECKPOINTS/state"; touch "$OCTOPUS_CHECKPOINT_REPORT"; rmdir "held/$me"; exit 0; }
trap save TERM
if [ -e "$OCTOPUS_CHECKPOINTS/state" ]; then echo "$me" >> resumed; rmdir "held/$me"; exit 0; fi
while :; do sleep 0.05; done
"""
)
CLAIMANT = BEGIN + 'sleep 0.3; rmdir "held/$me"\n'


def job(name: str, script: str, ground: Path, tasks: int, priority: str) -> TaskSet:
    command = ["sh", "-c", script, "sh", str(ground)]
    role = Role("w", replicas=tasks, command=command, cpu="100m", memory="64Mi", devices={"virtual": 1})
    spec = Spec(roles=[role], queue="default", priority=priority, preemption=PreemptionSpec(notice_seconds=20))
    return TaskSet(metadata=Metadata(name=name, namespace="anna", owner="anna"), spec=spec)


class Dying:
    """A backend whose engine dies, as a whole and at once, after the n-th effect between first eviction and claimant's run."""

    def __init__(self, backend: LocalBackend, after: int) -> None:
        self._backend = backend
        self._left = after
        self._begun = False
        self._over = False

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._backend, name)
        if name not in EFFECTS:
            return found

        async def effect(*args: Any, **options: Any) -> Any:
            result = await found(*args, **options)
            if name == "update_status" and args[1].phase is Phase.PREEMPTING:
                self._begun = True
            if name == "update_status" and self._begun and args[1].phase is Phase.RUNNING and result.name == "claimant":
                self._over = True
            if self._begun and not self._over:
                self._left -= 1
                if self._left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return result

        return effect


async def main(ground: Path, after: int) -> None:
    (ground / "held").mkdir(exist_ok=True)
    backend = LocalBackend(ground / "state", config=configuration.parse(CONFIG))
    await backend.open()
    controller = Controller(Dying(backend, after), Cache(), RecordWriter(backend))
    await controller.start()
    for name in ("first", "second"):
        await backend.create(job(name, VICTIM, ground, 1, "low"), name)
    while not (ground / "began").exists() or len((ground / "began").read_text().splitlines()) < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    await backend.create(job("claimant", CLAIMANT, ground, 2, "high"), "claimant")

    def open_ones() -> list[TaskSet]:
        rows = controller.cache.tasksets.values()
        return [
            each
            for each in rows
            if not each.status.phase.terminal or each.status.recorded_attempt < each.status.attempt
        ]

    while len(controller.cache.tasksets) < 3 or open_ones():  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    print("done", flush=True)
    await controller.stop()
    await backend.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
