"""Two users of a running hub, each with a system account: what one has is for the other as if it were not there.

The hub, its tokens, the engine and the accounts are real. Needs root.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from octopus_hub.app.walk import Walk
from octopus_hub.hub.scopes import USER
from tests.faults.faulty import document
from tests.product import NODES, Product, started, until

pytestmark = [
    pytest.mark.hub,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can run tasks as other accounts"),
    pytest.mark.xdist_group("tenants"),
]
A, B = "games", "daemon"  # accounts that every machine has
MARK, SECRET, RESULT = "secret-project", "s3cr3t-value", b"the result of B"
CONTENT = b"the workspace of B"
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
HUB = f"""
from octopus_hub.hub.configure import configure

c = get_config()
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "for all in this test"
c.Authenticator.allowed_users = {{"{A}", "{B}"}}
c.OctopusLocalSpawner.separate_accounts = True
configure(c)
"""
RUNS = "echo log line of B; printf '%s' \"$RESULT\" > outputs/result; while [ ! -e go ]; do sleep 0.1; done"


@dataclass
class Two:
    """The product, and both users as clients of its service."""

    product: Product
    a: httpx.Client
    b: httpx.Client


async def _tokens(url: str) -> dict[str, str]:
    found = {}
    for name in (A, B):
        visitor = Walk(url, name)
        await visitor.log_in("for all in this test")
        scopes = ["access:services!service=octopus", *USER]
        answer = await visitor.ask_hub("POST", f"users/{name}/tokens", json={"note": "test", "scopes": scopes})
        assert answer.status_code == 201, answer.text
        found[name] = answer.json()["token"]
        await visitor.close()
    return found


@pytest.fixture(scope="module")
def two() -> Iterator[Two]:
    folder = Path(tempfile.mkdtemp(prefix="octopus-tenants-", dir="/tmp"))  # pytest's own folder is closed to others
    folder.chmod(0o711)
    (folder / "hub.py").write_text(HUB)
    with started(folder, NODES + "accounts: {separate: true}\n", "--hub-config", str(folder / "hub.py")) as product:
        for part in (product.home, product.home / ".local", product.state.parent):
            part.chmod(0o711)  # as homes of accounts that share a machine are; the state folder keeps its own
        base = f"{product.url}/services/octopus/api/v1/"
        tokens = asyncio.run(_tokens(product.url))
        clients = [
            httpx.Client(base_url=base, headers={"Authorization": f"token {tokens[name]}"}, timeout=60, trust_env=False)
            for name in (A, B)
        ]
        both = Two(product, *clients)
        _furnish(both)
        yield both
        for client in clients:
            client.close()
    shutil.rmtree(folder, ignore_errors=True)


def _furnish(two: Two) -> None:
    """Give B one of everything: a secret, a blob, a record, and a TaskSet that runs."""
    assert two.b.put("secrets/hf-token", json={"value": SECRET}).status_code == 204
    assert two.b.put(f"blobs/{DIGEST}", content=CONTENT).status_code == 201
    role = {
        "name": "w",
        "command": ["sh", "-c", RUNS],
        "secrets": {"TOKEN": "hf-token"},
        "env": {"RESULT": RESULT.decode()},
    }
    assert two.b.post("tasksets", json=document(MARK, roles=[role])).status_code == 201
    done = [{**role, "command": ["sh", "-c", RUNS.partition("while")[0]]}]
    assert two.b.post("tasksets", json=document("done", roles=done)).status_code == 201
    until(lambda: _log(two.b, MARK) == "log line of B\n", "B's TaskSet runs")
    until(lambda: two.b.get(f"records/{B}/done").status_code == 200, "B has a record")


def _log(client: httpx.Client, name: str) -> str:
    return client.get(f"tasksets/-/{name}/logs").text


CALLS: list[tuple[str, str, Any]] = [
    ("GET", f"tasksets/{B}/{MARK}", None),
    ("DELETE", f"tasksets/{B}/{MARK}", None),
    ("POST", f"tasksets/{B}/{MARK}/stop", None),
    ("POST", f"tasksets/{B}/{MARK}/hold", None),
    ("POST", f"tasksets/{B}/{MARK}/release", None),
    ("GET", f"tasksets/{B}/{MARK}/tasks", None),
    ("GET", f"tasksets/{B}/{MARK}/logs", None),
    ("GET", f"tasksets/{B}/{MARK}/logs?follow=true", None),
    ("GET", f"tasksets?namespace={B}", None),
    ("GET", "tasksets?namespace=*", None),
    ("GET", f"stream?namespace={B}", None),
    ("GET", "stream?namespace=*", None),
    ("GET", f"records?namespace={B}", None),
    ("GET", f"records/{B}/done", None),
    ("GET", f"records/{B}/done/outputs", None),
    ("GET", f"records/{B}/done/record.zip", None),
    ("POST", "replay", {"record": {"namespace": B, "name": "done"}}),
    ("GET", f"blobs/{DIGEST}", None),
    ("HEAD", f"blobs/{DIGEST}", None),
    ("DELETE", "secrets/hf-token", None),
]


@pytest.mark.parametrize(("method", "path", "body"), CALLS, ids=[f"{method} {path}" for method, path, _ in CALLS])
def test_what_is_anothers_is_as_if_it_were_not_there(two: Two, method: str, path: str, body: Any) -> None:
    nobody, nothing = "nobody", "sha256:" + "0" * 64
    absent = path.replace(f"/{B}", f"/{nobody}").replace(f"={B}", f"={nobody}").replace(DIGEST, nothing)
    foreign = two.a.request(method, path, json=body)
    missing = two.a.request(method, absent, json={"record": {"namespace": nobody, "name": "done"}} if body else None)
    assert foreign.status_code == missing.status_code == 404
    words = [
        text.replace(B, "?").replace(nobody, "?").replace(DIGEST, "?").replace(nothing, "?")
        for text in (foreign.text, missing.text)
    ]
    assert words[0] == words[1]
    assert two.b.get(f"tasksets/{B}/{MARK}").json()["taskset"]["status"]["phase"] == "Running"
    assert two.b.get("secrets").json()["items"] == [{"name": "hf-token"}]


def test_own_lists_and_streams_hold_nothing_foreign(two: Two) -> None:
    for path in ("tasksets", "records", "secrets", "nodes", "queues"):
        answer = two.a.get(path)
        assert answer.status_code == 200 and MARK not in answer.text and "hf-token" not in answer.text, path
    with two.a.stream("GET", "stream") as frames:
        for line in frames.iter_lines():
            if line.startswith("data: "):
                assert MARK not in line and json.loads(line[6:]).get("tasksets", []) == []
                break


def test_anothers_secret_workspace_and_name_can_not_be_used(two: Two) -> None:
    role = {"name": "w", "command": ["true"], "secrets": {"TOKEN": "hf-token"}}
    for sent in (document("steal", roles=[role]), document("steal", workspace={"digest": DIGEST})):
        answer = two.a.post("tasksets", json=sent)
        assert answer.status_code == 422 and "there is no" in answer.text, answer.text
    sent = document(MARK)
    sent["metadata"] |= {"namespace": B, "owner": B, "uid": "x"}
    made = two.a.post("tasksets", json=sent).json()["metadata"]
    assert (made["namespace"], made["owner"], made["name"]) == (A, A, MARK)
    waited = document("after", after=[{"name": "done", "on": "Succeeded"}])
    assert two.a.post("tasksets", json=waited).status_code == 201
    view = two.a.get("tasksets/-/after").json()
    assert view["taskset"].get("status", {}).get("phase", "Queued") == "Queued", "B's TaskSet of that name is not meant"
    for name in (MARK, "after"):
        assert two.a.delete(f"tasksets/-/{name}").status_code == 200


def test_a_task_of_one_can_not_touch_anything_of_the_other(two: Two) -> None:
    state = two.product.state
    (task,) = state.glob(f"tasks/{B}/{MARK}/[!.]*/")
    assert task.stat().st_uid == 0 and (task / "work").stat().st_uid == pwd.getpwnam(B).pw_uid
    (record,) = state.glob(f"records/{B}/done/*/")
    main = json.loads((task / "started.json").read_text())["pid"]
    parent = json.loads((task / "parent.json").read_text())["pid"]
    files = [
        state / name for name in ("octopus.db", "client.json", "client_token", "secrets.key", "password", "octopus.log")
    ]
    files += [
        state / "hub" / "jupyterhub.sqlite",
        task / "log",
        task / "spec.json",
        task / "work" / "outputs" / "result",
    ]
    files += [
        record / "record.json",
        record / "outputs",
        Path(f"/proc/{main}/environ"),
        Path(f"/proc/{parent}/environ"),
    ]
    files += [Path(f"/proc/{two.product.process.pid}/environ"), Path(f"/proc/{main}/cwd/outputs/result")]
    folders = [
        state,
        state / "tasks",
        state / "tasks" / B,
        state / "records",
        state / "blobs",
        state / "hub",
        task,
        task / "work",
    ]
    code = f"""
