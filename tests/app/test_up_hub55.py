"""The main job over JupyterHub 5.5.1, the oldest that is supported, and the oldest that charts still ship.

An environment of its own in ``.build/hub55`` (kept) holds that jupyterhub and takes everything else from ours, so that
it is made in seconds; what differs from a whole installation is that the other packages are ours as well.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.product import ROOT, Product

pytestmark = [pytest.mark.hub, pytest.mark.slow]
VERSION = "5.5.1"
PLACE = ROOT / ".build" / "hub55"


@pytest.fixture(scope="module")
def python() -> Path:
    """The interpreter of an environment with the old hub."""
    program = PLACE / "bin" / "python"
    if not (PLACE / ".complete").exists():
        shutil.rmtree(PLACE, ignore_errors=True)
        venv.create(PLACE, symlinks=True, with_pip=False)
        where = sysconfig.get_path("purelib", vars={"base": str(PLACE), "platbase": str(PLACE)})
        pip = [sys.executable, "-m", "pip", "--python", str(program), "install", "-q", "--no-deps"]
        done = subprocess.run([*pip, f"jupyterhub=={VERSION}"], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"jupyterhub {VERSION} can't be fetched: {done.stderr.strip().splitlines()[-1]}")
        ours = sysconfig.get_path("purelib")
        Path(where, "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
        for part in ("etc/jupyter", "share/jupyter", "share/octopus-hub"):
            target = PLACE / part
            target.parent.mkdir(exist_ok=True)
            if not target.exists():
                target.symlink_to(Path(sys.prefix) / part)
        (PLACE / ".complete").touch()
    said = subprocess.run([program, "-m", "jupyterhub", "--version"], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == VERSION
    return program


def test_the_quickstart_over_the_oldest_hub(python: Path, tmp_path: Path) -> None:
    account = Product(tmp_path)
    account.program = [str(python), "-m", "octopus_hub"]
    notebook = account.root / "examples" / "quickstart" / "quickstart.ipynb"
    account.launch("--port", "0", "--root-dir", str(account.root), "--once", str(notebook))
    assert account.process.wait(280) == 0, account.output()
    assert "test accuracy 0.9" in account.output() and "no TaskSet is left running" in account.output()
    log = (account.state / "hub" / "hub.log").read_text()
    assert f"single-user server extension version {VERSION}" in log
    assert account.processes() == []
