"""Hooks, for real: programs that are run, and an HTTP server on the loopback interface."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from octopus_hub.model.descriptor import HookDescriptor
from octopus_hub.model.status import Condition
from octopus_hub.model.task import TaskSpec
from octopus_hub.model.taskset import Metadata, Role, Spec, TaskSet
from octopus_hub.plugins.hooks import Hooks, Outcome
from octopus_hub.plugins.registry import Registry
from tests.core.expand_builders import placed, rendered, role

EXAMPLES = Path(__file__).parents[2] / "examples" / "plugins"
TASKSET = TaskSet(
    metadata=Metadata(name="job", namespace="ada"),
    spec=Spec(roles=[Role("worker", command=["true"], secrets={"TOKEN": "my-token"})]),
)
PATIENCE_SECONDS = 30.0


def hook(*command: str, **fields: Any) -> HookDescriptor:
    return HookDescriptor(
        **{"name": "h", "stages": ["expand", "prepare", "finish"], "command": list(command), **fields}
    )


def shell(script: str, **fields: Any) -> HookDescriptor:
    return hook("sh", "-c", script, **fields)


class Pauses:
    """Takes the place of sleeping between tries."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


async def run(
    *hooks: HookDescriptor, stage: str = "prepare", tasks: list[TaskSpec] | None = None, pauses: Pauses | None = None
) -> Outcome:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await Hooks(hooks, pause=pauses or Pauses(), now=lambda: 5.0).run(stage, TASKSET, tasks or [])


async def the_condition(*hooks: HookDescriptor, **fields: Any) -> Condition:
    (condition,) = (await run(*hooks, **fields)).conditions
    return condition


# --- programs
async def test_one_json_in_and_one_out(tmp_path: Path) -> None:
    tasks = list(rendered(placed([role("worker", 2)])).values())
    script = f'cat > {tmp_path}/in; echo \'{{"message": "fine"}}\''
    outcome = await run(shell(script, name="look"), stage="expand", tasks=tasks)
    assert outcome == Outcome(
        conditions=[
            Condition(
                type="Hook/look/expand", status=True, reason="Succeeded", message="hook look, expand: fine", at=5.0
            )
        ]
    )
    given = json.loads((tmp_path / "in").read_text())
    assert (given["kind"], given["hook"], given["stage"]) == ("HookRequest", "look", "expand")
    assert given["taskset"]["metadata"] == {"name": "job", "namespace": "ada"}
    assert [task["name"] for task in given["tasks"]] == ["job-worker-0-1", "job-worker-1-1"]
    assert msgspec.convert(given["tasks"][0], TaskSpec) == tasks[0]


async def test_a_hook_of_another_stage_is_not_asked() -> None:
    assert await run(shell("exit 1", stages=["finish"])) == Outcome()


async def test_no_answer_is_go_on() -> None:
    assert (await the_condition(shell("cat > /dev/null"))).status


async def test_a_program_that_reads_nothing_of_a_long_request() -> None:
    long = msgspec.structs.replace(TASKSET, metadata=Metadata(name="job", annotations={"x": "y" * (1 << 20)}))
    async with asyncio.timeout(PATIENCE_SECONDS):
        outcome = await Hooks([shell("exec 0<&-; echo '{}'")]).run("prepare", long)
    assert outcome.conditions[0].status


async def test_variables_are_added_but_never_changed() -> None:
    tasks = list(rendered(placed([role("worker", 2, env={"MINE": "1"})])).values())
    answer = {"env": {"SITE": "a", "MINE": "2"}, "taskEnv": {"job-worker-1-1": {"SITE": "b"}}}
    outcome = await run(shell(f"echo '{json.dumps(answer)}'"), stage="expand", tasks=tasks)
    first, second = outcome.apply(tasks)
    assert (first.env["SITE"], second.env["SITE"]) == ("a", "b")
    assert first.env["MINE"] == "1" and first.env["OCTOPUS_INDEX"] == "0"
    later = await run(shell(f"echo '{json.dumps(answer)}'"), stage="prepare", tasks=tasks)
    assert later.apply(tasks) == tasks, "only when tasks are rendered"


async def test_a_refusal_is_obeyed() -> None:
    outcome = await run(shell('echo \'{"allow": false, "message": "no budget"}\'', name="b"), hook("true", name="c"))
    assert outcome.refused == "hook b, prepare: no budget"
    assert [(each.status, each.reason) for each in outcome.conditions] == [(False, "Refused"), (True, "Succeeded")]
    assert (await run(shell("echo '{\"allow\": false}'"), stage="finish")).refused == "", "what has ended has ended"


