"""The bounded log: beginning and end kept, any bytes, offsets that stay right, following."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from octopus_hub.backends.local import logfile, parent
from octopus_hub.backends.local.logfile import Geometry
from tests.backends.local.tasks import Bench, python


def test_geometry_never_exceeds_the_limit() -> None:
    for limit in (10, 1000, 1 << 20, 64 << 20):
        geometry = Geometry.of(limit)
        assert geometry.head + geometry.keep * geometry.segment <= limit
        for number in range(5):
            assert geometry.at(geometry.start(number)) == (number, 0)


def test_beginning_and_end_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    log = parent.Log(100, 50, 4)
    data = bytes(range(256)) * 10
    for start in range(0, len(data), 77):
        log.write(data[start : start + 77])
    assert (log.stored, log.lost) == (len(data), 0)
    kept = {path.name: path.read_bytes() for path in tmp_path.glob("log*")}
    assert sum(map(len, kept.values())) <= 300
    assert kept["log"] == data[:100]
    geometry = Geometry(100, 50, 4)
    assert logfile.length(tmp_path, geometry) == len(data)
    content, offset = b"", 0
    while True:
        part, offset = logfile.read_at(tmp_path, geometry, offset)
        if not part:
            break
        content += part
    assert content.startswith(data[:100]) and content.endswith(data[-150:])
    assert b"bytes of output are not kept]" in content


def test_a_full_disk_loses_output_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    log = parent.Log(100, 50, 4)
    log.write(b"kept")

    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(parent.os, "write", full)
        log.write(b"x" * 1000)
    log.write(b"again")
    assert (log.stored, log.lost) == (9, 1000)
    assert (tmp_path / "log").read_bytes() == b"keptagain"


async def test_binary_output_is_kept_as_it_is(bench: Bench) -> None:
    code = "import os; os.write(1, bytes(range(256)) * 1000); os.write(2, b'\\xff\\xfe')"
    end = await bench.run(python(code))
    assert await bench.log(end) == bytes(range(256)) * 1000 + b"\xff\xfe"


async def test_much_output_is_bounded_and_the_end_kept(bench: Bench) -> None:
    await bench.runner.close()
    bench.options["log_limit_bytes"] = 4 << 20
    bench.runner = bench.make()
    code = (
        "import os\nos.write(1, b'first line\\n')\nline = b'0123456789abcde\\n' * 4096\n"
        "for _ in range(3200): os.write(1, line)\nos.write(1, b'last line\\n')"
    )
    end = await bench.run(python(code))
    assert end.exit_code == 0 and end.log_bytes == 3200 * 65536 + 21
    kept = sum(path.stat().st_size for path in bench.folder(end).glob("log*"))
    assert kept <= 4 << 20
    content = await bench.log(end)
    assert content.startswith(b"first line\n0123") and content.endswith(b"abcde\nlast line\n")
    assert await bench.log(end, offset=-10) == b"last line\n"
    assert await bench.log(end, offset=end.log_bytes - 5) == b"line\n"
    assert await bench.log(end, offset=end.log_bytes + 100) == b""


async def test_following_yields_until_the_task_ends(bench: Bench) -> None:
    task = await bench.running(["sh", "-c", "echo one; while [ ! -e go ]; do sleep 0.02; done; echo two"])
    parts: list[bytes] = []
    seen = asyncio.Event()

    async def follow() -> None:
        async for part in bench.runner.read_log("anna", task.name, follow=True):
            parts.append(part)
            seen.set()

    reader = asyncio.create_task(follow())
    await asyncio.wait_for(seen.wait(), 60)
    (bench.folder(task) / "work" / "go").touch()
    await asyncio.wait_for(reader, 60)
    assert b"".join(parts) == b"one\ntwo\n"


async def test_a_reader_from_an_offset_misses_nothing(bench: Bench) -> None:
    end = await bench.run(["sh", "-c", "printf 0123456789"])
    assert await bench.log(end, offset=4) == b"456789"
    assert await bench.log(end, offset=-3) == b"789"
    assert await bench.log(end, offset=-300) == b"0123456789"


async def test_a_task_nobody_knows_has_no_log(bench: Bench) -> None:
    assert [part async for part in bench.runner.read_log("anna", "none-worker-0-1", follow=True)] == []


async def test_output_held_open_elsewhere_does_not_hang_the_end(bench: Bench) -> None:
    task = await bench.running(["sh", "-c", "while [ ! -e go ]; do sleep 0.02; done"])
    pid = int(json.loads((bench.folder(task) / "started.json").read_text())["pid"])
    with open(f"/proc/{pid}/fd/1", "wb"):  # somebody outside the task holds its output
        (bench.folder(task) / "work" / "go").touch()
        assert (await bench.ended(task)).exit_code == 0
