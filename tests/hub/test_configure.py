"""``configure`` merges into what the file has set before, in each of the ways that files set things."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jupyterhub
import pytest
from jupyterhub.app import JupyterHub
from jupyterhub.auth import DummyAuthenticator
from traitlets.config import Config

from octopus_hub.hub import configure as module
from octopus_hub.hub.configure import Settings, configure
from octopus_hub.hub.scopes import ACCESS, ADMIN, CUSTOM, SERVER_DEFAULT, USER
from octopus_hub.model.errors import Refused
from tests.hub.hub_settings import settings

SIX = int(jupyterhub.__version__.split(".")[0]) >= 6


@pytest.fixture
def given(tmp_path: Path) -> Settings:
    return settings(tmp_path)


def role(c: Config, name: str) -> dict[str, Any]:
    found = [each for each in c.JupyterHub.load_roles if each["name"] == name]
    assert len(found) == 1, c.JupyterHub.load_roles
    return dict(found[0])


def test_an_empty_file_gives_a_whole_configuration_that_jupyterhub_takes(given: Settings) -> None:
    c = Config()
    configure(c, given)
    hub = JupyterHub(config=c)
    assert hub.bind_url == "http://127.0.0.1:8000" and hub.hub_port == 8081
    assert hub.db_url == f"sqlite:///{given.state}/jupyterhub.sqlite"
    assert hub.cookie_secret_file == f"{given.state}/cookie_secret" and hub.pid_file == f"{given.state}/hub.pid"
    assert (hub.cleanup_servers, hub.cleanup_proxy) == (False, False)
    assert hub.authenticator_class.__name__ == "SharedPasswordAuthenticator"
    assert hub.spawner_class.__name__ == "OctopusLocalSpawner"
    assert {each["name"] for each in hub.services} == {"octopus", "octopus-up"}
    assert set(hub.custom_scopes) == set(CUSTOM)
    assert c.Spawner.notebook_dir == "/srv/notebooks" and c.Spawner.default_url == "/lab"
    assert c.Authenticator.allowed_users == {"ada"} and c.Authenticator.allow_existing_users is False


@pytest.mark.parametrize("appended", [False, True], ids=["set", "appended"])
def test_what_the_file_has_listed_stays(given: Settings, appended: bool) -> None:
    grader = {"name": "grader", "url": "http://127.0.0.1:9", "api_token": "x" * 32}
    teacher = {"name": "teacher", "users": ["grace"], "scopes": ["list:users"]}
    c = Config()
    if appended:
        c.JupyterHub.services.append(grader)
        c.JupyterHub.load_roles.append(teacher)
        c.Spawner.args.append("--debug")
        c.JupyterHub.extra_user_scopes.add("read:hub")
        c.JupyterHub.custom_scopes.update({"custom:lab:read": {"description": "lab"}})
        c.Spawner.environment.update({"LAB": "1"})
        c.Authenticator.allowed_users.add("grace")
    else:
        c.JupyterHub.services = [grader]
        c.JupyterHub.load_roles = [teacher]
        c.Spawner.args = ["--debug"]
        c.JupyterHub.extra_user_scopes = {"read:hub"}
        c.JupyterHub.custom_scopes = {"custom:lab:read": {"description": "lab"}}
        c.Spawner.environment = {"LAB": "1"}
        c.Authenticator.allowed_users = {"grace"}
    configure(c, given)
    assert [each["name"] for each in c.JupyterHub.services] == ["grader", "octopus", "octopus-up"]
    assert role(c, "teacher") == teacher
    hub = JupyterHub(config=c)
    assert hub.spawner_class(config=c).args == ["--debug"]
    assert {"custom:lab:read", *CUSTOM} == set(hub.custom_scopes)
    assert hub.spawner_class(config=c).environment == {"LAB": "1", "OCTOPUS_SERVICE_URL": given.service_url}
    assert c.Authenticator.allowed_users == {"ada", "grace"}
    assert "allow_existing_users" not in c.Authenticator
    if SIX:
        assert hub.extra_user_scopes == {"read:hub", *USER}


def test_configured_twice_is_configured_once(given: Settings) -> None:
    c = Config()
    configure(c, given)
    configure(c, given)
    assert [each["name"] for each in c.JupyterHub.services] == ["octopus", "octopus-up"]
    names = [each["name"] for each in c.JupyterHub.load_roles]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("version", "has_extra"), [("6.1.1", True), ("5.5.1", False)])
def test_users_get_our_scopes_on_both_hubs(
    given: Settings, monkeypatch: pytest.MonkeyPatch, version: str, has_extra: bool
) -> None:
    monkeypatch.setattr(module.jupyterhub, "__version__", version)
    c = Config()
    configure(c, given)
    if has_extra:
        assert set(USER) <= c.JupyterHub.extra_user_scopes
        assert "user" not in [each["name"] for each in c.JupyterHub.load_roles]
    else:
        assert set(role(c, "user")["scopes"]) == {"self", *USER}
        assert "extra_user_scopes" not in c.JupyterHub


@pytest.mark.parametrize("version", ["6.1.1", "5.5.1"])
def test_a_user_role_of_the_file_is_widened_on_both_hubs(
    given: Settings, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr(module.jupyterhub, "__version__", version)
    c = Config()
    mine = {"name": "user", "description": "mine", "scopes": ["self", "read:users:name"]}
    c.JupyterHub.load_roles = [mine]
    configure(c, given)
    assert set(role(c, "user")["scopes"]) == {"self", "read:users:name", *USER}
    assert role(c, "user")["description"] == "mine"
    assert mine["scopes"] == ["self", "read:users:name"], "the file's own list is not written into"


def test_administrators_get_the_scope_of_administrators(given: Settings) -> None:
    c = Config()
    c.Authenticator.admin_users = {"ada", "grace"}
    configure(c, given)
    assert role(c, "octopus-admin") == {"name": "octopus-admin", "users": ["ada", "grace"], "scopes": list(ADMIN)}
    assert c.SharedPasswordAuthenticator.admin_password == "a-password-of-administrators-0123456789"


def test_administrators_named_in_the_section_of_the_authenticator(given: Settings) -> None:
    c = Config()
    c.JupyterHub.authenticator_class = "dummy"
    c.DummyAuthenticator.admin_users = ["grace"]
    configure(c, given)
    assert role(c, "octopus-admin")["users"] == ["grace"]


def test_a_role_of_administrators_in_the_file_wins(given: Settings) -> None:
    mine = {"name": "octopus-admin", "groups": ["staff"], "scopes": [ACCESS, "custom:octopus:admin"]}
    c = Config()
    c.Authenticator.admin_users = {"ada"}
    c.JupyterHub.load_roles = [mine]
    configure(c, given)
    assert role(c, "octopus-admin") == mine


def test_the_files_authenticator_spawner_and_database_win(given: Settings) -> None:
    c = Config()
    c.JupyterHub.authenticator_class = DummyAuthenticator
    c.JupyterHub.spawner_class = "simple"
    c.JupyterHub.db_url = "postgresql://hub"
    c.Spawner.notebook_dir = "~/notebooks"
    c.Spawner.default_url = "/tree"
    configure(c, given)
    assert c.JupyterHub.authenticator_class is DummyAuthenticator
    assert "allowed_users" not in c.Authenticator and "user_password" not in c.SharedPasswordAuthenticator
    assert c.JupyterHub.spawner_class == "simple"
    assert c.JupyterHub.db_url == "postgresql://hub"
    assert (c.Spawner.notebook_dir, c.Spawner.default_url) == ("~/notebooks", "/tree")


@pytest.mark.parametrize("spawner", ["simple", "octopus_hub.hub.spawner.OctopusLocalSpawner"])
@pytest.mark.parametrize("section", [None, "Spawner", "SimpleLocalProcessSpawner"])
def test_every_servers_token_may_call_the_service(given: Settings, spawner: str, section: str | None) -> None:
    c = Config()
    c.JupyterHub.spawner_class = spawner
    if section:
        c[section].server_token_scopes = ["users:activity!user", "access:servers!server", "list:users"]
        c[section].oauth_client_allowed_scopes = lambda _: ["read:hub"]
    configure(c, given)
    made = JupyterHub(config=c).spawner_class(config=c)
    wanted = {*SERVER_DEFAULT, *USER} | ({"list:users"} if section else set())
    assert set(made.server_token_scopes) == wanted
    allowed = made.oauth_client_allowed_scopes
    assert set(allowed(made) if callable(allowed) else allowed) == {*USER} | ({"read:hub"} if section else set())


def test_a_base_url_is_refused_with_the_way_out(given: Settings) -> None:
    c = Config()
    c.JupyterHub.base_url = "/jupyter/"
    with pytest.raises(Refused, match="base_url"):
        configure(c, given)


def test_settings_come_from_the_environment(tmp_path: Path) -> None:
    for name in ("service_token", "stop_token", "proxy_token"):
        (tmp_path / name).write_text(f"{name}-value\n")
    environ = {
        "OCTOPUS_HUB_STATE": str(tmp_path),
        "OCTOPUS_SERVICE_URL": "http://127.0.0.1:1/services/octopus/",
        "OCTOPUS_PASSWORD_FILE": str(tmp_path / "password"),
        "OCTOPUS_PROXY_COMMAND": "node\n/a path/proxy.js",
        "OCTOPUS_TASK_ACCOUNTS": "separate",
    }
    found = Settings.from_environment(environ)
    assert found.service_token == "service_token-value" and found.proxy_command == ["node", "/a path/proxy.js"]
    assert found.separate_tasks and found.user == "" and found.admin_password_file is None
