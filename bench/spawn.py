"""What our spawner adds to the start of a notebook server: ``python -m bench.spawn``.

One running workbench; two users, one served by JupyterHub's SimpleLocalProcessSpawner without anything of ours in its
server, one by OctopusLocalSpawner with the server extension. They are spawned alternately, the order swapped each time.
Timed from the request until the server answers, and until the hub says that it is ready: the hub looks at growing
intervals of up to seconds, which hides differences and makes others up. ``cpu`` is what the server has used when it
answers; it depends least on what else the machine does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from bench.facts import report, summary
from octopus_hub.app.workbench import Wishes, Workbench

PAIRS = 15
STOP_SECONDS = 120.0
LOOK_SECONDS = 0.02
HUB = '''
from jupyterhub.spawner import SimpleLocalProcessSpawner
from octopus_hub.hub.configure import configure
from octopus_hub.hub.spawner import OctopusLocalSpawner

class Plain(SimpleLocalProcessSpawner):
    """The simple spawner; its server loads no extension of ours."""
    args = {args!r}
    home_dir_template = {home!r}  # the same for both: settings are read there

class Either(SimpleLocalProcessSpawner):
    """Chooses by the user: a hub has one spawner class."""
    def __new__(cls, *arguments, **more):
        chosen = Plain if more["user"].name == "plain" else OctopusLocalSpawner
        return chosen(*arguments, **more)

c = get_config()
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allowed_users = {{"plain", "octopus"}}
c.JupyterHub.spawner_class = Either
c.Spawner.http_timeout = 120
c.JupyterHub.services = [{{"name": "bench", "api_token": {token!r}}}]
c.JupyterHub.load_roles = [
    {{"name": "bench", "services": ["bench"], "scopes": ["read:users", "servers", "read:servers"]}}
]
configure(c)
'''
PLAIN_ARGS = ["--ServerApp.jpserver_extensions={'octopus_hub_extension': False}"]


@dataclass(frozen=True)
class Start:
    """One start of a server, in seconds."""

    answers: float
    ready: float
    cpu: float


async def spawn(client: httpx.AsyncClient, user: str, hub: psutil.Process) -> Start:
    """Start a user's server and stop it; returns how long the start took."""
    before = {child.pid for child in hub.children()}
    started = time.perf_counter()
    looking = asyncio.create_task(answering(hub, before, started))
    answer = await client.post(f"users/{user}/server")
    answer.raise_for_status()
    if answer.status_code == 202:
        await progress(client, user)
    ready = time.perf_counter() - started
    answers, cpu = await looking
    (await client.delete(f"users/{user}/server")).raise_for_status()
    deadline = time.monotonic() + STOP_SECONDS
    while (await client.get(f"users/{user}")).json()["servers"] and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    return Start(answers, ready, cpu)


async def progress(client: httpx.AsyncClient, user: str) -> None:
    """Follow the hub until the server is ready."""
    async with client.stream("GET", f"users/{user}/server/progress") as events:
        async for line in events.aiter_lines():
            if line.startswith("data:"):
                event = json.loads(line[5:])
                if event.get("failed"):
                    raise SystemExit(f"{user}'s server did not start: {event}")
                if event.get("ready"):
                    return


async def answering(hub: psutil.Process, before: set[int], started: float) -> tuple[float, float]:
    """Return when the hub's new child answered, and the CPU time it had used by then."""
    url = ""
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        while time.perf_counter() - started < STOP_SECONDS:
            with contextlib.suppress(psutil.Error, httpx.HTTPError):
                server = next((child for child in hub.children() if child.pid not in before), None)
                if server and not url:
                    url = server.environ().get("JUPYTERHUB_SERVICE_URL", "")
                if server and url and (await client.get(f"{url}api")).status_code == 200:
                    taken = time.perf_counter() - started
                    times = server.cpu_times()
                    return taken, times.user + times.system
            await asyncio.sleep(LOOK_SECONDS)
    raise SystemExit("a server never answered")


async def measure(folder: Path) -> dict[str, list[Start]]:
    """Return the starts by each spawner."""
    token = os.urandom(16).hex()
    hub = folder / "hub.py"
    args = [*PLAIN_ARGS, *(["--allow-root"] if os.geteuid() == 0 else [])]
    hub.write_text(HUB.format(token=token, args=args, home=str(folder)))
    os.environ["HOME"] = str(folder)
    bench = Workbench(Wishes(folder / "state", "bench", port=0, root_dir=str(folder), hub_config=hub))
    await bench.start()
    times: dict[str, list[Start]] = {"plain": [], "octopus": []}
    try:
        headers = {"Authorization": f"token {token}"}
        api = f"{bench.url}/hub/api/"
        process = psutil.Process(int((folder / "state" / "hub" / "hub.pid").read_text()))
        async with httpx.AsyncClient(base_url=api, headers=headers, trust_env=False, timeout=180) as client:
            for user in times:
                await spawn(client, user, process)  # the first start of all fills caches
            for pair in range(PAIRS):
                for user in sorted(times, reverse=pair % 2 == 0):
                    times[user].append(await spawn(client, user, process))
    finally:
        await bench.stop()
    return times


def main() -> None:
    """Measure and report."""
    with tempfile.TemporaryDirectory() as folder:
        times = asyncio.run(measure(Path(folder)))
    rows: list[dict[str, Any]] = []
    notes = []
    for what in ("answers", "ready", "cpu"):
        plain, ours = ([getattr(each, what) for each in times[user]] for user in ("plain", "octopus"))
        rows.append({"until": what, "spawner": "SimpleLocalProcessSpawner", **summary(plain)})
        rows.append({"until": what, "spawner": "OctopusLocalSpawner", **summary(ours)})
        extra = statistics.median(ours) - statistics.median(plain)
        pairs = statistics.median(b - a for a, b in zip(plain, ours, strict=True))
        percent = 100 * extra / statistics.median(plain)
        notes.append(
            f"{what}: difference of medians {extra * 1e3:+.0f} ms ({percent:+.1f} %), "
            f"median of the pairs' differences {pairs * 1e3:+.0f} ms"
        )
    report("spawn", rows, target="overhead <= 5 % or 150 ms, median of 15 interleaved pairs", notes="\n".join(notes))


if __name__ == "__main__":
    main()
