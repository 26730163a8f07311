"""The service as this server reaches it: its address, the server's token, and one pool of connections.

Nothing else in this package knows the token. Found by the client's rules in the server's environment: a hub's server
has OCTOPUS_SERVICE_URL and JUPYTERHUB_API_TOKEN, a plain Jupyter server the account's ``client.json``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from octopus_hub.client import exchange, transport
from octopus_hub.client.connection import Connection, find_connection

_ERROR_BYTES = 64 * 1024
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=8)  # each followed log holds one


class Upstream:
    """Opens requests to the service.

    Parameters
    ----------
    environ : mapping, optional
        Instead of the process' environment.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = environ
        self._connection: Connection | None = None
        self._http: httpx.AsyncClient | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def connection(self) -> Connection:
        """Return the connection, looked for anew: a service may start, or move, after this server did."""
        return find_connection(environ=self._environ)

    @asynccontextmanager
    async def open(
        self, method: str, path: str, timeout: httpx.Timeout, **request: Any
    ) -> AsyncIterator[httpx.Response]:
        """Give the response of a request as soon as its headers are there; its body is for the caller to read.

        Raises
        ------
        Unavailable
            No service is known, or it does not answer.
        """
        connection = self.connection()
        http = self._client(connection)
        try:
            prepared = http.build_request(method, connection.api + path, timeout=timeout, **request)
            response = await http.send(prepared, stream=True)
        except httpx.HTTPError as error:
            raise exchange.unreachable(connection, transport.lost(error).why) from error
        try:
            yield response
        finally:
            await response.aclose()

    async def refusal(self, response: httpx.Response) -> Exception:
        """Return the error that an answer without success stands for."""
        body = b""
        try:
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _ERROR_BYTES:
                    break
        except httpx.HTTPError:
            body = b""
        answer = exchange.Answer(response.status_code, response.headers, body)
        return exchange.error_of(answer, self.connection())

    async def close(self) -> None:
        """Close all connections."""
        if self._http is not None:
            await self._http.aclose()
            self._http = None
        await asyncio.gather(*self._closing)

    def _client(self, connection: Connection) -> httpx.AsyncClient:
        if self._http is None or connection != self._connection:
            if self._http is not None:
                task = asyncio.get_running_loop().create_task(self._http.aclose())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
            self._connection = connection
            self._http = httpx.AsyncClient(**transport.settings(connection), limits=_LIMITS)
        return self._http