for file in {" ".join(map(str, files))}; do
  (exec 3< $file) 2> /dev/null && echo read $file
  (exec 3>> $file) 2> /dev/null && echo written $file
done
for folder in {" ".join(map(str, folders))}; do
  ls $folder > /dev/null 2>&1 && echo listed $folder
  (touch $folder/planted) 2> /dev/null && echo planted $folder
done
for pid in {main} {parent} {two.product.process.pid} {two.product.pid("hub")}; do
  kill -9 $pid 2> /dev/null && echo killed $pid
done
echo looked as $(id -un), $(env | grep -c 'TOKEN\\|CONFIGPROXY') tokens
"""
    role = {"name": "w", "command": ["sh", "-c", code]}
    assert two.a.post("tasksets", json=document("looks", roles=[role])).status_code == 201
    until(lambda: two.a.get(f"records/{A}/looks").status_code == 200, "A's task has looked")
    assert _log(two.a, "looks") == f"looked as {A}, 0 tokens\n"
    assert two.b.get(f"tasksets/-/{MARK}").json()["taskset"]["status"]["phase"] == "Running"


def test_links_to_anothers_files_are_never_collected(two: Two) -> None:
    (record,) = two.product.state.glob(f"records/{B}/done/*/")
    code = f"ln -s {record}/record.json outputs/a; ln -s {record} outputs/d; ln -s /etc/shadow outputs/s; echo mine > outputs/m"
    links = code + f"; rm -rf .octopus; ln -s {record} .octopus"
    assert (
        two.a.post(
            "tasksets", json=document("links", roles=[{"name": "w", "command": ["sh", "-c", links]}])
        ).status_code
        == 201
    )
    until(lambda: two.a.get(f"records/{A}/links").status_code == 200, "A's task has ended")
    kept = two.a.get(f"records/{A}/links").json()
    assert [output["path"] for output in kept["outputs"]] == ["w-0/outputs/m"]
    assert kept.get("metrics", {}) == {}


def test_without_a_good_token_there_is_nothing(two: Two) -> None:
    base = str(two.a.base_url)
    good = two.a.headers["Authorization"].split()[1]
    for token in ("forged", good[:-1], good.upper(), f"{good}x"):
        answer = httpx.get(f"{base}tasksets", headers={"Authorization": f"token {token}"}, trust_env=False)
        assert answer.status_code == 401, token


def test_no_value_of_a_secret_is_kept_or_shown(two: Two) -> None:
    for path in two.product.state.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert SECRET.encode() not in path.read_bytes(), path
    for path in ("secrets", f"tasksets/-/{MARK}", f"records/{B}/done"):
        assert SECRET not in two.b.get(path).text
