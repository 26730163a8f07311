"""``octopus simulate`` on a small trace, as users run it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from octopus_hub.cli import main

TRACE = """timestamp,duration,num_gpus,gpu_time,cluster
2017-10-09 01:00:00,3600,8,28800,b
2017-10-09 00:00:00,7200,8,57600,a
2017-10-09 00:00:00,-1,8,57600,a
2017-10-09 02:00:00,3600,16,57600,a
"""


@pytest.fixture
def trace(tmp_path: Path) -> str:
    (tmp_path / "trace.csv").write_text(TRACE)
    return str(tmp_path / "trace.csv")


def test_policies_side_by_side(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", trace, "--gpus", "8", "--policy", "fifo,priority"]) == 0
    out, err = capsys.readouterr()
    lines = [line.split() for line in out.splitlines()]
    assert [line[:4] for line in lines[1:]] == [["fifo", "8", "2", "2.00"], ["priority", "8", "2", "2.00"]]
    assert "line 4: duration is negative: -1" in err
    assert "left out: 1 bad row;" in err
    assert "1 job left out: larger than the pool of 8 GPUs\n" in err
    assert "put into the order of submission (the first is line 3): 1 row\n" in err


def test_json_is_for_programs(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", trace, "--gpus", "16", "-o", "json", "--first", "2"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["badRows"] == 1
    assert document["policies"][0]["jct_avg_hours"] == 1.5
    assert document["policies"][0]["utilisation"] == 0.75  # 24 GPU-hours of 2 h x 16


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--gpus", "8", "--strict"], "line 4: duration is negative"),
        (["--gpus", "9"], "multiple of 8"),
        (["--gpus", "8", "--policy", "fifo,lass"], "there is no policy 'lass'"),
        (["--gpus", "8", "--policy", "fifo,fifo"], "twice"),
        (["--gpus", "8", "--first", "0"], "no jobs"),
        ([], "--gpus"),
    ],
)
def test_what_cannot_be_run_is_a_mistake_of_the_command_line(
    trace: str, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", trace, *words]) == 2
    assert told in capsys.readouterr().err


def test_policies_sizes_and_shares_are_combined_in_the_order_asked_for(
    trace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--gpus", "8,16", "--policy", "priority,fifo", "--checkpointing", "0.5,1", "--processes", "1"]
    assert main(["simulate", trace, *words]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0][:3] == ["POLICY", "CHECKPOINT", "GPUS"]
    assert [line[:3] for line in lines[1:]] == [
        [policy, share, gpus] for gpus in ("8", "16") for share in ("50%", "100%") for policy in ("priority", "fifo")
    ]
    assert main(["simulate", trace, *words, "-o", "json"]) == 0
    runs = json.loads(capsys.readouterr().out)["policies"]
    assert [(run["gpus"], run["checkpointing"], run["policy"]) for run in runs][:3] == [
        (8, 0.5, "priority"),
        (8, 0.5, "fifo"),
        (8, 1.0, "priority"),
    ]


def test_a_generated_load_and_pictures_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--generate", "jobs=60,load=0.8", "--gpus", "32", "--seed", "4", "--plot", str(tmp_path / "pictures")]
    assert main(["simulate", *words, "-o", "json", "--max-runtime", "3", "--no-preemption"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["jobs"] == 60
    assert f"wrote {tmp_path}/pictures/waits.svg" in err
    assert (tmp_path / "pictures" / "shares.png").stat().st_size > 1000


def test_half_a_trace(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words, gpus in (
        (["--part", "1/3"], 8),
        (["--from", "2017-10-09 02:00"], 16),
        (["--until", "2017-10-09 01:00"], 8),
    ):
        assert main(["simulate", trace, "--gpus", "16", *words, "-o", "json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert document["jobs"] == 1
        assert document["policies"][0]["wait_hours"]["8" if gpus == 8 else ">8"] == 0.0


def test_a_node_list_is_a_pool(trace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "nodes.csv").write_text("sn,cpu_milli,memory_mib,gpu,model\nx,1000,1000,8,V100\n")
    assert main(["simulate", trace, "--nodes", str(tmp_path / "nodes.csv"), "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["policies"][0]["gpus"] == 8


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "name one source"),
        (["--generate", "jobs=5", "--history"], "name one source"),
        (["--generate", "jobs=5"], "how large is the pool"),
        (["--generate", "jobs=5", "--gpus", "8,8"], "twice"),
        (["--generate", "jobs=5", "--gpus", "eight"], "'eight' is not a whole number"),
        (["--generate", "jobs=5", "--gpus", "8", "--nodes", "x"], "one of them"),
        (["--generate", "jobs=5", "--gpus", "8", "--checkpointing", "half"], "not a number from 0 to 1"),
        (["--generate", "jobs=5", "--gpus", "8", "--part", "half"], "not like 1/2"),
        (["--generate", "jobs=5", "--gpus", "8", "--notice", "-1"], "not a number of seconds"),
        (["--generate", "jobs=5", "--gpus", "8", "--max-runtime", "0"], "not a positive number"),
        (["--history", "none", "--gpus", "8", "--since", "month"], "not like 30d"),
        (["--history", "none", "--gpus", "8"], "no record.json lies in none"),
    ],
)
def test_what_cannot_be_meant(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", *words]) == 2
    assert told in capsys.readouterr().err
