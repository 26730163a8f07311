"""The whole product hit from a notebook and through the hub: kernel and hub killed in every phase, mistakes, garbage.

One product of its own for the module, for the hub and kernels in it are killed.
"""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from octopus_hub.app.walk import Kernel, Walk
from octopus_hub.model.status import Phase
from tests.faults.faulty import STUBBORN, WAITS, put_hook
from tests.product import NODES, Product, alive, says, until

pytestmark = [pytest.mark.hub, pytest.mark.slow, pytest.mark.xdist_group("faults-hub")]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    own = Product(tmp_path_factory.mktemp("faults-hub"), NODES)
    put_hook(own.state, own.folder / "hold")
    try:
        own.start()
        yield own
    finally:
        own.close()


# --- kernel and hub killed while TaskSets are in every phase

SUBMITS = f"""
import os
from octopus_hub import Role, TaskSet, submit

def go(name, command, **fields):
    submit(TaskSet(name, roles=[Role("w", command=["sh", "-c", command], **fields)]), workspace=None)

go("starting", {WAITS + "exit 0"!r})
go("running", {WAITS + "exit 0"!r}, replicas=2)
go("restarting", {WAITS + "[ $OCTOPUS_ATTEMPT = 2 ]"!r}, restart={{"scope": "gang", "maxRestarts": 1, "delaySeconds": 3}})
go("stopping", {STUBBORN!r})
go("ending", "echo started >> starts")
print(os.getpid())
"""


def phase(own: Product, name: str) -> Phase:
    with own.client() as client:
        return client.get(name).taskset.status.phase


def folders(own: Product, name: str) -> list[Path]:
    return sorted(own.state.glob(f"tasks/*/{name}/[!.]*/"), key=lambda path: path.stat().st_ctime_ns)


def starts(own: Product, name: str) -> int:
    return sum(len(file.read_text().split()) for file in own.state.glob(f"tasks/*/{name}/*/work/starts"))


def go(own: Product, name: str) -> None:
    for folder in folders(own, name):
        (folder / "work" / "go").touch()


async def test_kernel_and_hub_are_killed_while_tasksets_are_in_every_phase(own: Product) -> None:
    async with own.visitor() as visitor, visitor.kernel("killed.ipynb") as kernel:
        pid = int((await says(kernel, SUBMITS)).split()[-1])
        for name in ("running", "restarting", "stopping"):
            until(lambda each=name: starts(own, each) >= 1, f"{name} runs")  # type: ignore[misc]
        own.run("octopus", "stop", "stopping")
        go(own, "restarting")
        wanted = [Phase.STARTING, Phase.RUNNING, Phase.RESTARTING, Phase.STOPPING, Phase.SUCCEEDED]
        names = ["starting", "running", "restarting", "stopping", "ending"]
        for name, expected in zip(names, wanted, strict=True):
            until(lambda n=name, e=expected: phase(own, n) is e, f"{name} is {expected.value}")  # type: ignore[misc]
        hub = own.pid("hub")
        os.kill(pid, signal.SIGKILL)
        os.kill(hub, signal.SIGKILL)
        until(lambda: not alive([pid]), "the kernel is gone")
        (own.folder / "hold" / "starting").touch()
        until(lambda: starts(own, "starting") == 1, "what was starting runs")
        until(lambda: len(folders(own, "restarting")) == 2 and starts(own, "restarting") == 2, "what restarted runs")
        for name in ("starting", "running", "restarting"):
            go(own, name)
        (own.folder / "hold" / "ending").touch()
        own.run("octopus", "wait", "starting", "running", "restarting", "ending")
        own.run("octopus", "wait", "stopping", code=1)
        ends = [phase(own, name).value for name in names]
        assert ends == ["Succeeded", "Succeeded", "Succeeded", "Stopped", "Succeeded"]
        assert [starts(own, name) for name in names] == [1, 2, 2, 1, 1]
        until(
            lambda: len(own.run("octopus", "records", "-o", "name").stdout.split()) >= 6, "every attempt has its record"
        )
    until(lambda: _answers(own) and own.pid("hub") != hub, "another hub answers")


