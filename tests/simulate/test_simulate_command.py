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
    assert "1 row submitted before the one above, the first in line 3:" in err


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
