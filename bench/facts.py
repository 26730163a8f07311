"""What every benchmark says about the machine it ran on, and how it shows and keeps its figures.

A benchmark calls :func:`report` with rows; it prints a table with the machine's facts and writes both as JSON to
``bench/results/<name>.json``. Figures are for reading, never asserted on.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"

Row = Mapping[str, Any]


def facts() -> dict[str, Any]:
    """Return CPU model, cores, memory, load, kernel and Python of this machine."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memoryGiB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load1m": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def percentile(values: Sequence[float], percent: float) -> float:
    """Return a percentile by linear interpolation between the closest ranks."""
    ordered = sorted(values)
    rank = (len(ordered) - 1) * percent / 100
    below = int(rank)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (rank - below)


def summary(seconds: Sequence[float]) -> dict[str, Any]:
    """Return count, median, p95 and extremes of durations, in milliseconds."""
    return {
        "runs": len(seconds),
        "median_ms": round(statistics.median(seconds) * 1e3, 2),
        "p95_ms": round(percentile(seconds, 95) * 1e3, 2),
        "min_ms": round(min(seconds) * 1e3, 2),
        "max_ms": round(max(seconds) * 1e3, 2),
    }


def timed(call: Any, runs: int) -> list[float]:
    """Return how long each of ``runs`` calls took, in seconds."""
    taken = []
    for _ in range(runs):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return taken


def table(rows: Sequence[Row]) -> str:
    """Return rows as an aligned table; columns in the order of their first appearance."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [columns, *([str(row.get(column, "")) for column in columns] for row in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(columns))]
    numeric = [all(isinstance(row.get(column, 0), int | float) for row in rows) for column in columns]
    lines = []
    for line in cells:
        parts = [
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, numeric, strict=True)
        ]
        lines.append("  ".join(parts).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def report(name: str, rows: Sequence[Row], *, target: str = "", notes: str = "") -> Path:
    """Print the table with the machine's facts and write ``bench/results/<name>.json``; returns its path."""
    machine = facts()
    print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in machine.items()))
    if target:
        print(f"target: {target}")
    print(table(rows))
    if notes:
        print(notes)
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    document = {"name": name, "machine": machine, "target": target, "notes": notes, "rows": [dict(row) for row in rows]}
    path.write_text(json.dumps(document, indent=2) + "\n")
    sys.stdout.flush()
    return path


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
