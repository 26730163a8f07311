"""``octopus up --once``: the main job unattended; what it prints, its exit code, and the reason in the last line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.product import Product

pytestmark = [pytest.mark.hub, pytest.mark.slow]


@pytest.fixture
def account(tmp_path: Path) -> Product:
    return Product(tmp_path)


def once(account: Product, notebook: Path, code: int, *options: str) -> list[str]:
    account.launch("--port", "0", "--root-dir", str(account.root), "--once", str(notebook), *options)
    assert account.process.wait(280) == code, account.output()
    assert account.processes() == [], "everything is stopped"
    return account.output().splitlines()


def notebook(account: Product, *sources: str) -> Path:
    file = account.root / "own.ipynb"
    cells = [{"cell_type": "code", "source": source, "metadata": {}, "outputs": []} for source in sources]
    file.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return file


def test_the_quickstart(account: Product) -> None:
    said = once(account, account.root / "examples" / "quickstart" / "quickstart.ipynb", 0)
    text = "\n".join(said)
    for step in ("Queued", "Admitted", "Starting", "Running", "Succeeded"):
        assert re.search(rf"\+[\d.]+ s  {step}", text), text
    accuracy = re.search(r"^test accuracy (0\.\d+)$", text, re.MULTILINE)
    assert accuracy and float(accuracy.group(1)) >= 0.92
    record = re.search(r"^record (\S+)$", text, re.MULTILINE)
    assert record and (Path(record.group(1)) / "record.json").is_file()
    assert said[-1] == "octopus-hub has stopped: hub, proxy, servers; no TaskSet is left running"


def test_a_failing_cell_is_the_last_line(account: Product) -> None:
    file = notebook(account, "print('one')", "raise ValueError('wrong\\nin detail')", "print('three')")
    said = once(account, file, 1, "--user", "Ada")  # hub users have no capitals
    assert said[0] == "one" and "three" not in said
    assert said[-1] == "octopus up: cell 2 failed: ValueError: wrong"
