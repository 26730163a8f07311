"""Which addresses, users and spawners go together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jupyterhub.spawner import SimpleLocalProcessSpawner
from traitlets.config import Config

from octopus_hub.hub.configure import configure
from octopus_hub.hub.spawner import OctopusLocalSpawner
from octopus_hub.model.errors import Refused
from tests.hub.hub_settings import settings


class Quiet(OctopusLocalSpawner):
    """A site's own subclass."""


APART = {"OctopusLocalSpawner": {"separate_accounts": True}}
TWO = {"Authenticator": {"allowed_users": {"ada", "grace"}}}
PAM = {"JupyterHub": {"authenticator_class": "pam"}}
EVERYWHERE, HERE = "http://0.0.0.0:8000", "http://127.0.0.1:8000"


def check(folder: Path, bind_url: str, *parts: dict[str, Any], separate_tasks: bool = False) -> None:
    c = Config()
    for part in parts:
        c.merge(Config(part))
    configure(c, settings(folder, bind_url=bind_url, separate_tasks=separate_tasks))


@pytest.mark.parametrize(
    ("bind_url", "parts", "separate_tasks"),
    [
        pytest.param(HERE, [], False, id="loopback, one user"),
        pytest.param(HERE, [TWO], False, id="loopback, two users"),
        pytest.param(HERE, [PAM, {"Authenticator": {"allow_all": True}}], False, id="loopback, everybody"),
        pytest.param("http://localhost:8000", [TWO], False, id="localhost"),
        pytest.param("http://127.8.0.1:8000", [TWO], False, id="another loopback address"),
        pytest.param("http://[::1]:8000", [TWO], False, id="loopback of IPv6"),
        pytest.param(EVERYWHERE, [], False, id="anywhere, the generated password's one user"),
        pytest.param("http://[::]:8000", [], False, id="anywhere by IPv6, one user"),
        pytest.param(EVERYWHERE, [PAM, {"Authenticator": {"allowed_users": ["ada"]}}], False, id="one, in a list"),
        pytest.param(EVERYWHERE, [PAM, {"Authenticator": {"admin_users": {"ada"}}}], False, id="one administrator"),
        pytest.param(EVERYWHERE, [TWO, APART], True, id="two users, accounts apart"),
        pytest.param(EVERYWHERE, [PAM, {"Authenticator": {"allow_all": True}}, APART], True, id="all, accounts apart"),
        pytest.param(
            EVERYWHERE,
            [TWO, {"JupyterHub": {"spawner_class": "localprocess"}}],
            True,
            id="jupyterhub's own, which separates",
        ),
        pytest.param(
            EVERYWHERE, [TWO, APART, {"JupyterHub": {"spawner_class": Quiet}}], True, id="a subclass inherits it"
        ),
    ],
)
def test_accepted(tmp_path: Path, bind_url: str, parts: list[dict[str, Any]], separate_tasks: bool) -> None:
    check(tmp_path, bind_url, *parts, separate_tasks=separate_tasks)


@pytest.mark.parametrize(
    ("bind_url", "parts", "words"),
    [
        pytest.param(EVERYWHERE, [TWO], "2 users", id="two users"),
        pytest.param("http://[::]:8000", [TWO], "2 users", id="two users by IPv6"),
        pytest.param("http://10.0.0.7:8000", [TWO], "10.0.0.7", id="two users, one interface"),
        pytest.param("http://a.name:8000", [TWO], "a.name", id="a name is no loopback address"),
        pytest.param(EVERYWHERE, [{"Authenticator": {"allow_all": True}}], "Authenticator.allow_all", id="everybody"),
        pytest.param(
            EVERYWHERE,
            [{"Authenticator": {"allow_existing_users": True}}],
            "allow_existing_users",
            id="whom the database knows",
        ),
        pytest.param(
            EVERYWHERE,
            [{"JupyterHub": {"authenticator_class": "github"}, "GitHubOAuthenticator": {"allow_all": True}}],
            "GitHubOAuthenticator.allow_all",
            id="everybody, in the authenticator's own section",
        ),
        pytest.param(
            EVERYWHERE,
            [PAM, {"PAMAuthenticator": {"allowed_groups": {"students"}, "allowed_users": {"ada"}}}],
            "allowed_groups",
            id="a group",
        ),
        pytest.param(
            EVERYWHERE,
            [PAM, {"Authenticator": {"allowed_users": {"ada"}, "admin_users": {"root"}}}],
            "2 users",
            id="admin",
        ),
        pytest.param(EVERYWHERE, [PAM], "no users", id="nobody is named"),
        pytest.param(
            EVERYWHERE, [TWO, {"JupyterHub": {"spawner_class": "simple"}}], "one system account", id="simple spawner"
        ),
        pytest.param(
            EVERYWHERE,
            [TWO, {"JupyterHub": {"spawner_class": SimpleLocalProcessSpawner}}],
            "one system account",
            id="simple spawner's class",
        ),
        pytest.param(
            EVERYWHERE, [TWO, {"JupyterHub": {"spawner_class": Quiet}}], "one system account", id="own subclass"
        ),
    ],
)
def test_refused_with_the_way_out(tmp_path: Path, bind_url: str, parts: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(Refused) as refusal:
        check(tmp_path, bind_url, *parts)
    text = str(refusal.value)
    assert words in text
    for way_out in ("127.0.0.1", "allowed_users", "separate_accounts", "octopus.yaml"):
        assert way_out in text
    assert "\n" not in text


@pytest.mark.parametrize("bind_url", [HERE, EVERYWHERE])
@pytest.mark.parametrize(
    "parts", [[APART], [{"JupyterHub": {"spawner_class": "localprocess"}}]], ids=["ours", "jupyterhub's"]
)
def test_servers_apart_but_tasks_not_is_refused_everywhere(
    tmp_path: Path, bind_url: str, parts: list[dict[str, Any]]
) -> None:
    with pytest.raises(Refused, match=r"accounts: \{separate: true\}"):
        check(tmp_path, bind_url, *parts)
