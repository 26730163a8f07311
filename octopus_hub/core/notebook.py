"""The command of a notebook run (``spec.run``): papermill with the parameters, the executed notebook among the outputs.

Pure text; running it is the backend's business, as for any command. Called by ``core.expand`` only.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from octopus_hub.model.taskset import RunSpec

# What YAML readers refuse or join wrongly inside a quoted text, and JSON leaves as it is.
_UNSAFE = re.compile("[\x7f-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")


def notebook_command(run: RunSpec, working_dir: str = "") -> list[str]:
    """Return the command; the notebook's path is relative to the workspace, whatever the working directory.

    Parameters are given as YAML in one argument (``-y``), which keeps their types: ``-p`` would turn ``"1"`` into 1.
    """
    up = "../" * len(_parts(working_dir))
    name = run.notebook.rsplit("/", 1)[-1]
    command = ["python", "-m", "papermill", up + run.notebook, f"{up}outputs/{name}"]
    return [*command, "-y", yaml_text(run.parameters)] if run.parameters else command


def _parts(working_dir: str) -> list[str]:
    """Return the folders below the workspace; ``/workspace`` is the workspace itself."""
    parts = [part for part in working_dir.split("/") if part not in ("", ".")]
    return parts[1:] if working_dir.startswith("/") and parts[:1] == ["workspace"] else parts


def yaml_text(value: Any) -> str:
    """Return the value as YAML 1.1 in one line, equal after reading.

    JSON is not quite that: PyYAML reads ``1e-05`` (no dot) as a text, and ``NaN`` too.
    """
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quoted(str(key))}: {yaml_text(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(yaml_text(each) for each in value) + "]"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, float):
        return _number(value)
    return json.dumps(value)


def _quoted(text: str) -> str:
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))


def _number(value: float) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    mantissa, exponent, power = repr(value).partition("e")
    return (mantissa if "." in mantissa else mantissa + ".0") + exponent + power
