"""The widgets' TypeScript: types, the state logic's own tests, the bundle and its lock file."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WIDGETS = ROOT / "widgets"
LARGEST_BUNDLE = 80 * 1024

sys.path.insert(0, str(WIDGETS))
import bundle  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    """Have esbuild and the type checker, as `make` does before the tests."""
    bundle.install()


def test_types_are_strict_and_sound() -> None:
    """tsc finds nothing."""
    run = subprocess.run(
        [*bundle.node(), str(bundle.MODULES / "typescript" / "bin" / "tsc"), "--noEmit", "-p", str(WIDGETS)],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout


def test_state_logic_in_node(tmp_path: Path) -> None:
    """Frames to picture, tested by Node's own test runner."""
    compiled = tmp_path / "model.test.mjs"
    bundle.esbuild(
        str(ROOT / "tests" / "widgets" / "model.test.ts"),
        "--bundle",
        "--platform=node",
        "--format=esm",
        f"--outfile={compiled}",
    )
    run = subprocess.run(
        [*bundle.node(), "--test", "--test-reporter=spec", str(compiled)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout[-6000:]
    passed = re.search(r"pass (\d+)", run.stdout)
    assert passed and int(passed[1]) >= 20, run.stdout[-2000:]


def test_bundle_is_that_of_the_sources(tmp_path: Path) -> None:
    """What is installed was made of what is here."""
    for made in bundle.bundle(tmp_path):
        assert made.read_bytes() == (bundle.STATIC / made.name).read_bytes(), "run python widgets/bundle.py"


def test_bundle_is_one_file_that_asks_for_nothing() -> None:
    """anywidget loads it from a blob URL: no import, nothing from elsewhere; and it stays small."""
    for name in bundle.WIDGETS:
        text = (bundle.STATIC / f"{name}.js").read_text()
        assert not re.search(r"\bimport\s*[\"'({]|\bimport\s+\w|\bfrom\s*[\"']|\brequire\(", text)
        addresses = set(re.findall(r"https?://[^\s\"'`)]+", text))
        assert addresses <= {"http://www.w3.org/2000/svg"}
        assert "@import" not in text and "url(" not in text
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text)
        assert re.search(r"export\s*\{\s*\w+ as default", text)
        assert len(text.encode()) < LARGEST_BUNDLE


def test_lock_file_names_no_registry() -> None:
    """It pins by digest and lets npm's own configuration say from where."""
    lock = json.loads((WIDGETS / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert {"node_modules/esbuild", "node_modules/typescript"} <= set(packages)
    assert all("resolved" not in entry and entry["integrity"].startswith("sha512-") for entry in packages.values())
    assert "http" not in json.dumps([entry.get("version") for entry in packages.values()])
