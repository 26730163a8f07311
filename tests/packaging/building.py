"""Runs builds and installs as a user would: in folders, environments and processes of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
STATIC = Path("widgets") / "octopus_widgets" / "static"
JUPYTER_FILE = "etc/jupyter/jupyter_server_config.d/octopus_hub_extension.json"


def copy_tree(to: Path) -> Path:
    """Copy what version control knows or would take, as it is now."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for name in listed.stdout.split("\0"):
        source = ROOT / name
        if name and source.is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, to / name)
    return to


def environment(tools: Path, *, node: bool) -> dict[str, str]:
    """Return the environment of a build: with Node on the path, or with nothing on it."""
    ours = ("OCTOPUS_", "JUPYTER", "PYTHON", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    tools.mkdir(exist_ok=True)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]) if node else str(tools)
    return {**kept, "PATH": path}


def run(command: list[str | Path], cwd: Path, env: dict[str, str]) -> str:
    """Run to the end; its whole output is in the failure, and is returned."""
    done = subprocess.run(command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, f"{' '.join(map(str, command))}:\n{done.stdout[-8000:]}"
    return done.stdout


def build(tree: Path, out: Path, *kinds: str, node: bool) -> str:
    """Build distributions in an isolated environment; with no kind, a wheel from the source distribution."""
    return run(
        [sys.executable, "-m", "build", *kinds, "--outdir", out, tree], out.parent, environment(tree.parent / "no-tools", node=node)
    )  # fmt: skip


def one(folder: Path, pattern: str) -> Path:
    """Return the only file of that pattern."""
    (found,) = folder.glob(pattern)
    return found


def names_in(archive: Path) -> set[str]:
    """Return the files of a wheel or source distribution, the latter without its top folder."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return set(wheel.namelist())
    with tarfile.open(archive) as source:
        return {member.name.partition("/")[2] for member in source.getmembers() if member.isfile()}


def new_environment(folder: Path) -> Path:
    """Make a virtual environment; returns its Python."""
    venv.create(folder, with_pip=True)
    return folder / "bin" / "python"
