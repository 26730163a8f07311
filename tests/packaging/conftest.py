"""Copies of the working tree to build from: the shared tree is never built in."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.building import ROOT, STATIC, copy_tree


@pytest.fixture(scope="session")
def bare_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree as a fresh clone has it: no bundles."""
    return copy_tree(tmp_path_factory.mktemp("bare") / "octopus-hub")


@pytest.fixture(scope="session")
def bundled_tree(tmp_path_factory: pytest.TempPathFactory, bundles: Path) -> Path:
    """The tree with the widgets' bundles inside."""
    tree = copy_tree(tmp_path_factory.mktemp("bundled") / "octopus-hub")
    shutil.copytree(bundles, tree / STATIC, dirs_exist_ok=True)
    return tree


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the widgets' bundles; `make` made them, else they are made here."""
    if not list((ROOT / STATIC).glob("*.js")):
        tree = copy_tree(tmp_path_factory.mktemp("bundling") / "octopus-hub")
        subprocess.run([sys.executable, str(tree / "widgets" / "bundle.py")], check=True, cwd=tree)
        return tree / STATIC
    return ROOT / STATIC