@pytest.mark.parametrize("required", [False, True])
async def test_a_failure_stops_only_where_the_hook_is_required(required: bool) -> None:
    outcome = await run(shell("echo out of order >&2; exit 3", required=required, retries=0))
    (condition,) = outcome.conditions
    assert (condition.status, condition.reason) == (False, "Failed")
    assert condition.message == "hook h, prepare: exit 3: out of order"
    assert outcome.refused == (condition.message if required else "")


@pytest.mark.parametrize(
    ("script", "reason", "words"),
    [
        ("echo hello", "BadAnswer", "its answer can't be read"),
        ("echo '{\"alow\": true}'", "BadAnswer", "unknown field `alow`"),
        ('echo \'{"env": {"A": 1}}\'', "BadAnswer", "Expected `str`"),
        ('echo \'{"taskEnv": {"x": {"OCTOPUS_RANK": "0"}}}\'', "BadAnswer", "it sets OCTOPUS_RANK"),
        ("head -c 3000000 /dev/zero", "BadAnswer", "larger than 1 MiB"),
    ],
)
async def test_an_answer_that_is_none_is_not_asked_for_again(script: str, reason: str, words: str) -> None:
    pauses = Pauses()
    condition = await the_condition(shell(script), pauses=pauses)
    assert not condition.status and condition.reason == reason and words in condition.message
    assert pauses.seconds == []


async def test_a_program_that_cannot_be_started(tmp_path: Path) -> None:
    condition = await the_condition(hook(str(tmp_path / "absent")))
    assert condition.reason == "Unreachable" and "can't be started: No such file" in condition.message


async def test_further_tries_with_back_off(tmp_path: Path) -> None:
    pauses = Pauses()
    script = f"echo >> {tmp_path}/tries; [ $(wc -l < {tmp_path}/tries) -ge 4 ]"
    assert (await the_condition(shell(script, retries=3), pauses=pauses)).status
    assert pauses.seconds == [0.5, 1.0, 2.0]
    (tmp_path / "tries").unlink()
    condition = await the_condition(shell(script, retries=2), pauses=Pauses())
    assert condition.message == "hook h, prepare: exit 1 (tried 3 times)"


async def test_a_program_that_hangs_is_gone_with_its_children(tmp_path: Path) -> None:
    script = f"sleep 300 & echo $! > {tmp_path}/child; wait"
    condition = await the_condition(shell(script, timeout_seconds=0.5, retries=0))
    assert condition.reason == "TimedOut" and "no answer within 0.5 s" in condition.message
    child = int((tmp_path / "child").read_text())
    await until(lambda: not alive(child))


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not true():  # noqa: ASYNC110 - the end of a grandchild gives us no event
            await asyncio.sleep(0.01)


async def test_what_a_program_leaves_behind_is_gone(tmp_path: Path) -> None:
    script = f"sleep 300 > /dev/null 2>&1 & echo $! > {tmp_path}/child"
    assert (await the_condition(shell(script))).status
    await until(lambda: not alive(int((tmp_path / "child").read_text())))


async def test_no_secret_reaches_a_hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONFIGPROXY_AUTH_TOKEN", "hush")
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "hush")
    assert (await the_condition(shell(f"env > {tmp_path}/env; cat > {tmp_path}/in", env={"LIMIT": "4"}))).status
    seen = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert "hush" not in seen.values()
    ours = {"PATH", "HOME", "LANG", "LIMIT", "HOOK_NAME", "HOOK_STAGE", "HOOK_TASKSET", "HOOK_NAMESPACE", "HOOK_PHASE"}
    assert set(seen) - {"PWD", "SHLVL", "_", "OLDPWD"} == ours
    assert (seen["HOOK_NAMESPACE"], seen["HOOK_TASKSET"], seen["HOOK_PHASE"]) == ("ada", "job", "Queued")
    (given,) = json.loads((tmp_path / "in").read_text())["taskset"]["spec"]["roles"]
    assert given["secrets"] == {"TOKEN": "my-token"}, "names only"


