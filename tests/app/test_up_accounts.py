"""Two users with system accounts of their own on the running product: neither sees, reads or stops the other's.

Real accounts, real hub, servers and tasks that run as them. Needs root, which makes and removes the accounts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from octopus_hub.app.walk import Walk
from octopus_hub.service.access import ROUTES
from tests.app.accounts import accounts, python_for
from tests.product import NODES, Product, says, started, until

pytestmark = [
    pytest.mark.hub,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("useradd"), reason="only root can make accounts"),
    pytest.mark.xdist_group("accounts"),
]
SHARED = "a-shared-password-of-the-test"
HUB = """
from octopus_hub.hub.configure import configure
c = get_config()
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = {password!r}
c.Authenticator.allowed_users = {users!r}
c.OctopusLocalSpawner.separate_accounts = True
c.Spawner.cmd = [{python!r}, "-m", "jupyterhub.singleuser"]
c.Spawner.environment = {environment!r}
configure(c)
"""
SUBMIT = """
from octopus_hub import Client, Role, TaskSet, submit
Client().put_secret("anns-secret", "anns-secret-value")
role = Role("worker", command=["sh", "-c", "id -un; echo anns-log; echo anns-result > out.txt"])
job = submit(TaskSet("anns-job", roles=[role], outputs=["out.txt"]), workspace=None)
print(job.wait().value)
role = Role("worker", command=["sh", "-c", "id -un; exec tail -f /dev/null"], secrets={"KEY": "anns-secret"})
submit(TaskSet("anns-long", roles=[role]), workspace=None)
"""
LOOK = """
from octopus_hub import Role, TaskSet, submit
script = 'id -un; while read -r p; do for how in r w; do test -$how "$p" && echo "$how $p"; done; done < PATHS; true'
job = submit(TaskSet("look", roles=[Role("worker", command=["sh", "-c", script])]), workspace=None)
job.wait()
print("".join(job.logs("worker", 0)))
"""


@dataclass
class Lab:
    """The product with its two users."""

    product: Product
    ann: pwd.struct_passwd
    bob: pwd.struct_passwd
    url: str

    @contextlib.asynccontextmanager
    async def visitor(self, name: str, *, spawn: bool = True) -> AsyncIterator[Walk]:
        visitor = Walk(self.product.url, name)
        try:
            await visitor.log_in(SHARED)
            if spawn:
                await visitor.spawn()
            yield visitor
        finally:
            await visitor.close()

    @contextlib.asynccontextmanager
    async def service(self, name: str) -> AsyncIterator[httpx.AsyncClient]:
        """Give a client with a token of this user that may do everything the user may."""
        async with self.visitor(name, spawn=False) as visitor:
            answer = await visitor.ask_hub("POST", f"users/{name}/tokens", json={"note": "test"})
            assert answer.status_code == 201, answer.text
        headers = {"Authorization": f"Bearer {answer.json()['token']}"}
        async with httpx.AsyncClient(base_url=self.url, headers=headers, trust_env=False, timeout=60) as client:
            yield client


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    folder = Path(tempfile.mkdtemp(prefix="octopus-lab-", dir="/var/tmp"))  # pytest's own folder is closed to others
    folder.chmod(0o755)
    names = (f"ann{os.getpid()}", f"bob{os.getpid()}")
    try:
        with accounts(folder, *names) as (ann, bob):
            found = python_for(ann)
            if found is None:
                pytest.skip("no interpreter of this version that other accounts may execute")
            hub = folder / "hub.py"
            jupyter = Path(sys.prefix)
            environment = {
                "PYTHONPATH": found[1],
                "JUPYTER_CONFIG_PATH": str(jupyter / "etc" / "jupyter"),
                "JUPYTER_PATH": str(jupyter / "share" / "jupyter"),
                "JUPYTERLAB_DIR": str(jupyter / "share" / "jupyter" / "lab"),
            }  # the interpreter may be another than ours
            hub.write_text(HUB.format(password=SHARED, users=set(names), python=found[0], environment=environment))
            config = f"{NODES}accounts: {{separate: true}}\n"
            with started(folder, config, "--hub-config", str(hub)) as product:
                url = json.loads((product.state / "client.json").read_text())["url"]
                yield Lab(product, ann, bob, f"{url}/api/v1/")
    finally:
        shutil.rmtree(folder)


async def work(lab: Lab) -> None:
    async with lab.visitor(lab.ann.pw_name) as visitor, visitor.kernel("anns.ipynb") as kernel:
        assert (await says(kernel, SUBMIT)).split() == ["Succeeded"]
        told = await says(kernel, "import os; print(os.getuid(), os.environ['HOME'])")
        assert told.split() == [str(lab.ann.pw_uid), lab.ann.pw_dir]


@pytest.fixture(scope="module")
def anns(lab: Lab) -> None:
    """Ann's work: one job with a record, one that runs with a secret."""
    asyncio.run(work(lab))
    with lab.product.client() as client:
        until(
            lambda: client.get("anns-long", lab.ann.pw_name).taskset.status.phase.value == "Running", "anns-long runs"
        )


