"""A real service on loopback over the memory backend: tokens of two users of a (loopback) hub, and a local one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.service.running import Running, running


@pytest.fixture
async def service() -> AsyncIterator[Running]:
    """A running service with the default settings."""
    async with running() as started:
        yield started
