"""The page about scheduling: complete, its pictures small, its program runs, and what it says of each policy holds.

The cases where a policy is the wrong choice are run with fewer jobs than on the page.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from octopus_hub.core.policies import POLICIES
from octopus_hub.model.queue import Queue
from octopus_hub.simulate import generate
from octopus_hub.simulate.compare import compare
from octopus_hub.simulate.report import Report
from octopus_hub.simulate.setup import Setup
from tests.docs.pages import ROOT, anchors, blocks, links

PAGE = ROOT / "docs/scheduling.md"


def test_every_policy_has_its_section_and_every_backfill_its_row() -> None:
    text = PAGE.read_text()
    assert set(POLICIES) <= anchors(PAGE)
    assert all(f"| `{kind}`" in text for kind in get_args(get_type_hints(Queue)["backfill"]))
    for name in POLICIES:
        section = text.split(f"### {name}\n")[1].split("\n### ")[0].split("\n## ")[0]
        assert "**Right for**" in section and "**Wrong for**" in section and "](images/" in section, name
        assert "octopus simulate" in section or "compare(" in section, name


def test_its_pictures_are_small_and_all_are_shown() -> None:
    shown = {PAGE.parent / target for target in links(PAGE) if target.startswith("images/")}
    assert shown == set((PAGE.parent / "images").glob("scheduling-*"))
    assert all(picture.stat().st_size < 200_000 for picture in shown)


def test_the_default_of_a_queue_is_the_one_that_it_explains() -> None:
    queue = Queue(name="q")
    assert f"**Why `{queue.policy}` with `{queue.backfill}` is the default.**" in PAGE.read_text()


def test_its_program_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    (program,) = [block.text for block in blocks() if block.page == PAGE and block.language == "python"]
    exec(compile(program.replace("jobs=3000", "jobs=300"), str(PAGE), "exec"), {})
    told = re.findall(r"^(\S+) \d", capsys.readouterr().out, re.MULTILINE)
    assert told == ["fifo", "fifo+any", "priority", "gittins"]
    assert (tmp_path / "pictures" / "waits.svg").exists()


def given(words: str, gpus: int, *policies: str, **settings: Any) -> list[Report]:
    jobs = generate.generate(generate.parse_load(words), 1, gpus).jobs
    return [each.report for each in compare(jobs, [Setup(gpus=gpus, policy=name, **settings) for name in policies], 1)]


def test_las_is_wrong_for_equal_jobs_and_gittins_unfair() -> None:
    words = "jobs=400,load=1.1,users=10,sizes=8:100:14400,sigma=0.1,wave=0"
    fifo, las, gittins = given(words, 64, "fifo", "las", "gittins")
    assert las.jct_avg_hours > 1.3 * fifo.jct_avg_hours
    assert gittins.jain_users is not None and fifo.jain_users is not None
    assert gittins.jain_users < fifo.jain_users
    assert gittins.jct_p99_hours > fifo.jct_p99_hours


def test_fair_is_wrong_without_checkpoints_and_nothing_but_fifo_for_one_owner() -> None:
    words = "jobs=400,load=1.0,users=10,sizes=small"
    fair, las = given(words, 32, "fair", "las", checkpointing=0.0)
    assert fair.lost_work_gpu_hours > 0 and las.lost_work_gpu_hours == 0
    assert fair.jct_avg_hours > las.jct_avg_hours
    alone, fifo = given("jobs=400,load=1.1,users=1,sizes=small", 32, "fair", "fifo+any")
    assert alone.jct_avg_hours == pytest.approx(fifo.jct_avg_hours)


def test_any_lets_the_gangs_wait_that_need_the_whole_pool() -> None:
    words = "jobs=1000,load=0.9,users=10,sigma=1,wave=0,sizes=1:995:3600+64:5:3600"
    none, every = given(words, 64, "fifo", "fifo+any")
    for size, longer, shorter in (("8+", every, none), ("1", none, every)):
        more, less = longer.wait_hours[size], shorter.wait_hours[size]
        assert more is not None and less is not None and more > less, size
