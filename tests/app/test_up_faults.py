"""Ends and restarts of the running product: Ctrl-C, a second start, kill -9 of each part. Tasks outlive them all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from octopus_hub.model.status import Phase
from tests.product import Product, alive, says, started, until

pytestmark = [pytest.mark.hub, pytest.mark.slow]
LONG = "echo started; exec tail -f /dev/null"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Product]:
    """A product that the test may break."""
    with started(tmp_path) as own:
        yield own


def submit(own: Product, name: str, command: str = LONG) -> None:
    own.run("octopus", "submit", "--no-workspace", "--name", name, "--", "sh", "-c", command)


def running(own: Product, name: str) -> list[psutil.Process]:
    """Return the processes of a TaskSet's tasks, once it runs."""

    def found() -> list[psutil.Process]:
        chosen = []
        for process in own.processes():
            try:
                if process.environ().get("OCTOPUS_TASKSET") == name:
                    chosen.append(process)
            except psutil.Error:
                continue
        return chosen

    with own.client() as client:
        until(lambda: client.get(name).taskset.status.phase is Phase.RUNNING, f"{name} runs")
    return until(found, f"processes of {name}")


def phase(own: Product, name: str) -> Phase:
    with own.client() as client:
        return client.get(name).taskset.status.phase


def attempt(own: Product, name: str) -> int:
    with own.client() as client:
        return client.get(name).taskset.status.attempt


async def test_ctrl_c_stops_all_but_tasks_and_the_next_start_finds_them(own: Product) -> None:
    submit(own, "done", "echo over")
    own.run("octopus", "wait", "done")
    submit(own, "long")
    tasks = [each.pid for each in running(own, "long")]
    async with own.visitor():
        parts = [own.pid("hub"), own.pid("proxy"), *(server.pid for server in own.servers())]
        assert len(alive(parts)) == 3
        said = own.stop(signal.SIGINT)
    assert own.process.returncode == 0
    assert alive(parts) == [] and own.servers() == []
    assert len(alive(tasks)) == len(tasks)
    assert "still there: long (1 running)" in said and "octopus stop long" in said and "--stop-tasks" in said

    own.start()
    assert phase(own, "done") is Phase.SUCCEEDED and phase(own, "long") is Phase.RUNNING
    assert [each.pid for each in running(own, "long")] == tasks, "adopted, not started again"
    assert attempt(own, "long") == 1
    assert "done" in own.run("octopus", "records", "-o", "name").stdout
    assert own.run("octopus", "logs", "long").stdout.count("started") == 1

    own.stop()
    own.launch("--stop-tasks")
    assert own.process.wait(120) == 0, own.output()
    assert "stopped long" in own.output() and alive(tasks) == []
    own.launch("--stop-tasks")
    assert own.process.wait(60) == 0 and "no TaskSet was left" in own.output()


def test_a_second_start_is_refused_and_leaves_the_first_alone(own: Product) -> None:
    submit(own, "long")
    parts = [own.process.pid, own.pid("hub"), own.pid("proxy"), *(each.pid for each in running(own, "long"))]
    ports = (own.state / "ports.json").read_text()
    for options in (["--port", "0"], ["--stop-tasks"]):
        done = own.run("octopus", "up", *options, code=1)
        lines = done.stderr.splitlines()
        assert len(lines) == 1 and f"process {own.process.pid}" in lines[0] and f"kill {own.process.pid}" in lines[0]
    assert len(alive(parts)) == len(parts)
    assert (own.state / "ports.json").read_text() == ports
    assert phase(own, "long") is Phase.RUNNING
    assert own.process.poll() is None


async def test_kill_of_the_hub_leaves_servers_tasks_and_the_browsers_session(own: Product) -> None:
    submit(own, "long")
    tasks = [each.pid for each in running(own, "long")]
    async with own.visitor() as visitor:
        servers = [server.pid for server in own.servers()]
        hub = own.pid("hub")
        os.kill(hub, signal.SIGKILL)
        until(lambda: _number(own, "hub") not in (0, hub), "another hub")
        until(lambda: _answers(own), "the hub answers through the proxy")
        assert alive([*servers, *tasks]) == [*servers, *tasks]
        answer = await visitor.request("GET", "api/kernels")
        assert answer.status_code == 200, "the same cookie, the same server"
        assert (await visitor.ask_hub("GET", f"users/{own.user}")).json()["server"] is not None
        async with visitor.kernel("after.ipynb") as kernel:
            told = await says(
                kernel, "from octopus_hub import Client; print([v.taskset.name for v in Client().list()])"
            )
        assert "long" in told
    assert own.process.poll() is None
    own.stop()
    assert alive(servers) == [], "the new hub stops the servers that the old one started"


