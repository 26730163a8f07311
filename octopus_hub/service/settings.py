"""What an operator may set about the service; frozen values, made at the edge (``octopus_hub.app``)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

MEBIBYTE = 2**20


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """Limits and names of one service.

    Attributes
    ----------
    prefix : str
        Path of the service below the origin, with slashes at both ends.
    cookie_secret : bytes
        Signs the browser's cookies; a new one at each start only logs browsers in again.
    json_bytes : int
        Largest JSON body. A TaskSet of 10,000 tasks with large environments is far below it.
    blob_bytes : int
        Largest blob, so the largest workspace archive.
    open_tasksets : int
        TaskSets of one owner that have not ended; bounds what a loop in a notebook can do to everyone's queue.
    secrets_per_user, secret_bytes : int
        Number of one user's secrets, and the size of one.
    requests_per_second, burst : float
        Token bucket of each identity. Generous: it stops loops, not people.
    failures_per_second, failure_burst : float
        The same for failed log-ins of one address.
    streams_per_user : int
        Streams and followed logs that one user may keep open.
    frames_per_second : float
        Most frames a second on one stream; changes in between are joined.
    keep_alive_seconds : float
        Comment on a silent stream, so that proxies keep it open.
    recheck_seconds : float
        A long answer looks at its token again after this; with the token cache of 30 s, a revoked one ends within 60 s.
    write_seconds : float
        A reader that takes none of a frame for so long is dropped.
    lease_seconds : float
        A TaskSet tied to a kernel or server is stopped when nobody held its lease for so long: time for a reconnect.
    caught_up_seconds : float
        Longest wait for the cache to show what was just written, so that a user reads his own writes.
    image_names : tuple of str
        What ``GET /images`` lists besides the default.
    metrics : CollectorRegistry, optional
        Counters to expose (the controller's); None exposes an empty registry.
    public_metrics : bool
        ``/metrics`` without a token, for a scraper behind a firewall.
    """

    prefix: str = "/services/octopus/"
    cookie_secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    json_bytes: int = 8 * MEBIBYTE
    blob_bytes: int = 256 * MEBIBYTE
    open_tasksets: int = 1000
    secrets_per_user: int = 200
    secret_bytes: int = 64 * 1024
    requests_per_second: float = 50.0
    burst: float = 200.0
    failures_per_second: float = 10.0
    failure_burst: float = 50.0
    streams_per_user: int = 50
    frames_per_second: float = 10.0
    keep_alive_seconds: float = 15.0
    recheck_seconds: float = 25.0
    write_seconds: float = 10.0
    lease_seconds: float = 60.0
    caught_up_seconds: float = 1.0
    image_names: tuple[str, ...] = ()
    metrics: CollectorRegistry | None = None
    public_metrics: bool = False

    @property
    def api(self) -> str:
        """Path of the API, without a slash at the end."""
        return f"{self.prefix}api/v1"
