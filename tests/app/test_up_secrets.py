"""Servers, kernels and tasks of the running product: no secret of the hub, the proxy, the service or the shell in them."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from octopus_hub.app.walk import Kernel
from tests.product import CANARIES, Product, says

pytestmark = [pytest.mark.hub, pytest.mark.xdist_group("product")]
SECRET_FILES = (
    "password",
    "admin_password",
    "client_token",
    "service_cookie_secret",
    "secrets.key",
    "hub/cookie_secret",
    "hub/service_token",
    "hub/stop_token",
    "hub/proxy_token",
)
SUBMIT = """
from octopus_hub import Role, TaskSet, submit
job = submit(TaskSet("environment", roles=[Role("worker", command=["sh", "-c",
    "tr '\\\\0' '\\\\n' < /proc/self/environ; tr '\\\\0' '\\\\n' < /proc/$PPID/environ"])]))
job.wait()
print("".join(job.logs("worker", 0)))
"""


def secrets(product: Product) -> dict[str, str]:
    """Every secret that the product has made, and those of the shell that started it, by name."""
    found = {}
    for name in SECRET_FILES:
        file = product.state / name
        if file.exists():
            found[name] = file.read_bytes().decode("latin-1").strip()
    assert len(found) >= 8, found.keys()
    return found | CANARIES


def check(environ: str, product: Product, whose: str) -> None:
    assert "PATH=" in environ, whose
    for name, value in secrets(product).items():
        assert value not in environ, f"{name} in the environment of {whose}"
    names = [line.partition("=")[0] for line in environ.splitlines()]
    for name in names:
        assert name not in ("CONFIGPROXY_AUTH_TOKEN", "JUPYTERHUB_CRYPT_KEY", "JUPYTERHUB_COOKIE_SECRET"), whose
        assert not (name.startswith("OCTOPUS_") and name.endswith("_TOKEN")), (whose, name)
        assert name not in ("OCTOPUS_HUB_STATE", "OCTOPUS_PASSWORD_FILE"), (whose, name)


def environ_of(process: psutil.Process) -> str:
    return Path(f"/proc/{process.pid}/environ").read_bytes().decode("latin-1").replace("\0", "\n")


async def kernels_own_environment(kernel: Kernel) -> str:
    return await says(kernel, "import os; print('\\n'.join(f'{k}={v}' for k, v in os.environ.items()))")


async def test_server_kernel_and_task_hold_no_secret(product: Product) -> None:
    async with product.visitor() as visitor, visitor.kernel("environment.ipynb") as kernel:
        servers = product.servers()
        assert servers
        for server in servers:
            check(environ_of(server), product, "the server")
            for child in server.children(recursive=True):
                check(environ_of(child), product, f"the server's child {child.name()}")
        check(await kernels_own_environment(kernel), product, "the kernel")
        told = await says(kernel, SUBMIT)
    assert "OCTOPUS_TASKSET=environment" in told
    check(told, product, "the task and its parent")
    assert "JUPYTERHUB_API_TOKEN" not in told and "JPY_API_TOKEN" not in told


async def test_the_servers_token_is_its_users_and_no_more(product: Product) -> None:
    async with product.visitor() as visitor, visitor.kernel("token.ipynb") as kernel:
        told = await says(
            kernel,
            "import os, httpx\n"
            "hub = os.environ['JUPYTERHUB_API_URL']\n"
            "headers = {'Authorization': 'token ' + os.environ['JUPYTERHUB_API_TOKEN']}\n"
            "for verb, path in [('GET', '/users'), ('POST', '/shutdown'), ('GET', '/services'), ('POST', '/users/eve')]:\n"
            "    print(httpx.request(verb, hub + path, headers=headers, json={}).status_code)\n"
            "print(sorted(s for s in httpx.get(hub + '/user', headers=headers).json()['scopes'] if 'octopus' in s))\n",
        )
    lines = told.strip().splitlines()
    assert lines[:4] == ["403"] * 4
    assert "custom:octopus:tasksets:write" in lines[4] and "admin" not in lines[4]
