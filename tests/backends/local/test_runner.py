"""The runner on real processes: barrier, exit, log, environment, stop."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time

import pytest

from octopus_hub.model.task import TaskState
from tests.backends.local.tasks import Bench, python, until


async def test_walks_from_the_barrier_to_the_exit(bench: Bench) -> None:
    task = await bench.start(python("print('hello'); print(__import__('os').getcwd())"))
    bound = await bench.state(task, TaskState.BOUND)
    assert bound.state is TaskState.BOUND and bound.bound_at and bound.started_at is None
    assert await bench.log(task) == b""
    await bench.runner.release([task])
    end = await bench.ended(task)
    assert (end.state, end.exit_code, end.signal, end.end_reason) == (TaskState.SUCCEEDED, 0, None, "")
    assert end.bound_at <= end.started_at <= end.finished_at
    assert end.usage.peak_memory_bytes > 1 << 20 and end.usage.cpu_seconds > 0
    assert await bench.log(task) == f"hello\n{bench.folder(task) / 'work'}\n".encode()
    assert end.log_bytes == len(await bench.log(task))


async def test_no_user_code_runs_before_the_release(bench: Bench) -> None:
    task = await bench.start(["sh", "-c", "touch ran"])
    await bench.state(task, TaskState.BOUND)
    await bench.runner.stop([task], 0, "withdrawn")
    end = await bench.ended(task)
    assert (end.state, end.end_reason, end.message, end.started_at) == (TaskState.FAILED, "Stopped", "withdrawn", None)
    assert not (bench.folder(task) / "work" / "ran").exists()


@pytest.mark.parametrize("code", [1, 3, 42, 126, 127, 255])
async def test_exit_codes(bench: Bench, code: int) -> None:
    end = await bench.run(["sh", "-c", f"exit {code}"])
    assert (end.state, end.exit_code, end.signal, end.end_reason) == (TaskState.FAILED, code, None, "")


async def test_exit_by_each_signal(bench: Bench) -> None:
    kept = {signal.SIGCHLD, signal.SIGCONT, signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
    numbers = [number for number in range(1, 32) if number not in {*kept, signal.SIGURG, signal.SIGWINCH}]
    tasks = [
        await bench.start(["sh", "-c", f"kill -{number} $$; exit 0"], index) for index, number in enumerate(numbers)
    ]
    for task in tasks:
        await bench.state(task, TaskState.BOUND)
    await bench.runner.release(tasks)
    seen = {number: await bench.ended(task) for number, task in zip(numbers, tasks, strict=True)}
    assert {number: (end.exit_code, end.signal, end.end_reason) for number, end in seen.items()} == {
        number: (None, number, "") for number in numbers
    }
    assert not list(bench.root.rglob("core*"))


async def test_missing_command(bench: Bench) -> None:
    end = await bench.ended(await bench.start(["no-such-program", "x"]))
    assert (end.state, end.end_reason) == (TaskState.FAILED, "CommandNotFound")
    assert "no-such-program" in end.message and "PATH" in end.message
    end = await bench.ended(await bench.start(["./train.py"], 1))
    assert end.end_reason == "CommandNotFound" and "./train.py" in end.message
    end = await bench.ended(await bench.start([], 2))
    assert end.end_reason == "CommandNotFound"


async def test_not_executable(bench: Bench) -> None:
    end = await bench.ended(await bench.start(["./train.sh"], files={"train.sh": "echo"}))
    assert end.end_reason == "NotExecutable" and "chmod +x" in end.message
    end = await bench.ended(await bench.start(["./."], 1))
    assert end.end_reason == "NotExecutable"


async def test_missing_interpreter_is_named(bench: Bench) -> None:
    task = await bench.start(["./a"], files={"a": "x", "b": "#!/no/such/interpreter\n"})
    await bench.ended(task)
    script = bench.folder(task) / "work" / "b"
    script.chmod(0o700)
    end = await bench.run([str(script)], 1)
    assert end.end_reason == "CommandNotFound" and "/no/such/interpreter" in end.message


async def test_the_environment_starts_from_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONFIGPROXY_AUTH_TOKEN", "hush")
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "hush")
    task = await bench.start(
        ["env"],
        env={"EPOCHS": "3", "PEERS": ".octopus/peers.json"},
        files={".octopus/peers.json": "{}"},
        secret_values={"HF_TOKEN": "s3cret"},
        devices={"gpu": ["0", "2"]},
        device_env={"gpu": "CUDA_VISIBLE_DEVICES"},
    )
    await bench.state(task, TaskState.BOUND)
    await bench.runner.release([task])
    await bench.ended(task)
    env = dict(line.split("=", 1) for line in (await bench.log(task)).decode().splitlines())
    assert "hush" not in env.values()
    folder = bench.folder(task)
    assert env["EPOCHS"] == "3" and env["HF_TOKEN"] == "s3cret" and env["CUDA_VISIBLE_DEVICES"] == "0,2"
    assert env["OCTOPUS_DEVICES"] == "0,2" and env["OMP_NUM_THREADS"] == "1"
    assert env["PEERS"] == str(folder / "work" / ".octopus" / "peers.json")
    assert env["PATH"].split(":")[0] == os.path.dirname(sys.executable)
    assert env["TMPDIR"] == str(folder / "tmp")
    on_disk = b"".join(path.read_bytes() for path in folder.glob("*.json"))
    assert b"s3cret" not in on_disk
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.glob("*.json"))


async def test_stdin_is_empty_and_the_group_is_its_own(bench: Bench) -> None:
    code = "import os,sys; print(repr(sys.stdin.read()), os.getsid(0) == os.getpid() == os.getpgid(0))"
    task = await bench.start(python(code))
    await bench.state(task, TaskState.BOUND)
    await bench.runner.release([task])
    await bench.ended(task)
    assert await bench.log(task) == b"'' True\n"


async def test_stop_lets_a_task_end_by_itself(bench: Bench) -> None:
    task = await bench.running(["sh", "-c", "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.05; done"])
    await bench.logged(task, b"up")
    await bench.runner.stop([task], 60, "Preempted")
    end = await bench.ended(task)
    assert (end.state, end.exit_code, end.end_reason) == (TaskState.FAILED, 7, "Preempted")
    assert b"bye" in await bench.log(task)


async def test_a_task_that_ignores_sigterm_is_killed_after_the_grace(bench: Bench) -> None:
    task = await bench.running(["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"])
    await bench.logged(task, b"up")
    await bench.runner.stop([task], 0.3, "user's stop")
    end = await bench.ended(task)
    assert (end.signal, end.end_reason, end.message) == (signal.SIGKILL, "Stopped", "user's stop")
    assert end.finished_at - end.started_at >= 0.3
    assert bench.strays(task) == []


async def test_a_second_stop_can_only_shorten_the_grace(bench: Bench) -> None:
    task = await bench.running(["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"])
    await bench.logged(task, b"up")
    await bench.runner.stop([task], 3600, "Preempted")
    await bench.runner.stop([task], 0, "user's stop")
    end = await bench.ended(task)
    assert (end.signal, end.end_reason) == (signal.SIGKILL, "Preempted")


async def test_processes_that_daemonise_are_gone_before_the_end_is_told(bench: Bench) -> None:
    code = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.environ.clear()
        open('daemon', 'w').write(str(os.getpid()))
        os.execve('/bin/sleep', ['sleep', '1000'], {})
    os._exit(0)
while not os.path.exists('daemon') or not open('daemon').read():
    time.sleep(0.01)
"""
    task = await bench.start(python(code))
    await bench.state(task, TaskState.BOUND)
    await bench.runner.release([task])
    end = await bench.ended(task)
    assert end.state is TaskState.SUCCEEDED
    pid = int((bench.folder(task) / "work" / "daemon").read_text())
    assert not os.path.exists(f"/proc/{pid}")


