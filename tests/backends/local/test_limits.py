"""Memory limits on real processes, with a control group and without; thread counts; no core dumps."""

from __future__ import annotations

from pathlib import Path

import pytest

from octopus_hub.backends.local.limits import Cgroups, thread_environment
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.task import TaskState
from tests.backends.local.tasks import Bench, describe, python

MIB = 1 << 20
HUNGRY = "import time\nkept = []\nprint('up', flush=True)\nwhile True:\n    kept.append(bytearray(4 << 20)); time.sleep(0.01)"


@pytest.fixture(params=[True, False], ids=["control group", "watched"])
def grouped(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> bool:
    if not request.param:
        monkeypatch.setattr(Cgroups, "create", lambda *args: "")
    else:
        groups = Cgroups.discover(tmp_path)
        groups.close()
        if groups.base is None:
            pytest.skip("no writable memory control group on this machine")
    return bool(request.param)


async def test_a_task_over_its_memory_is_killed_with_the_numbers(bench: Bench, grouped: bool) -> None:
    end = await bench.run(python(HUNGRY), amounts=Amounts(memory_bytes=64 * MIB))
    assert (end.state, end.end_reason, end.signal) == (TaskState.FAILED, "OOMKilled", 9)
    assert "of 0.06 GiB" in end.message
    assert end.usage.peak_memory_bytes > 32 * MIB


async def test_memory_of_children_counts(bench: Bench, grouped: bool) -> None:
    code = f"import subprocess, sys\nsys.exit(abs(subprocess.call([sys.executable, '-c', {HUNGRY!r}])))"
    end = await bench.run(python(code), amounts=Amounts(memory_bytes=64 * MIB))
    assert end.end_reason == "OOMKilled"


async def test_a_task_within_its_memory_is_left_alone(bench: Bench, grouped: bool) -> None:
    code = "import time; kept = bytearray(20 << 20); time.sleep(0.6)"
    end = await bench.run(python(code), amounts=Amounts(memory_bytes=200 * MIB))
    assert (end.state, end.end_reason) == (TaskState.SUCCEEDED, "")
    assert end.usage.peak_memory_bytes > 20 * MIB


async def test_the_group_is_removed_at_the_end(bench: Bench, tmp_path: Path) -> None:
    groups = Cgroups.discover(tmp_path)
    if groups.base is None:
        pytest.skip("no writable memory control group on this machine")
    path = Path(groups.create("anna/job-worker-0-1", 64 * MIB))
    assert path.is_dir()
    groups.sweep(["anna/job-worker-0-1"])
    assert path.is_dir()
    groups.sweep([])
    groups.close()
    assert not path.exists() and not groups.base.exists()


def test_a_machine_without_control_groups_has_none(tmp_path: Path) -> None:
    groups = Cgroups.discover(tmp_path, mount=tmp_path / "nothing")
    assert groups.base is None and groups.create("a/b", 1) == ""


async def test_core_dumps_are_off_and_tasks_are_nice(bench: Bench) -> None:
    code = "import os, resource; print(resource.getrlimit(resource.RLIMIT_CORE), os.nice(0) >= 5)"
    end = await bench.run(python(code))
    assert await bench.log(end) == b"(0, 0) True\n"


@pytest.mark.parametrize(("millis", "expected"), [(0, "1"), (100, "1"), (1000, "1"), (1001, "2"), (4000, "4")])
def test_thread_counts_follow_the_cpu_request(millis: int, expected: str) -> None:
    spec = describe(["true"], amounts=Amounts(cpu_millis=millis))[0]
    assert thread_environment(spec, {}) == {"OMP_NUM_THREADS": expected}
    assert thread_environment(spec, {"OMP_NUM_THREADS": "7"}) == {}
