"""What both drivers share with httpx: a client's settings, a call as request arguments, an exception as an outcome."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable
from typing import Any, TypeVar

import httpx

from octopus_hub._version import __version__
from octopus_hub.client.calls import Call
from octopus_hub.client.connection import Connection
from octopus_hub.client.exchange import Lost
from octopus_hub.model.errors import InvalidSpec, Unavailable

KEEP_ALIVE_SECONDS = 15.0  # the service sends a comment this often on a silent stream
TIMEOUT = httpx.Timeout(30.0, connect=5.0, read=60.0)
STREAM_TIMEOUT = httpx.Timeout(30.0, connect=5.0, read=3 * KEEP_ALIVE_SECONDS)
LOG_TIMEOUT = httpx.Timeout(30.0, connect=5.0, read=None)  # a silent task sends nothing, for as long as it likes
FAILURES = (httpx.HTTPError, httpx.StreamError, httpx.CookieConflict, httpx.InvalidURL)  # all that httpx raises
_NOTHING_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)
C = TypeVar("C")


def settings(connection: Connection) -> dict[str, Any]:
    """Return what an httpx client of this connection is made with."""
    headers = {"User-Agent": f"octopus-hub/{__version__}", "Accept": "application/json"}
    if connection.token:
        headers["Authorization"] = f"Bearer {connection.token}"
    return {
        "headers": headers,
        "timeout": TIMEOUT,
        "trust_env": not connection.loopback,  # a proxy of the environment is wrong there; elsewhere the user's wish
        "verify": connection.url.startswith("https:"),  # without TLS, loading certificates would cost 80 ms for nothing
        "follow_redirects": False,
    }


def make(kind: Callable[..., C], connection: Connection) -> C:
    """Return an httpx client of that kind; raises Unavailable where proxy or certificates of the environment are wrong."""
    try:
        return kind(**settings(connection))
    except (ValueError, OSError, ImportError, httpx.InvalidURL) as error:
        raise Unavailable(
            f"a connection to {connection.url} can't be set up here ({error}); "
            "correct HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE or SSL_CERT_DIR"
        ) from error


def request_of(call: Call[Any], connection: Connection) -> dict[str, Any]:
    """Return arguments of ``build_request`` without the body."""
    return {
        "method": call.method,
        "url": connection.api + call.path,
        "params": dict(call.params) or None,
        "headers": dict(call.headers),
    }


def lost(error: Exception) -> Lost:
    """Return the outcome of a failed transport; raises InvalidSpec for what can't be an address at all."""
    if isinstance(error, httpx.InvalidURL):
        raise InvalidSpec(f"no address can be made of that name: {str(error).lower()}") from error
    sent = not isinstance(error, _NOTHING_SENT)
    if isinstance(error, httpx.TimeoutException):
        return Lost("no answer in time" if sent else "no connection in time", sent)
    return Lost(_words(error), sent)


def _words(error: Exception) -> str:
    cause: BaseException = error
    while cause.__cause__ is not None or cause.__context__ is not None:
        cause = cause.__cause__ or cause.__context__ or cause
    if isinstance(cause, OSError) and cause.errno is not None and cause.errno in errno.errorcode:
        return os.strerror(cause.errno).lower()  # asyncio has words of its own for it, with the address once more
    return str(cause) or type(cause).__name__


def shut(response: httpx.Response) -> None:
    """End a response that another thread is reading."""
    stream = response.extensions.get("network_stream")
    connected = stream.get_extra_info("socket") if stream is not None else None
    if connected is not None:
        with contextlib.suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)
