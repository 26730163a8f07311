"""The reader of traces: good rows become jobs in order, bad ones are told with their lines."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from octopus_hub.model.errors import InvalidSpec
from octopus_hub.simulate.jobs import Job
from octopus_hub.simulate.philly import parse, read

HEADER = "timestamp,duration,num_gpus,gpu_time,cluster"
GOOD = "2017-10-09 07:01:55,66.0,1,66.0,11cb48"

BAD_ROWS = {
    "missing duration": ("2017-10-09 07:01:55,,1,66.0,a", "duration is missing"),
    "missing cluster": ("2017-10-09 07:01:55,66,1,66.0,", "cluster is missing"),
    "negative duration": ("2017-10-09 07:01:55,-3,1,3,a", "duration is negative: -3"),
    "negative gpus": ("2017-10-09 07:01:55,3,-1,3,a", "num_gpus is negative"),
    "no gpus": ("2017-10-09 07:01:55,3,0,0,a", "not a whole number from 1"),
    "half a gpu": ("2017-10-09 07:01:55,2,0.5,1,a", "not a whole number from 1"),
    "nan": ("2017-10-09 07:01:55,nan,1,3,a", "duration is 'nan', not a number"),
    "infinite": ("2017-10-09 07:01:55,3,1,inf,a", "gpu_time is 'inf', not a number"),
    "text": ("2017-10-09 07:01:55,long,1,3,a", "duration is 'long', not a number"),
    "absurd duration": ("2017-10-09 07:01:55,1e12,1,1e12,a", "no such job has run"),
    "absurd gpus": ("2017-10-09 07:01:55,1,1e9,1e9,a", "no such job has run"),
    "contradiction": ("2017-10-09 07:01:55,100,2,100,a", "duration times num_gpus is 200"),
    "no time": ("yesterday,3,1,3,a", "timestamp is 'yesterday'"),
    "no year": ("0001-01-01 00:00:00,3,1,3,a", "no computer ran then"),
    "few columns": ("2017-10-09 07:01:55,3,1", "has 3 columns instead of 5"),
    "many columns": (f"{GOOD},more", "has 6 columns instead of 5"),
}


@pytest.mark.parametrize(("row", "told"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_is_left_out_and_told_with_its_line(row: str, told: str) -> None:
    trace = parse([HEADER, GOOD, row, GOOD])
    assert (len(trace.jobs), trace.bad_rows) == (2, 1)
    assert trace.problems[0].startswith("line 3: ")
    assert told in trace.problems[0]
    with pytest.raises(InvalidSpec, match="1 row can't be true") as refused:
        parse([HEADER, GOOD, row], strict=True)
    assert refused.value.problems == list(trace.problems)


def test_jobs_come_in_the_order_of_submission_whatever_that_of_rows_and_columns() -> None:
    rows = [
        "cluster,num_gpus,timestamp,gpu_time,duration",
        "b,2,1971-01-01 00:00:09,8,4",
        "a,1,1971-01-01 00:00:00,5,5",
    ]
    start = 365 * 86400.0
    late, early = Job("00000002", start + 9, 4.0, 2, "b"), Job("00000003", start, 5.0, 1, "a")
    assert parse(rows).jobs == (early, late)
    assert parse(rows, first=1).jobs == (early,)
    assert parse([*rows, ""]).bad_rows == 0


def test_many_bad_rows_are_counted_and_the_first_told() -> None:
    trace = parse([HEADER, *["x"] * 250])
    assert (trace.jobs, trace.bad_rows, len(trace.problems)) == ((), 250, 101)


def test_a_file_that_is_no_trace_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match="there is no"):
        read(tmp_path / "none.csv")
    for name, content in (("a.csv", b""), ("b.csv", b"a,b\n1,2\n"), ("c.csv", b"\xff\xfe\x00"), ("d.gz", b"no gzip")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InvalidSpec, match=name):
            read(tmp_path / name)
    packed = gzip.compress(f"{HEADER}\n{GOOD}\n".encode() * 50)
    (tmp_path / "e.gz").write_bytes(packed[:-12])
    with pytest.raises(InvalidSpec, match="damaged"):
        read(tmp_path / "e.gz")
    (tmp_path / "f.gz").write_bytes(gzip.compress(f"{HEADER}\n{GOOD}\n".encode()))
    assert len(read(tmp_path / "f.gz").jobs) == 1
