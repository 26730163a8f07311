"""The server's lease: held while the server runs, over restarts of the service, given up at its end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from octopus_hub_extension import lease

from octopus_hub.client.lease import SERVER_LEASE
from tests.extension.serving import Front, jupyter
from tests.service.running import DEADLINE


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def holders(front: Front) -> dict[Any, int]:
    held: dict[Any, int] = front.app.settings["service"].leases._holders if front.app else {}
    return held


async def test_the_lease_lives_and_dies_with_the_server(
    front: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SERVER_LEASE, "")  # put back after the test
    monkeypatch.setattr(lease, "FIRST_PAUSE_SECONDS", 0.02)
    async with jupyter(tmp_path, monkeypatch, f"http://127.0.0.1:{front.port}/services/octopus/"):
        name = os.environ[SERVER_LEASE]
        assert name.startswith("server-")
        await until(lambda: holders(front) == {("alice", name): 1})
        await front.stop()
        front.start()
        await until(lambda: holders(front) == {("alice", name): 1})
    await until(lambda: not holders(front))