async def test_calls_at_once_are_bounded(tmp_path: Path) -> None:
    """Each program waits until as many run as may, and notes how many there are; one more would be seen."""
    script = f"""
        mkdir {tmp_path}/run-$$
        while [ ! -e {tmp_path}/full ]; do
            [ $(ls -d {tmp_path}/run-* | wc -l) -lt 2 ] || touch {tmp_path}/full
        done
        ls -d {tmp_path}/run-* | wc -l >> {tmp_path}/seen
        rmdir {tmp_path}/run-$$
    """
    hooks = Hooks([shell(script, parallel=2)])
    async with asyncio.timeout(PATIENCE_SECONDS):
        outcomes = await asyncio.gather(*(hooks.run("prepare", TASKSET) for _ in range(6)))
    assert all(outcome.conditions[0].status for outcome in outcomes)
    counts = [int(line) for line in (tmp_path / "seen").read_text().split()]
    assert len(counts) == 6 and max(counts) == 2


# --- the example in shell
async def test_the_example_in_shell(tmp_path: Path) -> None:
    example = Registry.load([EXAMPLES]).hooks["maintenance"]
    env = {"NOTICE": str(tmp_path / "notice"), "SITE": "here", "ENDED": str(tmp_path / "ended")}
    example = msgspec.structs.replace(example, env=env)
    assert (await run(example, stage="expand")).env == {"SITE": "here"}
    assert (await run(example)).refused == ""
    (tmp_path / "notice").write_text('disks "change" until noon\nmore\n')
    assert (await run(example)).refused == "hook maintenance, prepare: maintenance: disks change until noon"
    assert (await run(example, stage="finish")).conditions[0].status
    assert (tmp_path / "ended").read_text() == "ada/job\n"


# --- http:
Answer = Callable[[str, bytes], Awaitable[tuple[int, bytes]]]


class Server:
    """A small HTTP server; ``answers`` are given in turn, the last one for ever."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes] | None] = [(200, b"{}")]
        self.requests: list[tuple[str, bytes]] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-length")
        )
        self.requests.append((head, await reader.readexactly(length)))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            await reader.read()  # says nothing until the other side goes
        else:
            status, body = answer
            writer.write(
                f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
            )
        writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A server on a free port of the loopback interface."""
    found = Server()
    listening = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/hook"
    async with listening:
        yield found


def web(server: Server, **fields: Any) -> HookDescriptor:
    return HookDescriptor(**{"name": "w", "stages": ["expand", "prepare"], "http": server.url, **fields})


async def test_an_http_hook(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    server.answers = [(200, b'{"env": {"A": "1"}, "message": "ok"}')]
    outcome = await run(web(server), stage="expand")
    assert outcome.env == {"A": "1"} and outcome.conditions[0].status
    ((head, body),) = server.requests
    assert head.startswith("POST /hook ") and "application/json" in head
    assert json.loads(body)["taskset"]["metadata"]["name"] == "job"


async def test_an_http_hook_refuses(server: Server) -> None:
    server.answers = [(200, b'{"allow": false, "message": "over budget"}')]
    assert (await run(web(server))).refused == "hook w, prepare: over budget"


async def test_a_busy_server_is_asked_again(server: Server) -> None:
    pauses = Pauses()
    server.answers = [(503, b"busy"), (429, b""), (200, b"{}")]
    assert (await the_condition(web(server), pauses=pauses)).status
    assert len(server.requests) == 3 and pauses.seconds == [0.5, 1.0]


@pytest.mark.parametrize("status", [302, 401, 404])
async def test_a_clear_no_is_not_asked_again(server: Server, status: int) -> None:
    server.answers = [(status, b"")]
    condition = await the_condition(web(server))
    assert condition.reason == "Failed" and f"answered {status}" in condition.message
    assert len(server.requests) == 1


async def test_a_server_that_says_nothing(server: Server) -> None:
    server.answers = [None]
    condition = await the_condition(web(server, timeout_seconds=0.3, retries=1))
    assert condition.reason == "TimedOut" and condition.message.endswith("(tried 2 times)")


async def test_a_server_that_says_too_much(server: Server) -> None:
    server.answers = [(200, b" " * (2 << 20))]
    assert (await the_condition(web(server))).reason == "BadAnswer"


async def test_a_server_that_is_not_there(server: Server) -> None:
    absent = web(server, http="http://127.0.0.1:1/hook", retries=1)
    condition = await the_condition(absent)
    assert condition.reason == "Unreachable" and "can't be reached" in condition.message
    assert "(tried 2 times)" in condition.message
