"""What all handlers share: one object per application, made by ``application.make_app``."""

from __future__ import annotations

from dataclasses import dataclass

from octopus_hub.backends.base import Backend
from octopus_hub.control.cache import Cache
from octopus_hub.service.blobs import BlobAccess
from octopus_hub.service.identity import Authenticator
from octopus_hub.service.leases import Leases
from octopus_hub.service.limits import Buckets, Slots
from octopus_hub.service.runs import Runs
from octopus_hub.service.settings import ServiceSettings
from octopus_hub.service.stream import Streams
from octopus_hub.service.submit import Submission


@dataclass(frozen=True, slots=True)
class Service:
    """Settings, what is read and written, and what bounds callers."""

    settings: ServiceSettings
    backend: Backend
    cache: Cache
    runs: Runs
    authenticator: Authenticator
    submission: Submission
    blobs: BlobAccess
    streams: Streams
    requests: Buckets
    failures: Buckets
    slots: Slots
    leases: Leases

    def close(self) -> None:
        """End every stream; the application answers nothing useful after that."""
        self.leases.close()
        self.streams.close()
