"""The contract suite's backends: each test that asks for ``harness`` runs once per backend."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.backends.harness import BACKENDS, Harness


@pytest.fixture(params=BACKENDS)
async def harness(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Harness]:
    harness = Harness(request.param, tmp_path)
    await harness.backend.open()
    yield harness
    await harness.close()
