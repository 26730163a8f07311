"""What both drivers share with httpx: a client's settings, a call as request arguments, an exception as an outcome."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import httpx

from octopus_hub._version import __version__
from octopus_hub.client.calls import Call
from octopus_hub.client.connection import Connection
from octopus_hub.client.exchange import Lost

KEEP_ALIVE_SECONDS = 15.0  # the service sends a comment this often on a silent stream
TIMEOUT = httpx.Timeout(30.0, connect=5.0, read=60.0)
STREAM_TIMEOUT = httpx.Timeout(30.0, connect=5.0, read=3 * KEEP_ALIVE_SECONDS)
LOG_TIMEOUT = httpx.Timeout(30.0, connect=5.0, read=None)  # a silent task sends nothing, for as long as it likes
CHUNK_BYTES = 1 << 16


def settings(connection: Connection) -> dict[str, Any]:
    """Return what an httpx client of this connection is made with."""
    headers = {"User-Agent": f"octopus-hub/{__version__}", "Accept": "application/json"}
    if connection.token:
        headers["Authorization"] = f"Bearer {connection.token}"
    # On loopback a proxy of the environment would be wrong; elsewhere it is the user's wish.
    return {"headers": headers, "timeout": TIMEOUT, "trust_env": not connection.loopback, "follow_redirects": False}


def request_of(call: Call[Any], connection: Connection) -> dict[str, Any]:
    """Return arguments of ``build_request`` without the body."""
    return {
        "method": call.method,
        "url": connection.api + call.path,
        "params": dict(call.params) or None,
        "headers": dict(call.headers),
    }


def lost(error: httpx.HTTPError) -> Lost:
    """Return the outcome of a failed transport."""
    sent = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    if isinstance(error, httpx.TimeoutException):
        return Lost("no answer in time" if sent else "no connection in time", sent)
    return Lost(_words(error), sent)


def _words(error: httpx.HTTPError) -> str:
    cause: BaseException = error
    while cause.__cause__ is not None or cause.__context__ is not None:
        cause = cause.__cause__ or cause.__context__ or cause
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower() if cause.strerror.isascii() else cause.strerror
    return str(cause) or type(cause).__name__


def shut(response: httpx.Response) -> None:
    """End a response that another thread is reading."""
    stream = response.extensions.get("network_stream")
    connected = stream.get_extra_info("socket") if stream is not None else None
    if connected is not None:
        with contextlib.suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)
