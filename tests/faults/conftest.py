"""The engine that fault tests share; those that break it start their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.faulty import NODES, Faulty, faulty

LIMITS = "limits: {log: 4Mi, blob: 16Mi}\n"


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    """A running engine; leave it as it is. Mark with ``pytest.mark.xdist_group("faults")``."""
    with faulty(tmp_path_factory.mktemp("faults"), NODES + LIMITS) as shared:
        yield shared
