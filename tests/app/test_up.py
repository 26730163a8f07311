"""``octopus up`` as a user meets it: what it prints, where things lie, log-in, spawn, a notebook that submits."""

from __future__ import annotations

import json
import os
import stat
from typing import Any

import pytest

from octopus_hub.app.walk import CellFailed
from octopus_hub.model.errors import OctopusError, Unavailable
from tests.product import BIN, Product, says

pytestmark = [pytest.mark.hub, pytest.mark.xdist_group("product")]


def mode(path: os.PathLike[str]) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def test_the_block_tells_where_everything_is(product: Product) -> None:
    lines = product.output().splitlines()
    assert lines[0] == "octopus-hub is ready"
    assert [line.split()[0] for line in lines[1:7]] == ["address", "user", "password", "state", "shell", "stop"]
    assert product.url.startswith("http://127.0.0.1:")
    assert product.line("password") == f"in {product.state / 'password'}"
    assert product.line("state") == str(product.state)
    assert "Ctrl-C" in product.line("stop")
    assert ("running as root" in product.output()) == (os.geteuid() == 0)


def test_the_password_is_in_a_file_of_its_owner_and_not_on_a_pipe(product: Product) -> None:
    assert len(product.password) >= 16
    assert product.password not in product.output()
    assert mode(product.state / "password") == 0o600


def test_state_is_private_and_holds_the_hub(product: Product) -> None:
    assert mode(product.state) == 0o700
    for name in ("jupyterhub.sqlite", "cookie_secret", "proxy.pid", "hub.pid"):
        assert (product.state / "hub" / name).exists(), name
    assert mode(product.state / "hub") == 0o700
    for name in ("client.json", "password", "secrets.key", "client_token", "service_cookie_secret"):
        assert not (product.state / name).exists() or mode(product.state / name) == 0o600, name


async def test_a_notebook_submits_without_any_configuration(product: Product) -> None:
    async with product.visitor() as visitor, visitor.kernel("new.ipynb") as kernel:
        said = await says(
            kernel,
            "from octopus_hub import Role, TaskSet, submit\n"
            "job = submit(TaskSet('first', roles=[Role('worker', replicas=2, command=['sh', '-c', 'echo hello'])]))\n"
            "print(job.wait().value, job.name, ''.join(job.logs('worker', 1)).strip())\n",
        )
    assert said.split() == ["Succeeded", "first", "hello"]
    rows = json.loads(product.run("octopus", "list", "-o", "json").stdout)
    assert "first" in json.dumps(rows)


def test_the_accounts_shell_needs_no_configuration_and_no_proxy_for_loopback(product: Product) -> None:
    dead = "http://127.0.0.1:9"
    proxies = [f"{name}={dead}" for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY")]
    done = product.run("env", *proxies, str(BIN / "octopus"), "nodes", "-o", "name")
    assert done.stdout.split() == ["node-a", "node-b"]


def notebook(*sources: str) -> dict[str, Any]:
    return {"cells": [{"cell_type": "code", "source": source} for source in sources]}


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ("import os; os.kill(os.getpid(), 9)", Unavailable, "the kernel died while cell 2 ran"),
        (
            "from octopus_hub import Role, TaskSet, submit\n"
            "job = submit(TaskSet('bad', roles=[Role('worker', command=['false'])]), workspace=None)\n"
            "assert job.wait().value == 'Succeeded', 'the gang failed'",
            CellFailed,
            "cell 2 failed: AssertionError: the gang failed",
        ),
        ("1 +", CellFailed, "cell 2 failed: SyntaxError: "),
    ],
    ids=["kernel dies", "gang fails", "no Python"],
)
async def test_what_stops_an_unattended_notebook(
    product: Product, source: str, error: type[OctopusError], words: str
) -> None:
    async with product.visitor() as visitor:
        with pytest.raises(error) as failure:
            await visitor.run_notebook("failing.ipynb", notebook("pass", source, "raise SystemExit"))
    assert str(failure.value).startswith(words)
