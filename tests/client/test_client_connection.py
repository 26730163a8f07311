"""Where the service is: arguments, environment, a hub's server, the account's file, in this order; one sentence else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from octopus_hub.client.connection import Connection, find_connection, state_folder
from octopus_hub.model.errors import InvalidSpec, OctopusError, Unavailable

FILE = {"url": "http://127.0.0.1:1111/services/octopus", "token": "of-file", "user": "ada"}
SERVER = {"OCTOPUS_SERVICE_URL": "http://127.0.0.1:2222/services/octopus/", "JUPYTERHUB_API_TOKEN": "of-server"}
OVERRIDE = {"OCTOPUS_URL": "http://127.0.0.1:3333", "OCTOPUS_TOKEN": "of-environment"}


@pytest.fixture
def account(tmp_path: Path) -> dict[str, str]:
    """An account's environment with the file of a running engine."""
    state = tmp_path / "octopus-hub"
    state.mkdir()
    (state / "client.json").write_text(json.dumps(FILE))
    return {"XDG_STATE_HOME": str(tmp_path), "HOME": "/nonexistent"}


@pytest.mark.parametrize(
    ("arguments", "extra", "port", "token"),
    [
        ((), {}, 1111, "of-file"),
        ((), SERVER, 2222, "of-server"),
        ((), SERVER | OVERRIDE, 3333, "of-environment"),
        ((), OVERRIDE, 3333, "of-environment"),
        (("http://127.0.0.1:4444", "of-argument"), SERVER | OVERRIDE, 4444, "of-argument"),
        (("http://127.0.0.1:4444",), SERVER | OVERRIDE, 4444, "of-environment"),
        ((None, "of-argument"), SERVER, 2222, "of-argument"),
        ((None, "of-argument"), {}, 1111, "of-argument"),
        ((), {"OCTOPUS_TOKEN": "of-environment"}, 1111, "of-environment"),
        ((), {"OCTOPUS_URL": "", "OCTOPUS_SERVICE_URL": ""}, 1111, "of-file"),
        ((), {"OCTOPUS_URL": "http://127.0.0.1:3333"}, 3333, ""),
    ],
)
def test_order(account: dict[str, str], arguments: Any, extra: dict[str, str], port: int, token: str) -> None:
    found = find_connection(*arguments, environ=account | extra)
    assert (found.url, found.token) == (f"http://127.0.0.1:{port}/services/octopus", token)
    assert token not in repr(found) or not token, "a token is not shown by accident"


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/services/octopus"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/services/octopus"),
        ("https://hub.example/base/services/octopus/", "https://hub.example/base/services/octopus"),
        ("https://hub.example/services/octopus/api/v1", "https://hub.example/services/octopus"),
        ("  http://[::1]:8000 ", "http://[::1]:8000/services/octopus"),
    ],
)
def test_addresses_as_people_give_them(given: str, url: str) -> None:
    found = find_connection(given, "t")
    assert (found.url, found.api) == (url, url + "/api/v1")


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://x", "http://", "http://[::1", "http://a:99999", "nonsense"])
def test_what_is_no_address(url: str) -> None:
    for arguments, environ, source in (((url,), {}, "the given address"), ((), {"OCTOPUS_URL": url}, "OCTOPUS_URL")):
        with pytest.raises(InvalidSpec, match=f"{source} is not an address"):
            find_connection(*arguments, environ=environ)


@pytest.mark.parametrize("token", ["cut\nhere", "schlüssel", "a\x00b"])
def test_a_token_that_no_header_can_carry(token: str) -> None:
    with pytest.raises(InvalidSpec, match="token") as told:
        find_connection("http://127.0.0.1", token)
    assert token not in str(told.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "start one with `make run`"),
        ("", "is damaged"),
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ("null", "is damaged"),
        ('{"url": "http://127.0.0.1"}', "is damaged"),
        (b"\xff\xfe", "is damaged"),
        ('{"url": "nonsense", "token": "t"}', "is damaged|not an address"),
    ],
)
def test_a_file_that_is_not_there_or_wrong(tmp_path: Path, content: str | bytes | None, words: str) -> None:
    if content is not None:
        file = tmp_path / "client.json"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(OctopusError, match=words) as told:
        find_connection(environ={"OCTOPUS_STATE": str(tmp_path)})
    assert "\n" not in str(told.value)


def test_a_file_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "client.json").mkdir()
    with pytest.raises(Unavailable, match="can't be read"):
        find_connection(environ={"OCTOPUS_STATE": str(tmp_path)})


def test_state_folder() -> None:
    assert state_folder({"OCTOPUS_STATE": "/a", "XDG_STATE_HOME": "/b", "HOME": "/c"}) == Path("/a")
    assert state_folder({"XDG_STATE_HOME": "/b", "HOME": "/c"}) == Path("/b/octopus-hub")
    assert state_folder({"HOME": "/c"}) == Path("/c/.local/state/octopus-hub")
    with pytest.raises(InvalidSpec, match="no such home folder"):
        state_folder({"OCTOPUS_STATE": "~no-such-account-here/state"})


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:8000", True),
        ("http://127.5.0.1", True),
        ("http://localhost", True),
        ("http://hub.localhost", True),
        ("http://[::1]:80", True),
        ("http://10.0.0.1", False),
        ("http://hub.example", False),
        ("http://localhost.example", False),
    ],
)
def test_loopback(url: str, loopback: bool) -> None:
    assert Connection(url).loopback is loopback
