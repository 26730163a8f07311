"""Every command of the guide to the command line is run, in its order, in an account with a running engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks
from tests.engine import RunningEngine, engine

GUIDE = ROOT / "docs/how-to/command-line.md"
NODE = 'nodes: [{name: node-a, cpu: "8", memory: 8Gi, devices: {gpu: 2}}]\n'
TRAIN = """apiVersion: octopus-hub.io/v1alpha1
kind: TaskSet
metadata: {name: train}
spec: {roles: [{name: worker, command: [python, train.py]}]}
"""


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with engine(tmp_path_factory.mktemp("engine"), NODE) as started:
        yield started


def test_the_guide_can_be_followed_from_top_to_end(account: RunningEngine) -> None:
    project = Path(account.environ["HOME"]) / "project"
    (project / "out").mkdir(parents=True)
    (project / "train.yaml").write_text(TRAIN)
    for program in ("train", "report"):
        (project / f"{program}.py").write_text(f"print('{program}')\n")
    (project / "count.py").write_text(
        "import os\nos.makedirs('out', exist_ok=True)\nopen('out/n.csv', 'w').write('1')\n"
    )
    followed = []
    for block in blocks():
        if block.page == GUIDE and block.language == "sh":
            for script in [block.text] if "$(" in block.text else block.text.splitlines():
                account.run(["bash", "-ec", script], cwd=project)
                followed.append(script)
    assert len(followed) > 20
    assert len(list((project / "results").rglob("n.csv"))) == 4
