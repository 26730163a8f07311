"""The real service behind a port that stays, and a real Jupyter server in front of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.extension.serving import Front, Jupyter, jupyter
from tests.service.running import Running, running


@pytest.fixture
async def service() -> AsyncIterator[Running]:
    """The truth behind the service, and a service of its own that the tests ask for comparison."""
    async with running() as started:
        yield started


@pytest.fixture
async def front(service: Running) -> AsyncIterator[Front]:
    """The service as the extension reaches it."""
    front = Front(service)
    front.start()
    yield front
    await front.stop()


@pytest.fixture
async def server(front: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Jupyter]:
    """A Jupyter server of alice's."""
    async with jupyter(tmp_path, monkeypatch, f"http://127.0.0.1:{front.port}/services/octopus/") as started:
        yield started
