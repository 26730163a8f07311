"""The spawner by itself: which process is the server after a restart, environment, arguments, scopes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from octopus_hub.hub.scopes import ACCESS, ADMIN, CUSTOM, SERVER_DEFAULT, USER
from octopus_hub.hub.spawner import OctopusLocalSpawner, process_identity
from octopus_hub.service import access


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    yield process
    process.communicate()


def spawner(**settings: Any) -> Any:
    made = OctopusLocalSpawner(service_url="http://127.0.0.1:1/services/octopus/", **settings)
    made.user = SimpleNamespace(name="ada", url="/user/ada/")
    return made


async def test_a_restarted_hub_finds_the_server_that_runs(sleeper: subprocess.Popen[bytes]) -> None:
    first = spawner()
    first.pid = sleeper.pid
    state = first.get_state()
    second = spawner()
    second.load_state(state)
    assert second.pid == sleeper.pid and await second.poll() is None


@pytest.mark.parametrize("started", ["1@another-boot", "", None])
async def test_a_process_that_got_the_servers_number_is_not_the_server(
    sleeper: subprocess.Popen[bytes], started: str | None
) -> None:
    again = spawner()
    again.load_state({"pid": sleeper.pid, "started": started})
    assert await again.poll() == 0, "the server counts as ended"
    await again.stop()
    assert sleeper.poll() is None, "and nobody else is stopped in its place"


async def test_a_server_that_ended_meanwhile(sleeper: subprocess.Popen[bytes]) -> None:
    first = spawner()
    first.pid = sleeper.pid
    state = first.get_state()
    sleeper.kill()
    sleeper.wait()
    again = spawner()
    again.load_state(state)
    assert await again.poll() == 0


def test_identity_tells_processes_apart(sleeper: subprocess.Popen[bytes]) -> None:
    assert process_identity(sleeper.pid) != process_identity(os.getpid())
    assert process_identity(sleeper.pid) == process_identity(sleeper.pid)
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # a zombie
    assert process_identity(sleeper.pid) == ""


def test_home_is_the_accounts_whatever_the_user_is_called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    env = spawner().user_env({})
    assert env["HOME"] == str(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs to be told")
def test_root_is_told_to_jupyter_unless_accounts_are_separate() -> None:
    assert spawner().get_args().count("--allow-root") == 1
    assert spawner(args=["--allow-root"]).get_args().count("--allow-root") == 1
    assert "--allow-root" not in spawner(separate_accounts=True).get_args()


def test_scopes_of_hub_and_service_are_the_same() -> None:
    assert set(CUSTOM) == set(access.ALL_SCOPES)
    assert set(USER) == {ACCESS, *access.ALL_SCOPES} - {access.ADMIN}
    assert set(ADMIN) - set(USER) == {access.ADMIN}
    made = spawner()
    assert set(made.server_token_scopes) == {*SERVER_DEFAULT, *USER}
    assert set(made.oauth_client_allowed_scopes) == set(USER)


def test_subscopes_are_implied_by_the_service_as_well() -> None:
    for name, scope in CUSTOM.items():
        for sub in scope.get("subscopes", ()):  # type: ignore[attr-defined]
            assert sub in access.widened([name])
