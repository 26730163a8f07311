"""Reads what a configuration file has set: traitlets hands out placeholders for what was only added to.

``c.JupyterHub.services.append(...)`` leaves a ``LazyConfigValue`` behind, ``c.Spawner.args`` that nobody set another.
"""

from __future__ import annotations

from typing import Any

from traitlets.config import LazyConfigValue


def given(section: Any, name: str, default: Any) -> Any:
    """Return what the file set or added to, as a value of the default's kind."""
    if name not in section:
        return default
    value = section[name]
    if isinstance(value, LazyConfigValue):
        return value.get_value(default)
    return value


def names(section: Any, name: str) -> set[str]:
    """Return a setting that holds names; files write sets, lists and tuples."""
    return set(given(section, name, set()) or ())


def keep(section: Any, name: str, value: Any) -> None:
    """Set what the file did not set."""
    if name not in section:
        section[name] = value
