"""What a task reports while it runs: numbers (``octopus_hub.log``), checkpoints (``octopus_hub.checkpoint``).

Standard library only, so that it costs a task nothing.
"""

from __future__ import annotations

import json
import math
import os
import time
from typing import Any


def log(step: int | None = None, **metrics: Any) -> None:
    """Report metrics from inside a task; the live view, the job and the record show the last value of each.

    Outside a task this does nothing, so that a program runs unchanged anywhere.

    Parameters
    ----------
    step : int, optional
        Step of the training (or any counter that grows).
    **metrics : float
        Values by name; anything that ``float`` takes, e.g. a tensor of one element. Values that are not finite are
        kept as null.

    Examples
    --------
    >>> log(step=100, loss=0.25, accuracy=0.93)
    """
    path = os.environ.get("OCTOPUS_METRICS")
    if not path or not metrics:
        return
    values = {name: _number(name, value) for name, value in metrics.items()}
    line = json.dumps({"time": time.time(), "step": None if step is None else int(step), "metrics": values})
    # One write to a file opened for appending: lines of several processes of a task do not mix.
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, line.encode() + b"\n")
    finally:
        os.close(fd)


def checkpoint() -> None:
    """Report, from inside a task, that its work so far is saved: a preemption costs only what comes after.

    Call it after the checkpoint is written, in a folder that outlives the attempt: ``$OCTOPUS_CHECKPOINTS`` is one, shared
    by all tasks of the TaskSet. A TaskSet that reports checkpoints is known to go on where it was, so it is preempted
    with less loss, and what it has done counts. Touching the file ``$OCTOPUS_CHECKPOINT_REPORT`` does the same from any
    language. Outside a task this does nothing.

    Examples
    --------
    >>> checkpoint()
    """
    path = os.environ.get("OCTOPUS_CHECKPOINT_REPORT")
    if path:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
        os.utime(path)


def _number(name: str, value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"octopus_hub.log: {name} is not a number: {value!r}") from None
    return number if math.isfinite(number) else None
