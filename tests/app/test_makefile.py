"""The first thing a user types: ``make run`` on a machine that lacks something says so in one sentence."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.product import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A working tree in which nothing has been installed."""
    folder = tmp_path / "clone"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "setup.py"):
        shutil.copy(ROOT / name, folder / name)
    (tmp_path / "bin").mkdir()
    return folder


def program(clone: Path, name: str, script: str) -> Path:
    file = clone.parent / "bin" / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


def sentence(clone: Path, *words: str) -> str:
    """Run ``make run`` and return the one line that is not make's own."""
    path = f"{clone.parent / 'bin'}:/usr/bin:/bin"
    done = subprocess.run(
        ["make", "run", *words], cwd=clone, env={"PATH": path}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    lines = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("make: ***")]
    assert len(lines) == 1, done.stdout + done.stderr
    assert not (clone / ".venv").exists(), "a second try starts afresh"
    return lines[0]


def test_no_python(clone: Path) -> None:
    assert "apt install python3 python3-venv" in sentence(clone, "PYTHON=/none/python3")


def test_an_old_python(clone: Path) -> None:
    old = program(clone, "old-python", "exit 1")
    assert "Python 3.11 or newer is needed" in sentence(clone, f"PYTHON={old}")


def test_no_venv_module(clone: Path) -> None:
    script = f'case "$*" in *venv*) mkdir -p .venv/bin; echo "ensurepip is not available"; exit 1;; esac; exec {sys.executable} "$@"'
    assert "python3-venv is missing" in sentence(clone, f"PYTHON={program(clone, 'bare-python', script)}")


def test_another_operating_system(clone: Path) -> None:
    program(clone, "uname", "echo Darwin")
    assert "runs on Linux" in sentence(clone, f"PYTHON={sys.executable}")


def test_help_lists_what_there_is() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    for verb in ("run", "test", "lint", "types", "generate", "verify", "bench"):
        assert any(line.split()[0] == verb for line in done.stdout.splitlines()), verb
