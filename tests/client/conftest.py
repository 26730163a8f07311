"""One real engine for all tests of the client, and clients of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from octopus_hub.client.sync import Client
from tests.client.drivers import DRIVERS, Driver, connection_of
from tests.engine import RunningEngine, engine


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    """An engine with two nodes of four virtual devices each."""
    with engine(tmp_path_factory.mktemp("client")) as started:
        yield started


@pytest.fixture
def client(account: RunningEngine) -> Iterator[Client]:
    """A client of that account."""
    with Client(*connection_of(account)) as made:
        yield made


@pytest.fixture(params=DRIVERS, ids=lambda kind: kind.__name__)
def driver(request: pytest.FixtureRequest, account: RunningEngine) -> Iterator[Driver]:
    """Either client behind one face."""
    with request.param(*connection_of(account)) as made:
        yield made
