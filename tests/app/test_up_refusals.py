"""What ``octopus up`` does not start with: one sentence with the way out, exit code 1, nothing left running."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from octopus_hub.app import checks
from octopus_hub.backends.local import statefolder
from octopus_hub.model.errors import StateError, Unavailable
from tests.product import BIN, Product

pytestmark = [pytest.mark.hub]


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Product]:
    """An account in which nothing has been started."""
    account = Product(tmp_path)
    yield account
    if hasattr(account, "process") and account.process.poll() is None:  # the test has failed
        account.stop()


def refused(account: Product, *options: str, **environ: str) -> str:
    """Start it with these options; returns the one sentence that it must have ended with."""
    account.environ |= environ
    account.launch(*options)
    assert account.process.wait(60) == 1, account.output()
    lines = account.output().splitlines()
    assert len(lines) == 1, account.output()
    assert account.processes() == []
    return lines[0].removeprefix("octopus up: ")


def test_a_port_in_use(account: Product) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(account, "--port", str(port))
    assert f"port {port} on 127.0.0.1 is in use" in said and "--port" in said and "make run PORT=" in said


@pytest.mark.parametrize(("port", "words"), [("70000", "does not exist"), ("-1", "does not exist")])
def test_a_port_that_is_none(account: Product, port: str, words: str) -> None:
    assert words in refused(account, f"--port={port}")


@pytest.mark.parametrize(("ip", "words"), [("example.org", "not an address"), ("203.0.113.7", "can't be used")])
def test_an_address_that_is_not_ours(account: Product, ip: str, words: str) -> None:
    assert words in refused(account, "--ip", ip)


def test_a_file_in_place_of_the_state_folder(account: Product, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = refused(account, OCTOPUS_STATE=str(tmp_path / "file"))
    assert str(tmp_path / "file") in said and "OCTOPUS_STATE" in said and "can't be used" in said


def test_a_state_folder_that_is_mounted_read_only(account: Product) -> None:
    mount = f"mount --bind {account.state} {account.state} && mount -o remount,ro,bind {account.state} && "
    command = ["unshare", "--mount", "sh", "-c", f"{mount} echo mounted && exec {BIN}/octopus up --port 0"]
    done = subprocess.run(command, env=account.environ, capture_output=True, text=True, timeout=60, check=False)
    if "mounted" not in done.stdout:
        pytest.skip("mounting needs rights that this account does not have")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and "Read-only file system" in lines[0] and "OCTOPUS_STATE" in lines[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_state_folder_of_another_account(account: Product) -> None:
    os.chown(account.state, 65534, 65534)
    assert "belongs to another account" in refused(account)


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "fuse.sshfs"])
def test_a_network_file_system(tmp_path: Path, kind: str) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"22 1 0:20 / / rw - ext4 /dev/sda rw\n23 22 0:21 / {tmp_path} rw shared:1 - {kind} host:/x rw\n")
    with pytest.raises(StateError, match="network file system") as refusal:
        statefolder.prepare(tmp_path / "state", mounts)
    assert kind in str(refusal.value) and "OCTOPUS_STATE=" in str(refusal.value)


@pytest.mark.parametrize("platform", ["darwin", "win32", "freebsd14"])
def test_another_operating_system(platform: str) -> None:
    with pytest.raises(Unavailable, match="runs on Linux") as refusal:
        checks.check_platform(platform)
    assert platform in str(refusal.value) and "WSL" in str(refusal.value)


def test_a_proxy_that_is_not_installed(account: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from octopus_hub.hub import proxy

    monkeypatch.setattr(proxy, "SCRIPT", tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="octopus install-proxy"):
        proxy.proxy_command()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--config", "none.yaml"], "--config none.yaml: there is no such file"),
        (["--hub-config", "none.py"], "--hub-config none.py: there is no such file"),
        (["--root-dir", "/none"], "--root-dir /none: there is no such folder"),
        (["--once", "none.ipynb"], "--once none.ipynb: there is no such file"),
        (["surprise"], "takes no 'surprise'"),
        (["--prot", "1"], "no option --prot"),
    ],
)
def test_options_that_name_nothing(account: Product, options: list[str], words: str) -> None:
    assert words in refused(account, "--port", "0", *options)


def test_a_port_that_is_no_number(account: Product) -> None:
    account.launch("--port", "eighty")
    assert account.process.wait(60) == 1
    assert "eighty" in account.output() and "Traceback" not in account.output()


def test_a_damaged_configuration(account: Product) -> None:
    (account.state / "octopus.yaml").write_text("nodes: [\n")
    said = refused(account, "--port", "0")
    assert "octopus.yaml is not YAML, line 2" in said


def state_of_an_earlier_start(account: Product) -> Path:
    account.launch("--stop-tasks")
    assert account.process.wait(60) == 0, account.output()
    return account.state / "octopus.db"


def test_a_state_folder_of_a_newer_version(account: Product) -> None:
    with contextlib.closing(sqlite3.connect(state_of_an_earlier_start(account))) as database:
        database.execute("PRAGMA user_version = 999")
        database.commit()
    said = refused(account, "--port", "0")
    assert "999" in said and str(account.state) in said and "newer" in said


def test_a_damaged_database(account: Product) -> None:
    file = state_of_an_earlier_start(account)
    file.write_bytes(b"no database " * 1000)
    said = refused(account, "--port", "0")
    assert str(account.state) in said and ("damaged" in said or "backup" in said), said


def test_a_network_address_with_several_users(account: Product, tmp_path: Path) -> None:
    hub = tmp_path / "hub.py"
    hub.write_text(
        "from octopus_hub.hub.configure import configure\nc = get_config()\n"
        "c.JupyterHub.authenticator_class = 'dummy'\nc.Authenticator.allowed_users = {'ada', 'grace'}\nconfigure(c)\n"
    )
    said = refused(account, "--port", "0", "--ip", "0.0.0.0", "--hub-config", str(hub))
    assert "2 users are named" in said and "127.0.0.1" in said


def test_a_hub_configuration_that_fails(account: Product, tmp_path: Path) -> None:
    hub = tmp_path / "hub.py"
    hub.write_text("c = get_config()\nc.JupyterHub.authenticator_class = undefined\n")
    said = refused(account, "--port", "0", "--hub-config", str(hub))
    assert "JupyterHub ended while starting" in said and "undefined" in said and "hub.log" in said


def test_notebooks_that_are_none(account: Product, tmp_path: Path) -> None:
    broken = account.root / "broken.ipynb"
    broken.write_text("{}")
    said = refused(account, "--port", "0", "--root-dir", str(account.root), "--once", str(broken))
    assert "is not a notebook" in said
    outside = tmp_path / "outside.ipynb"
    shutil.copy(account.root / "examples" / "quickstart" / "quickstart.ipynb", outside)
    said = refused(account, "--port", "0", "--root-dir", str(account.root), "--once", str(outside))
    assert "lies outside of" in said and "--root-dir" in said
