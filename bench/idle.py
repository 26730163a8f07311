"""What the workbench costs while nobody uses it: ``python -m bench.idle``.

A whole ``octopus up`` is started and left alone; its process (engine, controller and service) is the one the target is
about. The hub and its proxy are JupyterHub's, listed for comparison. CPU is the share of one core over the time
watched; memory is taken at its end: resident (RSS), and with shared pages divided by their users (PSS).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from bench.facts import report
from bench.process import engine

WATCHED_SECONDS = 60.0
SETTLE_SECONDS = 5.0
START_SECONDS = 120.0


def watch(processes: dict[str, int], seconds: float = WATCHED_SECONDS) -> list[dict[str, Any]]:
    """Return a row per process."""
    watched = {name: psutil.Process(pid) for name, pid in processes.items()}
    time.sleep(SETTLE_SECONDS)
    before = {name: _seconds(process) for name, process in watched.items()}
    started = time.perf_counter()
    time.sleep(seconds)
    taken = time.perf_counter() - started
    rows = []
    for name, process in watched.items():
        memory = process.memory_full_info()
        rows.append(
            {
                "process": name,
                "cpu_percent": round(100 * (_seconds(process) - before[name]) / taken, 2),
                "rss_mb": round(memory.rss / 1e6, 1),
                "pss_mb": round(memory.pss / 1e6, 1),
                "uss_mb": round(memory.uss / 1e6, 1),
                "threads": process.num_threads(),
            }
        )
    return rows


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def workbench(folder: Path) -> list[dict[str, Any]]:
    """Watch a whole ``octopus up``."""
    environ = {name: os.environ[name] for name in ("PATH", "LANG", "USER") if name in os.environ}
    environ |= {"HOME": str(folder), "OCTOPUS_STATE": str(folder / "state")}
    program = Path(sys.executable).with_name("octopus")
    with (folder / "up.log").open("wb") as log:
        process = subprocess.Popen([program, "up", "--port", "0"], env=environ, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_SECONDS
        while b"  stop " not in (folder / "up.log").read_bytes():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit((folder / "up.log").read_text())
            time.sleep(0.1)
        hub = folder / "state" / "hub"
        pids = {name: int((hub / f"{name}.pid").read_text()) for name in ("hub", "proxy")}
        names = {"hub": "JupyterHub", "proxy": "configurable-http-proxy"}
        return watch({"octopus up (engine + service)": process.pid} | {names[key]: pid for key, pid in pids.items()})
    finally:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(120)


def main() -> None:
    """Watch both and report."""
    with tempfile.TemporaryDirectory() as folder:
        rows = workbench(Path(folder))
    with tempfile.TemporaryDirectory() as folder, engine(Path(folder)) as running:
        rows += watch({"engine + service without a hub": running.pid}, WATCHED_SECONDS / 2)
    report("idle", rows, target="engine + service: <= 1 % of a core, <= 120 MB")


if __name__ == "__main__":
    main()
