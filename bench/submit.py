"""From submit to four running tasks on the real engine: ``python -m bench.submit``.

One parameter server and three workers with a virtual device each, as in the quickstart, submitted by the synchronous
client over loopback; a task counts as seen when the client's own stream says that it runs (a stream sends ten frames a second, so this is up
to 0.1 s after its start). Each gang is stopped and gone before the next. ``accepted`` is the answer to the submission. The floor is starting four such processes by hand.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.facts import report, summary
from bench.process import ROOT, engine
from octopus_hub.client import submission
from octopus_hub.client.sync import Client
from octopus_hub.model.task import TaskState
from octopus_hub.model.taskset import Role, TaskSet

RUNS = 50
TASKS = 4
COMMAND = ["sleep", "1000"]
WORKSPACE = ROOT / "examples" / "quickstart"


def gang(name: str) -> TaskSet:
    """Return the gang."""
    return TaskSet(
        name,
        roles=[
            Role("ps", command=COMMAND),
            Role("worker", replicas=3, devices={"virtual": 1}, command=COMMAND),
        ],
    )


def once(client: Client, taskset: TaskSet, workspace: Path | None) -> tuple[float, float, float]:
    """Return seconds until it was accepted, all four tasks had started, and the client knew; it is gone afterwards."""
    frames = client.stream()
    next(frames)  # the stream is open before the clock starts
    began, started = time.time(), time.perf_counter()
    name = submission.create(client, submission.prepare(taskset, workspace)).name
    accepted = time.perf_counter() - started
    running: dict[str, float] = {}
    for frame in frames:
        mine = (each for each in frame.tasks if each.taskset == name and each.state is TaskState.RUNNING)
        running |= {each.name: each.started_at or 0.0 for each in mine}
        if len(running) == TASKS:
            break
    taken = time.perf_counter() - started
    client.stop(name)
    for frame in frames:
        if any(each.name == name and each.status.phase.terminal for each in frame.tasksets):
            break
    client.delete(name)
    return accepted, max(running.values()) - began, taken


def by_hand() -> Iterator[float]:
    """Yield how long four processes take to start without us."""
    for _ in range(RUNS):
        started = time.perf_counter()
        processes = [subprocess.Popen(COMMAND) for _ in range(TASKS)]
        yield time.perf_counter() - started
        for process in processes:
            process.kill()
            process.wait()


def main() -> None:
    """Time both ways to submit and report."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, engine(Path(folder)) as running, running.client() as client:
        once(client, gang("warm-up"), None)
        for what, workspace in (("no workspace", None), ("workspace of the quickstart", WORKSPACE)):
            times = [once(client, gang(f"run-{at}"), workspace) for at in range(RUNS)]
            rows.append({"what": f"accepted, {what}", **summary([each[0] for each in times])})
            rows.append({"what": f"4 tasks started, {what}", **summary([each[1] for each in times])})
            rows.append({"what": f"4 tasks seen running, {what}", **summary([each[2] for each in times])})
    rows.append({"what": "4 processes by hand", **summary(list(by_hand()))})
    report("submit", rows, target="4 tasks running: p50 <= 300 ms, p95 <= 600 ms")


if __name__ == "__main__":
    main()