def _answers(own: Product) -> bool:
    import httpx

    try:
        return httpx.get(f"{own.url}/hub/health", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


# --- mistakes in a notebook

MISTAKES = [
    ("submit(TaskSet('x', roles=[Role('worker', replica=3)]))", "Role has no field replica; did you mean replicas?"),
    ("submit(TaskSet('x', roles=[Role('worker', devices=1, command=['a'])]))", "such as gpu: 1, not the number 1"),
    ("submit(TaskSet('x', roles=[Role('worker', command='python x.py')]))", "needs a list of texts"),
    ("submit(TaskSet('x', roles=[Role('w', command=['a'], devices={'virtual': 99})]))", "can never run here"),
    ("submit(TaskSet('x', roles=[Role('w', command=['a'])], queue='nope'))", "there is no queue nope"),
    ("submit('x.yaml')", "a file is submitted by the command"),
    ("submit(TaskSet('x', roles=[Role('w', command=['a'])]), workspace='/nope')", "is not a folder"),
]


async def test_mistakes_in_a_cell_are_a_sentence_and_no_traceback(own: Product) -> None:
    async with own.visitor() as visitor, visitor.kernel("mistakes.ipynb") as kernel:
        await says(kernel, "from octopus_hub import Role, TaskSet, submit")
        for source, words in MISTAKES:
            shown = await shown_for(kernel, source)
            assert words in shown and shown.count("\n") <= 1, shown
            assert "(line 1 of the cell)" in shown and "octopus_hub/" not in shown, shown


async def shown_for(kernel: Kernel, source: str) -> str:
    """Return what a cell that fails shows below it."""
    message_id = await kernel._send(source)
    while True:
        message = json.loads(str(await kernel._socket.read_message()))
        if message["parent_header"].get("msg_id") == message_id and message["msg_type"] == "error":
            return "\n".join(message["content"]["traceback"])


async def test_a_full_home_folder_is_not_taken_along(own: Product) -> None:
    for number in range(600):
        (own.home / f"file-{number}").write_text("x" * 1000)
    done = own.run("octopus", "submit", "--name", "from-home", "--", "sh", "-c", "ls | wc -l", cwd=own.home)
    assert "no files were taken along" in done.stderr and "--workspace" in done.stderr
    own.run("octopus", "wait", "from-home")
    big = own.root / "big"
    big.mkdir()
    with open(big / "data.bin", "wb") as file:
        for _ in range(300):
            file.write(os.urandom(1 << 20))
    done = own.run("octopus", "submit", "--name", "big", "--", "true", cwd=big, code=3)
    assert "data.bin" in done.stderr and ".octopusignore" in done.stderr and "Traceback" not in done.stderr
    (big / "data.bin").unlink()


# --- garbage through the extension's socket


async def test_garbage_on_the_pages_socket_ends_that_socket_at_most(own: Product) -> None:
    chance = random.Random(7)
    messages: list[str | bytes] = [
        "",
        "{",
        "null",
        "[]",
        '{"type": 1}',
        '{"type": "ping"}',
        "x" * 100_000,
        "\0\ud7ff",
        b"\xff\0",
    ]
    messages += [
        json.dumps({"type": chance.choice(["stop", "snapshot", None, {}]), "data": "y" * size}) for size in (1, 999)
    ]
    messages += ["[" * 50_000, "9" * 5000, '{"a":' * 10_000]
    async with own.visitor() as visitor:
        for message in messages:
            socket = await _page(own, visitor)
            await socket.write_message(message, binary=isinstance(message, bytes))
            first = await socket.read_message()
            assert first is None or json.loads(first)["type"] in ("snapshot", "status", "pong")
            socket.close()
        steady = await _page(own, visitor)
        assert json.loads(str(await steady.read_message()))["type"] in ("snapshot", "status")
        own.run("octopus", "submit", "--no-workspace", "--name", "still", "--", "true")
        while "still" not in str(await steady.read_message()):
            pass
        steady.close()
        assert (await visitor.request("GET", "api/kernels")).status_code == 200
    own.run("octopus", "wait", "still")


async def _page(own: Product, visitor: Walk) -> WebSocketClientConnection:
    base = f"/user/{own.user}/"
    cookies = "; ".join(f"{c.name}={c.value}" for c in visitor._client.cookies.jar if base.startswith(c.path))
    headers = {"Sec-Fetch-Mode": "websocket", "Sec-Fetch-Site": "same-origin", "Cookie": cookies, "Origin": own.url}
    url = f"ws{own.url.removeprefix('http')}{base}octopus/api/stream"
    return await websocket_connect(HTTPRequest(url, headers=headers), max_message_size=1 << 30)


# --- another account of the same machine, and the command with a bad file of its own


def test_the_command_with_a_damaged_account_file(own: Product, tmp_path: Path) -> None:
    for content in (
        "",
        "{",
        "[]",
        '{"url": 1}',
        '{"url": "http://127.0.0.1:1/services/octopus", "token": "x"}',
        "\0\xff",
    ):
        state = tmp_path / "state"
        state.mkdir(exist_ok=True, mode=0o700)
        (state / "client.json").write_text(content, encoding="latin-1")
        environ = dict(own.environ)
        own.environ["OCTOPUS_STATE"] = str(state)
        try:
            done = own.run("octopus", "list", code=None)
        finally:
            own.environ = environ
        assert done.returncode in (2, 3, 5) and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr, done
