"""Kill -9 of the whole engine after every single effect of a preemption, with real processes.

Two gangs make room for a third on a machine with two devices. Whenever the engine died: never do more than two tasks run,
the claimant runs whole, each victim begins twice and goes on from what it saved, and every attempt has its record.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from octopus_hub.backends.local import process
from octopus_hub.backends.local.backend import LocalBackend
from octopus_hub.model.status import Phase
from tests.backends.local.test_parent import REPOSITORY

PROGRAM = "tests.backends.local.preempting_engine"
NEVER = 1_000_000
MOST_EFFECTS = 60
TOGETHER = 4  # rounds that run side by side; most of their time is waiting


@pytest.fixture
def grounds(tmp_path: Path) -> Iterator[Path]:
    """Where each round has a folder; whatever was started there is gone afterwards."""
    yield tmp_path
    for path in tmp_path.glob("*/state/tasks/*/*/*/parent.json"):
        identity = json.loads(path.read_text())
        if process.lives(identity):
            os.kill(identity["pid"], signal.SIGKILL)
    for pid, _ in process.marked(f"{tmp_path.as_posix()}/"):
        os.kill(pid, signal.SIGKILL)


def engine(ground: Path, after: int) -> bool:
    """Run an engine until it is done (True) or dies after so many effects."""
    ground.mkdir(exist_ok=True)
    with open(ground / "engine.log", "ab") as log:
        ended = subprocess.run(
            [sys.executable, "-m", PROGRAM, str(ground), str(after)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=log,
            timeout=120,
            check=False,
        )
    if ended.returncode == -signal.SIGKILL:
        return False
    assert (ended.returncode, ended.stdout) == (0, b"done\n"), (ground / "engine.log").read_text()
    return True


async def look(ground: Path) -> None:
    assert not (ground / "over").exists(), (ground / "over").read_text()
    began = Counter((ground / "began").read_text().splitlines())
    assert max(began.values()) == 1, "user code of one attempt ran twice"
    victims = {f"{name} 0 {attempt}" for name in ("first", "second") for attempt in (1, 2)}
    assert set(began) == victims | {"claimant 0 1", "claimant 1 1"}
    assert sorted((ground / "resumed").read_text().splitlines()) == ["first 0 2", "second 0 2"]
    assert process.marked(f"{(ground / 'state').as_posix()}/") == []
    backend = LocalBackend(ground / "state")
    await backend.open()
    try:
        tasksets = {each.name: each for each in (await backend.listing()).tasksets}
        records = await backend.list_records("anna")
    finally:
        await backend.close()
    assert sorted((each.name, each.attempt) for each in records) == [
        *[("claimant", 1), ("first", 1), ("first", 2), ("second", 1), ("second", 2)]
    ]
    claimed = tasksets["claimant"].status
    assert claimed.phase is Phase.SUCCEEDED and claimed.preemptions == 0
    admitted = sum(entry.phase is Phase.ADMITTED for entry in claimed.timeline)
    for name in ("first", "second"):
        status = tasksets[name].status
        assert (status.phase, status.attempt, status.preemptions) == (Phase.SUCCEEDED, 2, 1), status
        assert status.preempted_by == "anna/claimant" and status.queued_at == tasksets[name].metadata.created_at
        assert status.checkpoint_at is not None and status.served_seconds > 0, "what it saved counts"
        if admitted == 1:  # one that was half prepared when the engine died backs off, and leaves the room meanwhile
            assert (status.started_at or 0) >= (claimed.started_at or 0)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_an_engine_killed_after_any_effect_of_a_preemption_leaves_nothing_half_done(grounds: Path) -> None:
    async def round_(after: int) -> bool:
        ground = grounds / str(after)
        done = await asyncio.to_thread(engine, ground, after)
        if not done:
            assert await asyncio.to_thread(engine, ground, NEVER)
        await look(ground)
        return done

    for first in range(1, MOST_EFFECTS, TOGETHER):
        done = await asyncio.gather(*(round_(after) for after in range(first, first + TOGETHER)))
        if all(done):
            break  # a preemption has fewer effects than that
    assert 10 < first < MOST_EFFECTS - TOGETHER
