"""One real engine for all tests of the command, in an account that knows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.shell import Shell
from tests.engine import engine


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """An account with an engine of two nodes with four virtual devices each."""
    with engine(tmp_path_factory.mktemp("cli")) as started:
        yield Shell(started)


@pytest.fixture
def shell(account: Shell, tmp_path: Path) -> Iterator[Shell]:
    """A shell of that account in an empty folder; what a test leaves unfinished is stopped."""
    with account.at(tmp_path) as opened:
        yield opened
