"""Hooks: programs and HTTP endpoints that are asked at stages of a TaskSet's life, in any language.

One JSON in, one JSON out, with a timeout, further tries with back-off and a bound on calls at once; the outcome of each
is a Condition. A hook never sees a secret: its environment starts from nothing and a TaskSet holds secrets by name only.
A hook never raises: what it did wrong is in the condition, and :attr:`Outcome.refused` says whether the TaskSet may go
on. Called by the engine.

Stages: ``expand`` (tasks are rendered; may add variables), ``prepare`` (all are placed, none runs; may refuse),
``finish`` (the TaskSet has ended; only told).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec

from octopus_hub.model.base import ApiStruct
from octopus_hub.model.descriptor import HookDescriptor
from octopus_hub.model.status import Condition
from octopus_hub.model.task import TaskSpec
from octopus_hub.model.taskset import API_VERSION, TaskSet

MAX_ANSWER_BYTES = 1 << 20
FIRST_PAUSE_SECONDS = 0.5  # before the second try; doubled before each further one
MAX_PAUSE_SECONDS = 30.0
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENDED_SECONDS = 5.0


class HookAnswer(ApiStruct, frozen=True, kw_only=True):
    """What a hook answers; ``{}`` is: go on."""

    allow: bool = True
    message: str = ""
    env: dict[str, str] = {}  # expand: variables for every task
    task_env: dict[str, dict[str, str]] = {}  # expand: variables by task name


class Outcome(ApiStruct, frozen=True, kw_only=True):
    """What the hooks of a stage said together."""

    conditions: list[Condition] = []
    refused: str = ""  # why the TaskSet may not go on, in words; "" if it may
    env: dict[str, str] = {}
    task_env: dict[str, dict[str, str]] = {}

    def apply(self, tasks: Sequence[TaskSpec]) -> list[TaskSpec]:
        """Return the tasks with the variables that hooks added; what a task has already is not changed."""
        if not self.env and not self.task_env:
            return list(tasks)
        added = [{**self.env, **self.task_env.get(task.name, {})} for task in tasks]
        return [
            msgspec.structs.replace(task, env={**more, **task.env}) for task, more in zip(tasks, added, strict=True)
        ]


class CallFailed(Exception):
    """A call without a usable answer. ``again`` says whether a further try may help."""

    def __init__(self, reason: str, message: str, *, again: bool) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.again = again


@dataclass(frozen=True, slots=True)
class Request:
    """What a hook is asked: the document, and its main facts for programs that don't read JSON."""

    hook: HookDescriptor
    stage: str
    taskset: TaskSet
    tasks: Sequence[TaskSpec] = ()

    def document(self) -> bytes:
        """Return the one JSON that a hook gets."""
        content: Mapping[str, Any] = {
            "apiVersion": API_VERSION,
            "kind": "HookRequest",
            "hook": self.hook.name,
            "stage": self.stage,
            "taskset": self.taskset.to_dict(),
            "tasks": self.tasks,
        }
        return msgspec.json.encode(content)

    def variables(self) -> dict[str, str]:
        """Return the whole environment of a program."""
        return {
            "PATH": os.environ.get("PATH", PATH),
            "HOME": os.environ.get("HOME", "/"),
            "LANG": "C.UTF-8",
            **self.hook.env,
            "HOOK_NAME": self.hook.name,
            "HOOK_STAGE": self.stage,
            "HOOK_TASKSET": self.taskset.name,
            "HOOK_NAMESPACE": self.taskset.metadata.namespace,
            "HOOK_PHASE": self.taskset.status.phase.value,
        }


Call = Callable[[Request], Awaitable[bytes]]