async def test_kill_of_octopus_up_and_start_again(own: Product) -> None:
    submit(own, "long")
    submit(own, "short", "while [ ! -e go ]; do sleep 0.1; done; exit 3")
    tasks = [each.pid for each in running(own, "long")]
    work = Path(running(own, "short")[0].cwd())
    async with own.visitor():
        servers = [server.pid for server in own.servers()]
        left = [own.pid("hub"), own.pid("proxy")]
        url, password = own.url, own.password
        own.kill()
        assert alive([*servers, *left, *tasks]) == [*servers, *left, *tasks]
        (work / "go").touch()  # ends while nobody watches
        own.start(port=int(url.rpartition(":")[2]))
    assert alive(left) == [], "the earlier hub and proxy are ended"
    assert own.url == url and own.password == password
    assert alive(servers) == servers and alive(tasks) == tasks
    async with own.visitor() as visitor:
        assert [server.pid for server in own.servers()] == servers, "found again, not spawned again"
        assert (await visitor.request("GET", "api/kernels")).status_code == 200
    assert [each.pid for each in running(own, "long")] == tasks
    own.run("octopus", "wait", "short", code=1)
    with own.client() as client:
        assert [task.exit_code for task in client.tasks("short")] == [3], "the missed exit is learned"


async def test_kill_of_the_users_kernel_leaves_a_detached_taskset(own: Product) -> None:
    async with own.visitor() as visitor, visitor.kernel("killed.ipynb") as kernel:
        told = await says(
            kernel,
            "import os\nfrom octopus_hub import Role, TaskSet, submit\n"
            f"job = submit(TaskSet('left', roles=[Role('worker', command=['sh', '-c', {LONG!r}])]), workspace=None)\n"
            "print(os.getpid())\n",
        )
        tasks = [each.pid for each in running(own, "left")]
        os.kill(int(told.split()[0]), signal.SIGKILL)
        until(lambda: not alive([int(told.split()[0])]), "the kernel is gone")
        assert phase(own, "left") is Phase.RUNNING and alive(tasks) == tasks
    own.run("octopus", "stop", "left")
    own.run("octopus", "wait", "left", code=1)


def test_kill_of_the_proxy_is_mended_by_the_hub(own: Product) -> None:
    proxy = own.pid("proxy")
    os.kill(proxy, signal.SIGKILL)
    until(lambda: _number(own, "proxy") not in (0, proxy), "another proxy")
    until(lambda: _answers(own), "the hub answers through the proxy")


def test_a_stale_pid_file_kills_nobody(tmp_path: Path) -> None:
    own = Product(tmp_path)
    bystander = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()", "jupyterhub", "configurable-http-proxy"],
        stdin=subprocess.PIPE,
    )
    try:
        (own.state / "hub").mkdir()
        for name in ("hub", "proxy"):
            (own.state / "hub" / f"{name}.pid").write_text(str(bystander.pid))
        own.start()
        assert bystander.poll() is None
        assert _number(own, "hub") != bystander.pid
    finally:
        own.close()
        bystander.communicate()
    assert bystander.returncode == 0


def test_an_interrupt_while_starting_leaves_nothing(tmp_path: Path) -> None:
    own = Product(tmp_path)
    own.launch("--port", "0")
    until(lambda: (own.state / "hub" / "hub.log").exists(), "the hub is being started")
    own.process.send_signal(signal.SIGINT)
    assert own.process.wait(120) == 1
    assert own.output().splitlines()[-1] == "octopus up: stopped while starting"
    assert own.processes() == []


def test_a_hangup_of_the_terminal_ends_it_in_order(own: Product) -> None:
    hub = own.pid("hub")
    own.stop(signal.SIGHUP)
    assert own.process.returncode == 0 and alive([hub]) == []


def test_a_hub_that_does_not_answer_is_ended_anyway(own: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    hub, proxy = own.pid("hub"), own.pid("proxy")
    os.kill(hub, signal.SIGSTOP)
    own.stop()
    assert own.process.returncode == 0 and alive([hub, proxy]) == []
    assert "octopus-hub has stopped" in own.output()


def _number(own: Product, name: str) -> int:
    try:
        return own.pid(name)
    except (OSError, ValueError):
        return 0


def _answers(own: Product) -> bool:
    import httpx

    try:
        return httpx.get(f"{own.url}/hub/health", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
