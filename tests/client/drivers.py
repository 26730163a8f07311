"""Both clients behind one face, so that a test says once what both must do; and a proxy that loses connections."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from octopus_hub.client.aio import AsyncClient
from octopus_hub.client.sync import Client
from octopus_hub.model.taskset import Role, TaskSet
from tests.engine import RunningEngine

DEADLINE = 60.0


def connection_of(account: RunningEngine) -> tuple[str, str]:
    """Return address and token of the running engine."""
    found = json.loads((account.state / "client.json").read_text())
    return found["url"], found["token"]


def small(name: str, *command: str, **spec: Any) -> TaskSet:
    """Return a TaskSet of one task."""
    return TaskSet(name, roles=[Role("worker", command=list(command or ("true",)))], **spec)


class Driver:
    """What tests ask of either client."""

    def call(self, method: str, *arguments: Any, **named: Any) -> Any:
        """Call a method that gives one result."""
        raise NotImplementedError

    def take(
        self, method: str, *arguments: Any, until: Callable[[Any], bool] = lambda _: False, **named: Any
    ) -> list[Any]:
        """Return what a stream gives, up to the first item that ``until`` accepts or to its end."""
        raise NotImplementedError


class SyncDriver(Driver):
    """``Client``."""

    def __init__(self, url: str, token: str) -> None:
        self.client = Client(url, token)

    def __enter__(self) -> SyncDriver:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def call(self, method: str, *arguments: Any, **named: Any) -> Any:
        return getattr(self.client, method)(*arguments, **named)

    def take(
        self, method: str, *arguments: Any, until: Callable[[Any], bool] = lambda _: False, **named: Any
    ) -> list[Any]:
        found: list[Any] = []
        stream: Iterator[Any] = getattr(self.client, method)(*arguments, **named)
        with contextlib.closing(stream):  # type: ignore[type-var]
            for item in stream:
                found.append(item)
                if until(item):
                    break
        return found


class AsyncDriver(Driver):
    """``AsyncClient`` on a loop of its own."""

    def __init__(self, url: str, token: str) -> None:
        self._runner = asyncio.Runner()
        self.client = self._runner.run(self._made(url, token))

    @staticmethod
    async def _made(url: str, token: str) -> AsyncClient:
        return AsyncClient(url, token)

    def __enter__(self) -> AsyncDriver:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self.client.close())
        self._runner.close()

    def call(self, method: str, *arguments: Any, **named: Any) -> Any:
        return self._runner.run(self._bounded(getattr(self.client, method)(*arguments, **named)))

    def take(
        self, method: str, *arguments: Any, until: Callable[[Any], bool] = lambda _: False, **named: Any
    ) -> list[Any]:
        return self._runner.run(self._bounded(self._take(getattr(self.client, method)(*arguments, **named), until)))

    @staticmethod
    async def _bounded(waited: Any) -> Any:
        async with asyncio.timeout(DEADLINE):
            return await waited

    @staticmethod
    async def _take(stream: AsyncIterator[Any], until: Callable[[Any], bool]) -> list[Any]:
        found: list[Any] = []
        async with contextlib.aclosing(stream):  # type: ignore[type-var]
            async for item in stream:
                found.append(item)
                if until(item):
                    break
        return found


DRIVERS = (SyncDriver, AsyncDriver)


class LossyProxy:
    """A TCP proxy before the service that cuts connections where a test says.

    ``plan`` has one word per connection, in their order, the last one for ever: ``pass``; ``refuse`` (closed when it
    comes); ``before`` (closed when the first bytes of a request came, none was passed on); ``after`` (the request is
    passed on whole and answered, the answer is not).
    """

    def __init__(self, url: str, *plan: str) -> None:
        self._target = (str(urlsplit(url).hostname), int(urlsplit(url).port or 80))
        self._plan = list(plan) or ["pass"]
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/services/octopus"
        self.connections = 0
        self._open: list[socket.socket] = []
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> LossyProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def plan(self, *plan: str) -> None:
        """Say what comes next."""
        self._plan = list(plan)

    def cut(self) -> None:
        """Reset every open connection."""
        for end in self._open:
            _reset(end)
        self._open.clear()

    def close(self) -> None:
        """Stop listening and cut everything."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while not self._closed:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            todo = self._plan.pop(0) if len(self._plan) > 1 else self._plan[0]
            threading.Thread(target=self._serve, args=(near, todo), daemon=True).start()

    def _serve(self, near: socket.socket, todo: str) -> None:
        if todo == "refuse":
            return _reset(near)
        if todo == "before":
            with contextlib.suppress(OSError):
                near.recv(1)
            return _reset(near)
        far = socket.create_connection(self._target)
        self._open += [near, far]
        threading.Thread(target=_pump, args=(near, far), daemon=True).start()
        if todo == "after":
            with contextlib.suppress(OSError):
                far.recv(1)  # the service has begun to answer: what was asked for is done
            _reset(near)
            return _reset(far)
        _pump(far, near)
        return None


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        end.shutdown(socket.SHUT_RDWR)
    end.close()
