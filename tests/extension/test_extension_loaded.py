"""Jupyter finds and loads the extension by itself, in the environment that the project is installed in."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tornado.testing import bind_unused_port

from tests.extension.serving import JUPYTER_TOKEN, SERVER_TOKEN, Front
from tests.service.running import DEADLINE

CONFIG = Path(sys.prefix) / "etc" / "jupyter" / "jupyter_server_config.d" / "octopus_hub_extension.json"


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return a fresh account's environment; where Jupyter looks is not bent towards us."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "PYTHONPATH") if name in os.environ}
    return {**kept, "HOME": str(home), **more}


def test_the_package_lays_jupyter_s_file() -> None:
    assert CONFIG.exists(), "`make` (or pip install -e .) lays it"
    ours = Path(__file__).parents[2] / "extension" / "octopus_hub_extension.json"
    assert CONFIG.read_text() == ours.read_text()


def test_jupyter_lists_it_as_enabled_and_valid(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "jupyter", "server", "extension", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, env=environment(tmp_path), timeout=120)
    lines = [line.strip() for line in (listed.stdout + listed.stderr).splitlines() if "octopus_hub_extension" in line]
    assert any("enabled" in line for line in lines), lines
    assert any("OK" in line for line in lines), lines


async def test_a_server_loads_it_and_does_not_need_a_service_to_start(tmp_path: Path, front: Front) -> None:
    sock, port = bind_unused_port()
    sock.close()
    options = [f"--port={port}", "--no-browser", "--allow-root", f"--IdentityProvider.token={JUPYTER_TOKEN}"]
    env = environment(
        tmp_path,
        OCTOPUS_SERVICE_URL=f"http://127.0.0.1:{front.port}/services/octopus/",
        JUPYTERHUB_API_TOKEN=SERVER_TOKEN,
    )
    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-m", "jupyter", "server", *options]
        server = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}/octopus/api/v1/whoami"
        answer = await _answer(server, url)
        assert answer.status_code == 200 and "alice" in answer.text, answer.text
    finally:
        server.terminate()
        server.wait(60)
    said = (tmp_path / "log").read_text()
    assert "octopus_hub_extension | extension was successfully loaded" in said
    assert SERVER_TOKEN not in said and "Traceback" not in said


async def _answer(server: subprocess.Popen[bytes], url: str) -> httpx.Response:
    headers = {"Authorization": f"token {JUPYTER_TOKEN}"}
    async with asyncio.timeout(3 * DEADLINE), httpx.AsyncClient(trust_env=False, headers=headers) as client:
        while True:
            if server.poll() is not None:
                pytest.fail(f"the server ended with {server.returncode}")
            try:
                return await client.get(url)
            except httpx.TransportError:
                await asyncio.sleep(0.1)