class Hooks:
    """The hooks of an engine.

    Parameters
    ----------
    descriptors : sequence of HookDescriptor
        Asked in this order's stages all at once; ``Registry.hooks`` holds them.
    pause, now : callables
        Injected by tests: how to wait between tries, and the time conditions carry.
    """

    def __init__(
        self,
        descriptors: Sequence[HookDescriptor],
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._descriptors = tuple(descriptors)
        self._pause = pause
        self._now = now
        self._bounds = {each.name: asyncio.Semaphore(each.parallel) for each in descriptors}

    async def run(self, stage: str, taskset: TaskSet, tasks: Sequence[TaskSpec] = ()) -> Outcome:
        """Ask every hook of the stage and return what they said."""
        asked = [each for each in self._descriptors if stage in each.stages]
        if not asked:
            return Outcome()
        answers = await asyncio.gather(*(self._ask(each, stage, taskset, tasks) for each in asked))
        env: dict[str, str] = {}
        task_env: dict[str, dict[str, str]] = {}
        refused = [
            condition.message for hook, (condition, _) in zip(asked, answers, strict=True) if _stops(hook, condition)
        ]
        for _, answer in answers:
            if answer is not None and stage == "expand":
                env |= answer.env
                for name, variables in answer.task_env.items():
                    task_env.setdefault(name, {}).update(variables)
        return Outcome(
            conditions=[condition for condition, _ in answers],
            refused="; ".join(refused) if stage != "finish" else "",
            env=env,
            task_env=task_env,
        )

    async def _ask(
        self, hook: HookDescriptor, stage: str, taskset: TaskSet, tasks: Sequence[TaskSpec]
    ) -> tuple[Condition, HookAnswer | None]:
        request = Request(hook, stage, taskset, tasks)
        try:
            async with self._bounds[hook.name]:
                answer = await self._try(request)
        except CallFailed as failure:
            return self._condition(hook, stage, False, failure.reason, failure.message), None
        if not answer.allow:
            message = answer.message or "it gave no reason"
            return self._condition(hook, stage, False, "Refused", message), answer
        return self._condition(hook, stage, True, "Succeeded", answer.message), answer

    async def _try(self, request: Request) -> HookAnswer:
        hook = request.hook
        call = TRANSPORTS["http" if hook.http else "command"]
        for attempt in range(hook.retries + 1):
            try:
                return read_answer(await call(request))
            except CallFailed as failure:
                if attempt == hook.retries or not failure.again:
                    tries = f" (tried {attempt + 1} times)" if attempt else ""
                    raise CallFailed(failure.reason, failure.message + tries, again=False) from None
            await self._pause(min(MAX_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**attempt))
        raise AssertionError("a descriptor has at least no retries")

    def _condition(self, hook: HookDescriptor, stage: str, status: bool, reason: str, message: str) -> Condition:
        words = f"hook {hook.name}, {stage}: {message}" if message else ""
        return Condition(type=f"Hook/{hook.name}/{stage}", status=status, reason=reason, message=words, at=self._now())


def _stops(hook: HookDescriptor, condition: Condition) -> bool:
    """A hook that refuses is obeyed; one that fails only where it is required."""
    return not condition.status and (condition.reason == "Refused" or hook.required)


def read_answer(content: bytes) -> HookAnswer:
    """Return the answer; raises CallFailed if it is not one."""
    try:
        answer = msgspec.json.decode(content.strip() or b"{}", type=HookAnswer)
    except msgspec.MsgspecError as error:
        raise CallFailed("BadAnswer", f"its answer can't be read: {error}", again=False) from None
    names = [*answer.env, *(name for variables in answer.task_env.values() for name in variables)]
    reserved = next((name for name in names if name.startswith("OCTOPUS_")), None)
    if reserved:
        raise CallFailed("BadAnswer", f"it sets {reserved}; variables named OCTOPUS_* are not a hook's", again=False)
    return answer


# --- http:
async def call_http(request: Request) -> bytes:
    """POST the request; 429 and 5xx and what the network does may be tried again, other refusals not."""
    hook = request.hook
    content = b""
    try:
        async with asyncio.timeout(hook.timeout_seconds):
            async with httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=None) as client:
                headers = {"Content-Type": "application/json"}
                async with client.stream("POST", hook.http, content=request.document(), headers=headers) as response:
                    async for chunk in response.aiter_bytes():
                        content += chunk
                        if len(content) > MAX_ANSWER_BYTES:
                            raise CallFailed("BadAnswer", "its answer is larger than 1 MiB", again=False)
    except TimeoutError:
        raise CallFailed("TimedOut", f"no answer within {hook.timeout_seconds:g} s", again=True) from None
    except httpx.HTTPError as error:
        raise CallFailed(
            "Unreachable", f"{hook.http} can't be reached: {error or type(error).__name__}", again=True
        ) from None
    except httpx.InvalidURL as error:
        raise CallFailed("Unreachable", f"{hook.http} is not an address: {error}", again=False) from None
    if not response.is_success:
        again = response.status_code == 429 or response.status_code >= 500
        raise CallFailed("Failed", f"{hook.http} answered {response.status_code}", again=again)
    return content


# --- command:
async def call_command(request: Request) -> bytes:
    """Run the program with the request on its standard input; it and all it started are gone at the end."""
    hook = request.hook
    try:
        process = await asyncio.create_subprocess_exec(
            *hook.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=request.variables(),
            start_new_session=True,
        )
    except OSError as error:
        words = error.strerror or str(error)
        raise CallFailed("Unreachable", f"{hook.command[0]} can't be started: {words}", again=False) from None
    try:
        async with asyncio.timeout(hook.timeout_seconds):
            output, errors = await _converse(process, request.document())
            code = await process.wait()
    except TimeoutError:
        raise CallFailed("TimedOut", f"no answer within {hook.timeout_seconds:g} s", again=True) from None
    finally:
        await _end(process)
    if len(output) > MAX_ANSWER_BYTES:
        raise CallFailed("BadAnswer", "its answer is larger than 1 MiB", again=False)
    if code:
        said = errors.decode(errors="replace").strip()[-300:]
        raise CallFailed("Failed", f"exit {code}" + (f": {said}" if said else ""), again=True)
    return output


async def _converse(process: asyncio.subprocess.Process, request: bytes) -> tuple[bytes, bytes]:
    """Feed the program and read both its outputs at once, up to their bound."""
    assert process.stdin and process.stdout and process.stderr

    async def feed(stdin: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):  # it may not want to read all
            stdin.write(request)
            await stdin.drain()
        stdin.close()

    _, output, errors = await asyncio.gather(
        feed(process.stdin), _read(process.stdout, MAX_ANSWER_BYTES + 1), _read(process.stderr, MAX_ANSWER_BYTES)
    )
    return output, errors


async def _read(stream: asyncio.StreamReader, limit: int) -> bytes:
    """Return the first ``limit`` bytes and drop the rest, so that the program is not blocked by us."""
    kept = bytearray()
    while chunk := await stream.read(1 << 16):
        kept += chunk[: limit - len(kept)]
    return bytes(kept)


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ENDED_SECONDS):
            await process.wait()


# How a hook is called.
TRANSPORTS: dict[str, Call] = {"http": call_http, "command": call_command}
