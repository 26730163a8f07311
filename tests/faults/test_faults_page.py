"""The page of faults names tests that exist, and leaves out none of this folder."""

from __future__ import annotations

import re

from tests.engine import ROOT

PAGE = ROOT / "docs" / "faults.md"
FOLDER = ROOT / "tests" / "faults"


def test_every_test_of_the_page_exists() -> None:
    ours = "".join(path.read_text() for path in FOLDER.glob("test_*.py"))
    for row in PAGE.read_text().splitlines():
        names = re.findall(r"`((?:tests/|test_)[\w/.]+)`", row.rpartition(" | ")[2]) if row.startswith("|") else []
        files = [ROOT / name if "/" in name else FOLDER / name for name in names if name.endswith(".py")]
        text = ours + "".join(path.read_text() for path in files)
        missing = [name for name in names if not name.endswith(".py") and f"def {name}(" not in text]
        assert missing == [], row


def test_every_test_of_the_folder_is_on_the_page() -> None:
    page = PAGE.read_text()
    found = {name for path in FOLDER.glob("test_*.py") for name in re.findall(r"def (test_\w+)\(", path.read_text())}
    left = {name for name in found if f"`{name}`" not in page}
    assert left == {
        "test_every_test_of_the_page_exists",
        "test_every_test_of_the_folder_is_on_the_page",
    }