async def test_release_and_start_may_be_repeated(bench: Bench) -> None:
    task = await bench.start(["sh", "-c", "echo once"])
    await bench.start(["sh", "-c", "echo once"])
    await bench.state(task, TaskState.BOUND)
    await bench.runner.release([task])
    await bench.runner.release([task])
    await bench.ended(task)
    await bench.runner.release([task])
    await bench.start(["sh", "-c", "echo once"])
    await bench.ended(task)
    assert await bench.log(task) == b"once\n"


async def test_metrics_and_usage_are_observed(bench: Bench) -> None:
    code = """
import json, os, time
with open(os.environ['OCTOPUS_METRICS'], 'a') as file:
    for values in ({'loss': 0.5, 'rate': 1}, {'loss': 0.25}):
        file.write(json.dumps({'metrics': values}) + '\\n')
time.sleep(1000)
"""
    task = await bench.running(python(code))
    await until(lambda: bench.tasks[task.name].metrics)
    await until(lambda: bench.tasks[task.name].usage.memory_bytes)
    assert bench.tasks[task.name].metrics == {"loss": 0.25, "rate": 1.0}
    await bench.runner.stop([task], 0, "")
    end = await bench.ended(task)
    assert end.metrics == {"loss": 0.25, "rate": 1.0}


