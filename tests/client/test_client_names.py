"""The public names are those that ``__all__`` says, and each can be had."""

from __future__ import annotations

import subprocess
import sys

import pytest

import octopus_hub
import octopus_hub.client


@pytest.mark.parametrize("package", ["octopus_hub", "octopus_hub.client"])
def test_a_fresh_interpreter_offers_exactly_these(package: str) -> None:
    code = (
        f"import {package} as p; names = [n for n in dir(p) if not n.startswith('_')]\n"
        "for n in p.__all__: assert getattr(p, n) is not None, n\n"
        "after = {n for n in vars(p) if not n.startswith('_')}\n"
        "import types; after = {n for n in after if not isinstance(vars(p)[n], types.ModuleType)}\n"
        "print(sorted(after - set(p.__all__)), sorted(set(p.__all__) - set(dir(p))))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    extra, missing = done.stdout.strip().replace("] [", "]|[").split("|")
    assert missing == "[]"
    assert set(eval(extra)) <= {"annotations", "TYPE_CHECKING", "Any"}


def test_a_name_that_is_not_there() -> None:
    for package in (octopus_hub, octopus_hub.client):
        with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
            package.Nonsense  # noqa: B018
        assert "Client" in dir(package)