async def test_servers_and_tasks_run_as_their_users(lab: Lab, anns: None) -> None:
    uids = {process.uids().real for process in lab.product.servers()}
    assert uids == {lab.ann.pw_uid}
    running = [each for each in lab.product.processes() if each.environ().get("OCTOPUS_TASKSET") == "anns-long"]
    assert running and {each.uids().effective for each in running} == {lab.ann.pw_uid}
    async with lab.service(lab.ann.pw_name) as ann:
        log = await ann.get("tasksets/-/anns-job/logs", params={"role": "worker", "index": 0})
    assert log.text.split() == [lab.ann.pw_name, "anns-log"]


async def test_nothing_of_anothers_is_found_or_leaks(lab: Lab, anns: None) -> None:
    names = {"ns": lab.ann.pw_name, "name": "anns-job"}
    async with lab.service(lab.bob.pw_name) as bob:
        for route in ROUTES:
            if "{ns}" not in route.path or route.base != "api":
                continue
            path = route.path.format(**names).lstrip("/")
            missing = route.path.format(ns=lab.ann.pw_name, name="no-such-job").lstrip("/")
            query = {"role": "worker", "index": 0, "follow": "true"} if path.endswith("logs") else {}
            answer, none = [await bob.request(route.method, each, params=query) for each in (path, missing)]
            assert answer.status_code == none.status_code == 404, (route.operation, answer.status_code, answer.text)
            told = answer.text.replace("anns-job", "no-such-job")
            assert told == none.text, f"{route.operation} tells whether it exists"
            assert "anns-log" not in answer.text and "anns-result" not in answer.text
        for method, path, body in (
            ("POST", "replay", {"record": {"namespace": lab.ann.pw_name, "name": "anns-job", "attempt": 1}}),
            ("GET", f"tasksets?namespace={lab.ann.pw_name}", None),
            ("GET", "tasksets?namespace=*", None),
            ("GET", f"records?namespace={lab.ann.pw_name}", None),
            ("GET", f"stream?namespace={lab.ann.pw_name}", None),
        ):
            answer = await bob.request(method, path, json=body)
            assert answer.status_code in (403, 404), (path, answer.status_code, answer.text)
            assert "anns" not in answer.text.replace("anns-job", "") and "secret" not in answer.text
        for path in ("tasksets", "records", "secrets", "queues", "nodes"):
            answer = await bob.get(path)
            assert answer.status_code == 200 and "anns" not in answer.text, path
            assert lab.ann.pw_name not in answer.text, path
        assert (await bob.delete("secrets/anns-secret")).status_code in (204, 404)
        async with bob.stream("GET", "stream") as stream:
            frame = await anext(line async for line in stream.aiter_lines() if line.startswith("data: "))
            assert "anns" not in frame and lab.ann.pw_name not in frame
    async with lab.service(lab.ann.pw_name) as ann:
        names_of_secrets = (await ann.get("secrets")).text
        view = (await ann.get("tasksets/-/anns-long")).json()
    assert "anns-secret" in names_of_secrets, "bob's delete was of his own"
    assert view["taskset"]["status"]["phase"] == "Running"


async def test_anothers_blob_is_not_found_by_its_digest(lab: Lab, anns: None) -> None:
    async with lab.service(lab.ann.pw_name) as ann, lab.service(lab.bob.pw_name) as bob:
        record = (await ann.get("records/-/anns-job")).json()
        digest = record["outputs"][0]["digest"]
        assert (await ann.get(f"blobs/{digest}")).status_code == 200
        answer = await bob.get(f"blobs/{digest}")
    assert answer.status_code == 404 and "anns-result" not in answer.text


async def test_a_task_reads_nothing_that_is_not_its_users(lab: Lab, anns: None) -> None:
    product = lab.product
    paths = [product.state, Path(lab.ann.pw_dir), *Path(lab.ann.pw_dir).rglob("*"), *product.state.rglob("*")]
    paths += [Path(f"/proc/{each.pid}/environ") for each in product.processes() if each.uids().real != lab.bob.pw_uid]
    told = "\n".join(map(str, paths))
    for name in ("octopus.db", "secrets.key", "password", "client.json", "cookie_secret", "record.json", "octopus.log"):
        assert f"/{name}" in told, name
    assert any(f"/{lab.ann.pw_name}/anns-job/" in str(path) for path in paths)
    listing = product.folder / "paths"
    listing.write_text("\n".join(str(path) for path in paths if not path.is_symlink()) + "\n")
    async with lab.visitor(lab.bob.pw_name) as visitor, visitor.kernel("bobs.ipynb") as kernel:
        said = await says(kernel, LOOK.replace("PATHS", str(listing)))
        server = await says(
            kernel,
            "import os\n"
            f"print([(h, p) for p in open({str(listing)!r}).read().splitlines()\n"
            "       for h, m in (('r', os.R_OK), ('w', os.W_OK)) if os.access(p, m)])\n",
        )
    lines = said.splitlines()
    assert lines[0] == lab.bob.pw_name
    assert [line for line in lines[1:] if line] == []
    assert server.strip() == "[]"
