"""What a TaskSet's life can be tied to, seen from the process that submits it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from octopus_hub.client.lease import SERVER_LEASE, process_lease, tie
from octopus_hub.client.sync import Client
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.taskset import Lifetime, Role, TaskSet
from tests.engine import ROOT, RunningEngine


def lived(mode: str) -> TaskSet:
    """Return a TaskSet with that lifetime."""
    return TaskSet("m", roles=[Role("w", command=["x"])], lifetime=Lifetime(mode=mode))  # type: ignore[arg-type]


def test_what_it_is_tied_to() -> None:
    detached = lived("detached")
    assert tie(detached, {}) is detached
    assert tie(lived("kernel"), {}).spec.lifetime.lease == process_lease() == process_lease()
    assert tie(lived("server"), {SERVER_LEASE: "server-1"}).spec.lifetime.lease == "server-1"


def test_where_there_is_nothing_to_tie_it_to() -> None:
    with pytest.raises(InvalidSpec, match="there is none here"):
        tie(lived("server"), {})
    with pytest.raises(InvalidSpec, match="submit it from a notebook"):
        tie(lived("kernel"), {}, kernel=False)


def test_a_process_holds_its_lease_while_it_lives(account: RunningEngine, client: Client) -> None:
    """A child submits and ends; its lease is another than ours, and the TaskSet carries it."""
    code = (
        "from octopus_hub import TaskSet, Role, submit\n"
        "from octopus_hub.model.taskset import Lifetime\n"
        "job = submit(TaskSet('tied', roles=[Role('w', command=['sleep', '600'])], lifetime=Lifetime(mode='kernel')), None)\n"
        "print(job.name, job.view.taskset.spec.lifetime.lease)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=account.environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    name, lease = done.stdout.split()
    assert lease.startswith("kernel-")
    assert lease != process_lease()
    assert client.get(name).taskset.spec.lifetime.lease == lease
    client.delete(name)
