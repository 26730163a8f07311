"""``{base_url}octopus/api/v1/...``: the service's API for the pages of this server.

Who may call is the Jupyter server's matter: its log-in, its check of origin and of ``_xsrf`` (header X-XSRFToken), its
authorizer (resource ``octopus``, action read or write). What is passed on is written anew from lists of what is known,
in both directions, so that no cookie and no token crosses. Answers pass through piece by piece, as slowly as the
browser takes them.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable, Iterator
from types import TracebackType
from typing import Any

import httpx
from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, authenticated, stream_request_body

from octopus_hub.client import transport
from octopus_hub.model.errors import OctopusError, TooLarge
from octopus_hub_extension.paths import PREFIX, resolve
from octopus_hub_extension.problems import MEDIA_TYPE, problem_of
from octopus_hub_extension.upstream import Upstream

AUTH_RESOURCE = "octopus"
METHODS = frozenset({"GET", "POST", "PUT", "DELETE"})
TO_SERVICE = ("Accept", "Content-Type", "Idempotency-Key")
TO_BROWSER = ("Content-Type", "Content-Length", "Content-Encoding", "Content-Disposition", "Retry-After", "Allow")
LINGER_SECONDS = 1.0  # for a browser to read why its body is not read
WRITE_SECONDS = 10.0
PIECE = 256 * 1024
Method = Callable[..., Awaitable[None] | None]


def told_with_the_body(method: Method) -> Method:
    """Tell here what :meth:`Proxy.prepare` refused, before anything else happens."""

    @functools.wraps(method)
    async def run(self: Proxy, path: str) -> None:
        self._body_came = True
        if self._refusal is not None:
            raise self._refusal
        answering = method(self, path)
        if answering is not None:
            await answering

    return run


@stream_request_body
class Proxy(APIHandler):
    """Passes one request on."""

    auth_resource = AUTH_RESOURCE

    def initialize(self, upstream: Upstream, body_bytes: int) -> None:
        """Called by tornado."""
        self.upstream = upstream
        self.body_bytes = body_bytes
        self._chunks: list[bytes] = []
        self._received = 0
        self._body_came = False
        self._refusal: Exception | None = None
        self._task: asyncio.Task[Any] | None = None
        self._gone = False

    async def prepare(self) -> None:
        """Let Jupyter check who calls and from where, then the size: a body that is refused is never kept.

        A refusal is told when a body of usual size has gone by: an answer before it closes the connection, on which the
        hub's proxy may be sending the next request already. What is announced as too large is answered unread.
        """
        try:
            await super().prepare()
            if self.current_user is None and self.request.method in METHODS:
                raise HTTPError(403)
        except HTTPError as error:
            if self.request.method not in METHODS:
                raise
            self._refusal = error
        length = self.request.headers.get("Content-Length", "0")
        if length.isascii() and length.isdigit() and int(length) > self.body_bytes:
            await self._refuse_unread(self._refusal or self._too_large())

    def data_received(self, chunk: bytes) -> None:
        """Keep the body up to its bound."""
        self._received += len(chunk)
        if self._received > self.body_bytes or self._refusal is not None:
            self._chunks.clear()
        else:
            self._chunks.append(chunk)

    # `authorized` remembers the action of its first call, so each method has one of its own.
    @told_with_the_body
    @authenticated
    @authorized
    async def get(self, path: str) -> None:
        """Read."""
        await self._forward()

    @told_with_the_body
    @authenticated
    @authorized
    async def post(self, path: str) -> None:
        """Submit, stop, hold, release, plan, replay."""
        await self._forward()

    @told_with_the_body
    @authenticated
    @authorized
    async def put(self, path: str) -> None:
        """Store a secret."""
        await self._forward()

    @told_with_the_body
    @authenticated
    @authorized
    async def delete(self, path: str) -> None:
        """Delete a TaskSet or a secret."""
        await self._forward()

    async def _forward(self) -> None:
        if self._received > self.body_bytes:
            raise self._too_large()
        method = self.request.method or ""
        # As it came, not as tornado decoded it: an encoded slash is part of a name, never a border between two.
        route, path = resolve(method, self.request.path[len(self.base_url) + len(PREFIX) :])
        # What is not in the table stays here, as this server's own `token` and `_xsrf`.
        given = [(name, value) for name in route.query for value in self.get_query_arguments(name)]
        headers = {name: self.request.headers[name] for name in TO_SERVICE if name in self.request.headers}
        follows = dict(given).get("follow", "") in ("true", "1")
        with self._while_connected():
            async with self.upstream.open(
                method,
                path,
                transport.LOG_TIMEOUT if follows else transport.TIMEOUT,
                params=given or None,
                headers={**headers, "Accept-Encoding": "identity"},
                content=b"".join(self._chunks),
            ) as response:
                await self._relay(response)

    async def _relay(self, response: httpx.Response) -> None:
        kind = response.headers.get("content-type", "")
        if response.status_code >= 300 and "json" not in kind:
            raise await self.upstream.refusal(response)  # of something between us and the service, in its own form
        self.set_status(response.status_code)
        for name in TO_BROWSER:
            if name in response.headers:
                self.set_header(name, response.headers[name])
        self.set_header("Cache-Control", "no-store")
        await self.flush()  # at once: the first line of a followed log may be long in coming
        async for chunk in response.aiter_raw():
            self.write(chunk)
            await self.flush()
        self.finish(set_content_type=kind)

    @contextlib.contextmanager
    def _while_connected(self) -> Iterator[None]:
        """Run an answer: the request to the service ends when the browser goes, and no part passes for the whole."""
        self._task = asyncio.current_task()
        try:
            yield
        except asyncio.CancelledError:
            if not self._gone:
                raise
        except (StreamClosedError, httpx.HTTPError):
            self._cut_off()
        finally:
            self._task = None

    def _cut_off(self) -> None:
        connection = self.request.connection
        if isinstance(connection, HTTP1Connection) and connection.stream is not None:
            connection.stream.close()

    def on_connection_close(self) -> None:
        """The browser is gone."""
        super().on_connection_close()
        self._gone = True
        if self._task is not None:
            self._task.cancel()

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is larger than {self.body_bytes} bytes, the limit; send less", limit=self.body_bytes)

    async def _refuse_unread(self, error: Exception) -> None:
        """Answer, throw away for a moment what still comes (closing at once would lose the answer), and close."""
        self._put_problem(error)
        self.set_header("Connection", "close")
        with contextlib.suppress(StreamClosedError, TimeoutError):
            await asyncio.wait_for(self.flush(), WRITE_SECONDS)
            connection = self.request.connection
            if isinstance(connection, HTTP1Connection):
                async with asyncio.timeout(LINGER_SECONDS):
                    while True:
                        await connection.stream.read_bytes(PIECE, partial=True)
        self.finish(set_content_type=MEDIA_TYPE)

    def _put_problem(self, error: BaseException | None, status: int = 500) -> None:
        status, body = problem_of(error, status)
        self.set_status(status)
        self.set_header("Content-Type", MEDIA_TYPE)
        self.set_header("Content-Length", len(body))
        self.write(body)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer with a problem document."""
        self._put_problem(kwargs["exc_info"][1] if kwargs.get("exc_info") else None, status_code)
        if not self._body_came:
            self.set_header("Connection", "close")  # tornado will, and says so to nobody
        self.finish(set_content_type=MEDIA_TYPE)

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Cut off what has begun: ended well, a part would pass for the whole."""
        if self._headers_written:
            self._cut_off()
            return
        super().send_error(status_code, **kwargs)

    def log_exception(
        self, typ: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        """What is told to the user is no event of this server."""
        if not isinstance(value, OctopusError):
            super().log_exception(typ, value, tb)

    def compute_etag(self) -> str | None:
        """No entity tags: nothing here is cached."""
        return None
