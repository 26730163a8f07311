"""``logs, events, wait``: what happens is told as it happens."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from octopus_hub.cli.following import EventPrinter, Happenings, Prefixer
from octopus_hub.client.calls import LogQuery
from octopus_hub.model.answers import Frame
from octopus_hub.model.status import Phase, Status, TimelineEntry
from octopus_hub.model.task import Task, TaskState
from octopus_hub.model.taskset import Metadata, Spec, TaskSet
from tests.cli.shell import WITHIN, Shell, Terminal

TALK = """apiVersion: octopus-hub.io/v1alpha1
kind: TaskSet
metadata: {name: talk}
spec:
  roles:
  - {name: ps, command: [sh, -c, "echo I serve"]}
  - {name: worker, replicas: 2, command: [sh, -c, "echo I am $OCTOPUS_INDEX; printf 'no newline'"]}
"""
RETRY = """apiVersion: octopus-hub.io/v1alpha1
kind: TaskSet
metadata: {name: retry}
spec:
  roles:
  - name: worker
    restart: {scope: task, maxRestarts: 1, delaySeconds: 0}
    command: [sh, -c, "echo attempt $OCTOPUS_ATTEMPT; exit 1"]
"""


def gated(gate: Path) -> list[str]:
    """Return a command that says one, waits for a file, and says two."""
    return ["sh", "-c", f"echo one; while [ ! -e {gate} ]; do sleep 0.05; done; echo two"]


# --- logs


def test_logs_of_all_tasks_have_their_names(shell: Shell) -> None:
    shell.octopus("submit", shell.document(TALK), "--no-workspace", "--watch")
    assert shell.octopus("logs", "talk").out == (
        "[ps-0] I serve\n[worker-0] I am 0\n[worker-0] no newline\n[worker-1] I am 1\n[worker-1] no newline\n"
    )
    assert shell.octopus("logs", "talk", "--role", "worker", "--tail", "1").out == (
        "[worker-0] no newline\n[worker-1] no newline\n"
    )
    assert shell.octopus("logs", "talk", "--index", "1").out == "I am 1\nno newline", "one task: as it was written"
    followed = shell.octopus("logs", "talk", "-f").out.splitlines()
    assert sorted(followed) == sorted(shell.octopus("logs", "talk").lines)


def test_logs_of_an_attempt(shell: Shell) -> None:
    shell.octopus("submit", shell.document(RETRY), "--no-workspace", "--watch", code=1)
    assert shell.octopus("logs", "retry").out == "attempt 2\n"
    assert shell.octopus("logs", "retry", "--attempt", "1").out == "attempt 1\n"
    wrong = shell.octopus("logs", "retry", "--attempt", "9", code=4)
    assert wrong.complaint == "octopus: retry has no attempt 9 there; the last one is 2"


def test_binary_output_passes_as_it_is(shell: Shell) -> None:
    shell.octopus("submit", "--name", "binary", "--no-workspace", "-w", "--", "printf", r"\377\000\001\n")
    assert shell.bash("octopus logs binary | od -An -tx1").out.split() == ["ff", "00", "01", "0a"]


def test_logs_come_while_the_task_runs(shell: Shell) -> None:
    gate = shell.folder / "gate"
    shell.octopus("submit", "--name", "slow", "--no-workspace", "--", *gated(gate))
    with shell.started("logs", "-f", "slow") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"one\n"
        gate.touch()
        assert process.stdout.read() == b"two\n"
        assert process.wait(WITHIN) == 0


def test_logs_of_what_has_not_started_wait_for_it(shell: Shell) -> None:
    shell.octopus("submit", "--name", "later", "--hold", "--no-workspace", "--", "echo", "at last")
    refused = shell.octopus("logs", "later", code=4)
    assert "later is Held and has no log yet" in refused.complaint
    with shell.started("logs", "-f", "later") as process:
        shell.octopus("release", "later")
        assert process.stdout is not None
        assert process.stdout.read() == b"at last\n"
        assert process.wait(WITHIN) == 0


def test_interrupting_logs_ends_the_reading_only(shell: Shell) -> None:
    shell.octopus("submit", "--name", "goes-on", "--no-workspace", "--", "sh", "-c", "echo one; sleep 600")
    with shell.started("logs", "-f", "goes-on") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"one\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(WITHIN) == 130
        assert process.stderr.read() == b"octopus: interrupted\n"
    assert shell.octopus("get", "goes-on", "-o", "json").json["status"]["phase"] == "Running"


def test_prefixes_stand_before_whole_lines() -> None:
    prefixer = Prefixer(LogQuery("worker", 3))
    pieces = [prefixer.feed(chunk) for chunk in (b"a", b"b\nc\n\n", b"", b"d")]
    assert pieces == [b"", b"[worker-3] ab\n[worker-3] c\n[worker-3] \n", b"", b""]
    assert prefixer.end() == b"[worker-3] d\n"
    assert Prefixer(LogQuery("worker", 3)).end() == b""
    endless = Prefixer(LogQuery("w", 0))
    told = b"".join(endless.feed(b"x" * 1000) for _ in range(1000)) + endless.end()
    assert told.replace(b"[w-0] ", b"").replace(b"\n", b"") == b"x" * 1_000_000, "nothing is lost, nothing is kept"


# --- events


def test_events_as_they_happen(shell: Shell) -> None:
    gate = shell.folder / "gate"
    shell.octopus("submit", "--name", "eventful", "--no-workspace", "--", *gated(gate))
    shell.until_phase("eventful", "Running")
    with shell.started("events", "eventful", "-f", "-o", "json") as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        assert (first["taskset"], first["what"]) == ("ada/eventful", "Queued")
        gate.touch()
        seen = []
        while "Succeeded" not in [event["what"] for event in seen if "task" not in event]:
            seen.append(json.loads(process.stdout.readline()))
        process.send_signal(signal.SIGINT)
        assert process.wait(WITHIN) == 130
    tasks = [(event["task"], event["what"]) for event in seen if "task" in event]
    assert tasks == [("worker 0", "Succeeded")], "what was before is history; of tasks only what is new is told"
    times = [event["at"] for event in seen]
    assert times == sorted(times)


def test_events_of_everything_as_a_table(shell: Shell) -> None:
    with shell.started("events", "-f") as process:
        assert process.stdout is not None
        shell.octopus("submit", "--name", "told", "--no-workspace", "--", "true")
        line = process.stdout.readline().decode()
        while not ("ada/told" in line and "Succeeded" in line and "worker" not in line):
            line = process.stdout.readline().decode()
            assert line, "the stream ended"


def frame(*entries: tuple[Phase, float], tasks: list[Task] | None = None) -> Frame:
    """Return a frame with one TaskSet that has this history."""
    status = Status(phase=entries[-1][0], timeline=[TimelineEntry(phase=phase, at=at) for phase, at in entries])
    meta = Metadata(name="m", namespace="ada", uid="u", created_at=entries[0][1])
    return Frame(revision=1, tasksets=[TaskSet(metadata=meta, spec=Spec(roles=[]), status=status)], tasks=tasks or [])


def row(state: TaskState, attempt: int = 1) -> Task:
    """Return a task."""
    return Task(
        name=f"m-w-0-{attempt}",
        namespace="ada",
        taskset="m",
        taskset_uid="u",
        role="w",
        index=0,
        attempt=attempt,
        state=state,
    )


def test_nothing_is_told_twice_whatever_frames_repeat() -> None:
    happenings = Happenings()

    def told(*arguments: tuple[Phase, float], tasks: list[Task] | None = None) -> list[str]:
        return [str(event["what"]) for event in happenings.of(frame(*arguments, tasks=tasks))]

    assert told((Phase.QUEUED, 1.0), tasks=[row(TaskState.PENDING)]) == ["Queued"]
    assert told((Phase.QUEUED, 1.0)) == []
    assert told((Phase.QUEUED, 1.0), (Phase.RUNNING, 2.0), tasks=[row(TaskState.RUNNING)]) == ["Running", "Running"]
    assert told((Phase.QUEUED, 1.0), (Phase.RUNNING, 2.0), tasks=[row(TaskState.RUNNING)]) == [], "a new snapshot"
    assert told((Phase.RUNNING, 2.0), tasks=[row(TaskState.RUNNING, attempt=2)]) == ["Running"], "another attempt"


def test_columns_of_events_grow(capsys: pytest.CaptureFixture[str]) -> None:
    printer = EventPrinter("table")
    for name, what in (("a/b", "Queued"), ("a/longer", "Admitted"), ("a/b", "Running")):
        printer.show({"at": time.time(), "taskset": name, "what": what, "why": ""})
    lines = [line[10:] for line in capsys.readouterr().out.splitlines()]
    assert lines == ["a/b  Queued", "a/longer  Admitted", "a/b       Running"]


# --- wait


def test_wait_for_several(shell: Shell) -> None:
    for name, command in (("good", "true"), ("bad", "false")):
        shell.octopus("submit", "--name", name, "--no-workspace", "--", command)
    done = shell.octopus("wait", "good", "bad", code=1)
    assert done.out == ""
    assert done.err.startswith("octopus: good succeeded")
    assert "octopus: bad failed: worker 0 failed" in done.err
    assert done.err.splitlines()[2:] == ["octopus: its log: octopus logs bad --role worker --index 0"], (
        "each thing once"
    )
    shell.octopus("wait", "good")


def test_wait_not_for_ever(shell: Shell) -> None:
    shell.octopus("submit", "--name", "long", "--no-workspace", "--", "sleep", "600")
    shell.until_phase("long", "Running")
    done = shell.octopus("wait", "long", "--timeout", "0.2", code=1)
    assert done.complaint == "octopus: long is Running after 0.2 s; waiting has ended, the TaskSet goes on"


def test_interrupting_wait_leaves_it_running(shell: Shell) -> None:
    shell.octopus("submit", "--name", "left", "--no-workspace", "--", "sleep", "600")
    terminal = Terminal(shell, "wait", "left")
    terminal.until("Running")
    terminal.type("\x03")
    assert terminal.close() == 130
    assert "left keeps running; `octopus stop left` stops it" in terminal.shown
    assert shell.octopus("get", "left", "-o", "json").json["status"]["phase"] == "Running"


def test_waiting_for_what_is_deleted(shell: Shell) -> None:
    shell.octopus("submit", "--name", "doomed", "--hold", "--no-workspace", "--", "true")
    terminal = Terminal(shell, "wait", "doomed")
    terminal.until("Held")
    shell.octopus("delete", "doomed")
    code = terminal.close()  # stopped first, then gone: whichever is seen
    assert (code, "doomed stopped" in terminal.shown) == (1, True) or (code, "was deleted" in terminal.shown) == (
        4,
        True,
    )


# --- the progress line


def test_progress_is_one_line_at_a_terminal(shell: Shell) -> None:
    gate = shell.folder / "gate"
    shell.octopus("submit", "--name", "progress", "--hold", "--no-workspace", "--", *gated(gate))
    terminal = Terminal(shell, "wait", "progress", columns=60)
    terminal.until("progress  Held")
    shell.octopus("release", "progress")
    terminal.until(r"progress  Running.*1/1 tasks running")
    gate.touch()
    assert terminal.close() == 0
    shown = terminal.shown
    assert shown.count("\n") == 1, "the line is written over; only the end has a line of its own"
    parts = shown.split("\r\x1b[2K")
    assert all(len(part) < 60 for part in parts[1:-1]), "it never breaks over the edge"
    assert parts[-1].startswith("octopus: progress succeeded after")


def test_progress_is_silent_elsewhere(shell: Shell) -> None:
    done = shell.octopus("submit", "--name", "quiet", "--no-workspace", "-w", "-o", "name", "--", "true")
    assert done.out == "quiet\n"
    assert "\x1b" not in done.err
    assert len(done.err.splitlines()) == 1


def test_progress_while_the_service_is_away(shell: Shell) -> None:
    """A service that does not come back within its time is told; nothing hangs."""
    done = shell.octopus("wait", "x", env={"OCTOPUS_URL": "http://127.0.0.1:9", "OCTOPUS_TOKEN": "t"}, code=5)
    assert "can't be reached (connection refused)" in done.complaint
    assert os.linesep not in done.complaint
