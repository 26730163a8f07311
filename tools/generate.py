"""Writes the generated files: schemas, reference pages, TypeScript types. With ``--check`` it only compares.

One table says which file comes from which function; each function is pure and gives the same text on every machine.
Called by ``make generate`` and ``make verify``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the tree's packages, wherever this is started from

from octopus_hub.cli.reference import reference_page
from tools.generation import configuration, frameworks, phases, rest, schemas, taskset, typescript

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = "docs/reference"

FILES: dict[str, Callable[[], str]] = {
    f"{REFERENCE}/README.md": schemas.index_page,
    f"{REFERENCE}/cli.md": reference_page,
    f"{REFERENCE}/configuration.md": configuration.page,
    f"{REFERENCE}/frameworks.md": frameworks.page,
    f"{REFERENCE}/openapi.json": rest.openapi,
    f"{REFERENCE}/phases-and-reasons.md": phases.page,
    f"{REFERENCE}/rest.md": rest.page,
    f"{REFERENCE}/taskset.md": taskset.page,
    "widgets/src/api.generated.ts": typescript.module,
    **{f"{REFERENCE}/{name}": make for name, make in schemas.FILES.items()},
}


def stale(root: Path = ROOT) -> list[str]:
    """Return the files whose content differs from what is generated now."""
    return [name for name, make in FILES.items() if _read(root / name) != make()]


def write(root: Path = ROOT) -> list[str]:
    """Write what differs; returns the names of these files."""
    changed = stale(root)
    for name in changed:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(FILES[name](), encoding="utf-8")
    return changed


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file differs")
    if parser.parse_args().check:
        differing = stale()
        if differing:
            print(f"differs from its source: {', '.join(differing)}; run `make generate` and commit the result")
        return 1 if differing else 0
    for name in write():
        print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
