"""The base of all handlers: who calls, may he, how large is it, how are errors told, how are long answers sent.

Every handler gives its ``path`` and ``base``, by which its methods are looked up in ``access.ROUTES``. Bodies are read
only after all checks, so what is refused is never read.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, ClassVar

import msgspec
from jupyterhub.services.auth import HubOAuthenticated
from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError
from tornado.web import RequestHandler, stream_request_body

from octopus_hub.model import jsontext
from octopus_hub.model.errors import InvalidSpec, NotFound, OctopusError, Refused, TooLarge, Unauthenticated
from octopus_hub.service.access import Base, Route, may, methods_of, route_of
from octopus_hub.service.context import Service
from octopus_hub.service.errors import MEDIA_TYPE, Problem, problem_of
from octopus_hub.service.identity import Identity

log = logging.getLogger(__name__)

BODY_SECONDS = 120.0  # to send a whole JSON body
LINGER_SECONDS = 1.0  # for a client to read why its body is not read
PIECE = 256 * 1024
_UNBOUNDED = 1 << 62
_JSON = "application/json"
_NOBODY = Identity("", "")


class MethodNotAllowed(OctopusError):
    """The path is known, not with this method."""

    code = "method_not_allowed"
    status = 405


@stream_request_body
class ApiHandler(HubOAuthenticated, RequestHandler):  # type: ignore[misc]  # jupyterhub has no types
    """See the module's docstring."""

    path: ClassVar[str] = ""
    base: ClassVar[Base] = "api"
    body_bytes: int
    body_seconds: ClassVar[float] = BODY_SECONDS
    who: Identity

    def initialize(self, service: Service) -> None:
        """Called by tornado with the application's context."""
        self.service = service
        self.hub_auth = service.authenticator.hub
        self.who = _NOBODY
        self.body_bytes = service.settings.json_bytes
        self._chunks: list[bytes] = []
        self._received = 0
        self._task: asyncio.Task[Any] | None = None
        self._gone = False

    # --- before the method runs
    def set_default_headers(self) -> None:
        """Nothing here is for other origins, frames or caches."""
        self.set_header("Server", "octopus-hub")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'")

    async def prepare(self) -> None:
        """Check size, identity, rate and scope, in that order, before any of the body is read."""
        connection = self.request.connection
        if isinstance(connection, HTTP1Connection):
            connection.set_max_body_size(_UNBOUNDED)  # our own bound answers with a problem, tornado's with a bare 400
            connection.set_body_timeout(self.body_seconds)
        try:
            self._check_length()
            await self._admit(self._route())
        except OctopusError as error:
            if not self._announces_body():
                raise
            await self._refuse_unread(error)

    def _announces_body(self) -> bool:
        headers = self.request.headers
        return headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers

    async def _refuse_unread(self, error: OctopusError) -> None:
        """Answer before the body comes, then throw away what the client still sends, for a moment, and close.

        Closing at once would reset the connection, and many clients lose the answer then (RFC 9112, section 9.6).
        """
        self._put_problem(problem_of(error))
        self.set_header("Connection", "close")
        with contextlib.suppress(StreamClosedError, TimeoutError):
            await asyncio.wait_for(self.flush(), self.service.settings.write_seconds)
            connection = self.request.connection
            if isinstance(connection, HTTP1Connection):
                async with asyncio.timeout(LINGER_SECONDS):
                    while True:
                        await connection.stream.read_bytes(PIECE, partial=True)
        self.finish()

    def _check_length(self) -> None:
        length = self.request.headers.get("Content-Length", "0")
        if length.isascii() and length.isdigit() and int(length) > self.body_bytes:
            raise self._too_large(int(length))

    def _too_large(self, size: int) -> TooLarge:
        return TooLarge(
            f"the body has {size} bytes or more, {self.body_bytes} are the limit; send less, "
            "or put large files where the tasks can read them",
            limit=self.body_bytes,
        )

    def _route(self) -> Route:
        route = route_of(self.base, self.path, self.request.method or "")
        if route is None:
            methods = methods_of(self.base, self.path)
            self.set_header("Allow", ", ".join(methods))
            raise MethodNotAllowed(f"{self.request.method} is not possible here; use {' or '.join(methods)}")
        return route

    async def _admit(self, route: Route) -> None:
        if not route.scope:
            return
        address = self.request.remote_ip or ""
        if not self.service.authenticator.known(self):
            self.service.failures.check(address)
        try:
            self.who = await self.service.authenticator.identify(self)
        except (Unauthenticated, Refused):
            self.service.failures.take(address)
            raise
        self.service.requests.take(self.who.user)
        if not may(self.who.scopes, route):
            raise Refused(f"this needs the scope {route.scope}, which the token does not have", scope=route.scope)

    def get_current_user(self) -> Any:
        """What the hub said in :meth:`prepare`; the mixin would ask it again, blocking the loop."""
        return getattr(self, "_cached_hub_user", None)

    # --- body
    async def data_received(self, chunk: bytes) -> None:
        """Keep a JSON body up to its bound."""
        self._received += len(chunk)
        if self._received > self.body_bytes:
            self._chunks.clear()
        else:
            self._chunks.append(chunk)

    def body(self) -> bytes:
        """Return the whole body; raises TooLarge for one that came in chunks and was too long."""
        if self._received > self.body_bytes:
            raise self._too_large(self._received)
        return b"".join(self._chunks)

    def body_as(self, kind: Any) -> Any:
        """Return the JSON body as that type; raises InvalidSpec with msgspec's words and path."""
        try:
            return msgspec.json.decode(self.body(), type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidSpec(f"the body can't be read: {error}", problems=[str(error)]) from None

    def document(self) -> dict[str, Any]:
        """Return a JSON object, read strictly (no key twice); what is in it is for the model to judge."""
        found = jsontext.decode(self.body())
        if not isinstance(found, dict):
            raise InvalidSpec("the body is no JSON object", problems=["the body is no JSON object"])
        return found

    # --- query
    def query(self, name: str) -> str:
        """Return a query parameter, "" if absent."""
        return str(self.get_query_argument(name, ""))

    def flag(self, name: str) -> bool:
        """Return a boolean query parameter."""
        text = self.query(name).lower()
        if text not in ("", "true", "false", "1", "0"):
            raise InvalidSpec(f"{name} is true or false")
        return text in ("true", "1")

    def number(self, name: str, least: int = 0) -> int | None:
        """Return an integer query parameter, None if absent."""
        text = self.query(name)
        if not text:
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 10) or int(text) < least:
            raise InvalidSpec(f"{name} is a whole number from {least} on")
        return int(text)

    # --- answers
    def answer(self, body: bytes | Any, status: int = 200, media_type: str = _JSON) -> None:
        """Finish with bytes, or an object as JSON."""
        self.set_status(status)
        self.set_header("Content-Type", media_type)
        self.finish(body if isinstance(body, bytes) else msgspec.json.encode(body))

    async def send(self, chunks: AsyncIterator[bytes], media_type: str, filename: str = "") -> None:
        """Send a long answer. Nothing is sent before the first chunk is there, so an error before it is still told."""
        with self.while_connected():
            first = await anext(chunks, b"")
            self.set_header("Content-Type", media_type)
            if filename:
                self.set_header("Content-Disposition", f'attachment; filename="{filename}"')
            await self.write_out(first)
            async for chunk in chunks:
                await self.write_out(chunk)
        if not self._gone:
            self.finish()

    async def write_out(self, data: bytes) -> None:
        """Write and wait until the client took it; one that takes nothing for ``write_seconds`` is dropped."""
        for start in range(0, len(data) or 1, PIECE):
            self.write(data[start : start + PIECE])
            await asyncio.wait_for(self.flush(), self.service.settings.write_seconds)

    @contextlib.contextmanager
    def while_connected(self) -> Any:
        """Run a long answer: it is cancelled when the client goes, and cut off (never ended well) when it fails midway."""
        self._task = asyncio.current_task()
        try:
            yield
        except asyncio.CancelledError:
            if not self._gone:
                raise
        except (StreamClosedError, TimeoutError) as error:
            log.info("%s of %s was dropped: %s", self.request.path, self.who.user, str(error) or "it did not read")
            self.cut_off()
        except Exception as error:
            if not self._headers_written:
                raise
            log.warning("%s of %s broke off: %s", self.request.path, self.who.user, error, exc_info=not _told(error))
            self.cut_off()
        finally:
            self._task = None

    def cut_off(self) -> None:
        """Close the connection without the end of the answer, so that nobody takes a part for the whole."""
        self._gone = True
        connection = self.request.connection
        if isinstance(connection, HTTP1Connection) and connection.stream is not None:
            connection.stream.close()

    def on_connection_close(self) -> None:
        """The client is gone: stop what is being sent to it."""
        super().on_connection_close()
        self._gone = True
        if self._task is not None:
            self._task.cancel()

    # --- errors
    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer with a problem document."""
        error = kwargs["exc_info"][1] if kwargs.get("exc_info") else None
        problem = problem_of(error, status_code)
        if problem.id:
            log.error("%s %s failed (%s)", self.request.method, self.request.path, problem.id, exc_info=error)
        self._put_problem(problem)
        self.finish()

    def _put_problem(self, problem: Problem) -> None:
        self.set_status(problem.status)
        for name, value in problem.headers.items():
            self.set_header(name, value)
        body = problem.body
        self.set_header("Content-Type", MEDIA_TYPE)
        self.set_header("Content-Length", len(body))
        self.write(body)

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Keep the headers that the refusal set (tornado would clear them)."""
        if self._headers_written:
            self.cut_off()
            return
        allow = self._headers.get("Allow")
        self.clear()
        if allow:
            self.set_header("Allow", allow)
        try:
            self.write_error(status_code, **kwargs)
        except Exception:
            log.exception("an error could not be answered")
        if not self._finished:
            self.finish()

    def log_exception(
        self, typ: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        """What we raise on purpose is an answer, no event; the rest is logged with its id by :meth:`write_error`."""

    def compute_etag(self) -> str | None:
        """No entity tags: nothing here is cached."""
        return None


class UnknownPath(ApiHandler):
    """Every path that is not in the table."""

    async def prepare(self) -> None:
        """There is nothing to check."""
        raise NotFound("there is nothing at this path; see openapi.json")


def _told(error: Exception) -> bool:
    return isinstance(error, OctopusError)
