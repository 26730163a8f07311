"""Kill -9 of the engine, and of a task's parent, in every phase: all goes on, nothing runs twice, nothing is left."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from octopus_hub.model.status import Phase
from tests.faults.engine import POINTS
from tests.faults.faulty import STUBBORN, WAITS, Faulty, faulty
from tests.product import alive, until

TWO = {"replicas": 2}
ENDED = (Phase.SUCCEEDED, Phase.FAILED, Phase.STOPPED)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Faulty]:
    with faulty(tmp_path, hooks=True, start=False) as own:
        yield own


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    """For kills of parents, which the engine outlives."""
    with faulty(tmp_path_factory.mktemp("parents"), hooks=True) as shared:
        yield shared


def phases(status: dict[str, Any]) -> list[str]:
    return [entry["phase"] for entry in status["timeline"]]


# --- the engine


@pytest.mark.parametrize("point", POINTS)
def test_the_engine_dies_in_the_middle_of_a_step(own: Faulty, point: str) -> None:
    own.start(point)
    own.submit("job", "echo started >> starts; echo done > outputs/result", role=TWO)
    own.wait()
    assert own.process is not None and own.process.returncode == -signal.SIGKILL
    own.start()
    (status,) = own.ended("job")
    assert status["phase"] == "Succeeded", status
    assert own.starts("job") == 2, "each task ran once"
    record = own.record("job")
    assert (record["attempt"], record["phase"]) == (status["attempt"], "Succeeded")
    assert sorted(output["path"] for output in record["outputs"]) == ["w-0/outputs/result", "w-1/outputs/result"]
    assert len(list(own.state.glob("records/*/job/*/record.json"))) == 1
    assert own.strays("job") == []


def test_the_engine_dies_while_others_are_in_every_phase(own: Faulty) -> None:
    own.start()
    own.submit("running", WAITS + "exit 3", role=TWO)
    own.submit("starting", WAITS + "exit 0")
    restart = {"scope": "gang", "maxRestarts": 1, "delaySeconds": 2}
    own.submit("restarting", WAITS + "[ $OCTOPUS_ATTEMPT = 2 ]", role={"restart": restart})
    own.submit("stopping", STUBBORN)
    own.submit("ending", "echo started >> starts")
    own.submit("held", WAITS, hold=True)
    own.submit("queued", WAITS, role={"replicas": 8, "resources": {"cpu": "1"}})
    for name in ("running", "restarting", "stopping"):
        own.up(name)
    own.client().post("tasksets/-/stopping/stop")
    own.go("restarting")
    (own.folder / "hold" / "restarting").unlink()
    before = {
        "running": Phase.RUNNING,
        "starting": Phase.STARTING,
        "restarting": Phase.RESTARTING,
        "stopping": Phase.STOPPING,
        "ending": Phase.SUCCEEDED,
        "held": Phase.HELD,
        "queued": Phase.QUEUED,
    }
    for name, phase in before.items():
        own.until(name, phase)
    until(lambda: list(own.state.glob("records/*/ending/*/record.json")), "the record of ending is written")
    parents = [own.parent(folder).pid for folder in own.folders("running")]

    own.restart()
    assert own.phase("held") is Phase.HELD
    assert own.phase("running") is Phase.RUNNING and alive(parents) == parents
    assert own.status("running")["attempt"] == 1
    own.go("starting")
    own.up("starting")
    own.go("starting")
    own.go("running")
    own.go("ending")
    until(lambda: len(own.folders("restarting")) == 2, "restarting has its second attempt")
    own.up("restarting", 2)
    own.go("restarting")
    ends = own.ended("running", "starting", "restarting", "stopping", "ending")
    assert [end["phase"] for end in ends] == ["Failed", "Succeeded", "Succeeded", "Stopped", "Succeeded"]
    assert [own.starts(name) for name in ("running", "starting", "restarting", "ending")] == [2, 1, 2, 1]
    codes = [task.get("exitCode") for task in own.tasks("running")]
    assert 3 in codes and set(codes) <= {3, None}  # the other may be stopped before it comes to its own end
    own.until("queued", Phase.RUNNING)
    assert own.strays("running") + own.strays("stopping") == []


# --- a task's parent


def test_a_parent_dies_at_the_barrier(own: Faulty) -> None:
    own.start("all bound", FAULT_SIGNAL="SIGSTOP")
    restart = {"scope": "gang", "maxRestarts": 0, "delaySeconds": 0}
    own.submit("job", WAITS, role={"replicas": 2, "restart": restart})
    until(lambda: (own.folder / "told").exists(), "the engine is about to open the barrier")
    first, second = own.folders("job")
    own.parent(first).kill()
    assert own.starts("job") == 0
    assert own.process is not None
    os.kill(own.process.pid, signal.SIGCONT)
    until(
        lambda: own.starts("job") - _starts(second) == 2, "a whole gang runs, and the platform's fault costs no restart"
    )
    assert not alive([pid for pid in own.strays("job") if _work(pid) == str(second / "work")]), "the old one is gone"
    until(lambda: own.go("job") or own.phase("job") in ENDED, "the gang ends")
    (status,) = own.ended("job")
    assert status["phase"] == "Succeeded" and own.strays("job") == []


def test_a_parent_dies_while_running(shared: Faulty) -> None:
    stray = "(setsid sleep 1000 & echo $! > stray; wait) & "
    shared.submit("vanish", stray + WAITS, role={"restart": {"scope": "task", "maxRestarts": 0, "delaySeconds": 0}})
    shared.up("vanish")
    (folder,) = shared.folders("vanish")
    until(lambda: (folder / "work" / "stray").exists() and (folder / "work" / "stray").read_text(), "the stray runs")
    left = int((folder / "work" / "stray").read_text())
    shared.parent(folder).kill()
    until(lambda: shared.starts("vanish") == 2, "it was started again, the platform's fault costs no restart")
    assert alive([left]) == [], "gone before the successor starts"
    shared.go("vanish")
    (status,) = shared.ended("vanish")
    assert status["phase"] == "Succeeded", status


def test_a_parent_dies_while_its_gang_restarts(shared: Faulty) -> None:
    code = "[ $OCTOPUS_INDEX = 0 ] && [ $OCTOPUS_ATTEMPT = 1 ] && exit 9; " + STUBBORN
    restart = {"scope": "gang", "maxRestarts": 1, "delaySeconds": 0}
    shared.submit("again", code, role={"replicas": 2, "restart": restart}, preemption={"noticeSeconds": 600})
    shared.until("again", Phase.RESTARTING)
    stubborn = next(folder for folder in shared.folders("again") if folder.name == "again-w-1-1")
    shared.parent(stubborn).kill()
    until(lambda: shared.starts("again") >= 2 and len(shared.folders("again")) == 4, "the second attempt runs")
    assert not [pid for pid in shared.strays("again") if _work(pid) == str(stubborn / "work")]
    until(lambda: shared.go("again") or shared.phase("again") in ENDED, "the second attempt ends")
    (status,) = shared.ended("again")
    assert (status["phase"], status["attempt"]) == ("Succeeded", 2)


def test_a_parent_dies_while_stopping(shared: Faulty) -> None:
    shared.submit("halt", STUBBORN)
    shared.up("halt")
    shared.client().post("tasksets/-/halt/stop")
    shared.until("halt", Phase.STOPPING, Phase.STOPPED)
    (folder,) = shared.folders("halt")
    shared.parent(folder).kill()
    (status,) = shared.ended("halt")
    assert status["phase"] == "Stopped" and shared.strays("halt") == []


def test_a_parent_dies_between_its_tasks_end_and_the_note_of_it(shared: Faulty) -> None:
    shared.submit("unnoted", WAITS + "exit 0")
    shared.up("unnoted")
    (folder,) = shared.folders("unnoted")
    parent = shared.parent(folder)
    parent.suspend()
    shared.go("unnoted")
    until(lambda: not [each for each in parent.children() if each.status() != "zombie"], "the task itself has ended")
    parent.kill()
    (status,) = shared.ended("unnoted")
    assert status["phase"] == "Failed" and "vanished" in status["message"], "nobody knows its exit, so none is made up"
    assert shared.record("unnoted")["phase"] == "Failed"


def _starts(folder: Path) -> int:
    file = folder / "work" / "starts"
    return len(file.read_text().split()) if file.exists() else 0


def _work(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""
