"""What our spawner adds to the start of a notebook server: ``python -m bench.spawn``.

One running workbench; two users, one served by JupyterHub's SimpleLocalProcessSpawner without anything of ours in its
server, one by OctopusLocalSpawner with the server extension. They are spawned alternately, the order swapped each time;
timed from the request to the hub's word that the server is ready.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from bench.facts import report, summary
from octopus_hub.app.workbench import Wishes, Workbench

PAIRS = 15
STOP_SECONDS = 120.0
HUB = '''
from jupyterhub.spawner import SimpleLocalProcessSpawner
from octopus_hub.hub.configure import configure
from octopus_hub.hub.spawner import OctopusLocalSpawner

class Plain(SimpleLocalProcessSpawner):
    """The simple spawner; its server loads no extension of ours."""
    args = {args!r}

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
    {{"name": "bench", "services": ["bench"], "scopes": ["admin:users", "servers", "read:servers"]}}
]
configure(c)
'''
PLAIN_ARGS = ["--ServerApp.jpserver_extensions={'octopus_hub_extension': False}"]


async def spawn(client: httpx.AsyncClient, user: str) -> float:
    """Start a user's server and stop it; returns how long the start took."""
    started = time.perf_counter()
    answer = await client.post(f"users/{user}/server")
    answer.raise_for_status()
    if answer.status_code == 202:
        async with client.stream("GET", f"users/{user}/server/progress") as events:
            async for line in events.aiter_lines():
                if line.startswith("data:"):
                    event = json.loads(line[5:])
                    if event.get("failed"):
                        raise SystemExit(f"{user}'s server did not start: {event}")
                    if event.get("ready"):
                        break
    taken = time.perf_counter() - started
    (await client.delete(f"users/{user}/server")).raise_for_status()
    deadline = time.monotonic() + STOP_SECONDS
    while (await client.get(f"users/{user}")).json()["servers"] and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    return taken


async def measure(folder: Path) -> dict[str, list[float]]:
    """Return the times of each spawner."""
    token = os.urandom(16).hex()
    hub = folder / "hub.py"
    args = [*PLAIN_ARGS, *(["--allow-root"] if os.geteuid() == 0 else [])]
    hub.write_text(HUB.format(token=token, args=args))
    bench = Workbench(Wishes(folder / "state", "bench", port=0, root_dir=str(folder), hub_config=hub))
    await bench.start()
    times: dict[str, list[float]] = {"plain": [], "octopus": []}
    try:
        headers = {"Authorization": f"token {token}"}
        api = f"{bench.url}/hub/api/"
        async with httpx.AsyncClient(base_url=api, headers=headers, trust_env=False, timeout=180) as client:
            for user in times:
                (await client.post(f"users/{user}")).raise_for_status()
                await spawn(client, user)  # the first start of all fills caches
            for pair in range(PAIRS):
                for user in sorted(times, reverse=pair % 2 == 0):
                    times[user].append(await spawn(client, user))
    finally:
        await bench.stop()
    return times


def main() -> None:
    """Measure and report."""
    with tempfile.TemporaryDirectory() as folder:
        times = asyncio.run(measure(Path(folder)))
    plain, ours = times["plain"], times["octopus"]
    extra = statistics.median(ours) - statistics.median(plain)
    pairs = statistics.median(b - a for a, b in zip(plain, ours, strict=True))
    rows: list[dict[str, Any]] = [
        {"spawner": "SimpleLocalProcessSpawner", **summary(plain)},
        {"spawner": "OctopusLocalSpawner", **summary(ours)},
    ]
    notes = (
        f"difference of medians {extra * 1e3:.0f} ms ({100 * extra / statistics.median(plain):.1f} %), "
        f"median of the pairs' differences {pairs * 1e3:.0f} ms"
    )
    report("spawn", rows, target="overhead <= 5 % or 150 ms, median of 15 interleaved pairs", notes=notes)


if __name__ == "__main__":
    main()