async def test_checkpoints_are_told_while_it_runs_and_the_last_one_at_its_end(bench: Bench) -> None:
    code = """
import os, signal, time, octopus_hub
def save(*_):
    octopus_hub.checkpoint()
    os._exit(0)
signal.signal(signal.SIGTERM, save)
open(os.environ["OCTOPUS_CHECKPOINTS"] + "/state", "w").write("half")
octopus_hub.checkpoint()
time.sleep(1000)
"""
    task = await bench.running(python(code))
    await until(lambda: bench.tasks[task.name].usage.checkpoint_at)
    first = bench.tasks[task.name].usage.checkpoint_at
    assert first is not None and task.created_at - 1 <= first <= time.time() + 1
    await asyncio.sleep(0.02)  # so that the file's time differs
    await bench.runner.stop([task], 60, "Preempted")
    end = await bench.ended(task)
    assert end.usage.checkpoint_at is not None and end.usage.checkpoint_at > first
    other = await bench.running(["sh", "-c", "cat $OCTOPUS_CHECKPOINTS/state; sleep 1000"], 1)
    await bench.logged(other, b"half")


@pytest.mark.parametrize("made", ["ln -s /etc/passwd {}", "mkdir {}"])
async def test_a_report_of_a_checkpoint_that_is_no_file_says_nothing(bench: Bench, made: str) -> None:
    task = await bench.start(["sh", "-c", made.format("$OCTOPUS_CHECKPOINT_REPORT")])
    await bench.state(task, TaskState.BOUND)
    await bench.runner.release([task])
    assert (await bench.ended(task)).usage.checkpoint_at is None


async def test_a_gang_of_four_runs_soon(bench: Bench) -> None:
    tasks = [await bench.start(["sleep", "1000"], index) for index in range(4)]
    for task in tasks:
        await bench.state(task, TaskState.BOUND)
    await bench.runner.release(tasks)
    for task in tasks:
        assert (await bench.state(task, TaskState.RUNNING)).state is TaskState.RUNNING
    await bench.runner.stop(tasks, 0, "")
    for task in tasks:
        await bench.ended(task)
    assert json.loads((bench.folder(tasks[0]) / "exit.json").read_text())["signal"] in (9, 15)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (python("print('begin'); raise ValueError('no such data\\x1b[31m')"), "ValueError: no such data [31m"),
        (["sh", "-c", "echo out of paper >&2; echo; exit 9"], "out of paper"),
        (["sh", "-c", "exit 9"], ""),
        (["sh", "-c", "echo fine; kill -9 $$"], ""),
        (["sh", "-c", "echo fine"], ""),
        (["sh", "-c", "yes $(printf %01000d 1) | head -n 5000; echo the end; exit 1"], "the end"),
    ],
    ids=["traceback", "stderr", "silent", "killed", "success", "long log"],
)
async def test_the_last_line_of_a_program_that_gave_up_is_its_message(
    bench: Bench, command: list[str], words: str
) -> None:
    assert (await bench.ended(await bench.run(command))).message == words
