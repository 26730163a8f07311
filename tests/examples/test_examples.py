"""Every example of ``examples/`` through the real engine, service and command, as its README says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine import ROOT, RunningEngine, engine

EXAMPLES = ROOT / "examples"
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("examples")]


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    """An account whose commands find a running engine."""
    with engine(tmp_path_factory.mktemp("engine")) as started:
        yield started


def submitted(account: RunningEngine, file: str, workspace: str, code: int = 0) -> str:
    """Submit a file as it is and wait for the end; returns the TaskSet's name."""
    done = account.octopus("submit", f"examples/{file}", "--workspace", f"examples/{workspace}", "--watch", code=code)
    match = re.search(r"^submitted (\S+)$", done.stdout, re.MULTILINE)
    assert match, done.stdout
    return match[1]


def record(account: RunningEngine, name: str) -> dict[str, Any]:
    """Return the newest record of a TaskSet."""
    found = json.loads(account.octopus("records", name, "-o", "json").stdout)["items"]
    record: dict[str, Any] = found[0]
    return record


def test_the_quickstart_learns_the_digits_with_a_parameter_server(account: RunningEngine) -> None:
    name = submitted(account, "quickstart/quickstart.yaml", "quickstart")
    kept = record(account, name)
    assert kept["metrics"]["accuracy"] >= 0.92
    assert [output["path"] for output in kept["outputs"]] == ["ps-0/model.npz"]
    assert "held-out digits" in account.octopus("logs", name, "--role", "ps").stdout


def test_the_cells_of_the_quickstart_notebook_run(account: RunningEngine) -> None:
    cells = json.loads((EXAMPLES / "quickstart/quickstart.ipynb").read_text())["cells"]
    program = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    said = account.run(["python", "-c", program]).stdout
    assert re.search(r"^test accuracy 0\.9\d+$", said, re.MULTILINE), said
    assert Path(said.split("record ")[-1].strip()).is_dir()


def python_blocks(page: str) -> str:
    """Return the programs of a page as one."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL))


def test_the_programs_of_the_quickstart_guide_run(account: RunningEngine, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(EXAMPLES)
    said = account.run(["python", "-c", python_blocks("docs/quickstart.md")], cwd=tmp_path).stdout
    assert "worker 0 epoch 30/30" in said
    assert (tmp_path / "mnist-ps-outputs/ps-0/model.npz").is_file() or list(
        tmp_path.glob("mnist-ps-*-outputs/ps-0/model.npz")
    )


def test_the_program_of_the_readme_runs(account: RunningEngine) -> None:
    said = account.run(["python", "-c", python_blocks("README.md") + "\nprint(job.wait())"]).stdout
    assert said.split()[-1] == "Succeeded", said


def test_the_ring_gives_the_sum_and_every_rank_the_same_weights(account: RunningEngine) -> None:
    name = submitted(account, "allreduce/allreduce.yaml", "allreduce")
    tasks = record(account, name)["tasks"]
    assert len(tasks) == 4
    assert len({task["metrics"]["accuracy"] for task in tasks}) == 1
    assert all(task["metrics"]["accuracy"] > 0.92 and task["metrics"]["difference"] < 1e-9 for task in tasks)


def test_the_sweep_prints_a_table_of_twelve_trials(account: RunningEngine) -> None:
    table = account.run(["python", "sweep.py"], cwd=EXAMPLES / "sweep").stdout
    figures = [float(figure) for figure in re.findall(r" (0\.\d{4})", "\n".join(table.splitlines()[1:5]))]
    assert len(figures) == 12 and max(figures) > 0.94 > min(figures)
    assert f"accuracy {max(figures):.4f}" in table.splitlines()[-1]
    assert len(json.loads(account.octopus("list", "--label", "sweep=digits", "-o", "json").stdout)["items"]) == 12


def test_the_sweep_as_yaml_is_the_same_twelve(account: RunningEngine) -> None:
    done = account.octopus("submit", "sweep.yaml", "--watch", cwd=EXAMPLES / "sweep")
    names = re.findall(r"^submitted (\S+)$", done.stdout, re.MULTILINE)
    assert len(names) == len(set(names)) == 12
    tried = {tuple(sorted(record(account, name)["spec"]["roles"][0]["env"].items())) for name in names}
    assert len(tried) == 12


def test_map_tasks_share_the_node_of_the_device_task(account: RunningEngine) -> None:
    name = submitted(account, "map/map.yaml", "map")
    kept = record(account, name)
    assert len({task["node"] for task in kept["tasks"]}) == 1
    devices = {task["role"]: len(task.get("devices", {}).get("virtual", [])) for task in kept["tasks"]}
    assert devices == {"train": 2, "map": 0}
    mapped = [task for task in kept["tasks"] if task["role"] == "map"]
    assert sum(task["metrics"]["digits"] for task in mapped) == 1797
    assert "Running" in [entry["phase"] for entry in kept["timeline"]]  # all of them at once
    assert len(kept["outputs"]) == 6


def test_a_failing_gang_says_why_and_what_to_do(account: RunningEngine) -> None:
    name = submitted(account, "failing/failing.yaml", "failing", code=1)
    said = account.octopus("describe", name).stdout
    assert re.search(r"Phase: +Failed \(RoleFailed\)", said), said
    assert re.search(r"killed for memory: used .* of 256.0 MiB", said), said
    assert "ask for more memory" in said
    assert record(account, name)["phase"] == "Failed"


def test_with_more_memory_the_same_gang_succeeds(account: RunningEngine, tmp_path: Path) -> None:
    text = (EXAMPLES / "failing/failing.yaml").read_text()
    larger = tmp_path / "failing.yaml"
    larger.write_text(text.replace("memory: 256Mi", "memory: 1Gi"))
    account.octopus("submit", str(larger), "--workspace", "examples/failing", "--watch")


def test_a_notebook_runs_as_a_taskset_with_its_parameters(account: RunningEngine, tmp_path: Path) -> None:
    name = submitted(account, "notebook/notebook.yaml", "notebook")
    kept = record(account, name)
    assert kept["parameters"] == {"k": 3} and kept["metrics"]["k"] == 3 and kept["metrics"]["accuracy"] > 0.95
    account.octopus("outputs", name, "--to", str(tmp_path))
    (executed,) = tmp_path.rglob("neighbours.ipynb")
    assert "k = 3: accuracy" in executed.read_text()


def test_a_taskset_of_the_seed_platform_runs(account: RunningEngine) -> None:
    shown = account.octopus("import", "examples/seed-import/seed.yaml")
    assert "maxRestarts: 2" in shown.stdout and "SucceedTaskSet" in shown.stdout
    done = account.octopus("import", "examples/seed-import/seed.yaml", "--submit", "--workspace", "examples/quickstart")
    name = done.stdout.split()[-1]
    account.octopus("wait", name)
    assert "held-out digits" in account.octopus("logs", name, "--role", "ps").stdout
